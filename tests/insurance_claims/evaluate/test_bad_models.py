"""Models that went wrong in the ways that models go wrong, trained for real: refused every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.evaluate.gate import Decision, judge
from insurance_claims.parameters import load_parameters

Floats = NDArray[np.float64]
LIMITS = load_parameters().gate
SEEDS = range(3)


@pytest.fixture(scope="module")
def verdict(
    customers: Any, good_model: lgb.Booster, score: Callable[[lgb.Booster], Floats]
) -> Callable[..., Decision]:
    """Judges scores, or a model, against the good model or alone."""
    champion = score(good_model)

    def decide(challenger: lgb.Booster | Floats, alone: bool = False) -> Decision:
        scores = score(challenger) if isinstance(challenger, lgb.Booster) else challenger
        against = None if alone else champion
        return judge(customers.outcome, customers.groups, scores, against, 0.1, LIMITS)

    return decide


def _failed(decision: Decision) -> set[str]:
    return {check.name for check in decision.checks if not check.passed}


def test_the_good_model_passes_alone(
    good_model: lgb.Booster, verdict: Callable[..., Decision]
) -> None:
    decision = verdict(good_model, alone=True)
    assert decision.promote, decision.reasons


def test_the_good_model_beats_one_of_few_features(
    customers: Any,
    good_model: lgb.Booster,
    score: Callable[[lgb.Booster], Floats],
) -> None:
    blind = customers.features.copy()
    blind[:, : len(schema.FEATURE_NAMES) // 2] = 0
    champion = score(customers.train(blind, customers.target))
    challenger = score(good_model)
    decision = judge(customers.outcome, customers.groups, challenger, champion, 0.1, LIMITS)
    assert decision.promote, decision.reasons


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("alone", [True, False])
def test_shuffled_labels(
    seed: int, alone: bool, customers: Any, verdict: Callable[..., Decision]
) -> None:
    shuffled = np.random.default_rng(seed).permutation(customers.target)
    failed = _failed(verdict(customers.train(customers.features, shuffled), alone))
    assert "minimum_gini" in failed
    assert alone or "against_champion" in failed


@pytest.mark.parametrize("alone", [True, False])
def test_inverted_scores(
    alone: bool,
    customers: Any,
    good_model: lgb.Booster,
    score: Callable[[lgb.Booster], Floats],
    verdict: Callable[..., Decision],
) -> None:
    scores = score(good_model)
    for inverted in (1 - scores, scores.max() + scores.min() - scores):
        assert {"minimum_gini", "better_than_chance"} <= _failed(verdict(inverted, alone))
    turned = score(customers.train(customers.features, 1 - customers.target))
    assert {"minimum_gini", "claim_rate"} <= _failed(verdict(turned, alone))


@pytest.mark.parametrize("alone", [True, False])
def test_a_constant(alone: bool, customers: Any, verdict: Callable[..., Decision]) -> None:
    never_split = customers.train(customers.features, customers.target, min_data_in_leaf=40_000)
    assert _failed(verdict(never_split, alone)) == {"usable_scores"}
    assert _failed(verdict(np.zeros(customers.outcome.size), alone)) == {"usable_scores"}


@pytest.mark.parametrize("seed", SEEDS)
def test_trained_on_one_percent_of_the_data(
    seed: int, customers: Any, verdict: Callable[..., Decision]
) -> None:
    size = customers.target.size
    few = np.random.default_rng(seed).choice(size, size // 100, replace=False)
    starved = customers.train(customers.features[few], customers.target[few], seed=seed)
    assert "against_champion" in _failed(verdict(starved))
    assert not verdict(starved, alone=True).promote


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("alone", [True, False])
def test_a_feature_that_leaked_the_outcome_in_training(
    seed: int, alone: bool, customers: Any, verdict: Callable[..., Decision]
) -> None:
    """ps_calc_04 is set after the claim in the training rows, and honest at judgement."""
    place = schema.FEATURE_NAMES.index("ps_calc_04")
    rng = np.random.default_rng(seed)
    leaky = customers.features.copy()
    known = rng.random(customers.target.size) < 0.9
    leaky[:, place] = np.where(known, 5 * customers.target, leaky[:, place])
    failed = _failed(verdict(customers.train(leaky, customers.target, seed=seed), alone))
    assert failed & {"minimum_gini", "expected_gini", "claim_rate", "calibration"}
    assert alone or "against_champion" in failed


@pytest.mark.parametrize("alone", [True, False])
def test_a_feature_that_leaks_the_outcome_at_judgement_too(
    alone: bool, customers: Any, verdict: Callable[..., Decision]
) -> None:
    place = schema.FEATURE_NAMES.index("ps_calc_04")
    leaky, holdout = customers.features.copy(), customers.holdout.copy()
    leaky[:, place] = np.where(customers.target == 1, 5, leaky[:, place])
    holdout[:, place] = np.where(customers.outcome == 1, 5, holdout[:, place])
    model = customers.train(leaky, customers.target)
    assert "plausible_gini" in _failed(verdict(np.asarray(model.predict(holdout)), alone))


@pytest.mark.parametrize("alone", [True, False])
def test_classes_weighted_in_training(
    alone: bool, customers: Any, verdict: Callable[..., Decision]
) -> None:
    weighted = customers.train(customers.features, customers.target, is_unbalance=True)
    assert {"claim_rate", "calibration"} <= _failed(verdict(weighted, alone))
