"""Drift of features: what moved is found, what did not is left alone."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.data.synthesize import synthesize
from insurance_claims.drift.features import SCORE, FeatureDrift, compare
from insurance_claims.parameters import load_parameters

LIMITS = load_parameters().monitoring
Values = dict[str, NDArray[np.float64]]


@cache
def _rows(count: int, seed: int, shift: float = 0.0) -> Values:
    table, truth = synthesize(count, seed, shift=shift)
    values = {name: table[name].to_numpy(dtype=float) for name in schema.FEATURE_NAMES}
    return {**values, SCORE: truth}


def _changed(name: str, values: NDArray[np.float64]) -> list[FeatureDrift]:
    return compare(_rows(16_000, 1), {**_rows(3_000, 2), name: values}, LIMITS)


def _drifted(found: list[FeatureDrift]) -> dict[str, tuple[str, ...]]:
    return {item.feature: item.reasons for item in found if item.drifted}


@pytest.mark.parametrize("rows", [300, 3_000, 15_000])
def test_rows_of_the_same_law_do_not_drift(rows: int) -> None:
    found = compare(_rows(16_000, 1), _rows(rows, 3), LIMITS)
    assert [item.feature for item in found] == [SCORE, *schema.FEATURE_NAMES]
    assert _drifted(found) == {}
    # No large difference is declared real: the chance of any is alpha.
    assert min(item.p_value for item in found) > LIMITS.alpha
    psi = np.array([item.psi.value for item in found])
    assert psi.mean() == pytest.approx(np.mean([item.psi.expected for item in found]), rel=0.3)


def test_a_shift_of_the_population_is_found_where_it_is() -> None:
    drifted = _drifted(compare(_rows(16_000, 1), _rows(3_000, 2, 1.0), LIMITS))
    assert {"ps_reg_02", "ps_reg_03", SCORE} <= drifted.keys()
    assert not [name for name in drifted if name.startswith("ps_calc")]


def test_one_feature_that_moved_is_found_alone() -> None:
    values = _rows(3_000, 2)["ps_car_13"] * 1.2
    drifted = _drifted(_changed("ps_car_13", values))
    assert drifted.keys() == {"ps_car_13"}
    assert any(reason.startswith("PSI") for reason in drifted["ps_car_13"])


def test_missing_values_are_found_and_counted() -> None:
    values = _rows(3_000, 2)["ps_reg_03"].copy()
    values[:1_000] = schema.MISSING
    found = {item.feature: item for item in _changed("ps_reg_03", values)}["ps_reg_03"]
    assert found.reference_missing == pytest.approx(0.18, abs=0.02)
    assert found.missing.value > 0.2
    assert any("missing in" in reason for reason in found.reasons)
    assert found.bins[-1] == "missing" and len(found.bins) == len(found.window_shares)


def test_a_feature_without_any_value_left_is_found() -> None:
    found = _changed("ps_reg_03", np.full(3_000, float(schema.MISSING)))
    by_name = {item.feature: item for item in found}
    assert by_name["ps_reg_03"].ks is None and by_name["ps_reg_03"].drifted


def test_new_categories_are_found() -> None:
    reference = _rows(16_000, 1)
    known = reference["ps_car_04_cat"]
    without = {**reference, "ps_car_04_cat": np.where(known == 9, 0, known)}
    values = _rows(3_000, 2)["ps_car_04_cat"].copy()
    values[:60] = 9
    found = {item.feature: item for item in compare(without, {"ps_car_04_cat": values}, LIMITS)}
    item = found["ps_car_04_cat"]
    assert item.new_values >= 0.02
    assert any("never seen before" in reason for reason in item.reasons)
    assert sum(item.window_shares) == pytest.approx(1.0)


def test_a_large_difference_of_few_rows_may_be_chance() -> None:
    few = {name: values[:40] for name, values in _rows(3_000, 2).items()}
    found = compare(_rows(16_000, 1), few, LIMITS)
    assert max(item.psi.value for item in found) > LIMITS.psi
    assert _drifted(found) == {}


def test_a_real_difference_that_is_small_is_no_alarm() -> None:
    values = _rows(15_000, 2)["ps_car_13"] * 1.02
    found = compare(_rows(16_000, 1), {"ps_car_13": values}, LIMITS)
    assert found[0].p_value < LIMITS.alpha and not found[0].drifted


def test_features_that_were_not_kept_are_left_out() -> None:
    found = compare(_rows(16_000, 1), {"ps_ind_01": _rows(3_000, 2)["ps_ind_01"]}, LIMITS)
    assert [item.feature for item in found] == ["ps_ind_01"]
