"""The contract: what it lets pass, and what it says of everything else."""

from __future__ import annotations

import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insurance_claims import schema
from insurance_claims.data.load import read_table
from insurance_claims.data.validate import Problem, canonical, check, validate
from insurance_claims.errors import DataError

MakeTable = Callable[..., pd.DataFrame]


def _only(table: pd.DataFrame, require_target: bool = True) -> Problem:
    """The one problem of a table, which must refuse it."""
    report = validate(table, require_target)
    assert not report.ok
    assert len(report.problems) == 1, report.describe()
    with pytest.raises(DataError, match=report.problems[0].column):
        check(table, require_target)
    return report.problems[0]


def _spoil(table: pd.DataFrame, column: str, values: dict[int, Any]) -> pd.DataFrame:
    """Other values in some data rows, the first of which is 1."""
    changed = table[column].astype(object)
    for row, value in values.items():
        changed.iloc[row - 1] = value
    return table.assign(**{column: changed.infer_objects()})


def test_a_valid_table_has_no_problem(table: pd.DataFrame) -> None:
    report = validate(table)
    assert report.ok and report.rows == 200 and not report.warnings
    assert report.describe() == "200 rows: valid"


def test_the_real_rows_are_valid(real_data: Path) -> None:
    table = read_table(real_data)
    report = validate(table)
    assert report.ok, report.describe()
    assert report.rows == len(table) == 15_000
    assert not report.warnings


def test_every_limit_itself_is_legal(make_table: MakeTable) -> None:
    table = make_table(2)
    for feature in schema.FEATURES:
        table[feature.name] = [feature.minimum, feature.maximum]
    assert validate(table).ok


@pytest.mark.parametrize("feature", schema.FEATURES, ids=lambda feature: feature.name)
def test_every_feature_has_all_its_rules(make_table: MakeTable, feature: schema.Column) -> None:
    table = make_table(20)
    for value in (feature.maximum + 1, -2, np.inf, -np.inf):
        problem = _only(_spoil(table, feature.name, {3: value}))
        assert problem.rule == ("category" if feature.name[-3:] in ("bin", "cat") else "range")
        assert (problem.column, problem.rows, problem.example_rows) == (feature.name, 1, (3,))
    assert _only(_spoil(table, feature.name, {3: "x"})).rule == "number"
    assert _only(_spoil(table, feature.name, {3: None})).rule == "missing value"
    missing = _spoil(table, feature.name, {3: -1})
    if feature.missing_allowed:
        assert validate(missing).ok
    else:
        assert _only(missing).rule == "missing not allowed"
    fraction = _spoil(table, feature.name, {3: feature.maximum - 0.5})
    if feature.is_integer:
        assert _only(fraction).rule == "whole number"
    else:
        assert validate(_spoil(table, feature.name, {3: feature.maximum - 0.01})).ok


@pytest.mark.parametrize("name", schema.COLUMNS)
def test_no_column_may_be_missing(make_table: MakeTable, name: str) -> None:
    problem = _only(make_table(20).drop(columns=name))
    assert (problem.column, problem.rule, problem.rows) == (name, "column", 0)


def test_all_problems_are_told_at_once(table: pd.DataFrame) -> None:
    table = table.drop(columns="ps_calc_14")
    table = _spoil(table, "id", {5: 7})
    table = _spoil(table, "ps_ind_01", {2: "two", 4: "?"})
    table = _spoil(table, "ps_ind_02_cat", {1: 9})
    table = _spoil(table, "ps_reg_03", {9: np.nan, 10: 99.5})
    report = validate(table)
    assert [(p.column, p.rule, p.rows, p.example_rows) for p in report.problems] == [
        ("id", "unique", 2, (1, 5)),
        ("ps_ind_01", "number", 2, (2, 4)),
        ("ps_ind_02_cat", "category", 1, (1,)),
        ("ps_reg_03", "missing value", 1, (9,)),
        ("ps_reg_03", "range", 1, (10,)),
        ("ps_calc_14", "column", 0, ()),
    ]
    text = report.describe()
    assert text.splitlines()[0] == "200 rows: 6 problems"
    assert len(text.splitlines()) == 7
    assert (
        "ps_ind_01: 2 rows hold text where a number is expected (row 2: 'two', row 4: '?')" in text
    )
    assert "expected a whole number from 1 to 4, or -1 where it is missing (row 1: 9)" in text
    with pytest.raises(DataError) as caught:
        check(table)
    assert text in str(caught.value)


