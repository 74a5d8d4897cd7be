"""The body of a scoring request, checked: bytes in, a table or one clear reason out.

What is refused and what is scored, value by value:

- Not a number (text, true, null, NaN, Infinity, a list): refused. A missing value is -1, and only where the schema
  allows one.
- Binary and categorical features: only the values that the schema knows. The model has never seen another category, so
  a score for one would mean nothing.
- Ordinal features: whole numbers. Ordinal and continuous ones: from 0, or ``headroom`` times a smallest value below it,
  to ``headroom`` times the largest one of the schema. A new customer may lie somewhat beyond all earlier ones and
  still gets a score (that of the outermost values seen in training, for trees do not extrapolate); a number in another
  unit or another column's place does not.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from functools import cache
from itertools import chain
from operator import contains, itemgetter
from typing import Any, NoReturn, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import ClaimsError
from insurance_claims.parameters import ScoringParameters

_WIDTH = len(schema.FEATURE_NAMES)
_NAMES = frozenset(schema.FEATURE_NAMES)
_NUMBERS = frozenset((int, float))
_IN_ORDER = itemgetter(*schema.FEATURE_NAMES)
_CONTINUOUS = np.array([not column.is_integer for column in schema.FEATURES])
_MAY_BE_MISSING = np.array([column.missing_allowed for column in schema.FEATURES])
_KNOWN_VALUES_ONLY = (schema.Kind.BINARY, schema.Kind.CATEGORICAL)
_SHOWN = 60
"""Characters of the caller's own text that a message repeats at most."""

_JSON_TYPES = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "text",
    type(None): "null",
}

Rows: TypeAlias = Sequence[Sequence[float]] | NDArray[np.float64]
"""Shape (n, 57). A single row comes as the list that it was sent as: an array would cost more than its score."""

Scores: TypeAlias = Sequence[float] | NDArray[np.float64]
"""One a row, in the rows' order."""


class RequestError(ClaimsError):
    """A scoring request that cannot be answered.

    Attributes:
        message: what is wrong, where, and what is expected.
        row: position in ``data``, from 0, where one row is to blame.
        column: name of the feature, where one is to blame.
        status: HTTP status of the answer.
    """

    def __init__(
        self, message: str, row: int | None = None, column: str | None = None, status: int = 400
    ) -> None:
        place = [f"row {row}"] if row is not None else []
        place += [f"column {column}"] if column is not None else []
        self.message = f"{', '.join(place)}: {message}" if place else message
        self.row = row
        self.column = column
        self.status = status
        super().__init__(self.message)

    def as_dict(self) -> dict[str, Any]:
        """``message``, and ``row`` and ``column`` where they are known, for the answer's JSON."""
        found = {"message": self.message, "row": self.row, "column": self.column}
        return {key: value for key, value in found.items() if value is not None}


def parse_request(body: bytes, limits: ScoringParameters) -> Rows:
    """The rows of a request.

    Args:
        body: JSON, ``{"data": [[57 numbers], ...]}`` in the schema's order or ``{"data": [{name: number}, ...]}``.
        limits: the most rows, and how far beyond the schema a value may lie.

    Returns:
        At least one row, features in the schema's order.

    Raises:
        RequestError: names the first thing that is wrong.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _refuse_json(body, str(error), limits)
    return _checked(content, limits)


def check_values(table: NDArray[np.float64], headroom: float) -> None:
    """Refuse values that cannot be.

    Args:
        table: shape (n, 57), features in the schema's order.
        headroom: ordinal and continuous values may be up to this many times the schema's largest.

    Raises:
        RequestError: names the first row and column, and what is allowed there.
    """
    lower, upper = bounds(headroom)
    good = (table >= lower) & (table <= upper)
    good &= (np.floor(table) == table) | _CONTINUOUS
    good |= (table == schema.MISSING) & _MAY_BE_MISSING
    if good.all():
        return
    row, position = (int(index) for index in np.argwhere(~good)[0])
    column = schema.FEATURES[position]
    value = repr(float(table[row, position])).removesuffix(".0")
    allowed = "a whole number" if column.is_integer else "a number"
    allowed += f" from {lower[position]:g} to {upper[position]:g}"
    allowed += ", or -1 for missing" if column.missing_allowed else "; it cannot be missing"
    raise RequestError(f"{value} is not allowed: expected {allowed}", row, column.name)


@cache
def bounds(headroom: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the largest value that each feature may have, beside -1 where it may be missing.

    Args:
        headroom: ordinal and continuous values may be up to this many times the schema's largest.

    Returns:
        Two arrays of shape (57,), in the schema's order. They are shared: do not write to them.
    """
    known = [column.kind in _KNOWN_VALUES_ONLY for column in schema.FEATURES]
    lower = [
        column.lower if exact else min(0.0, column.minimum * headroom)
        for column, exact in zip(schema.FEATURES, known, strict=True)
    ]
    upper = [
        column.upper if exact else column.maximum * headroom
        for column, exact in zip(schema.FEATURES, known, strict=True)
    ]
    return np.array(lower, dtype=np.float64), np.array(upper, dtype=np.float64)


class _Interval:
    def __init__(self, lower: float, upper: float, missing: bool) -> None:
        self._lower = lower
        self._upper = upper
        self._missing = missing

    def __contains__(self, value: Any) -> bool:
        inside: bool = self._lower <= value <= self._upper
        return inside or (self._missing and value == schema.MISSING)


