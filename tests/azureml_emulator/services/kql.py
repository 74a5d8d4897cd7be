"""A small part of the Kusto Query Language: what is not known is refused as Log Analytics refuses it.

``TABLE | where | extend | project | summarize ... by ... | order by | take | count``, with the functions that telemetry
is asked with. Every expression has a type before any row is looked at, so a wrong query is refused without rows too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.azureml_emulator.services.kql_values import (
    AGGREGATES,
    COMPARISONS,
    FUNCTIONS,
    Expression,
    Problem,
    Row,
    calculated,
    compared,
    member,
    order_key,
)

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<comment>//[^\n]*)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<timespan>\d+(?:\.\d+)?(?:ms|s|m|h|d)\b)
    | (?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)
    | (?P<datetime>datetime\([^)]*\))
    | (?P<name>[A-Za-z_]\w*(?:~)?)
    | (?P<sign>==|!=|=~|!~|<=|>=|[<>=|,()\[\].*/+-])
    )""",
    re.VERBOSE,
)
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(frozen=True, slots=True)
class Table:
    """A result, or a table to ask.

    Attributes:
        columns: name to type, in order.
        rows: one mapping each.
    """

    columns: Mapping[str, str]
    rows: Sequence[Row]


def run(query: str, tables: Mapping[str, Table], now: datetime) -> Table:
    """The result of a query.

    Args:
        query: one statement.
        tables: that can be asked.
        now: what ``now()`` is.

    Raises:
        Problem: the query is wrong, or holds what is not known here.
    """
    reader = _Reader(_tokens(query), now)
    name = reader.name()
    table = tables.get(name)
    if table is None:
        raise Problem(
            "SemanticError", f"Failed to resolve table or column expression named '{name}'"
        )
    while reader.take("|"):
        table = _operator(reader, table)
    if reader.kind != "end":
        raise reader.unexpected()
    return table


def _operator(reader: _Reader, table: Table) -> Table:
    operator = reader.name()
    if operator == "where":
        condition = reader.expression(table.columns)
        if reader.kind != "end" and reader.text != "|":
            raise reader.unexpected()
        if condition.type != "bool":
            raise Problem("SemanticError", "where: the expression is not a boolean")
        return Table(table.columns, [row for row in table.rows if condition.of(row)])
    if operator == "extend":
        return _extend(table, reader.named(table.columns), keep=True)
    if operator == "project":
        return _extend(table, reader.named(table.columns), keep=False)
    if operator == "summarize":
        return _summarize(reader, table)
    if operator in ("order", "sort"):
        return _order(reader, table)
    if operator in ("take", "limit"):
        return Table(table.columns, table.rows[: reader.whole_number()])
    if operator == "count":
        return Table({"Count": "long"}, [{"Count": len(table.rows)}])
    raise Problem("SyntaxError", f"Query could not be parsed at '{operator}': unknown operator")


def _extend(table: Table, named: Mapping[str, Expression], keep: bool) -> Table:
    types = {name: expression.type for name, expression in named.items()}
    columns = {**(table.columns if keep else {}), **types}
    rows = [
        {
            **(row if keep else {}),
            **{name: expression.of(row) for name, expression in named.items()},
        }
        for row in table.rows
    ]
    return Table(columns, rows)


def _summarize(reader: _Reader, table: Table) -> Table:
    aggregates: dict[str, tuple[str, Callable[[Sequence[Row]], Any]]] = {}
    while reader.kind != "end" and reader.text not in ("by", "|"):
        name = reader.assigned()
        default, kind, reduce = _aggregate(reader, table)
        # One aggregate may be divided by another.
        while reader.kind == "sign" and reader.text == "/":
            reader.expect("/")
            _, _, divisor = _aggregate(reader, table)
            kind, reduce = "real", _divided(reduce, divisor)
        aggregates[name or default] = (kind, reduce)
        if not reader.take(","):
            break
    keys = reader.named(table.columns) if reader.take("by") else {}
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in table.rows:
        groups.setdefault(tuple(key.of(row) for key in keys.values()), []).append(row)
    if not keys and not groups:
        groups[()] = []
    rows = [
        {
            **dict(zip(keys, values, strict=True)),
            **{name: aggregate(members) for name, (_, aggregate) in aggregates.items()},
        }
        for values, members in groups.items()
    ]
    types = {name: key.type for name, key in keys.items()}
    return Table({**types, **{name: kind for name, (kind, _) in aggregates.items()}}, rows)


