"""Telemetry in a store, at moments that a test names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Kind

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)


def metric(
    store: Store,
    name: str,
    values: Mapping[float, float],
    properties: Mapping[str, str] | None = None,
) -> None:
    """Values by minutes before ``NOW``."""
    store.add(
        [
            Event(
                Kind.METRIC,
                NOW - timedelta(minutes=minutes),
                name,
                properties or {"model_version": "1"},
                {"value": value, "count": 1, "minimum": value, "maximum": value},
            )
            for minutes, value in values.items()
        ]
    )


def event(
    store: Store,
    name: str,
    minutes: Sequence[float],
    properties: Mapping[str, str],
    measurements: Mapping[str, float] | None = None,
) -> None:
    """The same event so many minutes before ``NOW``."""
    store.add(
        [
            Event(Kind.EVENT, NOW - timedelta(minutes=at), name, properties, measurements or {})
            for at in minutes
        ]
    )
