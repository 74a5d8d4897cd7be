"""A Dask cluster: one that runs already, or one of this machine's own for the time of a command."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from insurance_claims.errors import ClaimsError

SCHEDULER = "DASK_SCHEDULER_ADDRESS"
"""Dask's own variable for the address of a scheduler, for where no option can be given."""

_CONNECT_SECONDS = 20
_WORKER_SECONDS = 60
_LOOK_EVERY = 5.0
"""Seconds after which to see whether the cluster still has workers."""
_NO_WORKER_SECONDS = 30.0
"""A worker that died is started again within that time, or never."""
_LARGEST_TASK = "1 GiB"


class ClusterError(ClaimsError):
    """There is no cluster to work on, or it fails."""


def require_dask() -> None:
    """Make sure that Dask is installed.

    Raises:
        ClusterError: it is not; says how to install it.
    """
    if find_spec("distributed") is None:
        raise ClusterError("engine dask needs Dask: `make dask` installs it")


def distributed() -> Any:
    """Dask's package for clusters: not a dependency, but installed where there is to be a cluster.

    Raises:
        ClusterError: it is not installed.
    """
    require_dask()
    return import_module("distributed")


@contextmanager
def dask_client(scheduler: str | None, workers: int) -> Iterator[Any]:
    """A client of a cluster that has workers.

    Args:
        scheduler: address of a running scheduler; None takes the one of SCHEDULER, and where that is not set either,
            starts processes on this machine, which listen on 127.0.0.1 alone and take nobody's work but this one's.
        workers: how many processes to start, each with one thread and its share of the memory.

    Raises:
        ClusterError: Dask is not installed, or there is no such cluster, or none of its workers answers.
    """
    package = distributed()
    # What it says of workers that come and go, with tracebacks, is not for the person who waits for scores.
    for name in [
        name for name in logging.root.manager.loggerDict if name.startswith("distributed")
    ]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    no_warning = {"distributed.admin.large-graph-warning-threshold": _LARGEST_TASK}
    address = scheduler or os.environ.get(SCHEDULER) or None
    with ExitStack() as stack:
        stack.enter_context(import_module("dask.config").set(no_warning))
        try:
            target = address or stack.enter_context(_on_this_machine(workers))
            client: Any = stack.enter_context(package.Client(target, timeout=_CONNECT_SECONDS))
            client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError:
            raise ClusterError(
                f"no worker joined the Dask cluster at {address or 'this machine'} within {_WORKER_SECONDS} seconds: "
                "start some with `dask worker ADDRESS`"
            ) from None
        except (OSError, ValueError, RuntimeError) as error:
            where = f"at {address}" if address else "on this machine"
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ClusterError(f"there is no Dask cluster {where}: {said}") from None
        yield client


def wait_for_any(client: Any, futures: Sequence[Any], stays: str) -> list[Any]:
    """Wait until one of some tasks has ended, and return those that have.

    Args:
        client: of the cluster.
        futures: the tasks, at least one.
        stays: what becomes of the work so far, and what to do: for the message.

    Raises:
        ClusterError: nobody is left to do them.
    """
    alone_since: float | None = None
    while True:
        try:
            ended: Any = distributed().wait(futures, _LOOK_EVERY, "FIRST_COMPLETED")
        except TimeoutError:
            now = time.monotonic()
            alone_since = None if client.nthreads() else alone_since or now
            if alone_since is not None and now - alone_since > _NO_WORKER_SECONDS:
                raise ClusterError(
                    f"the Dask cluster has lost all of its workers, and none came back. {stays}"
                ) from None
        else:
            return list(ended.done)


def result_of(future: Any, stays: str) -> Any:
    """What a task that ended gave.

    Args:
        future: the task.
        stays: as ``wait_for_any`` has it.

    Raises:
        ClaimsError: what the task raised, where it was one.
        ClusterError: the cluster failed.
    """
    try:
        return future.result()
    except ClaimsError:
        raise
    except distributed().KilledWorker:
        raise ClusterError(
            f"worker after worker died on the same rows, as they do where memory is short. {stays}"
        ) from None
    except Exception as error:
        said = " ".join(str(error).split())
        raise ClusterError(
            f"the Dask cluster failed: {type(error).__name__}: {said}. Workers need this package, and the "
            f"same versions of all others. {stays}"
        ) from None


def silent_scheduler(error: Exception, stays: str) -> ClusterError:
    """The reason where the scheduler is gone.

    Args:
        error: that a call of the client raised.
        stays: as ``wait_for_any`` has it.
    """
    return ClusterError(
        f"the scheduler of the Dask cluster does not answer any more ({type(error).__name__}). {stays}"
    )


@contextmanager
def _on_this_machine(workers: int) -> Iterator[Any]:
    with tempfile.TemporaryDirectory(prefix="dask-", ignore_cleanup_errors=True) as scratch:
        cluster: Any = distributed().LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # Left to themselves, scheduler and workers serve their state over HTTP on all of the machine's addresses.
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            # A worker runs whatever it is sent: certificates made for this cluster keep other users of the machine out.
            security=True,
            local_directory=scratch,
            silence_logs=logging.CRITICAL,
        )
        with cluster:
            yield cluster
