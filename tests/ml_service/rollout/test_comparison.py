"""Figures of two versions, with their intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from insurance_claims.monitoring.observations import LATENCY_EDGES, Histogram, Observations
from ml_service.rollout.comparison import (
    UNKNOWN,
    Estimate,
    calibration_difference,
    error_rate_difference,
    latency_ratio,
    observed_quantile,
    score_ks,
    score_mean,
    score_psi,
)
from tests.ml_service.rollout.simulation import GOOD, Behavior

ERROR = 0.001

Compare = Callable[[Observations, Observations], Estimate]

FIGURES: dict[str, Compare] = {
    "errors": lambda c, p: error_rate_difference(c, p, ERROR),
    "p50": lambda c, p: latency_ratio(c, p, 0.5, ERROR),
    "p95": lambda c, p: latency_ratio(c, p, 0.95, ERROR),
    "p99": lambda c, p: latency_ratio(c, p, 0.99, ERROR),
    "psi": lambda c, p: score_psi(c, p, ERROR),
    "ks": lambda c, p: score_ks(c, p, ERROR),
    "mean": lambda c, p: score_mean(c, p, ERROR, 1000),
    "calibration": lambda c, p: calibration_difference(c, p, ERROR, 1000),
}


def seen(behavior: Behavior, requests: int, seed: int) -> Observations:
    return behavior.observe(requests, np.random.default_rng(seed))


LABELLED = Behavior(labelled=1.0)


@pytest.mark.parametrize(
    ("name", "canary", "truth"),
    [
        ("errors", Behavior(error_rate=0.02), 0.019),
        ("p50", Behavior(slowness=3), 3),
        ("p95", Behavior(slowness=3), 3),
        ("p99", Behavior(slowness=3), 3),
        ("psi", GOOD, 0),
        ("psi", Behavior(score=1.2), 0.13),
        ("ks", GOOD, 0),
        # 2 Phi(log(1.2) / 2 / 0.5) - 1
        ("ks", Behavior(score=1.2), 0.1446),
        ("mean", Behavior(score=1.2), 0.2),
        ("mean", Behavior(score=0.7), -0.3),
        ("calibration", Behavior(labelled=1.0, bias=0.05), 0.05),
    ],
)
def test_the_interval_holds_the_truth_and_narrows(
    name: str, canary: Behavior, truth: float
) -> None:
    small = FIGURES[name](seen(canary, 2000, 1), seen(LABELLED, 4000, 2))
    large = FIGURES[name](seen(canary, 50_000, 3), seen(LABELLED, 100_000, 4))
    for found in (small, large):
        assert found.low is not None and found.high is not None and found.value is not None
        assert found.low <= truth <= found.high
        assert found.low <= found.value <= found.high
    assert large.high is not None and small.high is not None
    assert large.low is not None and small.low is not None
    assert large.high - large.low < small.high - small.low
    assert large.value == pytest.approx(truth, abs=0.05 * max(1, abs(truth)))


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_known_of_nothing(name: str) -> None:
    some = seen(LABELLED, 5000, 1)
    for pair in ((Observations(), some), (some, Observations())):
        assert FIGURES[name](*pair) == UNKNOWN


@pytest.mark.parametrize("name", ["mean", "calibration"])
def test_a_few_values_have_no_mean_yet(name: str) -> None:
    assert FIGURES[name](seen(LABELLED, 400, 1), seen(LABELLED, 4000, 2)) == UNKNOWN


def test_a_tail_that_was_hardly_seen_has_no_upper_end() -> None:
    found = FIGURES["p99"](seen(GOOD, 200, 1), seen(GOOD, 10_000, 2))
    assert found.value is not None and found.high is None


def test_constant_scores_are_far_from_any_distribution() -> None:
    constant = Observations.of(np.full(1000, 4.5), np.full(1000, 0.0365))
    psi, ks = (FIGURES[name](constant, seen(GOOD, 9000, 1)) for name in ("psi", "ks"))
    assert psi.low is not None and psi.low > 1
    assert ks.low is not None and ks.low > 0.4


def test_a_better_calibrated_canary_is_below_zero() -> None:
    found = calibration_difference(
        seen(LABELLED, 20_000, 1), seen(Behavior(labelled=1.0, bias=0.05), 20_000, 2), ERROR, 1000
    )
    assert found.high is not None and found.high < -0.02


@pytest.mark.parametrize("quantile", [0.01, 0.5, 0.95, 0.99])
def test_a_quantile_of_bins_is_that_of_the_values_within_a_bin(quantile: float) -> None:
    values = np.random.default_rng(5).lognormal(1.5, 0.4, 10_000)
    counts = Histogram.of(values, LATENCY_EDGES).dense(LATENCY_EDGES)
    assert observed_quantile(counts, quantile) == pytest.approx(
        np.quantile(values, quantile), rel=0.02
    )


def test_values_beyond_all_edges_have_a_quantile_too() -> None:
    for value in (0.0, 1e9):
        counts = Histogram.of([value], LATENCY_EDGES).dense(LATENCY_EDGES)
        assert LATENCY_EDGES[0] <= observed_quantile(counts, 0.5) <= LATENCY_EDGES[-1]
