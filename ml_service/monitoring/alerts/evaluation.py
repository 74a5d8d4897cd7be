"""Which alerts fire at a moment: pure, over any reader of telemetry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ml_service.monitoring.alerts.definitions import Alert
from ml_service.monitoring.telemetry import Point, Telemetry

STEP = timedelta(minutes=1)
"""How finely telemetry is added up: windows begin and end at whole minutes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What an alert sees of one value of the property that it is split by.

    Attributes:
        alert: that looks.
        key: the value; empty where it is not split.
        values: of the windows, oldest first; None where a window says nothing.
    """

    alert: Alert
    key: str
    values: Sequence[float | None]

    @property
    def fires(self) -> bool:
        """Whether enough of the windows are bad."""
        bad = sum(value is not None and self.alert.is_bad(value) for value in self.values)
        return bad >= self.alert.bad

    @property
    def reason(self) -> str:
        """What was seen, in words."""
        shown = ", ".join("nothing" if value is None else f"{value:.4g}" for value in self.values)
        of = f" for {self.alert.by} {self.key}" if self.key else ""
        return f"{self.alert.rule()}: seen {shown}{of}"


def readings(alert: Alert, telemetry: Telemetry, now: datetime) -> list[Reading]:
    """What an alert sees.

    Args:
        alert: what is watched.
        telemetry: is asked.
        now: the last window ends at the minute that began last.

    Returns:
        One reading for each value of ``alert.by`` that was seen; one in all where it is not split or nothing was seen.

    Raises:
        TelemetryError: telemetry cannot be read.
    """
    window = timedelta(minutes=alert.window_minutes)
    until = now.replace(second=0, microsecond=0)
    since = until - alert.of * window
    if alert.event is not None:
        found = _of_events(alert, telemetry, since, until)
    else:
        found = _of_metric(alert, telemetry, since, until)
    keys = sorted({key for _, key in found}) or [""]
    return [
        Reading(alert, key, [found.get((number, key)) for number in range(alert.of)])
        for key in keys
    ]


def _of_metric(
    alert: Alert, telemetry: Telemetry, since: datetime, until: datetime
) -> Mapping[tuple[int, str], float]:
    assert alert.metric is not None, "checked"

    def windows(metric: str) -> dict[tuple[int, str], list[Point]]:
        points = telemetry.series(metric, since, until, STEP, alert.by, alert.where)
        found = defaultdict(list)
        for point in points:
            found[_window(alert, point.time, since), point.key].append(point)
        return found

    of = windows(alert.metric)
    if alert.per is None:
        return {place: _statistic(alert, points) for place, points in of.items()}
    values = {}
    for place, points in windows(alert.per).items():
        whole = sum(point.total for point in points)
        if whole > 0 and whole >= alert.at_least:
            values[place] = sum(point.total for point in of.get(place, [])) / whole
    return values


def _statistic(alert: Alert, points: Sequence[Point]) -> float:
    total = sum(point.total for point in points)
    if alert.statistic == "mean":
        return total / sum(point.count for point in points)
    if alert.statistic == "least":
        return min(point.minimum for point in points)
    if alert.statistic == "most":
        return max(point.maximum for point in points)
    return total


def _of_events(
    alert: Alert, telemetry: Telemetry, since: datetime, until: datetime
) -> Mapping[tuple[int, str], float]:
    assert alert.event is not None, "checked"
    figures: dict[tuple[int, str], list[float]] = defaultdict(list)
    for event in telemetry.events(alert.event, since, until, alert.where):
        key = event.properties.get(alert.by, "") if alert.by else ""
        figure = event.measurements.get(alert.measurement) if alert.measurement else 1.0
        if figure is not None:
            figures[_window(alert, event.time, since), key].append(figure)
    return {place: _of_figures(alert, found) for place, found in figures.items()}


def _of_figures(alert: Alert, figures: Sequence[float]) -> float:
    if alert.statistic == "mean":
        return sum(figures) / len(figures)
    if alert.statistic == "least":
        return min(figures)
    return max(figures) if alert.statistic == "most" else sum(figures)


def _window(alert: Alert, moment: datetime, since: datetime) -> int:
    return (moment - since) // timedelta(minutes=alert.window_minutes)


def all_readings(alerts: Iterable[Alert], telemetry: Telemetry, now: datetime) -> list[Reading]:
    """What all alerts see, in their order."""
    return [reading for alert in alerts for reading in readings(alert, telemetry, now)]
