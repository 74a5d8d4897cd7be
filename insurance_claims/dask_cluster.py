"""A Dask cluster: one that runs already, or one of this machine's own for the time of a command."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from insurance_claims.errors import ClaimsError

SCHEDULER = "DASK_SCHEDULER_ADDRESS"
"""Dask's own variable for the address of a scheduler, for where no option can be given."""

_CONNECT_SECONDS = 20
_WORKER_SECONDS = 60
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
