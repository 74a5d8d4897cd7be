"""What versions did, in cells of time: read from the events themselves, and added up.

Reading events is exact to the second and takes time for each of them; ``rollup`` keeps sums for longer stretches.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from insurance_claims.monitoring import wire
from insurance_claims.monitoring.observations import (
    Histogram,
    Moments,
    ObservationError,
    Observations,
)
from insurance_claims.schema import PROBLEM
from ml_service.monitoring.dashboard.span import Span
from ml_service.monitoring.telemetry import Event, Point, Telemetry

REFUSED = "refused"
"""Property of the event: requests that were refused, as a JSON object of reason to count."""

GAUGES = ("process_cpu_percent", "process_memory_mb")
"""Metrics of a process that is watched."""

PROCESS = "process"
"""Their property: which process."""

_LARGEST = 2**40
"""No counter gets there; sums of larger ones could not be kept."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one version did in one stretch of time.

    Attributes:
        time: a moment in the stretch, UTC.
        environment: where it is deployed; empty where that was not said.
        version: of the model.
        observations: their sum.
        refused: requests that were refused, by reason.
    """

    time: datetime
    environment: str
    version: int
    observations: Observations
    refused: Mapping[str, int] = field(default_factory=dict)


class Source(Protocol):
    """Reads what is drawn over time. Whatever fails raises TelemetryError."""

    def cells(self, span: Span) -> Iterable[Cell]:
        """What versions did; each cell is within one step of the span."""

    def gauge(self, metric: str, span: Span) -> Sequence[Point]:
        """One of ``GAUGES`` in the span's steps, split by process."""

    def newest_after(self, moment: datetime) -> datetime | None:
        """When versions did something last, to the minute; None where that is not after a moment."""


class Events:
    """The source that reads the events themselves, wherever they are kept.

    Args:
        telemetry: holds them.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def cells(self, span: Span) -> Iterator[Cell]:
        """See ``Source``."""
        for event in self._telemetry.events(wire.EVENT, span.since, span.until):
            if cell := cell_of(event):
                yield cell

    def gauge(self, metric: str, span: Span) -> Sequence[Point]:
        """See ``Source``."""
        return self._telemetry.series(metric, span.since, span.until, span.step, PROCESS)

    def newest_after(self, moment: datetime) -> datetime | None:
        """See ``Source``."""
        return max(
            (event.time for event in self._telemetry.events(wire.EVENT, moment)), default=None
        )


def cell_of(event: Event) -> Cell | None:
    """What an event of this name holds; None where it is not what scoring sends."""
    properties = event.properties
    try:
        version = int(properties[wire.MODEL_VERSION])
        observations = wire.decode(properties)
        refused = {
            str(reason): int(count)
            for reason, count in json.loads(properties.get(REFUSED, "{}")).items()
        }
        scores = observations.score_moments
        counts = (observations.requests, observations.latencies.total, observations.scores.total)
        sound = 0 < version and max(version, *counts, scores.count, *refused.values()) <= _LARGEST
        sound &= 0 <= scores.mean <= PROBLEM.facts.largest and min(refused.values(), default=0) >= 0
    except (LookupError, ValueError, AttributeError, TypeError, ArithmeticError, ObservationError):
        return None
    if not sound:
        return None
    return Cell(event.time, properties.get(wire.ENVIRONMENT, ""), version, observations, refused)


def total(parts: Sequence[Observations]) -> Observations:
    """The sum of many; ``+`` would make two histograms for each."""
    latencies: Counter[int] = Counter()
    scores: Counter[int] = Counter()
    for part in parts:
        latencies.update(part.latencies.counts)
        scores.update(part.scores.counts)
    return Observations(
        sum(part.requests for part in parts),
        sum(part.errors for part in parts),
        Histogram(latencies),
        Histogram(scores),
        sum((part.score_moments for part in parts), Moments()),
        sum((part.residuals for part in parts), Moments()),
    )


def merged(refused: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts by reason, added up."""
    counts: Counter[str] = Counter()
    for part in refused:
        counts.update(part)
    return dict(counts)
