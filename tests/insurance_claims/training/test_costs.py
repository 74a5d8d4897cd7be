"""How the number of rounds is chosen where costs are predicted, now or of later periods."""

from __future__ import annotations

import numpy as np
import pytest

from insurance_claims import schema
from insurance_claims.errors import DataError
from insurance_claims.parameters import TrainingParameters, load_parameters
from insurance_claims.training.recipe import (
    Rounds,
    check_settings,
    expanding_folds,
    refuse_one_class,
    stratified_folds,
)
from insurance_claims.training.train import TrainingRows, train

PERIODS = np.tile(np.arange(1.0, 7.0), 50)
COSTS = np.where(np.arange(300) % 5 == 0, 500.0, 0.0)


def test_each_of_the_newest_periods_is_judged_by_those_before_it() -> None:
    folds = expanding_folds(PERIODS, COSTS, 3)
    assert [set(PERIODS[judge]) for _, judge in folds] == [{4.0}, {5.0}, {6.0}]
    for learn, judge in folds:
        assert PERIODS[learn].max() == PERIODS[judge].min() - 1
        assert PERIODS[learn].min() == 1
    # The first period has none before it.
    assert len(expanding_folds(PERIODS, COSTS, 10)) == 5


def test_a_period_without_a_claim_judges_nothing() -> None:
    with pytest.raises(DataError, match="period 5, or all before it, hold"):
        expanding_folds(PERIODS, np.where(PERIODS == 5, 0.0, COSTS), 3)


@pytest.mark.usefixtures("costs")
def test_folds_have_equal_shares_of_claims_and_need_no_row_without() -> None:
    folds = stratified_folds(COSTS, 5, seed=1)
    assert {int((COSTS[judge] > 0).sum()) for _, judge in folds} == {12}
    assert len(stratified_folds(COSTS + 1, 5, seed=1)) == 5
    with pytest.raises(DataError, match="hold 3 claims, too few for 5 folds"):
        stratified_folds(np.where(np.arange(300) < 3, 1.5, 0.0), 5, seed=1)


@pytest.mark.usefixtures("costs")
def test_a_split_without_a_claim_is_refused() -> None:
    refuse_one_class(5, 5)
    with pytest.raises(DataError, match="validation split holds no claim"):
        refuse_one_class(0, 5)


@pytest.mark.usefixtures("costs")
def test_costs_are_learnt_and_their_rounds_chosen_by_their_loss() -> None:
    rng = np.random.default_rng(1)
    features = rng.integers(0, 2, (4_000, len(schema.FEATURE_NAMES))).astype(np.float64)
    dear = schema.FEATURE_NAMES.index("ps_ind_06_bin")
    cost = np.where(rng.random(4_000) < 0.2, rng.gamma(2, 50 + 400 * features[:, dear]), 0.0)
    parameters = load_parameters().training
    parameters = parameters.model_copy(
        update={"learning_rate": 0.2, "max_rounds": 40, "early_stopping_rounds": 10, "folds": 3}
    )
    check_settings(parameters)
    rows = TrainingRows(features, cost, np.arange(4_000) % 5 == 0)
    model = train(rows, parameters, lambda line: None)
    assert "\nobjective=tweedie\n" in model.text
    assert "[tweedie_variance_power: 1.5]" in model.text
    assert next(iter(model.importance)) == "ps_ind_06_bin"
    assert set(model.rounds.metrics) == {"tweedie_loss"}
    curve = model.rounds.curves["tweedie_loss"]
    assert model.rounds.best == 1 + int(np.argmin(curve)) > 1


def test_metrics_of_costs_have_no_auc() -> None:
    rounds = Rounds(2, "validation", {"tweedie_loss": [3.0, 2.0, 2.5]}, auc_std=0.0)
    assert rounds.metrics == {"tweedie_loss": 2.0}


def test_the_power_of_the_costs_distribution_is_the_recipes() -> None:
    content = load_parameters().training.model_dump()
    content["lightgbm"] |= {"tweedie_variance_power": 1.2}
    with pytest.raises(ValueError, match="lightgbm sets tweedie_variance_power"):
        TrainingParameters(**content)
