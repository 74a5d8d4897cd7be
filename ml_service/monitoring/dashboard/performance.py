"""How good versions turned out to be, put together from what was computed of them again and again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ml_service.monitoring.dashboard.span import milliseconds
from ml_service.monitoring.telemetry import Event

_FIGURES = (
    *("rows", "claims", "gini", "gini_low", "gini_high", "gini_before", "gini_limit"),
    *("calibration_error", "calibration_by_chance", "calibration_limit", "lift"),
)


def performance(events: Iterable[Event]) -> dict[str, list[dict[str, Any]]]:
    """What was said last of each stretch of time.

    Whenever claims are joined with scores, all that was scored is judged again, in stretches that may begin elsewhere:
    where stretches overlap, the one that was judged last counts.

    Args:
        events: ``performance``, in any order. What is no such event is passed over.

    Returns:
        By model version its stretches, oldest first: ``since`` and ``until``, milliseconds since 1970, when the first
        and the last of its rows were scored, and figures; None where it has one not.
    """
    versions: dict[str, dict[tuple[datetime, datetime], Event]] = {}
    for event in sorted(events, key=lambda event: event.time, reverse=True):
        stretch = _stretch(event)
        if stretch is None:
            continue
        kept = versions.setdefault(event.properties.get("model_version", ""), {})
        since, until = stretch
        if all(until < first or last < since for first, last in kept):
            kept[stretch] = event
    return {
        version: [_row(stretch, kept[stretch]) for stretch in sorted(kept)]
        for version, kept in versions.items()
    }


def _stretch(event: Event) -> tuple[datetime, datetime] | None:
    try:
        since, until = (
            datetime.fromisoformat(event.properties[name]) for name in ("since", "until")
        )
    except (KeyError, ValueError):
        return None
    return (since, until) if since.tzinfo and until.tzinfo else None


def _row(stretch: tuple[datetime, datetime], event: Event) -> dict[str, Any]:
    since, until = map(milliseconds, stretch)
    figures = {name: event.measurements.get(name) for name in _FIGURES}
    return {"since": since, "until": until, **figures}
