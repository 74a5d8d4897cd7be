"""Alerts as data: what is shipped fits, and what Azure Monitor or the reader could not do is refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ml_service.monitoring.alerts.definitions import Alert, load_alerts
from ml_service.monitoring.telemetry import TelemetryError

GOOD: dict[str, Any] = {
    "name": "scoring-errors",
    "metric": "errors",
    "above": 3,
    "window_minutes": 5,
    "severity": 1,
    "meaning": "requests are failing",
    "action": "roll the version back",
}


def test_the_shipped_alerts_fit_and_say_what_to_do() -> None:
    alerts = load_alerts()
    assert len(alerts) == len({alert.name for alert in alerts}) >= 8
    assert all(alert.rule() in str(alert.rule()) and alert.action for alert in alerts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"event": "drift"}, "either a metric or an event"),
        ({"metric": None}, "either a metric or an event"),
        ({"below": 1}, "either above or below"),
        ({"above": None}, "either above or below"),
        ({"above": float("nan")}, "above"),
        ({"bad": 3, "of": 2}, "3 of 2 windows cannot be bad"),
        ({"of": 7}, "of"),
        ({"window_minutes": 7}, "window_minutes"),
        ({"window_minutes": 1440, "of": 3}, "two days"),
        ({"statistic": "count"}, "of events"),
        ({"measurement": "psi"}, "of events"),
        ({"metric": None, "event": "drift"}, "events are counted"),
        ({"per": "requests", "statistic": "mean"}, "per divides the sum"),
        ({"at_least": 5}, "at_least is of per"),
        ({"severity": 5}, "severity"),
        ({"name": "Errors!"}, "name"),
        ({"by": 'x"] | take 1'}, "by"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    file = tmp_path / "alerts.yml"
    file.write_text(yaml.safe_dump([GOOD]))
    assert [alert.name for alert in load_alerts(file)] == ["scoring-errors"]
    file.write_text(yaml.safe_dump([{**GOOD, **change}]))
    with pytest.raises(TelemetryError, match=r"is not a list of alerts") as caught:
        load_alerts(file)
    assert said in str(caught.value)


def test_a_name_is_there_once(tmp_path: Path) -> None:
    file = tmp_path / "alerts.yml"
    file.write_text(yaml.safe_dump([GOOD, dict(GOOD)]))
    with pytest.raises(TelemetryError, match="has scoring-errors twice"):
        load_alerts(file)


def test_a_rule_in_words() -> None:
    alert = Alert(**{**GOOD, "per": "requests", "by": "model_version", "bad": 2, "of": 3})
    assert alert.rule() == (
        "errors / requests above 3 in 2 of 3 windows of 5 min, each model_version"
    )
    event = {
        "metric": None,
        "event": "step_ended",
        "statistic": "count",
        "where": {"outcome": "failed"},
    }
    assert Alert(**{**GOOD, **event}).rule() == (
        "count of step_ended (outcome failed) above 3 in a window of 5 min"
    )
