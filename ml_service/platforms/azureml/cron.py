"""Cron expressions as what Azure Machine Learning has instead: a frequency, and times of day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from ml_service.platforms.base import PlatformError

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_SHORT = {name[:3].lower(): str(number) for number, name in enumerate(_DAYS)}
_EVERY = re.compile(r"\*/(\d+)")
_PART = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class Rule:
    """When to run. All times are UTC.

    Attributes:
        frequency: ``Minute``, ``Hour``, ``Day`` or ``Week``.
        interval: every so many of them.
        start: a moment from which it counts.
        hours: of the day; None for a frequency below a day.
        minutes: of each of these hours.
        week_days: names of days; None for every day.
    """

    frequency: str
    interval: int
    start: datetime
    hours: tuple[int, ...] | None = None
    minutes: tuple[int, ...] | None = None
    week_days: tuple[str, ...] | None = None


def parse_cron(expression: str, now: datetime) -> Rule:
    """What a cron expression says, in Azure's terms.

    Args:
        expression: minute, hour, day of the month, month, day of the week.
        now: this moment, UTC.

    Raises:
        PlatformError: it is not a cron expression, or Azure has nothing like it.
    """
    fields = expression.split()
    if len(fields) != 5:
        raise PlatformError(
            f"{expression!r} is no cron expression: give minute, hour, day of the month, month, day of the week"
        )
    minute, hour, day, month, week_day = fields
    if (day, month) != ("*", "*"):
        raise _not_possible(expression, "days of the month and months cannot be chosen")
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if hour == "*" or _EVERY.fullmatch(hour):
        if week_day != "*":
            raise _not_possible(expression, "with days of the week, the hours have to be listed")
        return _plain(expression, minute, hour, today, now)
    hours = _numbers(expression, hour, 23)
    minutes = _numbers(expression, minute, 59)
    start = now.replace(second=0, microsecond=0)
    if week_day == "*":
        return Rule("Day", 1, start, hours, minutes)
    days = _numbers(expression, _names(week_day), 7)
    names = tuple(dict.fromkeys(_DAYS[number % 7] for number in days))
    return Rule("Week", 1, start, hours, minutes, names)


def _plain(expression: str, minute: str, hour: str, today: datetime, now: datetime) -> Rule:
    """Every so many minutes or hours, counted from midnight as cron does."""
    if match := _EVERY.fullmatch("*/1" if minute == "*" else minute):
        if hour != "*":
            raise _not_possible(expression, "minutes cannot repeat within some hours only")
        step = _divisor(expression, int(match[1]), 60)
        return Rule("Minute", step, _next(today, timedelta(minutes=step), now))
    minutes = _numbers(expression, minute, 59)
    if len(minutes) > 1:
        raise _not_possible(expression, "several minutes of every hour cannot be listed")
    match = _EVERY.fullmatch("*/1" if hour == "*" else hour)
    assert match is not None
    step = _divisor(expression, int(match[1]), 24)
    first = today + timedelta(minutes=minutes[0])
    return Rule("Hour", step, _next(first, timedelta(hours=step), now))


def _next(first: datetime, step: timedelta, now: datetime) -> datetime:
    moment = first
    while moment <= now:
        moment += step
    return moment


def _divisor(expression: str, number: int, whole: int) -> int:
    if not number or whole % number:
        raise _not_possible(
            expression, f"{number} does not divide {whole}, so that steps would be uneven"
        )
    return number


def _numbers(expression: str, field: str, most: int) -> tuple[int, ...]:
    found: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _not_possible(expression, f"{field!r} is no list of numbers")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or last > most:
            raise PlatformError(f"{expression!r}: {part} is not between 0 and {most}")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def _names(field: str) -> str:
    """Days of the week by number where they are given by name."""
    return re.sub(r"[A-Za-z]{3}", lambda match: _SHORT.get(match[0].lower(), match[0]), field)


def _not_possible(expression: str, why: str) -> PlatformError:
    return PlatformError(
        f"{expression!r} cannot be expressed on Azure Machine Learning: {why}. "
        "Possible are `*/15 * * * *`, `5 */6 * * *`, `30 6,18 * * *` and `30 6 * * 1-5`, all UTC"
    )
