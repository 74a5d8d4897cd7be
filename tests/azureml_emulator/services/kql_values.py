"""Values of the Kusto Query Language: types, comparisons, functions and aggregates."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Row = Mapping[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = ("long", "real", "int")


class Problem(Exception):
    """A query that is refused.

    Args:
        code: SyntaxError or SemanticError.
        message: what is wrong.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Expression:
    """Something that has a type, and a value for each row.

    Attributes:
        type: as Log Analytics names it.
        of: its value for a row.
        name: of a bare column or a member; what a result's column is called after.
    """

    type: str
    of: Callable[[Row], Any]
    name: str = ""


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
    "=~": lambda a, b: str(a).lower() == str(b).lower(),
    "!~": lambda a, b: str(a).lower() != str(b).lower(),
    "contains": lambda a, b: str(b).lower() in str(a).lower(),
    "startswith": lambda a, b: str(a).lower().startswith(str(b).lower()),
}


def compared(operator: str, left: Expression, right: Expression) -> Expression:
    """A comparison.

    Raises:
        Problem: the two cannot be compared.
    """
    same = left.type == right.type or (left.type in _NUMBERS and right.type in _NUMBERS)
    # As Kusto: what is dynamic has to be made something else before it is ordered.
    if not same and not (operator in ("==", "!=") and "dynamic" in (left.type, right.type)):
        raise Problem(
            "SemanticError", f"Cannot compare values of types {left.type} and {right.type}"
        )
    if operator not in ("==", "!=", "<", "<=", ">", ">=") and left.type != "string":
        raise Problem("SemanticError", f"Operator {operator} needs strings, not {left.type}")
    test = COMPARISONS[operator]

    def value(row: Row) -> bool:
        a, b = left.of(row), right.of(row)
        return False if a is None or b is None else test(a, b)

    return Expression("bool", value)


