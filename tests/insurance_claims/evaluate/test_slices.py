from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from insurance_claims.evaluate.gate import judge
from insurance_claims.evaluate.intervals import normal_quantile
from insurance_claims.evaluate.slices import Slice, judge_slices
from insurance_claims.parameters import GateParameters, load_parameters

SIZE = 20_000
LIMITS = load_parameters().gate
ONE = GateParameters(**{**LIMITS.model_dump(), "slices": ("ps_car_02_cat",)})


def _people(seed: int) -> tuple[Any, dict[str, NDArray[np.int64]], Any, np.random.Generator]:
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=SIZE)
    target = (rng.random(SIZE) < _probability(risk)).astype(float)
    groups = {
        "ps_ind_05_cat": rng.choice([-1, 0, 6], SIZE, p=[0.005, 0.9, 0.095]),
        "ps_ind_16_bin": rng.integers(0, 2, SIZE),
        "ps_car_02_cat": (rng.random(SIZE) < 0.8).astype(np.int64),
    }
    return target, groups, risk, rng


def _probability(risk: Any) -> Any:
    return 1 / (1 + np.exp(3.4 - 0.6 * risk))


def _by_name(slices: tuple[Slice, ...]) -> dict[str, Slice]:
    return {item.name: item for item in slices}


def test_every_value_is_a_slice_and_small_ones_are_skipped_and_listed() -> None:
    target, groups, risk, _ = _people(1)
    found = judge_slices(target, groups, _probability(risk), None, LIMITS)
    named = _by_name(found)
    assert list(named)[:3] == ["ps_ind_05_cat = missing", "ps_ind_05_cat = 0", "ps_ind_05_cat = 6"]
    small = named["ps_ind_05_cat = missing"]
    assert small.claims < LIMITS.minimum_slice_claims and small.judged is None and small.passed
    assert small.to_json()["skipped"] and small.to_json()["challenger"] is None
    decision = judge(target, groups, _probability(risk), None, 0.1, LIMITS)
    worst = next(check for check in decision.checks if check.name == "worst_slice")
    assert "1 of 7 slices have fewer than 30 claims and were skipped" in worst.reason


def test_intervals_are_widened_for_the_number_of_judged_slices() -> None:
    target, groups, risk, _ = _people(2)
    one = judge_slices(target, groups, _probability(risk), None, ONE)
    all_of_them = judge_slices(target, groups, _probability(risk), None, LIMITS)
    narrow = _by_name(one)["ps_car_02_cat = 1"].challenger
    wide = _by_name(all_of_them)["ps_car_02_cat = 1"].challenger
    assert narrow is not None and wide is not None
    judged = sum(item.judged is not None for item in all_of_them)
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(
        normal_quantile(1 - 0.05 / judged) / normal_quantile(1 - 0.05 / 2)
    )


def test_a_slice_that_is_harmed_refuses_a_challenger_that_is_better_over_all() -> None:
    target, groups, risk, rng = _people(3)
    champion = _probability(0.5 * risk + 0.5 * rng.normal(size=SIZE))
    challenger = _probability(risk)
    harmed = groups["ps_car_02_cat"] == 0
    assert judge(target, groups, challenger, champion, 0.1, LIMITS).promote
    challenger[harmed] = rng.permutation(challenger[harmed])
    champion[harmed] = _probability(risk[harmed])
    decision = judge(target, groups, challenger, champion, 0.1, LIMITS)
    named = _by_name(decision.slices)
    assert not named["ps_car_02_cat = 0"].passed
    assert named["ps_car_02_cat = 1"].passed
    reason = next(check for check in decision.checks if check.name == "worst_slice").reason
    assert "Slices that fail: ps_car_02_cat = 0" in reason


def test_without_a_champion_a_slice_in_the_wrong_order_is_refused() -> None:
    target, groups, risk, _ = _people(4)
    scores = _probability(risk)
    turned = groups["ps_car_02_cat"] == 0
    scores[turned] = _probability(-risk[turned])
    named = _by_name(judge_slices(target, groups, scores, None, LIMITS))
    assert [name for name, item in named.items() if not item.passed] == ["ps_car_02_cat = 0"]


def test_a_loss_that_may_be_chance_or_is_allowed_does_not_count() -> None:
    refused = 0
    for seed in range(60):
        target, groups, risk, rng = _people(100 + seed)
        models = [_probability(risk + rng.normal(scale=0.4, size=SIZE)) for _ in range(2)]
        found = judge_slices(target, groups, models[0], models[1], LIMITS)
        assert sum(item.judged is not None for item in found) >= 5
        refused += not all(item.passed for item in found)
    assert refused <= 3


def test_the_loss_said_to_be_noticed_is_noticed_four_times_in_five() -> None:
    """A slice whose true Gini lies exactly at ``noticed``, judged with the slice's own error."""
    target, groups, risk, rng = _people(5)
    models = [_probability(risk + rng.normal(scale=0.4, size=SIZE)) for _ in range(2)]
    for item in judge_slices(target, groups, models[0], models[1], ONE):
        assert item.difference is not None and item.noticed is not None and item.limit is not None
        reach = item.difference.high - item.difference.value
        error = reach / normal_quantile(1 - 0.05 / 2)
        drawn = rng.normal(item.noticed, error, 4_000) + reach
        assert np.mean(drawn < item.limit) == pytest.approx(0.8, abs=0.03)


def test_nothing_is_judged_where_no_slice_has_enough_claims() -> None:
    target, groups, risk, _ = _people(6)
    strict = GateParameters(**{**LIMITS.model_dump(), "minimum_slice_claims": 10_000})
    decision = judge(target, groups, _probability(risk), None, 0.1, strict)
    worst = next(check for check in decision.checks if check.name == "worst_slice")
    assert worst.passed and "No slice was judged" in worst.reason


def test_a_slice_of_claims_only_is_skipped() -> None:
    target, groups, risk, _ = _people(7)
    target[groups["ps_ind_05_cat"] == -1] = 1
    found = judge_slices(target, groups, _probability(risk), None, LIMITS)
    assert _by_name(found)["ps_ind_05_cat = missing"].judged is None
