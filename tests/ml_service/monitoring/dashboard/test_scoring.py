"""Series are what the cells say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from insurance_claims.monitoring.observations import LATENCY_EDGES, Observations
from ml_service.monitoring.dashboard.cells import Cell, cell_of
from ml_service.monitoring.dashboard.scoring import quantiles, scoring
from ml_service.monitoring.dashboard.span import Span
from tests.ml_service.monitoring.dashboard.generated import observations

SINCE = datetime(2026, 11, 21, 14, tzinfo=UTC)
SPAN = Span(SINCE, SINCE + timedelta(seconds=25), timedelta(seconds=10))
BOUNDS = np.concatenate([[0.0], LATENCY_EDGES, LATENCY_EDGES[-1:]])


def _cell(second: int, version: int, seen: Observations, environment: str = "production") -> Cell:
    return Cell(SINCE + timedelta(seconds=second), environment, version, seen, {"row": 1})


def test_quantiles_are_within_the_width_of_a_bin() -> None:
    latencies = np.random.default_rng(1).lognormal(2, 0.7, 20_000)
    counts = Observations.of(latencies, []).latencies.dense(LATENCY_EDGES).astype(float)
    shares = [0.1, 0.5, 0.95, 0.99]
    found = quantiles(np.stack([counts, 0 * counts]), BOUNDS, shares)
    np.testing.assert_allclose(found[:, 0], np.quantile(latencies, shares), rtol=0.03)
    assert np.isnan(found[:, 1]).all()


def test_the_ends_of_a_histogram_stay_within_it() -> None:
    counts = Observations.of([0.01, 1e9], []).latencies.dense(LATENCY_EDGES).astype(float)
    low, high = quantiles(counts[None, :], BOUNDS, [0.5, 1.0])
    assert low == LATENCY_EDGES[0] and high == LATENCY_EDGES[-1]


def test_cells_become_series_by_version() -> None:
    cells = [
        _cell(3, 1, Observations.of([10.0] * 4, [0.1, 0.3], errors=1)),
        _cell(9, 1, Observations.of([10.0] * 5, [0.2])),
        _cell(4, 2, Observations.of([30.0] * 10, [0.5])),
        _cell(21, 2, Observations.of([30.0] * 10, [])),
    ]
    found = scoring(cells, SPAN, None)
    one, two = found["versions"]["1"], found["versions"]["2"]
    # 10 requests in the first 10 s, none after; 10 in the 5 s of the last step that have passed.
    np.testing.assert_allclose(one["requests"], [1, 0, 0])
    np.testing.assert_allclose(two["requests"], [1, 0, 2])
    np.testing.assert_allclose(one["share"], [50, np.nan, 0])
    np.testing.assert_allclose(one["errors"], [10, np.nan, np.nan])
    np.testing.assert_allclose(one["score_mean"], [0.2, np.nan, np.nan])
    np.testing.assert_allclose(two["p50"], [30, np.nan, 30], rtol=0.05)
    assert one["histogram"].sum() == pytest.approx(100)
    assert one["totals"]["requests"] == 10 and one["totals"]["errors"] == 1
    assert one["totals"]["refused"] == {"row": 2}
    assert one["totals"]["score_mean"] == pytest.approx(0.2)
    assert two["totals"]["rows"] == 1


def test_the_environment_with_the_most_requests_is_shown_unless_another_is_asked_for() -> None:
    cells = [
        _cell(1, 1, Observations.of([1.0] * 3, [])),
        _cell(1, 2, Observations.of([1.0], []), "staging"),
    ]
    assert scoring(cells, SPAN, None)["environment"] == "production"
    staging = scoring(cells, SPAN, "staging")
    assert list(staging["versions"]) == ["2"]
    assert staging["environments"] == ["production", "staging"]
    assert scoring(cells, SPAN, "nowhere")["versions"] == {}


def test_nothing_is_shown_of_nothing() -> None:
    found = scoring([], SPAN, None)
    assert (found["environments"], found["environment"], found["versions"]) == ([], "", {})


def test_an_event_of_scoring_is_a_cell() -> None:
    seen = Observations.of([1.0, 2.0], [0.1], errors=1)
    cell = cell_of(observations(SINCE, 7, seen, refused={"row": 2}))
    assert cell == Cell(SINCE, "production", 7, seen, {"row": 2})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_version", "x"),
        ("model_version", "0"),
        ("model_version", "9" * 30),
        ("requests", "-1"),
        ("latencies", '{"1": 9007199254740993999}'),
        ("latencies", "[]"),
        ("scores", '{"999": 1}'),
        ("score_moments", "[1, -5, 0]"),
        ("score_moments", "[1, 1" + "0" * 400 + ", 0]"),
        ("refused", '{"row": -1}'),
        ("refused", '{"row": "many"}'),
        ("refused", "5"),
    ],
)
def test_what_scoring_does_not_send_is_left_out(name: str, value: str) -> None:
    event = observations(SINCE, 7, Observations.of([1.0], [0.1]))
    assert cell_of(event) is not None
    assert isinstance(event.properties, dict)
    event.properties[name] = value
    assert cell_of(event) is None
