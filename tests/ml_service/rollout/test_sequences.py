"""Confidence sequences hold at every look; intervals of the textbook, looked at again and again, do not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from insurance_claims.monitoring.observations import LATENCY_EDGES, Floats
from ml_service.rollout.sequences import (
    evidence_against,
    mean_margin,
    quantile_bounds,
    share_bounds,
)

Missed = NDArray[np.bool_]

ERROR = 0.1
RUNS = 1000
LOOKS = np.unique(np.geomspace(20, 5000, 60).astype(int))
NOISE = 3 * math.sqrt(ERROR * (1 - ERROR) / RUNS)
"""Three standard errors of a share of RUNS."""


def ever_outside(totals: Floats, outside: Callable[[Floats, int], Missed]) -> float:
    """Share of runs in which an interval misses the truth at any look.

    Args:
        totals: running sums, shape (runs, requests).
        outside: tells of the totals of every run after n requests which intervals miss.
    """
    missed = np.zeros(totals.shape[0], dtype=bool)
    for n in LOOKS:
        missed |= outside(totals[:, n - 1], int(n))
    return float(missed.mean())


@pytest.mark.parametrize("share", [0.003, 0.05, 0.5])
def test_shares_hold_at_every_look(share: float) -> None:
    happened = np.random.default_rng(1).random((RUNS, LOOKS[-1])) < share

    def outside(successes: Floats, n: int) -> Missed:
        low, high = share_bounds(successes, n, ERROR)
        return (low > share) | (high < share)

    def textbook(successes: Floats, n: int) -> Missed:
        observed = successes / n
        reach = 1.645 * np.sqrt(np.maximum(observed * (1 - observed), 1e-12) / n)
        return np.abs(observed - share) > reach

    totals = happened.cumsum(axis=1)
    assert ever_outside(totals, outside) <= ERROR + NOISE
    # What the rule is for: ninety-percent intervals miss far more often than once in ten when they are looked at often.
    assert ever_outside(totals, textbook) > 3 * ERROR


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_quantiles_hold_at_every_look(quantile: float) -> None:
    random = np.random.default_rng(2)
    truth = math.exp(1.5 + 0.4 * {0.5: 0.0, 0.95: 1.6449, 0.99: 2.3263}[quantile])
    runs, missed = 200, 0
    for _ in range(runs):
        bins = np.searchsorted(LATENCY_EDGES, random.lognormal(1.5, 0.4, LOOKS[-1]), "right")
        for n in LOOKS[::3]:
            counts = np.bincount(bins[:n], minlength=LATENCY_EDGES.size + 1)
            low, high = quantile_bounds(counts, LATENCY_EDGES, quantile, ERROR)
            if low > truth or high < truth:
                missed += 1
                break
    assert missed / runs <= ERROR + NOISE


def test_means_of_skewed_values_hold_at_every_look() -> None:
    sigma, mean = 0.5, 0.033 * math.exp(0.125)
    values = np.random.default_rng(3).lognormal(math.log(0.033), sigma, (RUNS, LOOKS[-1]))
    totals, squares = values.cumsum(axis=1), np.square(values).cumsum(axis=1)
    missed, textbook = np.zeros(RUNS, dtype=bool), np.zeros(RUNS, dtype=bool)
    for n in LOOKS[LOOKS >= 500]:
        observed = totals[:, n - 1] / n
        variance = squares[:, n - 1] / n - observed**2
        apart = np.abs(observed - mean)
        missed |= apart > [mean_margin(v, int(n), ERROR, 1000) for v in variance]
        textbook |= apart > 1.645 * np.sqrt(variance / n)
    assert missed.mean() <= ERROR + NOISE
    assert textbook.mean() > 2 * ERROR


@pytest.mark.parametrize("error", [0.3, 1e-3, 1e-9])
@pytest.mark.parametrize("trials", [1, 7, 300, 1_000_000])
def test_the_ends_are_where_the_evidence_is_enough(trials: int, error: float) -> None:
    successes = np.unique([1, trials // 3, trials // 2])
    successes = successes[(successes > 0) & (successes < trials)]
    low, high = share_bounds(successes, trials, error)
    for end in (low, high):
        found = evidence_against(end, successes, trials)
        assert found == pytest.approx(-math.log(error), abs=1e-4)
    assert (low < successes / trials).all() and (high > successes / trials).all()


def test_nothing_seen_says_nothing() -> None:
    low, high = share_bounds([0], 0, 0.05)
    assert (low[0], high[0]) == (0, 1)
    none = np.zeros(LATENCY_EDGES.size + 1, dtype=np.int64)
    assert quantile_bounds(none, LATENCY_EDGES, 0.5, 0.05) == (0.0, math.inf)


def test_never_and_always_are_bounded_on_one_side() -> None:
    low, high = share_bounds([0, 1000], 1000, 0.001)
    assert low[0] == 0 and 0.005 < high[0] < 0.02
    assert high[1] == 1 and 0.98 < low[1] < 0.995


def test_a_smaller_error_takes_a_wider_interval() -> None:
    low, high = share_bounds([50], 1000, 0.1)
    wider_low, wider_high = share_bounds([50], 1000, 0.001)
    assert wider_low < low < 0.05 < high < wider_high
    assert mean_margin(1, 1000, 0.001, 1000) > mean_margin(1, 1000, 0.1, 1000)


def test_the_margin_is_tightest_where_it_was_tuned() -> None:
    tuned = mean_margin(1, 1000, 0.01, 1000)
    assert tuned < mean_margin(1, 1000, 0.01, 30)
    assert tuned < mean_margin(1, 1000, 0.01, 30_000)
