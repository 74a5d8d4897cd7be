"""The emulator's Kusto Query Language: what it answers, and that it refuses what it does not know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.azureml_emulator.services import kql
from tests.azureml_emulator.services.kql_values import Problem

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TYPES = {"TimeGenerated": "datetime", "Name": "string", "Value": "real", "Properties": "dynamic"}
ROWS: list[dict[str, Any]] = [
    {
        "TimeGenerated": NOW - timedelta(minutes=number),
        "Name": "ab"[number % 2],
        "Value": float(number),
        "Properties": {"version": str(number % 3), "odd name": {"deep": number}},
    }
    for number in range(6)
]
TABLES = {"T": kql.Table(TYPES, ROWS)}


def _values(query: str) -> list[list[Any]]:
    result = kql.run(query, TABLES, NOW)
    return [[row.get(name) for name in result.columns] for row in result.rows]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("T | project Value | take 2", [[0.0], [1.0]]),
        ('T | where Name == "a" and Value >= 2 | project Value', [[2.0], [4.0]]),
        ("T | where Name == 'a' or Value == 5 | count", [[4]]),
        ('T | where Name in ("b", "c") | project Value', [[1.0], [3.0], [5.0]]),
        ('T | where Name =~ "B" | count', [[3]]),
        ("T | where TimeGenerated > ago(90s) | count", [[2]]),
        ("T | where TimeGenerated < datetime(2026-11-21T11:56:30Z) | count", [[2]]),
        ('T | where tostring(Properties["version"]) == "1" | project Value', [[1.0], [4.0]]),
        ('T | where Properties.version == "2" | count', [[2]]),
        ('T | extend d = tolong(Properties["odd name"].deep) | where d > 4 | project d', [[5]]),
        ("T | order by Value | take 1 | project Value", [[5.0]]),
        ("T | order by Name desc, Value asc | take 1 | project Name, Value", [["b", 1.0]]),
        ("T | summarize count(), sum(Value) by Name", [["a", 3, 6.0], ["b", 3, 9.0]]),
        ("T | summarize n = dcount(Name), low = min(Value), high = max(Value)", [[2, 0.0, 5.0]]),
        ("T | summarize m = avg(Value), p = percentile(Value, 50)", [[2.5, 2.0]]),
        ("T | where Value > 99 | summarize n = count(), s = sum(Value)", [[0, None]]),
        ("T | where Value > 99 | summarize n = count() by Name", []),
        (
            "T // by stretches\n| summarize n = count() by t = bin(TimeGenerated, 4m) | order by t asc",
            [[NOW - timedelta(minutes=8), 1], [NOW - timedelta(minutes=4), 4], [NOW, 1]],
        ),
    ],
)
def test_queries(query: str, expected: list[list[Any]]) -> None:
    assert _values(query) == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "SyntaxError"),
        ("Nothing", "SemanticError"),
        ("T |", "SyntaxError"),
        ("T | render timechart", "SyntaxError"),
        ("T | join X on Name", "SyntaxError"),
        ("T | where", "SyntaxError"),
        ("T | where Missing == 1", "SemanticError"),
        ("T | where Value", "SemanticError"),
        ("T | where Value == 'x'", "SemanticError"),
        ("T | where Value > 1 and Name", "SemanticError"),
        ("T | where Properties.x > 1", "SemanticError"),
        ("T | where Name.x == 'a'", "SemanticError"),
        ("T | where hash(Name) == 1", "SemanticError"),
        ("T | where Name == 'open", "SyntaxError"),
        ("T | where Value = 1", "SyntaxError"),
        ("T | summarize stdev(Value)", "SemanticError"),
        ("T | summarize sum(Name)", "SemanticError"),
        ("T | summarize sum()", "SemanticError"),
        ("T | extend x = bin(Name, 1m)", "SemanticError"),
        ("T | take many", "SyntaxError"),
        ("T | project Value Name", "SyntaxError"),
        ("T; T", "SyntaxError"),
        ("let x = 1; T", "SyntaxError"),
    ],
)
def test_what_is_wrong_or_not_known_is_refused(query: str, code: str) -> None:
    with pytest.raises(Problem) as refused:
        kql.run(query, TABLES, NOW)
    assert refused.value.code == code
