"""What each panel of the page shows, as JSON types: one function a panel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ml_service.monitoring.dashboard.cells import GAUGES, Events, Source
from ml_service.monitoring.dashboard.performance import performance
from ml_service.monitoring.dashboard.runs import training
from ml_service.monitoring.dashboard.scoring import scoring
from ml_service.monitoring.dashboard.span import Span, milliseconds
from ml_service.monitoring.telemetry import Event, Point, Telemetry

THRESHOLDS = {"process_cpu_percent": 90.0, "process_memory_mb": 1500.0}
"""Of one process: nearly a whole core, and more than a model and its requests explain."""

_LOOK_BACK = timedelta(days=30)
_MOST_PROCESSES = 12
_MOST_ROWS = 50
_MINUTE = timedelta(minutes=1)
_ALERT = ("name", "key", "severity", "state", "reason", "action")


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that changed what answers.

    Attributes:
        time: when, UTC.
        environment: where.
        what: was done.
        version: that answers after it, if one does.
        who: did it.
        why: in words.
    """

    time: datetime
    environment: str
    what: str
    version: str
    who: str
    why: str


def _no_marks() -> Sequence[Mark]:
    return ()


def _no_rollouts() -> Sequence[Mapping[str, Any]]:
    return ()


@dataclass(frozen=True, slots=True)
class Operations:
    """What a platform knows beside its telemetry. Whatever fails raises ClaimsError.

    Attributes:
        marks: deployments, rollouts and rollbacks.
        rollouts: the newest of each environment: ``environment``, ``title``, ``production``, ``canary``, ``active`` and
            ``figures``, a list of ``name``, ``production``, ``canary``, ``compared`` and ``limit``.
        thresholds: metric of a process to what it should stay below.
    """

    marks: Callable[[], Sequence[Mark]] = _no_marks
    rollouts: Callable[[], Sequence[Mapping[str, Any]]] = _no_rollouts
    thresholds: Mapping[str, float] = field(default_factory=lambda: THRESHOLDS)


NO_OPERATIONS = Operations()


class Panels:
    """Every panel over one telemetry.

    Args:
        telemetry: what was sent.
        operations: of the platform.
        sums: source for steps of whole minutes; None where there is none.
    """

    def __init__(
        self, telemetry: Telemetry, operations: Operations, sums: Source | None = None
    ) -> None:
        self._telemetry = telemetry
        self._operations = operations
        self._events = Events(telemetry)
        self._sums = sums

    def scoring(self, span: Span, environment: str | None) -> dict[str, Any]:
        """Requests and scores by model version."""
        return scoring(self._source(span).cells(span), span, environment)

    def resources(self, span: Span, _: str | None) -> dict[str, Any]:
        """What processes use: the mean of the processor, the most of the memory."""
        source = self._source(span)
        return {
            metric: {
                "threshold": self._operations.thresholds.get(metric),
                "processes": _by_process(source.gauge(metric, span), metric),
            }
            for metric in GAUGES
        }

    def training(self, span: Span, _: str | None) -> dict[str, Any]:
        """Runs of pipelines, newest first."""
        return {"runs": training(self._telemetry, span)[:_MOST_ROWS]}

    def drift(self, span: Span, environment: str | None) -> dict[str, Any]:
        """The newest drift of each feature by model version, largest first; of the month before the span's end."""
        newest = {
            (event.properties.get("model_version", ""), event.properties.get("feature", "")): event
            for event in self._recent("drift", span, environment)
        }
        versions: dict[str, list[dict[str, Any]]] = {}
        for (version, feature), event in newest.items():
            figures = event.measurements
            versions.setdefault(version, []).append(
                {
                    "feature": feature,
                    "time": milliseconds(event.time),
                    "psi": figures.get("psi"),
                    "ks": figures.get("ks"),
                    "expected": figures.get("expected_psi", figures.get("expected")),
                }
            )
        for features in versions.values():
            features.sort(key=lambda row: -(row["psi"] or 0.0))
        return {"versions": versions}

    def performance(self, span: Span, environment: str | None) -> dict[str, Any]:
        """How good versions turned out to be; of what was computed in the month before the span's end."""
        return {"versions": performance(self._recent("performance", span, environment))}

    def alerts(self, span: Span, _: str | None) -> dict[str, Any]:
        """Those that are fired, and what was fired and resolved, newest first; of the month before the span's end."""
        rows = [
            {"time": milliseconds(event.time)}
            | {key: event.properties.get(key, "") for key in _ALERT}
            for event in self._recent("alert", span)
        ]
        states = {(row["name"], row["key"]): row for row in rows}
        fired = [row for row in states.values() if row["state"] == "fired"]
        return {"fired": fired, "rows": rows[::-1][:_MOST_ROWS]}

    def deployments(self, span: Span, environment: str | None) -> dict[str, Any]:
        """What changed what answers in the span, newest first."""
        sent = self._telemetry.events("deployment", span.since, span.until)
        marks = [mark for mark in self._operations.marks() if span.since <= mark.time < span.until]
        marks += [_mark(event) for event in sent]
        rows = [
            {**_fields(mark), "time": milliseconds(mark.time)}
            for mark in sorted(marks, key=lambda mark: mark.time, reverse=True)
            if environment in (None, mark.environment)
        ]
        return {"marks": rows[:_MOST_ROWS]}

    def rollout(self, _: Span, environment: str | None) -> dict[str, Any]:
        """The newest rollout of each environment, with its figures."""
        found = self._operations.rollouts()
        return {"rollouts": [row for row in found if environment in (None, row["environment"])]}

    def ahead(self, now: datetime) -> int | None:
        """The newest moment that observations claim where that is in the future: a sender's clock is wrong."""
        source = self._events if self._sums is None else self._sums
        newest = source.newest_after(now + _MINUTE)
        return None if newest is None else milliseconds(newest)

    def _source(self, span: Span) -> Source:
        whole_minutes = span.step % _MINUTE == timedelta()
        return self._sums if self._sums is not None and whole_minutes else self._events

    def _recent(self, name: str, span: Span, environment: str | None = None) -> Iterator[Event]:
        since = min(span.since, span.until - _LOOK_BACK)
        for event in self._telemetry.events(name, since, span.until):
            # What does not say where it is of is of everywhere.
            if environment in (None, event.properties.get("environment", environment)):
                yield event


def _by_process(points: Sequence[Point], metric: str) -> dict[str, dict[str, list[float]]]:
    newest = {point.key: point.time for point in points}
    kept = sorted(newest, key=lambda key: newest[key])[-_MOST_PROCESSES:]
    processes: dict[str, dict[str, list[float]]] = {
        key: {"times": [], "values": []} for key in sorted(kept)
    }
    for point in points:
        if point.key in processes:
            processes[point.key]["times"].append(milliseconds(point.time))
            value = point.maximum if metric == "process_memory_mb" else point.mean
            processes[point.key]["values"].append(value)
    return processes


def _mark(event: Event) -> Mark:
    said = event.properties
    return Mark(
        event.time,
        said.get("environment", ""),
        said.get("what", "deployment"),
        said.get("model_version", ""),
        said.get("who", ""),
        said.get("why", ""),
    )


def _fields(mark: Mark) -> dict[str, Any]:
    return {name: getattr(mark, name) for name in ("environment", "what", "version", "who", "why")}