def calculated(operator: str, left: Expression, right: Expression) -> Expression:
    """A product or a quotient.

    Raises:
        Problem: one of the two is no number.
    """
    if left.type not in _NUMBERS or right.type not in _NUMBERS:
        raise Problem(
            "SemanticError", f"Operator {operator} needs numbers, not {left.type} and {right.type}"
        )
    whole = left.type != "real" and right.type != "real"

    def value(row: Row) -> float | None:
        a, b = left.of(row), right.of(row)
        if a is None or b is None:
            return None
        if operator == "*":
            return float(a * b)
        if b == 0:
            return None
        # As Kusto: a quotient of whole numbers is a whole number.
        return float(a // b) if whole else float(a / b)

    return Expression("long" if whole else "real", value)


def member(whole: Expression, name: str) -> Expression:
    """A member of a dynamic value.

    Raises:
        Problem: the value is not dynamic.
    """
    if whole.type != "dynamic":
        raise Problem("SemanticError", f"Path expression source must be dynamic, not {whole.type}")

    def value(row: Row) -> Any:
        found = whole.of(row)
        return found.get(name) if isinstance(found, dict) else None

    return Expression("dynamic", value, name if not whole.name else f"{whole.name}_{name}")


def order_key(value: Any) -> tuple[bool, Any]:
    """Sorts null before everything."""
    return (value is not None, value if value is not None else 0)


_Function = Callable[[Sequence[Expression], datetime], Expression]
_Aggregate = Callable[[Sequence[Expression]], tuple[str, Callable[[Sequence[Row]], Any]]]


def _needs(arguments: Sequence[Expression], count: int, function: str) -> None:
    if len(arguments) != count:
        raise Problem("SemanticError", f"{function}(): expected {count} argument(s)")


def _tostring(arguments: Sequence[Expression], _: datetime) -> Expression:
    _needs(arguments, 1, "tostring")
    [inner] = arguments
    return Expression("string", lambda row: _text(inner.of(row)), inner.name)


def _todouble(arguments: Sequence[Expression], _: datetime) -> Expression:
    _needs(arguments, 1, "todouble")
    [inner] = arguments
    return Expression("real", lambda row: _number(inner.of(row)), inner.name)


def _tolong(arguments: Sequence[Expression], _: datetime) -> Expression:
    _needs(arguments, 1, "tolong")
    [inner] = arguments

    def value(row: Row) -> int | None:
        found = _number(inner.of(row))
        return None if found is None else int(found)

    return Expression("long", value, inner.name)


def _parse_json(arguments: Sequence[Expression], _: datetime) -> Expression:
    _needs(arguments, 1, "parse_json")
    [inner] = arguments

    def value(row: Row) -> Any:
        found = inner.of(row)
        try:
            return json.loads(found) if isinstance(found, str) else found
        except ValueError:
            return found

    return Expression("dynamic", value, inner.name)


def _bin(arguments: Sequence[Expression], _: datetime) -> Expression:
    _needs(arguments, 2, "bin")
    inner, width = arguments
    if inner.type == "datetime" and width.type == "timespan":

        def moment(row: Row) -> datetime | None:
            found, step = inner.of(row), width.of(row)
            return None if found is None else _EPOCH + ((found - _EPOCH) // step) * step

        return Expression("datetime", moment, inner.name)
    if inner.type in _NUMBERS and width.type in _NUMBERS:

        def figure(row: Row) -> Any:
            found, step = inner.of(row), width.of(row)
            return None if found is None else math.floor(found / step) * step

        return Expression(inner.type, figure, inner.name)
    raise Problem("SemanticError", f"bin(): cannot bin {inner.type} by {width.type}")


def _now(arguments: Sequence[Expression], now: datetime) -> Expression:
    _needs(arguments, 0, "now")
    return Expression("datetime", lambda row: now)


def _ago(arguments: Sequence[Expression], now: datetime) -> Expression:
    _needs(arguments, 1, "ago")
    if arguments[0].type != "timespan":
        raise Problem("SemanticError", "ago(): expected a timespan")
    return Expression("datetime", lambda row: now - arguments[0].of(row))


FUNCTIONS: Mapping[str, _Function] = {
    "tostring": _tostring,
    "todouble": _todouble,
    "toreal": _todouble,
    "tolong": _tolong,
    "toint": _tolong,
    "parse_json": _parse_json,
    "todynamic": _parse_json,
    "bin": _bin,
    "now": _now,
    "ago": _ago,
}


def _count(arguments: Sequence[Expression]) -> tuple[str, Callable[[Sequence[Row]], Any]]:
    _needs(arguments, 0, "count")
    return "long", len


def _countif(arguments: Sequence[Expression]) -> tuple[str, Callable[[Sequence[Row]], Any]]:
    _needs(arguments, 1, "countif")
    return "long", lambda rows: sum(bool(arguments[0].of(row)) for row in rows)


def _sumif(arguments: Sequence[Expression]) -> tuple[str, Callable[[Sequence[Row]], Any]]:
    _needs(arguments, 2, "sumif")
    figure, condition = arguments
    if figure.type not in _NUMBERS or condition.type != "bool":
        raise Problem("SemanticError", "sumif(): expected a number and a condition")
    return figure.type, lambda rows: sum(figure.of(row) or 0 for row in rows if condition.of(row))


def _over(name: str, reduce: Callable[[list[Any]], Any], kind: str | None = None) -> _Aggregate:
    def make(arguments: Sequence[Expression]) -> tuple[str, Callable[[Sequence[Row]], Any]]:
        _needs(arguments, 1, name)
        [inner] = arguments
        if name in ("sum", "avg") and inner.type not in _NUMBERS:
            raise Problem("SemanticError", f"{name}(): expected a number, not {inner.type}")

        def value(rows: Sequence[Row]) -> Any:
            found = [inner.of(row) for row in rows]
            present = [item for item in found if item is not None]
            return reduce(present) if present else None

        return kind or inner.type, value

    return make


def _percentile(arguments: Sequence[Expression]) -> tuple[str, Callable[[Sequence[Row]], Any]]:
    _needs(arguments, 2, "percentile")
    inner, share = arguments

    def value(rows: Sequence[Row]) -> Any:
        found = sorted(item for row in rows if (item := inner.of(row)) is not None)
        if not found:
            return None
        # The nearest rank.
        rank = math.ceil(share.of(rows[0]) / 100 * len(found))
        return found[min(max(rank, 1), len(found)) - 1]

    return inner.type, value


AGGREGATES: Mapping[str, _Aggregate] = {
    "count": _count,
    "countif": _countif,
    "sumif": _sumif,
    "sum": _over("sum", sum),
    "avg": _over("avg", lambda values: sum(values) / len(values), "real"),
    "min": _over("min", min),
    "max": _over("max", max),
    "dcount": _over("dcount", lambda values: len({*map(str, values)}), "long"),
    "percentile": _percentile,
}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return json.dumps(value, separators=(",", ":"))


def _number(value: Any) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
