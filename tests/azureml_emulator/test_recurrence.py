"""When the emulator's schedules are due."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.azureml_emulator.execution.recurrence import next_run

CREATED = datetime(2026, 11, 18, 9, 10, tzinfo=UTC)
"""A Wednesday."""


def at(day: int, hour: int, minute: int) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("recurrence", "after", "due"),
    [
        ({"Frequency": "Minute", "Interval": 15}, CREATED, at(18, 9, 25)),
        ({"Frequency": "3", "Interval": 6}, at(18, 16, 0), at(18, 21, 10)),
        ({"Frequency": "Day", "StartTime": "2026-11-20T06:30:00"}, CREATED, at(20, 6, 30)),
        ({"Frequency": "Day", "StartTime": "2026-11-01T06:30:00"}, CREATED, at(19, 6, 30)),
        (
            {"Frequency": "Day", "Schedule": {"Hours": [6, 18], "Minutes": [30]}},
            CREATED,
            at(18, 18, 30),
        ),
        (
            {
                "Frequency": "Week",
                "Schedule": {"Hours": [6], "Minutes": [0], "WeekDays": ["Monday"]},
            },
            CREATED,
            at(23, 6, 0),
        ),
        (
            {"Frequency": "1", "Schedule": {"Hours": [6], "Minutes": [0], "WeekDays": ["4"]}},
            CREATED,
            at(20, 6, 0),
        ),
    ],
)
def test_next_run(recurrence: dict[str, Any], after: datetime, due: datetime) -> None:
    assert next_run(recurrence, CREATED, after) == due


def test_without_a_start_it_is_due_at_once() -> None:
    before = CREATED.replace(minute=9)
    assert next_run({"Frequency": "Day"}, CREATED, before) == CREATED


def test_the_last_day_of_a_short_month_stands_for_a_later_one() -> None:
    recurrence = {"Frequency": "Month", "StartTime": "2026-12-31T06:00:00"}
    after = datetime(2027, 2, 1, tzinfo=UTC)
    assert next_run(recurrence, CREATED, after) == datetime(2027, 2, 28, 6, tzinfo=UTC)
