"""Scoring on a Dask cluster: workers read, check and score, this process writes what they send back.

So the output is a folder of this machine, and its parts are whole whatever happens to workers, and to this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from insurance_claims.dask_cluster import (
    distributed,
    require_dask,
    result_of,
    silent_scheduler,
    wait_for_any,
)
from insurance_claims.errors import ClaimsError
from insurance_claims.scoring.batch.job import BatchModel, Engine, Job, Scored
from insurance_claims.scoring.batch.work import Work, code_sha256, missing_work, score_work

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
            raise silent_scheduler(error, _STAYS) from None
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
        running = list(self._running)
        return wait_for_any(self._client, running, _STAYS) if running else ()

    def _take(self, future: Any) -> None:
        """Keep what came of a piece of work."""
        number = self._running.pop(future)
        try:
            scored: list[Scored] = result_of(future, _STAYS)
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
