"""Performance once outcomes are known, and when it counts as too low."""

from __future__ import annotations

import numpy as np
import pytest

from insurance_claims.drift.performance import performance, shortfalls
from insurance_claims.errors import DataError
from insurance_claims.evaluate.metrics import gini
from insurance_claims.parameters import load_parameters

LIMITS = load_parameters().monitoring
RNG = np.random.default_rng(7)
SCORE = RNG.beta(2, 40, 20_000)
TARGET = (RNG.random(20_000) < SCORE).astype(float)


def test_scores_that_are_right_fall_short_of_nothing() -> None:
    found = performance(TARGET, SCORE, LIMITS)
    assert (found.rows, found.claims) == (20_000, int(TARGET.sum()))
    assert found.gini is not None
    assert found.gini.value == pytest.approx(gini(TARGET, SCORE))
    assert found.gini.low < found.gini.value < found.gini.high
    assert found.calibration_error < found.calibration_by_chance
    assert len(found.lift) == 10 and found.lift[0] > 1.5
    assert shortfalls(found, found.gini.value, LIMITS) == ()


def test_a_gini_that_is_lost_is_told() -> None:
    found = performance(TARGET, RNG.permutation(SCORE), LIMITS)
    reason = shortfalls(found, 0.28, LIMITS)[0]
    assert reason.startswith("Gini") and "0.2800 when it was registered" in reason
    assert not [text for text in shortfalls(found, None, LIMITS) if text.startswith("Gini")]


def test_a_loss_that_chance_explains_is_not() -> None:
    few = slice(0, 1_500)
    found = performance(TARGET[few], SCORE[few], LIMITS)
    assert found.gini is not None
    assert shortfalls(found, found.gini.high - 1e-6, LIMITS) == ()


def test_rates_that_moved_are_told() -> None:
    found = performance(TARGET, np.clip(SCORE * 2, 0, 1), LIMITS)
    assert [reason.split()[0] for reason in shortfalls(found, None, LIMITS)] == ["calibration"]


def test_too_few_claims_say_nothing() -> None:
    chosen = np.flatnonzero(TARGET)[:10]
    rows = np.concatenate((chosen, np.flatnonzero(TARGET == 0)[:500]))
    found = performance(TARGET[rows], 1 - SCORE[rows], LIMITS)
    assert found.gini is None and shortfalls(found, 0.3, LIMITS) == ()
    assert performance(np.zeros(50), SCORE[:50], LIMITS).lift == ()


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError):
        performance(np.array([]), np.array([]), LIMITS)
