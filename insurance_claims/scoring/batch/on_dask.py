"""Scoring on a Dask cluster: workers read, check and score, this process writes what they send back.

So the output is a folder of this machine, and its parts are whole whatever happens to workers, and to this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from insurance_claims.dask_cluster import ClusterError, distributed, require_dask
from insurance_claims.errors import ClaimsError
from insurance_claims.scoring.batch.job import BatchModel, Engine, Job, Scored
from insurance_claims.scoring.batch.work import Work, code_sha256, missing_work, score_work

_LOOK_EVERY = 5.0
"""Seconds after which to see whether the cluster still has workers."""

_NO_WORKER_SECONDS = 30.0
"""A worker that died is started again within that time, or never."""

_STAYS = "What is scored so far stays: put it right and run the same command again"


def dask_engine(connect: Callable[[], AbstractContextManager[Any]]) -> Engine:
    """An engine that scores on a cluster.

    Args:
        connect: gives a client of it. It is called once there is something to score.

    Raises:
        ClusterError: Dask is not installed.
    """
    require_dask()

    def engine(job: Job) -> None:
        work = missing_work(job)
        first = next(work, None)
        if first is not None:
            with connect() as client:
                _Run(client, job).score(first, work)

    return engine


class _Run:
    """A job on a cluster."""

    def __init__(self, client: Any, job: Job) -> None:
        self._client = client
        self._job = job
        # As the result of a task: whatever worker dies, the scheduler can have it made again.
        self._model = client.submit(_same, job.model, pure=False)
        self._running: dict[Any, int] = {}
        self._problem: ClaimsError | None = None

    def score(self, first: tuple[int, Work], others: Iterator[tuple[int, Work]]) -> None:
        """Score work as it comes, and no more of it at once than keeps the workers busy."""
        coming: tuple[int, Work] | None = first
        try:
            while coming or self._running:
                while coming and self._problem is None and self._has_room():
                    self._submit(*coming)
                    coming = self._next(others)
                if self._problem is not None:
                    # What the workers have begun is not thrown away.
                    coming = None
                for future in self._finished():
                    self._take(future)
        except (OSError, distributed().CancelledError) as error:
            raise ClusterError(
                f"the scheduler of the Dask cluster does not answer any more ({type(error).__name__}). {_STAYS}"
            ) from None
        if self._problem is not None:
            raise self._problem

    def _has_room(self) -> bool:
        threads = sum(self._client.nthreads().values())
        return bool(len(self._running) < max(2 * threads, 1))

    def _submit(self, number: int, work: Work) -> None:
        headroom = self._job.options.headroom
        future = self._client.submit(
            score_work, work, self._model, headroom, code_sha256(), pure=False
        )
        self._running[future] = number

    def _next(self, others: Iterator[tuple[int, Work]]) -> tuple[int, Work] | None:
        try:
            return next(others, None)
        except ClaimsError as error:
            self._problem = self._problem or error
            return None

    def _finished(self) -> Sequence[Any]:
        """At least one piece of work that ended, unless nothing runs."""
        wait = distributed().wait
        alone_since: float | None = None
        while self._running:
            try:
                ended: Any = wait(list(self._running), _LOOK_EVERY, "FIRST_COMPLETED")
            except TimeoutError:
                now = time.monotonic()
                alone_since = None if self._client.nthreads() else alone_since or now
                if alone_since is not None and now - alone_since > _NO_WORKER_SECONDS:
                    raise ClusterError(
                        f"the Dask cluster has lost all of its workers, and none came back. {_STAYS}"
                    ) from None
            else:
                return list(ended.done)
        return ()

    def _take(self, future: Any) -> None:
        """Keep what came of a piece of work."""
        number = self._running.pop(future)
        try:
            scored = _result(future)
            # All of it was read before this moment.
            self._job.inputs[number].refuse_changes()
            for chunk in scored:
                if not self._job.done(number, chunk.number):
                    self._job.keep(number, chunk)
        except ClaimsError as error:
            self._problem = self._problem or self._reason(number, error)

    def _reason(self, number: int, error: ClaimsError) -> ClaimsError:
        """That the input changed, where it did: it then may look damaged as well."""
        try:
            self._job.inputs[number].refuse_changes()
        except ClaimsError as changed:
            return changed
        return error


def _same(model: BatchModel) -> BatchModel:
    return model


def _result(future: Any) -> list[Scored]:
    try:
        result: list[Scored] = future.result()
    except ClaimsError:
        raise
    except distributed().KilledWorker:
        raise ClusterError(
            f"worker after worker died on the same rows, as they do where memory is short. {_STAYS}"
        ) from None
    except Exception as error:
        said = " ".join(str(error).split())
        raise ClusterError(
            f"the Dask cluster failed: {type(error).__name__}: {said}. Workers need this package, and the "
            f"same versions of all others. {_STAYS}"
        ) from None
    return result