def test_examples_are_few_and_the_count_is_exact(table: pd.DataFrame) -> None:
    problem = _only(_spoil(table, "ps_ind_03", {row: 50 + row for row in range(11, 200)}))
    assert problem.rows == 189
    assert problem.example_rows == (11, 12, 13, 14, 15)
    assert problem.example_values == (61, 62, 63, 64, 65)
    assert problem.message.endswith("row 15: 65, ...)")


def test_one_value_breaks_one_rule_and_long_values_are_cut(table: pd.DataFrame) -> None:
    problem = _only(_spoil(table, "ps_ind_06_bin", {3: "x" * 10_000}))
    assert len(problem.message) < 200


def test_rows_are_numbered_by_place_whatever_the_index(table: pd.DataFrame) -> None:
    table = _spoil(table, "ps_ind_03", {4: -7})
    assert _only(table.set_index(np.arange(200)[::-1])).example_rows == (4,)
    assert _only(table.set_index(np.zeros(200, dtype=int))).example_rows == (4,)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (-1, "range"),
        (7.5, "whole number"),
        (2.0**60, "range"),
        ("a7", "number"),
        (None, "missing value"),
    ],
)
def test_ids(table: pd.DataFrame, value: Any, rule: str) -> None:
    assert _only(_spoil(table, "id", {6: value})).rule == rule


def test_large_whole_ids_are_exact(table: pd.DataFrame) -> None:
    table["id"] = np.arange(200) + 2**62
    assert validate(table).ok
    assert check(table)["id"].tolist() == [2**62 + row for row in range(200)]


def test_ids_above_what_a_fraction_can_hold(table: pd.DataFrame) -> None:
    ids = (np.arange(200, dtype=np.float64) + 1) * 2.0**54
    assert _only(table.assign(id=ids)).rule == "range"
    unsigned = np.arange(200, dtype=np.uint64) * np.uint64(2**20) + np.uint64(2**63)
    assert _only(table.assign(id=unsigned)).rule == "range"


@pytest.mark.parametrize("value", [2, -1, 0.5, np.inf])
def test_a_target_that_is_neither(table: pd.DataFrame, value: float) -> None:
    assert _only(_spoil(table, "target", {2: value})).rule == "category"


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_only(table: pd.DataFrame, value: int) -> None:
    table["target"] = value
    problem = _only(table)
    assert (problem.rule, problem.rows) == ("both classes", 200)
    assert validate(table, require_target=False).ok


def test_one_row_is_one_class(make_table: MakeTable) -> None:
    assert _only(make_table(1)).rule == "both classes"
    assert validate(make_table(1).drop(columns="target"), require_target=False).ok


def test_no_rows(table: pd.DataFrame) -> None:
    assert _only(table.head(0)).rule == "rows"
    assert _only(table.head(0), require_target=False).rule == "rows"


def test_without_target_the_rest_is_checked(table: pd.DataFrame) -> None:
    unlabelled = table.drop(columns="target")
    assert validate(unlabelled, require_target=False).ok
    assert _only(unlabelled).column == "target"
    assert list(check(unlabelled, require_target=False).columns) == ["id", *schema.FEATURE_NAMES]
    assert _only(_spoil(table, "target", {1: 3}), require_target=False).column == "target"
    assert (
        _only(_spoil(unlabelled, "ps_ind_01", {1: 8}), require_target=False).column == "ps_ind_01"
    )


def test_extra_columns_are_reported_and_carried(table: pd.DataFrame) -> None:
    table.insert(0, "region", ["north", "south"] * 100)
    table["score"] = np.float32(0.5)
    report = validate(table)
    assert report.ok
    assert len(report.warnings) == 1 and "region, score" in report.warnings[0]
    assert report.warnings[0] in report.describe()
    carried = check(table)
    assert list(carried.columns) == [*schema.COLUMNS, "region", "score"]
    assert carried["region"].tolist() == ["north", "south"] * 100
    assert carried["score"].dtype == np.float64


def test_columns_that_share_a_name(table: pd.DataFrame) -> None:
    double = pd.concat([table, table[["ps_ind_01"]]], axis=1)
    problem = _only(double)
    assert (problem.column, problem.rule) == ("ps_ind_01", "column")


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (["1"] * 200, "text"),
        ([True] * 200, "true or false"),
        ([True, None] * 100, "true or false"),
        (pd.Timestamp("2020-01-01"), "a date"),
        ([b"1"] * 200, "bytes"),
        ([[1]] * 200, "text"),
        ([True, "1"] * 100, "text"),
    ],
    ids=["text", "bool", "bool and null", "date", "bytes", "lists", "bool and text"],
)
def test_a_column_of_another_type(table: pd.DataFrame, values: Any, what: str) -> None:
    table["ps_ind_01"] = values
    problems = validate(table).problems
    assert problems[0].rule == "number"
    assert f"{what} where a number is expected" in problems[0].message


