import numpy as np
import pytest
from numpy.typing import NDArray

from insurance_claims.errors import DataError
from insurance_claims.evaluate.intervals import (
    calibration_interval,
    delong,
    mean_interval,
    normal_quantile,
)
from insurance_claims.evaluate.metrics import calibration_table, gini


def _rows(seed: int, size: int = 400) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=size)
    target = (rng.random(size) < 1 / (1 + np.exp(1.5 - truth))).astype(np.int64)
    scores = np.round(truth + rng.normal(size=(2, size)), 1)
    return target, scores


def test_delong_agrees_with_its_definition_by_all_pairs() -> None:
    target, scores = _rows(1)
    claims = target == 1
    wins = [
        (score[claims][:, None] > score[~claims]) + (score[claims][:, None] == score[~claims]) / 2
        for score in scores
    ]
    of_claims = np.cov([won.mean(axis=1) for won in wins]) / claims.sum()
    of_others = np.cov([won.mean(axis=0) for won in wins]) / (~claims).sum()
    found = delong(target, list(scores))
    assert found.values == pytest.approx([gini(target, score) for score in scores])
    assert found.covariance == pytest.approx(4 * (of_claims + of_others), rel=1e-9)


def test_delong_agrees_with_a_paired_bootstrap() -> None:
    target, scores = _rows(2)
    rng = np.random.default_rng(3)
    samples = rng.integers(0, target.size, (1_500, target.size))
    drawn = np.array([[gini(target[rows], s[rows]) for s in scores] for rows in samples])
    found = delong(target, list(scores))
    assert found.standard_error(0) == pytest.approx(drawn[:, 0].std(), rel=0.08)
    assert found.difference_error(0, 1) == pytest.approx(
        (drawn[:, 0] - drawn[:, 1]).std(), rel=0.08
    )
    assert found.correlation(0, 1) == pytest.approx(np.corrcoef(drawn.T)[0, 1], abs=0.05)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(400):
        target = np.repeat([1, 0], [60, 1_500])
        score = rng.normal(size=1_560) + 0.5 * target
        # Two normals half a deviation apart: AUC = Phi(0.5 / sqrt 2).
        interval = delong(target, [score]).interval(0, 0.95)
        held += interval.low <= 2 * 0.638163 - 1 <= interval.high
    assert 0.92 <= held / 400 <= 0.98


def test_identical_scores_differ_by_exactly_nothing() -> None:
    target, scores = _rows(5)
    difference = delong(target, [scores[0], scores[0]]).difference(0, 1, 0.95)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_a_constant_has_no_variance_and_a_perfect_order_neither() -> None:
    target, scores = _rows(6)
    found = delong(target, [np.full(target.size, 0.1), target, scores[0]])
    assert found.values[:2].tolist() == [0, 1]
    assert [found.standard_error(0), found.standard_error(1)] == [0, 0]
    assert found.correlation(0, 2) == 0
    assert found.difference_error(0, 2) == pytest.approx(found.standard_error(2))
    assert np.isfinite(found.covariance).all()


@pytest.mark.parametrize("target", [[1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]])
def test_one_row_of_a_class_has_no_interval(target: list[int]) -> None:
    with pytest.raises(DataError, match="at least two rows with a claim and two without"):
        delong(target, [[0.1, 0.2, 0.3, 0.4]])


def test_mean_interval_is_the_normal_one() -> None:
    losses = np.array([1.0, 2.0, 3.0, 4.0])
    found = mean_interval(losses, 0.95)
    reach = 1.959964 * losses.std(ddof=1) / 2
    assert (found.value, found.low) == pytest.approx((2.5, 2.5 - reach))
    assert mean_interval(np.array([2.0]), 0.95).to_json() == {"value": 2, "low": 2, "high": 2}


def test_normal_quantile() -> None:
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)


def test_calibration_interval_does_not_go_below_nothing() -> None:
    target = np.repeat([0, 1], [70, 30])
    right = calibration_interval(calibration_table(target, np.full(100, 0.3)), 0.95)
    assert (right.low, right.value) == pytest.approx((0, 0)) and right.high > 0.05
    wrong = calibration_interval(calibration_table(target, np.full(100, 0.6)), 0.95)
    assert wrong.low > 0.15 and wrong.value == pytest.approx(0.3)
