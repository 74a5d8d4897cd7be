"""The gate's figures and rules where claims' costs are predicted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError, ModelError
from insurance_claims.evaluate.evaluate_model import refuse_another_split
from insurance_claims.evaluate.gate import Decision, judge
from insurance_claims.evaluate.holdout import Holdout
from insurance_claims.evaluate.intervals import calibration_interval, delong, rank_ginis
from insurance_claims.evaluate.metrics import (
    calibration_error_by_chance,
    calibration_table,
    checked,
    deviances,
    gini,
    lift_by_decile,
)
from insurance_claims.evaluate.model_card import model_card
from insurance_claims.evaluate.plots import draw_plots
from insurance_claims.parameters import GateParameters, load_parameters

Floats = NDArray[np.float64]

SIZE = 20_000
CHANGED = {
    "minimum_gini": 0.1,
    "expected_gini": 0.15,
    "maximum_gini": 0.6,
    "maximum_calibration_error": 10.0,
}
LIMITS = GateParameters(**{**load_parameters().gate.model_dump(), **CHANGED})


class Portfolio:
    """Policies of known expected cost: a claim with a chance of 5% on average, gamma if there is one."""

    def __init__(self, seed: int, size: int = SIZE) -> None:
        rng = np.random.default_rng(seed)
        self.risk, noise = rng.normal(size=(2, size))
        self.expected = 100 * np.exp(0.7 * self.risk - 0.245)
        claim = rng.random(size) < self.expected / 2000
        self.cost: Floats = np.where(claim, rng.gamma(2.0, 1000.0, size), 0.0)
        self.blurred = 100 * np.exp(0.5 * (0.7 * self.risk + 0.71 * noise) - 0.125)
        self.groups = {name: np.arange(size) % 2 for name in LIMITS.slices}


@pytest.fixture(scope="module")
def policies() -> Portfolio:
    return Portfolio(1)


def decide(policies: Portfolio, challenger: Any, champion: Any = None, **more: Any) -> Decision:
    return judge(policies.cost, policies.groups, challenger, champion, 0.1, LIMITS, **more)


def failed(decision: Decision) -> dict[str, str]:
    return {check.name: check.reason for check in decision.checks if not check.passed}


def test_the_rank_gini_of_classes_is_that_of_delong_with_about_its_error() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=4_000)
    target = (rng.random(4_000) < 1 / (1 + np.exp(2.5 - truth))).astype(np.float64)
    scores = [np.round(truth + noise, 1) for noise in rng.normal(size=(2, 4_000))]
    by_class, by_rank = delong(target, scores), rank_ginis(target, scores)
    assert by_rank.values == pytest.approx(by_class.values, abs=1e-12)
    assert by_rank.covariance == pytest.approx(by_class.covariance, rel=0.02)
    assert by_rank.difference_error(0, 1) == pytest.approx(
        by_class.difference_error(0, 1), rel=0.02
    )


@pytest.mark.usefixtures("costs")
def test_the_gini_agrees_with_its_definition_by_all_pairs() -> None:
    rng = np.random.default_rng(3)
    y = np.round(rng.exponential(size=150) * (rng.random(150) < 0.4), 1)
    s = np.round(y + rng.exponential(size=150), 0)
    apart = y[:, None] - y
    order = (apart * np.sign(s[:, None] - s)).sum() / (apart * np.sign(apart)).sum()
    assert gini(y, s) == pytest.approx(order)
    assert rank_ginis(y, [s]).values == pytest.approx([order])
    assert gini(y, y) == pytest.approx(1) and gini(y, -y) == pytest.approx(-1)
    assert gini(y, np.ones(150)) == 0


@pytest.mark.usefixtures("costs")
def test_ginis_of_costs_vary_as_much_as_their_errors_say() -> None:
    rng = np.random.default_rng(4)
    policies = Portfolio(5, 3_000)
    scores = [policies.expected, policies.blurred]
    found = rank_ginis(policies.cost, scores)
    drawn = []
    for _ in range(400):
        rows = rng.integers(0, 3_000, 3_000)
        drawn.append([gini(policies.cost[rows], score[rows]) for score in scores])
    one, other = np.array(drawn).T
    assert found.standard_error(0) == pytest.approx(one.std(), rel=0.12)
    assert found.difference_error(0, 1) == pytest.approx((one - other).std(), rel=0.12)
    assert rank_ginis(policies.cost, [scores[0], scores[0]]).difference_error(0, 1) == 0


@pytest.mark.usefixtures("costs")
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    large = Portfolio(6, 1_000_000)
    truth = [gini(large.cost, large.expected), gini(large.cost, large.blurred)]
    held, held_difference = 0, 0
    for seed in range(200):
        policies = Portfolio(100 + seed, 2_000)
        found = rank_ginis(policies.cost, [policies.expected, policies.blurred])
        interval, difference = found.interval(0, 0.95), found.difference(0, 1, 0.95)
        held += interval.low <= truth[0] <= interval.high
        held_difference += difference.low <= truth[0] - truth[1] <= difference.high
    # About 100 claims, whose costs are skewed: they hold it in about 93 of 100 samples.
    assert 0.9 <= held / 200 <= 0.98
    assert 0.9 <= held_difference / 200 <= 0.98


@pytest.mark.usefixtures("costs")
def test_the_mean_cost_has_the_lowest_deviance() -> None:
    y = np.array([0.0, 0.0, 3.0, 9.0])
    at = {mean: deviances(y, np.full(4, mean)).mean() for mean in (2.5, 3.0, 3.5)}
    assert min(at, key=at.__getitem__) == 3.0
    assert deviances([4.0], [4.0]) == pytest.approx([0.0])
    # By its definition for power 1.5: 4 (sqrt y - sqrt mu)^2 / sqrt mu.
    assert deviances([4.0], [1.0]) == pytest.approx([4.0])
    assert np.isfinite(deviances([5.0], [0.0])).all()


@pytest.mark.usefixtures("costs")
def test_calibration_is_judged_by_how_much_costs_vary(policies: Portfolio) -> None:
    good = calibration_table(policies.cost, policies.expected)
    mean, deviation = calibration_error_by_chance(good)
    assert good.error < mean + 3 * deviation
    off = calibration_table(policies.cost, 1.5 * policies.expected)
    assert off.error > mean + 10 * deviation
    assert calibration_interval(off, 0.95).low > good.error
    assert lift_by_decile(policies.cost, policies.expected)[0] > 1.5


@pytest.mark.usefixtures("costs")
def test_costs_that_cannot_be_are_refused() -> None:
    for wrong in ([-1.0, 2.0], [np.nan, 2.0], [np.inf, 2.0]):
        with pytest.raises(DataError, match="other than finite numbers from 0"):
            checked(wrong, [1.0, 2.0])
    with pytest.raises(DataError, match="the same target"):
        gini([3.0, 3.0], [1.0, 2.0])
    with pytest.raises(DataError, match="1 of 3 rows have a claim"):
        rank_ginis([0.0, 3.0, 0.0], [[1.0, 2.0, 3.0]])


@pytest.mark.usefixtures("costs")
def test_a_good_model_is_promoted_and_a_better_one_after_it(policies: Portfolio) -> None:
    first = decide(policies, policies.blurred)
    assert first.promote, failed(first)
    assert set(first.challenger.metrics) == {
        "gini",
        "deviance",
        "squared_error",
        "calibration_error",
    }
    assert first.claims == np.count_nonzero(policies.cost)
    second = decide(policies, policies.expected, policies.blurred)
    assert second.promote, failed(second)
    assert second.comparison is not None
    assert second.comparison["deviance_difference"].high < 0
    assert "against_champion" in failed(decide(policies, policies.blurred, policies.expected))


@pytest.mark.usefixtures("costs")
def test_a_model_is_judged_where_every_row_costs_something(policies: Portfolio) -> None:
    sure = Portfolio(7)
    sure.cost = sure.expected * np.random.default_rng(8).gamma(2.0, 0.5, SIZE)
    assert "enough_claims" not in failed(decide(sure, sure.expected))
    assert decide(sure, sure.expected).slices[0].judged is not None


@pytest.mark.usefixtures("costs")
@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        (lambda p: np.full(SIZE, 100.0), "usable_scores", "Every row got the same score"),
        (lambda p: p.blurred - 150, "usable_scores", "outside 0 to infinity"),
        (lambda p: np.where(p.risk > 2, np.inf, p.blurred), "usable_scores", "not finite"),
        (lambda p: 10_000 / p.blurred, "minimum_gini", "wrong way round"),
        (lambda p: p.cost + p.blurred, "plausible_gini", "knows the outcome"),
        (lambda p: 1.4 * p.blurred, "claim_rate", "in claims where"),
        (lambda p: 100 * (p.blurred / 100) ** 3, "calibration", "Calibration error"),
    ],
)
def test_the_gate_refuses(policies: Portfolio, change: Any, check: str, words: str) -> None:
    assert words in failed(decide(policies, change(policies)))[check]


@pytest.mark.usefixtures("costs")
def test_a_forecast_has_to_beat_the_naive_one(policies: Portfolio) -> None:
    good = decide(policies, policies.blurred, naive=100.0)
    assert good.promote, failed(good)
    assert any("better than the naive one, the 100.00 of" in reason for reason in good.reasons)
    luck = decide(policies, np.random.default_rng(1).permutation(policies.blurred), naive=100.0)
    assert "not shown to be better" in failed(luck)["better_than_naive"]
    late = decide(policies, 0.1 * policies.blurred, naive=100.0)
    assert "levels may have moved" in failed(late)["better_than_naive"]


@pytest.mark.usefixtures("costs")
def test_card_and_plots_speak_of_costs(policies: Portfolio, tmp_path: Any) -> None:
    decision = decide(policies, policies.expected, policies.blurred, naive=100.0).to_json()
    decision["champion"] |= {"version": 1}
    plots = draw_plots(policies.cost, {"challenger": policies.expected}, tmp_path)
    assert "gains.png" in plots and "roc.png" not in plots
    assert all((tmp_path / plot).read_bytes()[1:4] == b"PNG" for plot in plots)
    parts = {"train": [1, 8], "validation": [9, 10], "holdout": [11, 12]}
    dataset = {
        "data": {"name": "d", "version": 1, "rows": 3, "claim_rate": 0.04, "sha256": "ab"},
        "split": load_parameters().split.model_dump(),
        "rows": {"train": 1, "validation": 1, "holdout": 1},
        "schema_version": schema.SCHEMA_VERSION,
        "periods": {**parts, "naive": 100.0},
    }
    card = model_card("costs", decision, {"sha256": "cd"}, dataset, plots)
    assert "insurance claims of the next year cost on average" in card
    assert "Tweedie deviance" in card and "AUC" not in card and "probability" not in card
    assert "1 to 8 for train, 9 to 10 for validation, 11 to 12 for holdout" in card


def test_a_model_is_not_judged_on_periods_that_it_was_trained_on() -> None:
    split = load_parameters().split.model_dump()
    manifest = {"split": split, "periods": {"holdout": [11, 12]}}
    holdout = Holdout(np.zeros((1, 57)), np.zeros(1), manifest)
    earlier, later = (
        SimpleNamespace(metadata={"split": split, "periods": {"validation": [9, last]}})
        for last in (10, 11)
    )
    refuse_another_split("the champion", earlier, holdout)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="up to 11, the holdout begins with 11"):
        refuse_another_split("the champion", later, holdout)  # type: ignore[arg-type]