@pytest.mark.parametrize(
    "convert",
    [
        lambda values: values.astype(np.float64),
        lambda values: values.astype(np.int8),
        lambda values: values.astype(np.uint64),
        lambda values: values.astype("Int64"),
        lambda values: values.astype("category"),
        lambda values: values.astype(object),
        lambda values: values.map(lambda value: Decimal(int(value))),
    ],
    ids=["float64", "int8", "uint64", "Int64", "category", "object", "decimal"],
)
def test_numbers_in_another_type_are_numbers(
    table: pd.DataFrame, convert: Callable[[pd.Series[Any]], pd.Series[Any]]
) -> None:
    other = table.assign(ps_ind_01=convert(table["ps_ind_01"]))
    pd.testing.assert_frame_equal(check(other), table)


def test_canonical_has_one_form(table: pd.DataFrame) -> None:
    mixed = table[list(reversed(table.columns))].set_index(np.arange(200) + 5)
    mixed["ps_reg_01"] = np.where(table["ps_reg_01"] < 0.5, -0.0, 0.5)
    result = canonical(mixed)
    assert tuple(result.columns) == schema.COLUMNS
    assert isinstance(result.index, pd.RangeIndex) and result.index[0] == 0
    assert not np.signbit(result["ps_reg_01"]).any()
    for feature in schema.FEATURES:
        assert result[feature.name].dtype == (np.int64 if feature.is_integer else np.float64)


def test_the_table_itself_is_left_alone(table: pd.DataFrame) -> None:
    before = table.copy(deep=True)
    check(table)
    validate(_spoil(table, "ps_ind_01", {1: "x"}))
    pd.testing.assert_frame_equal(table, before)


def test_the_environment_cannot_switch_it_off(table: pd.DataFrame) -> None:
    from pandera.config import config_context

    with config_context(validation_enabled=False):
        assert _only(_spoil(table, "ps_ind_01", {1: 8})).column == "ps_ind_01"
    with config_context(validation_depth="SCHEMA_ONLY"):
        assert _only(_spoil(table, "ps_ind_01", {1: 8})).column == "ps_ind_01"


@pytest.mark.parametrize("value", [-7, 0.5, -1, np.nan, np.inf, "x", "0,5", None, True])
def test_a_table_in_which_all_is_wrong(value: Any) -> None:
    rows = 5000
    table = pd.DataFrame({name: [value] * rows for name in schema.COLUMNS})
    report = validate(table)
    wrong = {problem.column for problem in report.problems}
    fine = {
        feature.name
        for feature in schema.FEATURES
        if (value == -1 and feature.missing_allowed)
        or (value == 0.5 and not feature.is_integer and feature.upper > 0.5)
    }
    assert wrong == set(schema.COLUMNS) - fine
    assert all(problem.rows in (rows, 0) for problem in report.problems)
    assert len(report.describe()) < 30_000


def test_text_among_numbers_in_a_file_is_told_by_its_row(
    tmp_path: Path, table: pd.DataFrame
) -> None:
    lines = table.to_csv(index=False).splitlines()
    column = schema.COLUMNS.index("ps_car_13")
    for row, value in ((3, "0;8"), (8, "n/a"), (9, "")):
        values = lines[row].split(",")
        values[column] = value
        lines[row] = ",".join(values)
    path = tmp_path / "claims.csv"
    path.write_text("\n".join(lines))
    report = validate(read_table(path))
    assert [(p.column, p.rule, p.example_rows) for p in report.problems] == [
        ("ps_car_13", "number", (3,)),
        ("ps_car_13", "missing value", (8, 9)),
    ]


@settings(max_examples=60)
@given(
    column=st.sampled_from(schema.COLUMNS),
    values=st.lists(
        st.one_of(
            st.integers(-(2**62), 2**62), st.floats(), st.text(max_size=5), st.none(), st.booleans()
        ),
        min_size=12,
        max_size=12,
    ),
)
def test_whatever_a_column_holds_it_is_refused_or_canonical(
    make_table: MakeTable, column: str, values: list[Any]
) -> None:
    table = make_table(12).assign(**{column: pd.Series(values, dtype=object)})
    report = validate(table)
    if report.ok:
        again = io.BytesIO()
        canonical(table).to_parquet(again)
        assert validate(pd.read_parquet(again)).ok
    else:
        assert {problem.column for problem in report.problems} == {column}
