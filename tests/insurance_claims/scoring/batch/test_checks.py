"""Which rows are put aside: the same as a scoring request would refuse, each with its reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insurance_claims import schema
from insurance_claims.scoring.batch.checks import check_rows
from insurance_claims.scoring.batch.chunks import NEEDED, BrokenLine, Chunk
from insurance_claims.scoring.request import RequestError, check_values

HEADROOM = 2.0
ODD = (-1.0, -2.0, 0.0, 0.5, 1.0, 3.0, 7.005, 8.0, 14.0, 15.0, 104.0, 105.0, -0.5, np.nan, np.inf)


def chunk(table: Any, broken: tuple[BrokenLine, ...] = ()) -> Chunk:
    arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table)
    rows = np.arange(1, arrow.num_rows + 1, dtype=np.int64)
    return Chunk(0, arrow.select(NEEDED), rows, broken, 1, True)


def refused(row: list[float]) -> bool:
    try:
        check_values(np.array([row]), HEADROOM)
    except RequestError:
        return True
    return False


@settings(max_examples=200)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 19), st.integers(0, 56), st.sampled_from(ODD)), max_size=12
    )
)
def test_the_rows_put_aside_are_those_that_a_request_refuses(
    rows: list[list[float]], changes: list[tuple[int, int, float]]
) -> None:
    features = np.array(rows[:20])
    for row, column, value in changes:
        features[row, column] = value
    table = pd.DataFrame(features, columns=list(schema.FEATURE_NAMES)).assign(id=range(20))
    found = check_rows(chunk(table), HEADROOM)
    expected = [index for index in range(20) if refused(features[index].tolist())]
    assert sorted(set(range(20)) - set(found.ids.tolist())) == expected
    np.testing.assert_array_equal(found.features, np.delete(features, expected, axis=0))
    assert (found.bad is None) == (not expected)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("ps_ind_01", 99, "ps_ind_01 is 99, expected a whole number from 0 to 14"),
        ("ps_ind_01", -1, "ps_ind_01 is -1, expected a whole number from 0 to 14"),
        ("ps_ind_01", 1.5, "ps_ind_01 is 1.5, expected a whole number from 0 to 14"),
        ("ps_ind_01", None, "ps_ind_01 is empty, expected a whole number from 0 to 14"),
        ("ps_ind_01", np.nan, "ps_ind_01 is nan, expected a whole number from 0 to 14"),
        ("ps_ind_01", np.inf, "ps_ind_01 is inf, expected a whole number from 0 to 14"),
        ("ps_ind_01", "two", 'ps_ind_01 is "two", expected a whole number from 0 to 14'),
        ("ps_ind_01", "a\x1b[2J", 'ps_ind_01 is "a\\u001b[2J", expected'),
        ("ps_ind_01", " ", "ps_ind_01 is empty, expected a whole number from 0 to 14"),
        ("ps_car_11_cat", 105, "expected a whole number from 1 to 104"),
        ("ps_ind_02_cat", 0, "expected a whole number from 1 to 4, or -1 for missing"),
        ("ps_reg_03", -0.5, "expected a number from 0 to 8.08, or -1 for missing"),
        ("id", -5, "id is -5, expected a whole number from 0"),
        ("id", 1.5, "id is 1.5, expected"),
        ("id", None, "id is empty, expected"),
        ("id", "A-7", 'id is "A-7", expected'),
        ("id", 2.0**53, "expected a whole number from 0"),
    ],
)
def test_a_bad_value_has_its_reason(
    table: pd.DataFrame, column: str, value: Any, reason: str
) -> None:
    values = table[column].head(5).tolist()
    values[3] = value
    if isinstance(value, str):
        values = [str(item) for item in values]
    arrow = pa.Table.from_pandas(table.head(5).drop(columns=column)).append_column(
        column, pa.array(values, from_pandas=False)
    )
    found = check_rows(chunk(arrow), HEADROOM)
    assert found.bad is not None
    assert found.bad["row"].to_pylist() == [4]
    assert reason in found.bad["reasons"][0].as_py()
    assert found.reasons == {column: 1}
    assert found.ids.tolist() == [*table["id"].head(3), table["id"][4]]


def test_every_column_that_is_wrong_is_named_and_lines_stand_in_order(
    table: pd.DataFrame,
) -> None:
    bad = table.head(3).astype({"ps_reg_01": float}).copy()
    bad.loc[1, ["ps_ind_01", "ps_reg_01"]] = [99, 5]
    found = check_rows(chunk(bad, (BrokenLine(1, "1,2", "the line has 2 values"),)), HEADROOM)
    assert found.bad is not None
    assert found.bad["row"].to_pylist() == [1, 2]
    assert found.bad["line"].to_pylist() == ["1,2", None]
    assert found.bad["reasons"].to_pylist() == [
        "the line has 2 values",
        "ps_ind_01 is 99, expected a whole number from 0 to 14; "
        "ps_reg_01 is 5, expected a number from 0 to 1.8",
    ]
    assert found.bad["ps_ind_01"].to_pylist() == [None, "99"]
    assert found.reasons == {"ps_ind_01": 1, "ps_reg_01": 1, "line": 1}


def test_numbers_of_any_type_are_the_same_numbers(table: pd.DataFrame) -> None:
    plain = check_rows(chunk(table), HEADROOM)
    small = table.astype({"ps_ind_01": "int8", "ps_car_11_cat": "uint8", "id": "uint64"})
    codes = table.assign(ps_ind_03=table["ps_ind_03"].astype("category"))
    text = table.astype({name: str for name in NEEDED})
    for other in (small, codes, text, table.astype({"id": float})):
        found = check_rows(chunk(other), HEADROOM)
        assert found.bad is None
        np.testing.assert_array_equal(found.features, plain.features)
        np.testing.assert_array_equal(found.ids, plain.ids)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1.0), (" 1.0 ", 1.0), ('"1"', 1.0), ("1e0", 1.0), ("1.", 1.0), ("-0", 0.0)]
    + [
        (text, None) for text in ("0x1", "1,0", "1_0", "--1", '"1', "1e", "nan", "Infinity", "true")
    ],
)
def test_text_is_a_number_only_where_it_is_one(
    table: pd.DataFrame, text: str, number: float | None
) -> None:
    row = table.head(1).astype({"ps_ind_01": object}).assign(ps_ind_01=text)
    found = check_rows(chunk(row), HEADROOM)
    assert found.features[:, 0].tolist() == ([] if number is None else [number])
