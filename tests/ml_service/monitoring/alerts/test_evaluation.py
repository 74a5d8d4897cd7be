"""When an alert fires: thresholds, windows, n of m, ratios, and windows without anything in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_service.monitoring.alerts.definitions import Alert
from ml_service.monitoring.alerts.evaluation import readings
from ml_service.monitoring.store import Store
from tests.ml_service.monitoring.alerts.telemetry import NOW, event, metric


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def alert(**settings: Any) -> Alert:
    return Alert(
        **{
            **{"name": "watched", "metric": "figure", "above": 10, "window_minutes": 5},
            **{"severity": 2, "meaning": "it is too much", "action": "make it less"},
            **settings,
        }
    )


@pytest.mark.parametrize(
    ("settings", "values", "expected", "fires"),
    [
        ({}, {1: 6, 2: 5}, 11, True),
        ({}, {1: 6, 2: 4}, 10, False),
        ({"statistic": "mean"}, {1: 11, 2: 12}, 11.5, True),
        ({"statistic": "most"}, {1: 11, 2: 1}, 11, True),
        ({"statistic": "least"}, {1: 11, 2: 1}, 1, False),
        ({"above": None, "below": 2, "statistic": "least"}, {1: 11, 2: 1}, 1, True),
        ({"above": None, "below": 1, "statistic": "least"}, {1: 11, 2: 1}, 1, False),
        # The minute that is under way, and what is older than the window, do not count.
        ({}, {0.2: 100, 5.9: 100, 1: 4}, 4, False),
    ],
)
def test_a_window_and_its_threshold(
    store: Store, settings: dict[str, Any], values: dict[float, float], expected: float, fires: bool
) -> None:
    metric(store, "figure", values)
    [reading] = readings(alert(**settings), store, NOW)
    assert list(reading.values) == [pytest.approx(expected)]
    assert reading.fires is fires


@pytest.mark.parametrize(("bad", "fires"), [(1, True), (2, True), (3, False)])
def test_so_many_of_the_last_windows_have_to_be_bad(store: Store, bad: int, fires: bool) -> None:
    metric(store, "figure", {1: 11, 6: 1, 11: 12})
    [reading] = readings(alert(bad=bad, of=3), store, NOW)
    assert reading.values == [12, 1, 11]
    assert reading.fires is fires
    assert "seen 12, 1, 11" in reading.reason


def test_of_a_split_alert_that_saw_nothing_that_is_said(store: Store) -> None:
    [reading] = readings(alert(by="model_version"), store, NOW)
    assert (reading.key, reading.values, reading.fires) == ("", [None], False)
    assert reading.reason.endswith("each model_version: seen nothing")


def test_a_window_with_nothing_in_it_is_neither_good_nor_bad(store: Store) -> None:
    metric(store, "figure", {1: 11})
    [reading] = readings(alert(bad=2, of=3), store, NOW)
    assert (reading.values, reading.fires) == ([None, None, 11], False)
    assert "seen nothing, nothing, 11" in reading.reason
    [nothing] = readings(alert(metric="never_sent", above=None, below=5), store, NOW)
    assert (nothing.values, nothing.fires) == ([None], False)


def test_each_value_of_a_property_is_watched_on_its_own(store: Store) -> None:
    metric(store, "figure", {1: 11}, {"model_version": "2"})
    metric(store, "figure", {1: 3}, {"model_version": "1"})
    found = readings(alert(by="model_version"), store, NOW)
    assert [(reading.key, reading.fires) for reading in found] == [("1", False), ("2", True)]
    assert found[1].reason.endswith("for model_version 2")


@pytest.mark.parametrize(
    ("requests", "errors", "expected"),
    [(100, 3, [0.03]), (100, None, [0.0]), (19, 19, [None]), (20, 1, [0.05])],
)
def test_a_share_needs_enough_to_be_one(
    store: Store, requests: int, errors: int | None, expected: list[float | None]
) -> None:
    metric(store, "requests", {1: requests / 2, 2: requests / 2})
    if errors is not None:
        metric(store, "errors", {1: errors})
    share = alert(metric="errors", per="requests", at_least=20, above=0.02)
    [reading] = readings(share, store, NOW)
    assert reading.values == expected


def test_events_are_counted_and_their_figures_taken(store: Store) -> None:
    event(store, "step_ended", [1, 2], {"outcome": "failed"})
    event(store, "step_ended", [1, 2, 3], {"outcome": "completed"})
    event(store, "drift", [1], {"feature": "ps_ind_01"}, {"psi": 0.3})
    event(store, "drift", [2], {"feature": "ps_ind_01"}, {"psi": 0.1})
    event(store, "drift", [2], {"feature": "ps_ind_03"})
    failed = alert(
        metric=None, event="step_ended", statistic="count", where={"outcome": "failed"}, above=0
    )
    assert [reading.values for reading in readings(failed, store, NOW)] == [[2]]
    for statistic, expected in {"most": 0.3, "least": 0.1, "mean": 0.2, "sum": 0.4}.items():
        drifts = alert(
            metric=None, event="drift", measurement="psi", statistic=statistic, by="feature"
        )
        [reading] = readings(drifts, store, NOW)
        assert reading.key == "ps_ind_01"
        assert list(reading.values) == [pytest.approx(expected)]
