import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insurance_claims.errors import DataError
from insurance_claims.evaluate import metrics

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=60).filter(
    lambda rows: len({target for target, _ in rows}) == 2
)


@given(ROWS)
def test_auc_and_gini_are_what_counting_pairs_gives(rows: list[tuple[int, int]]) -> None:
    claims = [score for target, score in rows if target]
    others = [score for target, score in rows if not target]
    won = sum((a > b) + (a == b) / 2 for a in claims for b in others) / len(claims) / len(others)
    target, score = zip(*rows, strict=True)
    assert metrics.auc(target, score) == pytest.approx(won, abs=1e-12)
    assert metrics.gini(target, score) == pytest.approx(2 * won - 1, abs=1e-12)


def test_figures_agree_with_scikit_learn() -> None:
    from sklearn import metrics as reference

    rng = np.random.default_rng(1)
    target = (rng.random(5_000) < 0.04).astype(int)
    score = np.round(rng.random(5_000), 2) * 0.9 + 0.05
    assert metrics.auc(target, score) == pytest.approx(reference.roc_auc_score(target, score))
    assert metrics.log_loss(target, score) == pytest.approx(reference.log_loss(target, score))
    assert metrics.brier(target, score) == pytest.approx(reference.brier_score_loss(target, score))


def test_gini_of_a_perfect_an_inverted_and_a_constant_order() -> None:
    target = np.array([0, 0, 1, 1])
    assert metrics.gini(target, target) == 1
    assert metrics.gini(target, 1 - target) == -1
    assert metrics.gini(target, np.full(4, 0.3)) == 0


def test_a_confident_mistake_costs_much_but_not_everything() -> None:
    assert metrics.log_loss([1, 0], [0.0, 1.0]) == pytest.approx(-np.log(1e-15), rel=0.01)


@pytest.mark.parametrize("figure", ["calibration_error", "lift_by_decile", "auc"])
def test_the_order_of_rows_does_not_matter(figure: str) -> None:
    rng = np.random.default_rng(2)
    target = (rng.random(997) < 0.2).astype(int)
    score = np.round(rng.random(997), 1)
    order = rng.permutation(997)
    function = getattr(metrics, figure)
    assert function(target, score) == pytest.approx(function(target[order], score[order]))


def test_calibration_error_of_a_constant_is_its_distance_from_the_claim_rate() -> None:
    target = np.repeat([0, 1], [90, 10])
    assert metrics.calibration_error(target, np.full(100, 0.3)) == pytest.approx(0.2)
    assert metrics.calibration_error(target, np.full(100, 0.1)) == pytest.approx(0)


def test_calibration_table_has_bins_of_equal_count_from_low_to_high() -> None:
    score = np.linspace(0.99, 0.0, 100)
    target = (score > 0.495).astype(int)
    table = metrics.calibration_table(target, score)
    assert table.rows.tolist() == [10] * 10
    assert table.observed.tolist() == [0] * 5 + [1] * 5
    assert table.predicted == pytest.approx(np.arange(10) / 10 + 0.045)
    assert metrics.calibration_table([0, 1, 1], [0.1, 0.2, 0.3]).rows.tolist() == [1, 1, 1]


def test_what_chance_does_to_the_calibration_error_is_what_simulation_gives() -> None:
    rng = np.random.default_rng(3)
    score = rng.uniform(0.01, 0.09, 3_000)
    errors = [
        metrics.calibration_error((rng.random(3_000) < score).astype(int), score)
        for _ in range(300)
    ]
    mean, deviation = metrics.calibration_error_by_chance(
        metrics.calibration_table(np.zeros(3_000), score)
    )
    assert mean == pytest.approx(np.mean(errors), rel=0.05)
    assert deviation == pytest.approx(np.std(errors), rel=0.2)


def test_lift_starts_with_the_highest_scores_and_averages_to_one() -> None:
    target = np.repeat([0, 1], [80, 20])
    lift = metrics.lift_by_decile(target, np.arange(100))
    assert lift.tolist() == [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]
    assert metrics.lift_by_decile(target, np.ones(100)) == pytest.approx(np.ones(10))


@pytest.mark.parametrize(
    ("target", "score", "said"),
    [
        ([1, 1], [0.1, 0.2], "2 of 2 rows have a claim"),
        ([0, 0], [0.1, 0.2], "0 of 2 rows have a claim"),
        ([0, 1], [0.1, float("nan")], "1 of 2 scores are not finite"),
        ([0, 2], [0.1, 0.2], "other than 0 and 1"),
        ([0, 1, 1], [0.1, 0.2], "one score a row"),
        ([], [], "at least one row"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    target: list[int], score: list[float], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        metrics.auc(target, score)


def test_no_lift_without_claims() -> None:
    with pytest.raises(DataError, match="none of 3 rows has a claim"):
        metrics.lift_by_decile([0, 0, 0], [0.1, 0.2, 0.3])
