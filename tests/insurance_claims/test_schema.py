"""What the data contract says of a column."""

from __future__ import annotations

from dataclasses import replace

import pytest

from insurance_claims import schema
from insurance_claims.data.marginals import _support
from insurance_claims.problem import Problem
from insurance_claims.schema import BY_NAME, is_whole
from insurance_claims.scoring import request


def test_a_range_below_zero_is_kept() -> None:
    column = replace(BY_NAME["ps_reg_01"], minimum=-0.5)
    assert column.lower == pytest.approx(-0.505)
    assert _support(column)[[0, -1]].tolist() == [-0.5, 0.9]
    assert BY_NAME["ps_reg_01"].lower == 0


def test_a_request_may_go_as_far_below_zero_as_above(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [replace(column) for column in schema.FEATURES]
    place = schema.FEATURE_NAMES.index("ps_reg_01")
    columns[place] = replace(columns[place], minimum=-0.5)
    monkeypatch.setattr(schema, "FEATURES", tuple(columns))
    lower, upper = request.bounds.__wrapped__(2.0)
    assert (lower[place], upper[place]) == (-1.0, 1.8)
    assert lower[schema.FEATURE_NAMES.index("ps_reg_03")] == 0


def test_classes_are_whole_and_costs_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_whole(schema.ID) and is_whole("ps_ind_01") and not is_whole("ps_reg_01")
    monkeypatch.setattr(schema, "PROBLEM", Problem.CLASSIFICATION)
    assert is_whole(schema.TARGET)
    monkeypatch.setattr(schema, "PROBLEM", Problem.REGRESSION)
    assert not is_whole(schema.TARGET)
