"""What a page asks for is turned into equal steps, or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ml_service.monitoring.dashboard.span import MOST_STEPS, BadRange, Span, asked_for

NOW = datetime(2026, 11, 21, 14, 3, 7, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(("name", "seconds"), [("15m", 10), ("1h", 10), ("24h", 300), ("7d", 1800)])
def test_a_named_range_ends_now_in_at_most_500_steps(name: str, seconds: int) -> None:
    span = asked_for({"range": name}, NOW)
    assert span.until == NOW
    assert span.step == timedelta(seconds=seconds)
    assert span.since.timestamp() % seconds == 0
    assert len(span.times()) == span.steps <= MOST_STEPS


@pytest.mark.parametrize("length", [1, 59, 4_989, 100_000, 8_000_000, 31_622_400])
def test_every_moment_of_any_length_has_a_step(length: int) -> None:
    span = Span.of(NOW - timedelta(seconds=length), NOW)
    assert span.steps <= MOST_STEPS
    assert span.index(span.since) == 0
    assert span.index(NOW - timedelta(microseconds=1)) == span.steps - 1
    assert span.since <= NOW - timedelta(seconds=length) < span.since + span.step


def test_moments_are_utc_unless_they_say_otherwise() -> None:
    span = asked_for({"since": "2026-11-21T14:00", "until": "2026-11-21T16:00+01:00"}, NOW)
    assert (span.since.hour, span.until.hour) == (14, 15)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"range": "1y"}, "range is one of"),
        ({"since": "2026-11-21"}, "until has to be a moment"),
        ({"since": "yesterday", "until": "2026-11-21"}, "since has to be a moment"),
        ({"since": "2026-11-21", "until": "2026-11-21"}, "before until"),
        ({"since": "2024-11-21", "until": "2026-11-21"}, "at most 366 days"),
        ({"since": "0001-01-01", "until": "0001-01-02"}, "too long ago"),
        ({"since": "9999-12-31T23:59:59-14:00", "until": "9999-12-31"}, "since has to be a moment"),
    ],
)
def test_what_cannot_be_shown_is_refused(query: dict[str, str], reason: str) -> None:
    with pytest.raises(BadRange, match=reason):
        asked_for(query, NOW)
