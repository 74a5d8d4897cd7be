"""All that is known of a run that did not end as it should, gathered from the platform and its telemetry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring.step_report import ENDED, STARTED
from ml_service.monitoring.telemetry import Event, Kind, Telemetry, TelemetryError
from ml_service.platforms.base import PipelineRun, Platform, RunStatus, StepRun
from ml_service.why.changes import Changes, changes_between
from ml_service.why.failure import Failure, failure_of
from ml_service.why.refusal import Refusal, refusal_of

_LAST_LINES = 15
_CLOCK_SKEW = timedelta(minutes=10)
_RUN = "pipeline_run_id"
_ENDED_BADLY = (RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a step used, and the same step of the last good run; None where it is not known."""

    seconds: float | None
    good_seconds: float | None
    peak_memory_mb: float | None
    good_peak_memory_mb: float | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a run.

    Attributes:
        run: that is asked about.
        good: the last good run of the same pipeline before it; None where there is none.
        failure: how its step failed; None where all steps completed.
        refusal: what the gate refused; None where it refused nothing.
        resources: of the step that failed; None where all steps completed.
        log: the last lines that this step printed.
        warnings: that the steps of the run gave.
        changes: since the last good run.
        unknown: what could not be found out, and why.
    """

    run: PipelineRun
    good: PipelineRun | None = None
    failure: Failure | None = None
    refusal: Refusal | None = None
    resources: Resources | None = None
    log: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changes: Changes = field(default_factory=Changes)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sent:
    """What telemetry has of a run, in order."""

    started: Sequence[Event] = ()
    ended: Sequence[Event] = ()
    exceptions: Sequence[Event] = ()
    messages: Sequence[Event] = ()


def gather(platform: Platform, telemetry: Telemetry | None, run_id: str) -> Evidence:
    """Everything that is known of a run.

    Args:
        platform: that it ran on.
        telemetry: of the platform; None where there is none.
        run_id: of the run, or its beginning, or ``latest``.

    Raises:
        ClaimsError: there is no such run, it has not ended yet, or the platform cannot be read.
    """
    run = platform.pipelines.get(run_id)
    if run.status in (RunStatus.WAITING, RunStatus.RUNNING):
        raise ClaimsError(f"run {run.id} has not ended: `mlops runs logs {run.id[:8]}` shows it")
    good = last_good(platform, run)
    sent, unknown = _read(telemetry, run)
    step = next((step for step in run.steps if step.status in _ENDED_BADLY), None)
    printed = platform.pipelines.logs(run.id, step.name) if step is not None else ""
    warned = [event for event in sent.messages if event.name in ("warning", "error", "critical")]
    return Evidence(
        run=run,
        good=good,
        failure=None if step is None else failure_of(step, printed, sent.exceptions),
        refusal=None if run.error else refusal_of(platform, run),
        resources=None if step is None else _resources(step, good, telemetry, sent),
        log=tuple(printed.splitlines()[-_LAST_LINES:]),
        warnings=tuple(event.properties.get("message", "") for event in warned),
        changes=Changes() if good is None else changes_between(platform, good, run),
        unknown=unknown
        if good
        else (*unknown, "what changed: no run of this pipeline completed before it"),
    )


def last_good(platform: Platform, run: PipelineRun) -> PipelineRun | None:
    """The newest run of the same pipeline, before this one, that completed and whose model nothing is wrong with.

    Where the gate found something wrong with each of them, the newest that completed: it failed at least otherwise.
    """
    runs = list(platform.pipelines.list())
    place = next((at for at, other in enumerate(runs) if other.id == run.id), len(runs))
    completed = [
        other
        for other in runs[place + 1 :]
        if other.pipeline == run.pipeline and other.status is RunStatus.COMPLETED
    ]
    return next(
        (other for other in completed if refusal_of(platform, other) is None),
        completed[0] if completed else None,
    )


def _resources(
    step: StepRun, good: PipelineRun | None, telemetry: Telemetry | None, sent: _Sent
) -> Resources:
    before = (
        next((other for other in good.steps if other.name == step.name), None) if good else None
    )
    # In telemetry a step goes by its module: the last that began is the one that failed.
    module = sent.started[-1].properties.get("step", "") if sent.started else ""
    then = _read(telemetry, good)[0].ended if good is not None and module else ()
    peak, good_peak = _peak(sent.ended, module), _peak(then, module)
    return Resources(
        seconds=step.seconds,
        good_seconds=before.seconds if before else None,
        peak_memory_mb=max(filter(None, (step.peak_memory_mb, peak)), default=None),
        good_peak_memory_mb=good_peak or (before.peak_memory_mb if before else None),
    )


def _peak(ended: Iterable[Event], module: str) -> float | None:
    found = [
        event.measurements.get("peak_memory_mb")
        for event in ended
        if event.properties.get("step") == module
    ]
    return found[-1] if found else None


def _read(telemetry: Telemetry | None, run: PipelineRun) -> tuple[_Sent, tuple[str, ...]]:
    """What telemetry has of a run, and why it has nothing where it cannot be read."""
    if telemetry is None or not run.started:
        return _Sent(), ()
    since = datetime.fromisoformat(run.started) - _CLOCK_SKEW
    where = {_RUN: run.id}
    try:
        return (
            _Sent(
                started=list(telemetry.events(STARTED, since, where=where)),
                ended=list(telemetry.events(ENDED, since, where=where)),
                exceptions=list(telemetry.records(Kind.EXCEPTION, since, where=where)),
                messages=list(telemetry.records(Kind.MESSAGE, since, where=where)),
            ),
            (),
        )
    except TelemetryError as error:
        return _Sent(), (f"telemetry: {error}",)
