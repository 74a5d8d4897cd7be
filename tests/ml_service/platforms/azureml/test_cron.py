"""Cron expressions in Azure's terms, and those that it has nothing for."""

from __future__ import annotations

from datetime import datetime

import pytest

from ml_service.platforms.azureml.cron import Rule, parse_cron
from ml_service.platforms.base import PlatformError

NOW = datetime(2026, 11, 21, 9, 10, 30)
MINUTE = NOW.replace(second=0)


@pytest.mark.parametrize(
    ("expression", "rule"),
    [
        ("* * * * *", Rule("Minute", 1, datetime(2026, 11, 21, 9, 11))),
        ("*/15 * * * *", Rule("Minute", 15, datetime(2026, 11, 21, 9, 15))),
        ("5 * * * *", Rule("Hour", 1, datetime(2026, 11, 21, 10, 5))),
        ("30 */6 * * *", Rule("Hour", 6, datetime(2026, 11, 21, 12, 30))),
        ("0 0 * * *", Rule("Day", 1, MINUTE, (0,), (0,))),
        ("0,30 6-8 * * *", Rule("Day", 1, MINUTE, (6, 7, 8), (0, 30))),
        ("30 6 * * sun,7,Mon", Rule("Week", 1, MINUTE, (6,), (30,), ("Sunday", "Monday"))),
        ("30 6 * * 5-7", Rule("Week", 1, MINUTE, (6,), (30,), ("Friday", "Saturday", "Sunday"))),
    ],
)
def test_what_azure_can_express(expression: str, rule: Rule) -> None:
    assert parse_cron(expression, NOW) == rule


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("0 6 1 * *", "days of the month"),
        ("0 6 * 1 *", "days of the month and months"),
        ("*/7 * * * *", "7 does not divide 60"),
        ("*/0 * * * *", "0 does not divide 60"),
        ("0 */5 * * *", "5 does not divide 24"),
        ("*/5 */6 * * *", "within some hours only"),
        ("*/5 6 * * *", r"'\*/5' is no list of numbers"),
        ("5,10 * * * *", "several minutes of every hour"),
        ("5 * * * 1", "the hours have to be listed"),
        ("x 6 * * *", "'x' is no list of numbers"),
        ("0 24 * * *", "24 is not between 0 and 23"),
        ("0 8-6 * * *", "8-6 is not between"),
        ("0 6 * *", "is no cron expression"),
        ("@daily", "is no cron expression"),
    ],
)
def test_what_it_cannot(expression: str, why: str) -> None:
    with pytest.raises(PlatformError, match=why):
        parse_cron(expression, NOW)