@cache
def _allowed(headroom: float) -> tuple[Container[float], ...]:
    """What ``check_values`` allows in each column, for one value at a time."""
    result: list[Container[float]] = []
    for column, lower, upper in zip(schema.FEATURES, *bounds(headroom), strict=True):
        if column.is_integer:
            missing = {schema.MISSING} if column.missing_allowed else set()
            result.append(frozenset({*range(int(lower), int(upper) + 1), *missing}))
        else:
            result.append(_Interval(float(lower), float(upper), column.missing_allowed))
    return tuple(result)


def _refuse_json(body: bytes, reason: str, limits: ScoringParameters) -> NoReturn:
    try:
        # Python's own parser takes NaN, Infinity and 1e999, so that the message can say where they are.
        content = json.loads(body.decode("utf-8"), parse_int=float)
    except (ValueError, RecursionError):
        pass
    else:
        _checked(content, limits)
    expected = f'expected {{"data": [[{_WIDTH} numbers], ...]}}'
    if not body.strip():
        raise RequestError(f"the body is empty, {expected}")
    raise RequestError(f"the body is not JSON: {reason}; {expected}")


def _checked(content: Any, limits: ScoringParameters) -> Rows:
    rows = _rows(content, limits.max_rows)
    if type(rows[0]) is dict:
        values: list[Sequence[Any]] = _by_name(rows)
    else:
        values = _by_position(rows)
    if not _NUMBERS.issuperset(map(type, chain.from_iterable(values))):
        _refuse_type(values)
    # For one row, a look-up a column takes a third of the time of whole-table arithmetic.
    if len(values) == 1 and all(map(contains, _allowed(limits.headroom), values[0])):
        return values
    table = np.fromiter(chain.from_iterable(values), np.float64, len(values) * _WIDTH)
    table = table.reshape(len(values), _WIDTH)
    check_values(table, limits.headroom)
    return table


def _rows(content: Any, max_rows: int) -> list[Any]:
    if type(content) is not dict:
        raise RequestError(f'the body is {_kind(content)}, expected an object: {{"data": [...]}}')
    if "data" not in content:
        raise RequestError(f"the body has no 'data'; it has: {_listed(content)}")
    if len(content) > 1:
        unknown = _listed(key for key in content if key != "data")
        raise RequestError(f"the body has unknown keys beside 'data': {unknown}")
    rows = content["data"]
    if type(rows) is not list:
        raise RequestError(f"'data' is {_kind(rows)}, expected a list of rows")
    if not rows:
        raise RequestError("'data' is empty, expected at least one row")
    if len(rows) > max_rows:
        raise RequestError(f"'data' has {len(rows)} rows, the limit is {max_rows}: split it")
    return rows


def _by_position(rows: list[Any]) -> list[Sequence[Any]]:
    if {list}.issuperset(map(type, rows)) and {_WIDTH}.issuperset(map(len, rows)):
        return rows
    for index, row in enumerate(rows):
        if type(row) is not list:
            _refuse_row(index, row, rows[0])
        if len(row) != _WIDTH:
            raise RequestError(f"{len(row)} values, expected {_WIDTH} in the schema's order", index)
    raise AssertionError("unreachable: a row is wrong")


def _by_name(rows: list[Any]) -> list[Sequence[Any]]:
    if {dict}.issuperset(map(type, rows)) and {_WIDTH}.issuperset(map(len, rows)):
        try:
            return list(map(_IN_ORDER, rows))
        except KeyError:
            pass
    for index, row in enumerate(rows):
        if type(row) is not dict:
            _refuse_row(index, row, rows[0])
        for name in row:
            if name not in _NAMES:
                raise RequestError("no such feature in the schema", index, _short(name))
        for name in schema.FEATURE_NAMES:
            if name not in row:
                raise RequestError(
                    "the feature is not given; -1 says that it is missing", index, name
                )
    raise AssertionError("unreachable: a row is wrong")


def _refuse_row(index: int, row: Any, first: Any) -> NoReturn:
    if type(row) in (list, dict):
        raise RequestError(f"{_kind(row)}, but row 0 is {_kind(first)}: use one form", index)
    hint = "; put brackets around a single row as well" if type(row) in _NUMBERS else ""
    raise RequestError(
        f"{_kind(row)}, expected a list of {_WIDTH} numbers or an object by name{hint}", index
    )


def _refuse_type(values: list[Sequence[Any]]) -> NoReturn:
    for index, row in enumerate(values):
        for name, value in zip(schema.FEATURE_NAMES, row, strict=True):
            if type(value) not in _NUMBERS:
                shown = f" ({_short(value)!r})" if type(value) is str else ""
                raise RequestError(
                    f"{_kind(value)}{shown} is not a number; a missing value is -1", index, name
                )
    raise AssertionError("unreachable: a value is wrong")


def _kind(value: Any) -> str:
    return _JSON_TYPES[type(value)]


def _short(text: str) -> str:
    # Half of a surrogate pair, which Python's parser lets through, cannot be written into the answer.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _listed(names: Any) -> str:
    found = [repr(_short(name)) for name in names]
    return ", ".join(found[:3]) + (", ..." if len(found) > 3 else "") if found else "nothing"
