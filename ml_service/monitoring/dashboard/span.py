"""The stretch of time that a page shows, and how finely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ml_service.monitoring.telemetry import TelemetryError

RANGES = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
LONGEST = timedelta(days=366)
MOST_STEPS = 500

_STEPS = [
    timedelta(seconds=seconds)
    for seconds in (10, 15, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400)
]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadRange(TelemetryError):
    """No stretch of time that can be shown."""


@dataclass(frozen=True, slots=True)
class Span:
    """From a moment up to but without another, in equal steps.

    Attributes:
        since: a multiple of ``step`` since 1970, UTC.
        until: first moment that does not count any more; the last step may be cut off by it.
        step: length of each.
    """

    since: datetime
    until: datetime
    step: timedelta

    @classmethod
    def of(cls, since: datetime, until: datetime, longest: timedelta = LONGEST) -> Span:
        """The stretch with the finest steps of which ``MOST_STEPS`` cover it.

        Raises:
            BadRange: it ends before it begins, or is longer than ``longest``.
        """
        if since >= until:
            raise BadRange("since has to be before until")
        if until - since > longest:
            raise BadRange(f"at most {longest / timedelta(days=1):g} days can be shown at once")
        step = next(step for step in _STEPS if (until - since) / step <= MOST_STEPS - 1)
        return cls(since - (since - _EPOCH) % step, until, step)

    @property
    def steps(self) -> int:
        """How many there are."""
        return -((self.since - self.until) // self.step)

    def index(self, moment: datetime) -> int:
        """The step in which a moment is."""
        return (moment - self.since) // self.step

    def times(self) -> list[int]:
        """Where each step begins: milliseconds since 1970."""
        first, width = milliseconds(self.since), self.step // timedelta(milliseconds=1)
        return [first + number * width for number in range(self.steps)]


def asked_for(query: Mapping[str, str], now: datetime, longest: timedelta = LONGEST) -> Span:
    """The stretch that the parameters of an address mean: ``range``, or ``since`` and ``until`` in ISO 8601.

    Args:
        query: the parameters; without any, the last hour.
        now: UTC.
        longest: that may be asked for.

    Raises:
        BadRange: they mean none.
    """
    if "since" in query or "until" in query:
        return Span.of(_moment(query, "since"), _moment(query, "until"), longest)
    length = RANGES.get(query.get("range", "1h"))
    if length is None:
        raise BadRange(f"range is one of {', '.join(RANGES)}; else give since and until")
    return Span.of(now - length, now, longest)


def milliseconds(moment: datetime) -> int:
    """Since 1970, as browsers count."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _moment(query: Mapping[str, str], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(query[name])
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (KeyError, ValueError, OverflowError):
        raise BadRange(f"{name} has to be a moment in ISO 8601, as 2026-11-21T14:00Z") from None
    if moment - _EPOCH < LONGEST:
        raise BadRange(f"{name} is too long ago")
    return moment
