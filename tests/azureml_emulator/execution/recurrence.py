"""When a schedule is due: recurrences as Azure Machine Learning has them."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_STEPS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_SMALLEST = timedelta(minutes=1)
_FREQUENCIES = {"0": "month", "1": "week", "2": "day", "3": "hour", "4": "minute"}
_DAYS = [name.lower() for name in calendar.day_name]
"""Enumerations of the service, which the client sends as names or as numbers."""


def next_run(recurrence: Mapping[str, Any], created: datetime, after: datetime) -> datetime:
    """The first moment after another at which a recurrence is due. Times are UTC.

    Args:
        recurrence: frequency, interval, and hours, minutes and days of the week where it has them.
        created: when the schedule was made; without a start of its own it is due there at once, and counts from there.
        after: a moment.
    """
    start = _start(recurrence) or created
    if _start(recurrence) is None and after < created:
        return created
    frequency = _frequency(recurrence)
    interval = int(recurrence.get("Interval") or 1)
    schedule = recurrence.get("Schedule")
    if schedule is None:
        return _plain(start, frequency, interval, after)
    hours = schedule.get("Hours") or [start.hour]
    minutes = schedule.get("Minutes") or [start.minute]
    days = [_weekday(day) for day in schedule.get("WeekDays") or []]
    moment = max(start, after).replace(second=0, microsecond=0)
    while True:
        moment += _SMALLEST
        if moment.hour not in hours or moment.minute not in minutes:
            continue
        if frequency == "week":
            weekday = moment.weekday()
            if weekday in days and _whole(start, moment, timedelta(weeks=1)) % interval == 0:
                return moment
        elif _whole(start, moment, timedelta(days=1)) % interval == 0:
            return moment


def _plain(start: datetime, frequency: str, interval: int, after: datetime) -> datetime:
    if frequency == "month":
        moment = start
        while moment <= after:
            for _ in range(interval):
                moment = _next_month(moment, start.day)
        return moment
    step = _STEPS[frequency] * interval
    if start > after:
        return start
    return start + step * ((after - start) // step + 1)


def _next_month(moment: datetime, day: int) -> datetime:
    year, month = (moment.year, moment.month + 1) if moment.month < 12 else (moment.year + 1, 1)
    last = calendar.monthrange(year, month)[1]
    return moment.replace(year=year, month=month, day=min(day, last))


def _whole(start: datetime, moment: datetime, step: timedelta) -> int:
    return (moment.date() - start.date()) // step


def _frequency(recurrence: Mapping[str, Any]) -> str:
    given = str(recurrence["Frequency"]).lower()
    return _FREQUENCIES.get(given, given)


def _weekday(day: object) -> int:
    given = str(day).lower()
    return int(given) if given.isdigit() else _DAYS.index(given)


def _start(recurrence: Mapping[str, Any]) -> datetime | None:
    given = recurrence.get("StartTime")
    return datetime.fromisoformat(given).replace(tzinfo=UTC) if given else None
