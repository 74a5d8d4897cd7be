"""Alerts compiled for Azure Monitor: queries say what the local evaluation says, and what is committed is made of them.

Azure's schemas are checked with all the other templates, in ``tests/environment_setup/test_arm.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from environment_setup import alerts as compiler
from ml_service.monitoring.alerts.azure import (
    alerts_template,
    is_metric_alert,
    workbook_queries,
    workbook_template,
)
from ml_service.monitoring.alerts.definitions import Alert, load_alerts
from ml_service.monitoring.alerts.evaluation import readings
from ml_service.monitoring.alerts.kql import query
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Kind
from tests.azureml_emulator.services import kql
from tests.azureml_emulator.services.telemetry import TABLES

ALERTS = load_alerts()
# Two days of whole minutes, and a multiple of every window.
NOW = datetime(2026, 11, 20, tzinfo=UTC)
_METRICS = {
    "errors": 1,
    "requests": 30,
    "refused": 3,
    "latency_p95_ms": 80,
    "score_mean": 0.04,
    "process_memory_mb": 900,
    "telemetry_dropped": 2,
    "drifted_features": 1,
}


def _telemetry() -> list[Event]:
    """Whatever alerts look at, over more time than they look at, and some that they must leave out."""
    generator = np.random.default_rng(7)
    found: list[Event] = []
    for minutes in range(1, 60):
        time = NOW - timedelta(minutes=minutes - 0.5)
        for version in ("1", "2"):
            for name, scale in _METRICS.items():
                value = float(generator.exponential(scale))
                measurements = {"value": value, "count": 1.0, "minimum": value, "maximum": value}
                found.append(
                    Event(Kind.METRIC, time, name, {"model_version": version}, measurements)
                )
        outcome = str(generator.choice(["failed", "completed"]))
        found.append(Event(Kind.EVENT, time, "step_ended", {"outcome": outcome, "step": "train"}))
        psi = {"psi": float(generator.exponential(0.2))}
        found.append(Event(Kind.EVENT, time, "drift", {"feature": f"ps_{minutes % 5}"}, psi))
        gini = {"gini_high": float(generator.normal(0.25, 0.03))}
        about = {"model_version": str(minutes % 2)}
        found.append(Event(Kind.EVENT, time, "performance", about, gini))
    return found


def _tables(events: Sequence[Event]) -> dict[str, kql.Table]:
    """The same telemetry as Log Analytics keeps it."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for event in events:
        row = {
            "TimeGenerated": event.time,
            "Name": event.name,
            "Properties": dict(event.properties),
        }
        if event.kind is Kind.EVENT:
            rows["AppEvents"].append({**row, "Measurements": dict(event.measurements)})
        else:
            names = {"Sum": "value", "ItemCount": "count", "Min": "minimum", "Max": "maximum"}
            figures = {column: event.measurements[name] for column, name in names.items()}
            rows["AppMetrics"].append({**row, **figures})
    return {name: kql.Table(TABLES[name], rows[name]) for name in TABLES}


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return _telemetry()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> Store:
    store = Store(tmp_path_factory.mktemp("telemetry"))
    store.add(events)
    return store


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert.name))
def test_the_query_says_what_the_local_evaluation_says(
    alert: Alert, events: list[Event], store: Store
) -> None:
    result = kql.run(query(alert), _tables(events), NOW)
    window = timedelta(minutes=alert.window_minutes)
    begins = [NOW - (alert.of - number) * window for number in range(alert.of)]
    asked = {
        (row.get("key", ""), row["TimeGenerated"]): row["value"]
        for row in result.rows
        if row["TimeGenerated"] >= begins[0]
    }
    local = {
        (reading.key, begin): value
        for reading in readings(alert, store, NOW)
        for begin, value in zip(begins, reading.values, strict=True)
        if value is not None
    }
    assert asked == pytest.approx(local)
    assert len(local) >= alert.of


def test_every_alert_is_one_rule_that_tells_the_action_group() -> None:
    resources = alerts_template(ALERTS)["resources"]
    assert len(resources) == len(ALERTS)
    for alert, resource in zip(ALERTS, resources, strict=True):
        properties = resource["properties"]
        assert properties["severity"] == alert.severity
        assert alert.name in resource["name"] and alert.meaning in properties["description"]
        [condition] = properties["criteria"]["allOf"]
        assert condition["threshold"] == alert.threshold
        assert condition["operator"] == ("LessThan" if alert.below is not None else "GreaterThan")
        assert "parameters('alertsId')" in str(properties["actions"])
        if not is_metric_alert(alert):
            periods = condition["failingPeriods"]
            assert periods["numberOfEvaluationPeriods"] == alert.of
            assert periods["minFailingPeriodsToAlert"] == alert.bad
    kinds = {resource["type"] for resource in resources}
    assert kinds == {"Microsoft.Insights/metricAlerts", "Microsoft.Insights/scheduledQueryRules"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"by": "model_version"}, False),
        ({"of": 2}, False),
        ({"where": {"host": "a"}}, False),
        ({"window_minutes": 10}, False),
        ({"per": "requests"}, False),
        ({"metric": None, "event": "drift", "statistic": "count"}, False),
    ],
)
def test_what_a_metric_alert_can_do(change: dict[str, Any], expected: bool) -> None:
    settings = {"name": "memory", "metric": "process_memory_mb", "above": 5, "window_minutes": 5}
    texts = {"severity": 1, "meaning": "too much memory", "action": "start it again"}
    assert is_metric_alert(Alert(**{**settings, **texts, **change})) is expected


def test_every_query_of_the_workbook_is_answered(events: list[Event]) -> None:
    tables = _tables(events)
    answered = [len(kql.run(text, tables, NOW).rows) for text in workbook_queries()]
    assert sum(count > 0 for count in answered) >= 7
    serialized = workbook_template()["resources"][0]["properties"]["serializedData"]
    assert all(title in serialized for title in ("Requests by model version", "Drift by feature"))


def test_what_is_committed_is_made_of_the_file() -> None:
    document = compiler.DOCUMENT.read_text(encoding="utf-8")
    for path, text in compiler.files(ALERTS, document).items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path} is not what alerts.yml says: python -m environment_setup.alerts"
        )
    # It would be noticed.
    other = [ALERTS[0].model_copy(update={"above": 0.5}), *ALERTS[1:]]
    changed = compiler.files(other, document)
    assert changed[compiler.ALERTS] != compiler.ALERTS.read_text(encoding="utf-8")
    assert changed[compiler.DOCUMENT] != document


def test_the_table_says_what_to_do(tmp_path: Path) -> None:
    table = compiler.table(ALERTS)
    assert table.count("\n") == len(ALERTS) + 1
    assert "| **scoring-errors** (error) | errors / requests above 0.02 in 2 of 3 windows" in table
