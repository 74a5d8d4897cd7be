"""Every way in which a request can be wrong gets a reason that says where; nothing wrong gets through."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insurance_claims import schema
from insurance_claims.parameters import ScoringParameters, load_parameters
from insurance_claims.scoring.request import RequestError, check_values, parse_request

LIMITS = load_parameters().scoring
ROW: list[Any] = [column.minimum for column in schema.FEATURES]
NAMES = schema.FEATURE_NAMES


def _body(content: Any) -> bytes:
    return json.dumps(content).encode()


def _with(column: str, value: Any) -> list[Any]:
    row = list(ROW)
    row[NAMES.index(column)] = value
    return row


def _named(row: list[Any]) -> dict[str, Any]:
    return dict(zip(NAMES, row, strict=True))


def _refusal(body: bytes, limits: ScoringParameters = LIMITS) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_request(body, limits)
    return caught.value


def test_rows_by_position(rows: list[list[float]]) -> None:
    table = parse_request(_body({"data": rows}), LIMITS)
    assert isinstance(table, np.ndarray) and table.dtype == np.float64
    assert np.array_equal(table, np.array(rows))


def test_rows_by_name_in_any_order(rows: list[list[float]]) -> None:
    named = [dict(reversed(_named(row).items())) for row in rows]
    assert np.array_equal(parse_request(_body({"data": named}), LIMITS), np.array(rows))


def test_whole_numbers_may_be_written_as_floats_and_the_other_way_round() -> None:
    as_floats = _body({"data": [[float(value) for value in ROW]]})
    as_written = _body({"data": [[int(value) if value == int(value) else value for value in ROW]]})
    assert np.array_equal(parse_request(as_floats, LIMITS), parse_request(as_written, LIMITS))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"{", "not JSON"),
        (b"data=1", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\xef\xbb\xbf" + _body({"data": [ROW]}), "not JSON"),
        (json.dumps({"data": [ROW]}).encode("utf-16"), "not JSON"),
        (_body({"data": [ROW]}) + b"x", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"data":' * 5000, "not JSON"),
        (b"9" * 5000, "expected an object"),
        (b"NaN", "expected an object"),
        (b"[]", "the body is a list"),
        (b"null", "the body is null"),
        (b'"data"', "the body is text"),
        (b"{}", "no 'data'; it has: nothing"),
        (b'{"Data": [], "b": 1, "c": 1, "d": 1}', "no 'data'; it has: 'Data', 'b', 'c', ..."),
        (b'{"\\ud800": NaN}', "it has: '\\\\ud800'"),
        (_body({"data": [ROW], "threshold": 0.5}), "unknown keys beside 'data': 'threshold'"),
        (_body({"data": {}}), "'data' is an object"),
        (_body({"data": "rows"}), "'data' is text"),
        (_body({"data": None}), "'data' is null"),
        (_body({"data": []}), "'data' is empty"),
    ],
)
def test_a_body_of_another_form_is_refused(body: bytes, reason: str) -> None:
    error = _refusal(body)
    assert reason in error.message
    assert (error.row, error.column, error.status) == (None, None, 400)


def test_too_many_rows_are_refused_and_as_many_as_allowed_are_not() -> None:
    limits = LIMITS.model_copy(update={"max_rows": 3})
    assert len(parse_request(_body({"data": [ROW] * 3}), limits)) == 3
    assert "4 rows, the limit is 3" in _refusal(_body({"data": [ROW] * 4}), limits).message


@pytest.mark.parametrize(
    ("rows", "row", "reason"),
    [
        (ROW, 0, "a number, expected a list of 57 numbers or an object by name; put brackets"),
        ([ROW, 5], 1, "a number, expected"),
        ([ROW, "5"], 1, "text, expected"),
        ([None], 0, "null, expected"),
        ([[]], 0, "0 values, expected 57"),
        ([ROW, ROW[:-1]], 1, "56 values, expected 57"),
        ([ROW, ROW, [*ROW, 0]], 2, "58 values, expected 57"),
        ([[ROW]], 0, "1 values, expected 57"),
        ([ROW, _named(ROW)], 1, "an object, but row 0 is a list"),
        ([_named(ROW), ROW], 1, "a list, but row 0 is an object"),
        ([_named(ROW), None], 1, "null, expected"),
    ],
)
def test_a_row_of_another_form_is_refused(rows: Any, row: int, reason: str) -> None:
    error = _refusal(_body({"data": rows}))
    assert reason in error.message
    assert error.message.startswith(f"row {row}: ")
    assert (error.row, error.column) == (row, None)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("ps_car_13", "0.8", "text ('0.8') is not a number"),
        ("ps_car_13", "x" * 500, "xxx...') is not a number"),
        ("ps_ind_06_bin", True, "true or false is not a number"),
        ("ps_reg_03", None, "null is not a number; a missing value is -1"),
        ("ps_car_13", [0.8], "a list is not a number"),
        ("ps_car_13", {}, "an object is not a number"),
        ("ps_reg_03", math.nan, "nan is not allowed"),
        ("ps_reg_03", math.inf, "inf is not allowed"),
        ("ps_calc_01", -math.inf, "-inf is not allowed"),
        ("ps_car_13", 1e308, "1e+308 is not allowed: expected a number from 0 to 7.44"),
        ("ps_car_13", 10**400, "inf is not allowed"),
        ("ps_calc_04", 2**64, "is not allowed"),
        ("ps_ind_01", 1.5, "1.5 is not allowed: expected a whole number from 0 to 14"),
        ("ps_ind_01", -1, "it cannot be missing"),
        ("ps_ind_01", -2, "-2 is not allowed"),
        ("ps_ind_06_bin", 2, "expected a whole number from 0 to 1; it cannot be missing"),
        ("ps_ind_06_bin", 1e-300, "1e-300 is not allowed"),
        ("ps_ind_02_cat", 0, "expected a whole number from 1 to 4, or -1 for missing"),
        ("ps_car_11_cat", 105, "expected a whole number from 1 to 104"),
        ("ps_reg_03", -0.5, "expected a number from 0 to 8.08, or -1 for missing"),
        ("ps_reg_03", -0.9999999999999999, "-0.9999999999999999 is not allowed"),
        ("ps_calc_14", 47, "from 0 to 46"),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    column: str, value: Any, reason: str, by_name: bool
) -> None:
    bad = _with(column, value)
    rows: list[Any] = [_named(ROW), _named(bad)] if by_name else [ROW, bad]
    error = _refusal(_body({"data": rows}))
    assert reason in error.message
    assert error.message.startswith(f"row 1, column {column}: ")
    assert (error.row, error.column) == (1, column)
    assert len(error.message) < 250


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ps_reg_03", -1),
        ("ps_ind_02_cat", -1.0),
        ("ps_calc_14", 28),
        ("ps_calc_08", 0),
        ("ps_car_13", 4.03),
        ("ps_reg_03", 0),
        ("ps_ind_06_bin", -0.0),
    ],
)
def test_missing_and_somewhat_beyond_the_known_is_scored(column: str, value: float) -> None:
    parse_request(_body({"data": [_with(column, value)]}), LIMITS)


def test_headroom_is_a_parameter() -> None:
    body = _body({"data": [_with("ps_calc_14", 28)]})
    strict = LIMITS.model_copy(update={"headroom": 1.0})
    assert "from 0 to 23" in _refusal(body, strict).message
    assert np.array_equal(parse_request(body, LIMITS), [_with("ps_calc_14", 28)])


def test_names_that_are_unknown_or_missing_are_told() -> None:
    row = _named(ROW)
    missing = {name: value for name, value in row.items() if name != "ps_car_13"}
    for wrong, column, reason in [
        ({**row, "ps_ind_99": 1}, "ps_ind_99", "no such feature"),
        ({**missing, "PS_CAR_13": 1}, "PS_CAR_13", "no such feature"),
        ({**row, "id": 7}, "id", "no such feature"),
        (missing, "ps_car_13", "is not given"),
        ({}, "ps_ind_01", "is not given"),
        ({**row, "x" * 999: 1}, "x" * 60 + "...", "no such feature"),
    ]:
        error = _refusal(_body({"data": [row, row, wrong]}))
        assert reason in error.message
        assert (error.row, error.column) == (2, column)


def test_the_contract_of_each_column_holds_at_its_ends() -> None:
    for index, column in enumerate(schema.FEATURES):
        known_only = column.kind in (schema.Kind.BINARY, schema.Kind.CATEGORICAL)
        table = np.array([ROW])
        for value, allowed in [
            (column.minimum, True),
            (column.maximum, True),
            (schema.MISSING, column.missing_allowed),
            (column.maximum + 1, not known_only and column.maximum >= 1),
            (2 * column.maximum, not known_only),
            (2 * column.maximum + 1, False),
            (-2, False),
            (column.maximum - 0.001, not column.is_integer),
        ]:
            table[0, index] = value
            if allowed:
                check_values(table, 2.0)
            else:
                with pytest.raises(RequestError, match=column.name):
                    check_values(table, 2.0)


def test_one_row_and_many_are_judged_alike() -> None:
    for headroom in (1.0, 1.37, 2.0):
        limits = LIMITS.model_copy(update={"headroom": headroom})
        for column in schema.FEATURES:
            ends = [-1, 0, column.minimum, column.maximum, column.maximum * headroom]
            near = [end + step for end in ends for step in (-1, -0.01, -1e-9, 0, 1e-9, 0.01, 1)]
            for value in near:
                outcomes = []
                for rows in ([_with(column.name, value)], [_with(column.name, value), ROW]):
                    try:
                        parse_request(_body({"data": rows}), limits)
                        outcomes.append("scored")
                    except RequestError as error:
                        outcomes.append(error.message)
                assert outcomes[0] == outcomes[1]


def test_what_goes_into_the_answer_is_short_and_whole() -> None:
    assert RequestError("wrong", 0, "a").as_dict() == {
        "message": "row 0, column a: wrong",
        "row": 0,
        "column": "a",
    }
    assert RequestError("wrong").as_dict() == {"message": "wrong"}


_odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@st.composite
def nearly_valid(draw: st.DrawFn) -> Any:
    """A valid request with a few values, names or rows changed."""
    rows: list[Any] = [list(ROW) for _ in range(draw(st.integers(1, 3)))]
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(row) - 1))] = draw(_odd)
    if draw(st.booleans()):
        rows = [_named(row) for row in rows]
        if draw(st.booleans()):
            rows[0][draw(st.text(max_size=3))] = 0
    if draw(st.integers(0, 4)) == 0:
        rows.append(draw(_odd))
    return {"data": rows}


json_values = st.recursive(
    _odd, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["data", "x"]), inner)
)


def _check_outcome(body: bytes) -> None:
    try:
        table = np.array(parse_request(body, LIMITS), dtype=np.float64)
    except RequestError as error:
        assert error.status == 400
        json.dumps(error.as_dict(), allow_nan=False).encode("utf-8")
        error.message.encode("utf-8")
    else:
        assert np.isfinite(table).all()
        check_values(table, LIMITS.headroom)


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_rows_or_a_reason(body: bytes) -> None:
    _check_outcome(body)


@settings(max_examples=400)
@given(st.one_of(nearly_valid(), json_values))
def test_any_json_ends_in_rows_or_a_reason(content: Any) -> None:
    _check_outcome(json.dumps(content).encode("utf-8"))
