"""Data whose target is what claims cost, and data of many periods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from insurance_claims import schema
from insurance_claims.data import signal
from insurance_claims.data.content import read_version, write_version
from insurance_claims.data.contract import value_rules
from insurance_claims.data.split import HOLDOUT, TRAIN, VALIDATION, assign_periods, split_table
from insurance_claims.data.synthesize import synthesize
from insurance_claims.data.validate import canonical, validate
from insurance_claims.errors import DataError
from insurance_claims.parameters import SplitParameters
from insurance_claims.problem import Problem

MakeTable = Callable[..., pd.DataFrame]
SPLIT = SplitParameters(salt="claims", holdout=0.2, validation=0.16)


def with_costs(table: pd.DataFrame, costs: Any) -> pd.DataFrame:
    return table.assign(**{schema.TARGET: costs})


@pytest.mark.usefixtures("costs")
def test_costs_keep_the_contract_and_their_cents(table: pd.DataFrame) -> None:
    costs = np.where(np.arange(len(table)) % 4 == 0, 1234.56, 0.0)
    priced = with_costs(table, costs)
    assert validate(priced).ok, validate(priced).describe()
    assert canonical(priced)[schema.TARGET].tolist() == costs.tolist()
    # Whole amounts are amounts too.
    assert canonical(with_costs(table, costs.astype(np.int64)))[schema.TARGET].dtype == np.float64


@pytest.mark.usefixtures("costs")
@pytest.mark.parametrize("wrong", [-0.01, np.inf, np.nan, "much"])
def test_what_no_claim_costs_is_refused(table: pd.DataFrame, wrong: Any) -> None:
    costs = [wrong, *([0.0, 99.5] * len(table))[: len(table) - 1]]
    report = validate(with_costs(table, costs))
    assert [(found.column, found.example_rows) for found in report.problems] == [
        (schema.TARGET, (1,))
    ]


@pytest.mark.usefixtures("costs")
def test_equal_costs_teach_nothing(table: pd.DataFrame) -> None:
    assert "nothing can be learnt" in validate(with_costs(table, 0.0)).describe()
    assert validate(with_costs(table, 0.0), require_target=False).ok


@pytest.mark.usefixtures("costs")
def test_each_value_of_a_drop_is_judged_as_a_cost() -> None:
    [rule] = value_rules(schema.TARGET)
    assert rule.broken(np.array([0.0, 0.5, 3.0, -1.0])).tolist() == [False, False, False, True]


@pytest.mark.usefixtures("costs")
def test_each_part_needs_a_claim_and_may_have_nothing_else(table: pd.DataFrame) -> None:
    parts = split_table(with_costs(table, np.arange(1.0, len(table) + 1)), SPLIT)
    assert {len(part) > 0 for part in parts.values()} == {True}
    with pytest.raises(
        DataError, match="each part of the split needs rows with a claim: train has 0"
    ):
        split_table(with_costs(table, 0.0), SPLIT)


def test_customers_are_the_same_whatever_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "PROBLEM", Problem.CLASSIFICATION)
    classes, chance = synthesize(20_000, 3)
    monkeypatch.setattr(schema, "PROBLEM", Problem.REGRESSION)
    costs, expected = synthesize(20_000, 3)
    same = [schema.ID, *schema.FEATURE_NAMES]
    pd.testing.assert_frame_equal(classes[same], costs[same])
    target = costs[schema.TARGET]
    assert ((target > 0) == (classes[schema.TARGET] == 1)).all()
    assert target.dtype == np.float64 and (target.round(2) == target).all()
    claims = target[target > 0]
    error = claims.std() / np.sqrt(len(claims))
    drawn = (expected / chance)[target > 0].mean()
    assert claims.mean() == pytest.approx(drawn, abs=4 * error)
    assert 0.6 < (claims / (expected / chance)[target > 0]).std() < 0.8


def test_claims_of_a_dear_car_cost_more_and_later_ones_too() -> None:
    table, _ = synthesize(2_000, 1)
    columns = {name: table[name].to_numpy() for name in schema.FEATURE_NAMES}
    dear = signal.mean_cost({**columns, "ps_car_13": columns["ps_car_13"] * 2})
    assert (dear >= signal.mean_cost(columns)).all() and dear.mean() > 1000
    level = signal.level(np.arange(1, 13))
    assert (level[4:] > level[:-4]).all() and 0.9 < level.mean() < 1.1


def test_the_newest_periods_are_held_out() -> None:
    periods = np.repeat(np.arange(1, 13), 100)
    labels = assign_periods(np.random.default_rng(1).permutation(periods), SPLIT)
    assert {part: int((labels == part).sum()) for part in (TRAIN, VALIDATION, HOLDOUT)} == {
        TRAIN: 800,
        VALIDATION: 200,
        HOLDOUT: 200,
    }
    labels = assign_periods(periods, SPLIT)
    last = {part: int(periods[labels == part].max()) for part in (TRAIN, VALIDATION, HOLDOUT)}
    assert last == {TRAIN: 8, VALIDATION: 10, HOLDOUT: 12}


def test_periods_stay_whole_whatever_their_size() -> None:
    periods = np.repeat([3, 7, 8, 20], [10, 500, 3, 700])
    labels = assign_periods(periods, SPLIT)
    assert [len(set(labels[periods == one])) for one in (3, 7, 8, 20)] == [1, 1, 1, 1]
    assert set(labels[periods == 20]) == {HOLDOUT} and set(labels[periods == 3]) == {TRAIN}
    assert assign_periods(np.array([5, 6, 7]), SPLIT).tolist() == [TRAIN, VALIDATION, HOLDOUT]


@pytest.mark.parametrize("periods", [[1, 1, 2], [4, 4, 4]])
def test_too_few_periods_are_refused(periods: list[int]) -> None:
    with pytest.raises(DataError, match=r"the data has [12] periods? \(.*takes 3 at least"):
        assign_periods(np.array(periods), SPLIT)


def test_a_forecast_needs_a_period(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "PROBLEM", Problem.FORECASTING)
    monkeypatch.setattr(schema, "PERIOD", None)
    with pytest.raises(DataError, match="names no PERIOD"):
        split_table(table, SPLIT)


def test_a_version_of_another_kind_of_target_is_not_taken_for_damage(
    make_table: MakeTable, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"name": "claims", "version": 1, "created": "2026-01-02T03:04:05Z", "source": "a.csv"}
    monkeypatch.setattr(schema, "PROBLEM", Problem.CLASSIFICATION)
    write_version(make_table(50), tmp_path, **facts)  # type: ignore[arg-type]
    monkeypatch.setattr(schema, "PROBLEM", Problem.REGRESSION)
    with pytest.raises(DataError, match=r"other columns than schema.py names now \(target\)"):
        read_version(tmp_path)
