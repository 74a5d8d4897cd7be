"""The parts of the recipe that have no need of a dataset."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from insurance_claims.errors import DataError
from insurance_claims.parameters import load_parameters
from insurance_claims.training.importance import importance
from insurance_claims.training.recipe import Rounds, check_settings, stratified_folds

TARGET = (np.arange(1000) % 25 == 0).astype(np.float64)


def test_folds_judge_every_row_once_with_equal_shares_of_claims() -> None:
    folds = stratified_folds(TARGET, 5, seed=1)
    assert len(folds) == 5
    assert sorted(np.concatenate([judge for _, judge in folds])) == list(range(1000))
    for learn, judge in folds:
        assert not set(learn) & set(judge)
        assert len(learn) + len(judge) == 1000
        assert TARGET[judge].sum() == 8


def test_folds_depend_on_the_seed_alone() -> None:
    def judged(seed: int) -> list[int]:
        return [int(row) for row in stratified_folds(TARGET, 5, seed)[0][1]]

    assert judged(1) == judged(1)
    assert judged(1) != judged(2)


@pytest.mark.parametrize(("rows", "what"), [(4, "4 claims"), (996, "4 rows without a claim")])
def test_folds_refuse_a_class_with_fewer_rows_than_folds(rows: int, what: str) -> None:
    target = np.zeros(1000)
    target[:rows] = 1
    with pytest.raises(DataError, match=what):
        stratified_folds(target, 5, seed=1)


def test_shipped_settings_are_known_to_lightgbm() -> None:
    check_settings(load_parameters().training)


def test_metrics_are_those_of_the_best_round() -> None:
    rounds = Rounds(
        2, "validation", {"log_loss": [0.3, 0.1, 0.2], "auc": [0.5, 0.6, 0.7]}, auc_std=0.05
    )
    assert rounds.metrics == pytest.approx(
        {"log_loss": 0.1, "auc": 0.6, "gini": 0.2, "gini_fold_std": 0.1}
    )


def test_importance_of_a_model_without_splits_is_zero() -> None:
    data = lgb.Dataset(np.ones((50, 2)), np.arange(50) % 2)
    booster = lgb.train({"objective": "binary", "verbosity": -1}, data, num_boost_round=1)
    assert set(importance(booster).values()) == {0.0}
