"""Performance and drift where claims' costs are predicted."""

from __future__ import annotations

import numpy as np
import pytest

from insurance_claims import schema
from insurance_claims.drift.features import compare
from insurance_claims.drift.performance import performance, shortfalls
from insurance_claims.errors import DataError
from insurance_claims.evaluate.metrics import gini
from insurance_claims.parameters import load_parameters

LIMITS = load_parameters().monitoring.model_copy(update={"calibration_error": 10.0})
RNG = np.random.default_rng(7)
SCORE = 100 * np.exp(RNG.normal(size=20_000) - 0.5)
COST = np.where(RNG.random(20_000) < SCORE / 4000, RNG.gamma(2, 2000, 20_000), 0.0)


@pytest.mark.usefixtures("costs")
def test_expected_costs_that_are_right_fall_short_of_nothing() -> None:
    found = performance(COST, SCORE, LIMITS)
    assert found.claims == np.count_nonzero(COST)
    assert found.observed == pytest.approx(COST.mean())
    assert found.gini is not None and found.gini.value == pytest.approx(gini(COST, SCORE))
    assert shortfalls(found, found.gini.value, LIMITS) == ()


@pytest.mark.usefixtures("costs")
def test_expected_costs_that_are_too_low_are_told_in_amounts() -> None:
    [reason] = shortfalls(performance(COST, 0.5 * SCORE, LIMITS), None, LIMITS)
    assert reason.startswith("calibration error")
    assert f"{0.5 * SCORE.mean():,.2f} predicted, {COST.mean():,.2f} observed" in reason


@pytest.mark.usefixtures("costs")
def test_costs_below_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="other than finite numbers from 0"):
        performance(COST - 1, SCORE, LIMITS)


def test_time_that_goes_on_is_no_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"ps_ind_01": np.arange(5_000.0) % 8, "ps_ind_03": np.full(5_000, 1.0)}
    later = {**values, "ps_ind_03": np.full(5_000, 2.0)}
    assert [item.feature for item in compare(values, later, LIMITS) if item.drifted] == [
        "ps_ind_03"
    ]
    monkeypatch.setattr(schema, "PERIOD", "ps_ind_03")
    assert [item.feature for item in compare(values, later, LIMITS)] == ["ps_ind_01"]
