"""Waiting for a run: its steps' logs as they come, network cuts that pass, and Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from insurance_claims.errors import ClaimsError
from ml_service.platforms.azureml.errors import reason, translated
from ml_service.platforms.azureml.run_log import StepLog
from ml_service.platforms.azureml.run_records import (
    ENDED,
    INTERRUPTED,
    REUSED_RUN,
    RunRecords,
    seconds_of,
    state_of,
)
from ml_service.platforms.azureml.silence import unlogged
from ml_service.platforms.base import Log, PipelineRun, PlatformError, RunStatus

_POLL_SECONDS = (0.2, 0.3, 0.5, 1.0, 1.0, 2.0)
"""Between two looks; the last one stays. Short runs are seen to end soon, long ones cost few calls."""
_CANCEL_SECONDS = 60.0
PATIENCE = 600.0
"""Seconds of failed looks after which waiting ends; the run itself goes on."""


class Watch:
    """Follows one run to its end.

    Args:
        records: read the run history.
        run: the SDK's run.
        log: gets the lines.
        patience: seconds of failed looks after which it gives up.
        wait: takes seconds.
    """

    def __init__(
        self,
        records: RunRecords,
        run: Any,
        log: Log,
        patience: float,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._records = records
        self._run = run
        self._log = log
        self._patience = patience
        self._wait = wait
        self._steps: dict[str, StepLog] = {}
        self._ended: set[str] = set()

    def to_the_end(self) -> PipelineRun:
        """The run as it ended, however it did. Ctrl-C cancels it.

        Raises:
            PlatformError: Azure did not answer for too long. The run goes on.
        """
        try:
            return self._follow()
        except KeyboardInterrupt:
            self._log(f"cancelling run {self._run.id}")
            with suppress(KeyboardInterrupt):
                self._cancel()
            return self._records.read(self._run)

    def _follow(self) -> PipelineRun:
        failed = 0.0
        looks = 0
        while True:
            try:
                with translated("looking at the run"), unlogged():
                    ended = self._records.read(self._run) if self._look() else None
                failed = 0.0
            except ClaimsError as problem:
                ended = None
                if failed == 0.0:
                    self._log(f"{problem}; trying again")
                if failed >= self._patience:
                    raise self._lost(problem) from problem
                failed += self._seconds(looks)
            if ended is not None:
                return ended
            self._wait(self._seconds(looks))
            looks += 1

    def _look(self) -> bool:
        """Hand on what is new; whether the run has ended."""
        # First the run, then its steps: what it ended with is seen by then.
        done = state_of(self._run.get_status()) in ENDED
        children = self._records.children(self._run)
        for child in sorted(children, key=lambda item: int(item.number)):
            if child.id not in self._ended:
                self._step(child)
        return done

    def _step(self, child: Any) -> None:
        state = state_of(child.status)
        if REUSED_RUN in child.properties:
            earlier = str(child.properties[REUSED_RUN])
            self._ended.add(child.id)
            self._log(
                f"{child.name}: reused, same command, code and inputs as in step run {earlier[:8]} "
                "(--force runs it again)"
            )
            return
        if state is RunStatus.WAITING:
            return
        if child.id not in self._steps:
            self._steps[child.id] = StepLog(self._records.session, child.name, self._log)
        step = self._steps[child.id]
        ended = state in ENDED
        details = child.get_details() if ended or not step.knows_address() else None
        if details is not None:
            step.found(details["logFiles"])
        step.follow(ended)
        if ended:
            self._ended.add(child.id)
            self._log(f"{child.name}: {state}{_duration(details)}")

    def _cancel(self) -> None:
        try:
            with translated("cancelling the run"), unlogged():
                self._run.tag(INTERRUPTED, "true")
                self._run.cancel()
                waited = 0.0
                while state_of(self._run.get_status()) not in ENDED and waited < _CANCEL_SECONDS:
                    self._wait(_POLL_SECONDS[3])
                    waited += _POLL_SECONDS[3]
        except ClaimsError as problem:
            raise PlatformError(
                f"run {self._run.id} could not be cancelled ({problem}): it goes on, cancel it in Azure ML studio"
            ) from problem

    def _lost(self, problem: ClaimsError) -> PlatformError:
        short = str(self._run.id)[:8]
        return PlatformError(
            f"lost sight of run {self._run.id}, which goes on ({reason(problem)}): "
            f"look again with `mlops runs show {short}`"
        )

    def _seconds(self, looks: int) -> float:
        return _POLL_SECONDS[min(looks, len(_POLL_SECONDS) - 1)]


def _duration(details: Any) -> str:
    seconds = seconds_of(details)
    return "" if seconds is None else f" in {seconds:.1f} s"