def _aggregate(reader: _Reader, table: Table) -> tuple[str, str, Callable[[Sequence[Row]], Any]]:
    """Name where none is given, type and function of the next aggregate."""
    function = reader.name()
    make = AGGREGATES.get(function)
    if make is None:
        raise Problem("SemanticError", f"summarize: unknown aggregate '{function}'")
    arguments = reader.arguments(table.columns)
    name = "_".join([function, *(a.name for a in arguments[:1] if a.name)])
    return (name if arguments else f"{function}_", *make(arguments))


def _divided(
    above: Callable[[Sequence[Row]], Any], below: Callable[[Sequence[Row]], Any]
) -> Callable[[Sequence[Row]], Any]:
    def value(rows: Sequence[Row]) -> float | None:
        divisor = below(rows)
        return above(rows) / divisor if divisor else None

    return value


def _order(reader: _Reader, table: Table) -> Table:
    reader.expect("by")
    rows = list(table.rows)
    keys: list[tuple[Expression, bool]] = []
    while True:
        key = reader.expression(table.columns)
        # Kusto's order is descending where nothing is said.
        keys.append((key, not reader.take("asc") and (reader.take("desc") or True)))
        if not reader.take(","):
            break
    for key, descending in reversed(keys):
        rows.sort(key=lambda row: order_key(key.of(row)), reverse=descending)
    return Table(table.columns, rows)


