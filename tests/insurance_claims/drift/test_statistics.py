"""Statistics of two samples: what they are, and what chance makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from insurance_claims.drift.statistics import holm, ks, psi, share_difference
from insurance_claims.errors import DataError

RNG = np.random.default_rng(20261121)


def test_psi_is_the_sum_over_the_bins() -> None:
    found = psi([5000, 5000], [6000, 4000])
    assert found.value == pytest.approx(0.1 * np.log(0.6 / 0.5) - 0.1 * np.log(0.4 / 0.5), rel=1e-2)
    assert found.p_value < 1e-6
    assert psi([700], [50]).p_value == 1.0
    assert psi([500, 500, 0], [400, 400, 200]).value < 5


def test_psi_by_chance_is_what_simulation_finds() -> None:
    shares = np.array([0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    n, m = 8000, 500
    found = [psi(RNG.multinomial(n, shares), RNG.multinomial(m, shares)) for _ in range(3000)]
    values = [item.value for item in found]
    assert np.mean(values) == pytest.approx(found[0].expected, rel=0.06)
    assert np.mean([item.p_value < 0.05 for item in found]) == pytest.approx(0.05, abs=0.015)


def test_ks_agrees_with_scipy_and_its_chance_with_simulation() -> None:
    a, b = RNG.normal(size=900), RNG.normal(0.1, size=700)
    assert ks(a, b).value == pytest.approx(stats.ks_2samp(a, b).statistic)
    found = [ks(RNG.normal(size=400), RNG.normal(size=300)) for _ in range(1500)]
    assert np.mean([item.value for item in found]) == pytest.approx(found[0].expected, rel=0.05)
    assert np.mean([item.p_value < 0.05 for item in found]) < 0.06
    assert ks(a, a + 1).p_value < 1e-9


def test_ks_of_ties_errs_on_the_side_of_no_alarm() -> None:
    found = [ks(RNG.integers(0, 3, 400), RNG.integers(0, 3, 300)) for _ in range(1000)]
    assert np.mean([item.p_value < 0.05 for item in found]) < 0.05


def test_shares_are_compared_by_the_pooled_test() -> None:
    found = [
        share_difference((int(RNG.binomial(3000, 0.2)), 3000), (int(RNG.binomial(500, 0.2)), 500))
        for _ in range(3000)
    ]
    assert np.mean([abs(item.value) for item in found]) == pytest.approx(
        found[0].expected, rel=0.05
    )
    assert np.mean([item.p_value < 0.05 for item in found]) == pytest.approx(0.05, abs=0.015)
    assert share_difference((0, 3000), (0, 500)).p_value == 1.0
    assert share_difference((0, 3000), (50, 500)).p_value < 1e-9


def test_holm_adjusts_each_by_its_rank() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_nothing_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="no rows"):
        psi([0, 0], [1, 2])
    with pytest.raises(DataError, match="same bins"):
        psi([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="no values"):
        ks([], [1.0])
    with pytest.raises(DataError, match="no rows"):
        share_difference((0, 0), (1, 2))