class _Reader:
    """Reads expressions; operators read their own parts with it."""

    def __init__(self, tokens: list[tuple[str, str]], now: datetime) -> None:
        self._tokens = tokens
        self._position = 0
        self._now = now

    @property
    def kind(self) -> str:
        """Of the next token; ``end`` after the last."""
        return self._tokens[self._position][0]

    @property
    def text(self) -> str:
        """Of the next token."""
        return self._tokens[self._position][1]

    def unexpected(self) -> Problem:
        """The error for the next token."""
        found = self.text or "the end"
        return Problem("SyntaxError", f"Query could not be parsed at '{found}'")

    def take(self, text: str) -> bool:
        """Whether the next token is this one, which is then passed."""
        if self.kind in ("name", "sign") and self.text == text:
            self._position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        """Pass a token that has to be there."""
        if not self.take(text):
            raise self.unexpected()

    def name(self) -> str:
        """The next token, a name."""
        if self.kind != "name":
            raise self.unexpected()
        return self._pass()

    def whole_number(self) -> int:
        """The next token, a whole number."""
        if self.kind != "number" or not self.text.isdigit():
            raise self.unexpected()
        return int(self._pass())

    def assigned(self) -> str | None:
        """``NAME =`` where it comes next."""
        if self.kind == "name" and self._tokens[self._position + 1] == ("sign", "="):
            name = self._pass()
            self._pass()
            return name
        return None

    def named(self, columns: Mapping[str, str]) -> dict[str, Expression]:
        """``NAME = EXPRESSION`` or ``EXPRESSION``, any number of them."""
        found: dict[str, Expression] = {}
        while True:
            name = self.assigned()
            expression = self.expression(columns)
            found[name or expression.name or f"Column{len(found) + 1}"] = expression
            if not self.take(","):
                return found

    def arguments(self, columns: Mapping[str, str]) -> list[Expression]:
        """What stands in a call's parentheses."""
        self.expect("(")
        found: list[Expression] = []
        while not self.take(")"):
            found.append(self.expression(columns))
            if not self.take(",") and self.text != ")":
                raise self.unexpected()
        return found

    def expression(self, columns: Mapping[str, str]) -> Expression:
        """A whole expression."""
        left = self._all(columns)
        while self.take("or"):
            left = _both(left, self._all(columns), any)
        return left

    def _all(self, columns: Mapping[str, str]) -> Expression:
        left = self._comparison(columns)
        while self.take("and"):
            left = _both(left, self._comparison(columns), all)
        return left

    def _comparison(self, columns: Mapping[str, str]) -> Expression:
        left = self._quotient(columns)
        if self.text in COMPARISONS and self.kind in ("name", "sign"):
            operator = self._pass()
            return compared(operator, left, self._quotient(columns))
        if self.take("in"):
            choices = self.arguments(columns)
            return Expression("bool", lambda row: left.of(row) in [c.of(row) for c in choices])
        return left

    def _quotient(self, columns: Mapping[str, str]) -> Expression:
        left = self._value(columns)
        while self.kind == "sign" and self.text in ("*", "/"):
            left = calculated(self._pass(), left, self._value(columns))
        return left

    def _value(self, columns: Mapping[str, str]) -> Expression:
        found = self._primary(columns)
        while True:
            if self.take("["):
                found = member(found, self._string())
                self.expect("]")
            elif self.take("."):
                found = member(found, self.name())
            else:
                return found

    def _primary(self, columns: Mapping[str, str]) -> Expression:
        if self.take("("):
            inner = self.expression(columns)
            self.expect(")")
            return inner
        if self.kind == "string":
            return _constant("string", self._string())
        if self.kind == "number":
            text = self._pass()
            return (
                _constant("long", int(text)) if text.isdigit() else _constant("real", float(text))
            )
        if self.kind == "timespan":
            number, unit = re.fullmatch(r"([\d.]+)(\w+)", self._pass()).groups()  # type: ignore[union-attr]
            return _constant("timespan", timedelta(seconds=float(number) * _UNITS[unit]))
        if self.kind == "datetime":
            return _constant("datetime", _moment(self._pass()[len("datetime(") : -1]))
        name = self.name()
        if self.text == "(":
            function = FUNCTIONS.get(name)
            if function is None:
                raise Problem("SemanticError", f"Unknown function: '{name}'")
            return function(self.arguments(columns), self._now)
        if name not in columns:
            raise Problem("SemanticError", f"Failed to resolve scalar expression named '{name}'")
        return Expression(columns[name], lambda row: row.get(name), name)

    def _string(self) -> str:
        if self.kind != "string":
            raise self.unexpected()
        return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", _unescaped, self._pass()[1:-1])

    def _pass(self) -> str:
        text = self.text
        self._position += 1
        return text


def _tokens(query: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    query = query.rstrip()
    while position < len(query):
        match = _TOKEN.match(query, position)
        if match is None:
            raise Problem("SyntaxError", f"Query could not be parsed at '{query[position:][:20]}'")
        position = match.end()
        kind = match.lastgroup
        assert kind is not None
        if kind != "comment":
            found.append((kind, match[kind]))
    return [*found, ("end", ""), ("end", "")]


def _unescaped(match: re.Match[str]) -> str:
    letter = match[1]
    return chr(int(letter[1:], 16)) if len(letter) > 1 else _ESCAPES.get(letter, letter)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip().strip("\"'"))
    except ValueError:
        raise Problem("SyntaxError", f"Query could not be parsed at 'datetime({text})'") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _constant(kind: str, value: Any) -> Expression:
    return Expression(kind, lambda row: value)


def _both(
    left: Expression, right: Expression, combine: Callable[[Sequence[bool]], bool]
) -> Expression:
    if left.type != "bool" or right.type != "bool":
        raise Problem("SemanticError", "and, or: the operands are not booleans")
    return Expression("bool", lambda row: combine([bool(left.of(row)), bool(right.of(row))]))
