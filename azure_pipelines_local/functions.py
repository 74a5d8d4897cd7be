"""The functions that expressions may call everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence as SequenceOf
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure_pipelines_local.values import (
    Value,
    compare,
    describe,
    equal,
    to_boolean,
    to_text,
    value_of,
)
from azure_pipelines_local.yaml_source import NOWHERE, Mapping, Node, Scalar, Sequence

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\d+)(?::([^{}]*))?\}|[{}]")
_DATE = re.compile(r"yyyy|yy|MM|M|dd|d|HH|H|mm|m|ss|s|f{1,6}|K")
MANY = 255


class FunctionError(ValueError):
    """A function cannot work with what it was given."""


class Arguments:
    """Arguments of a call. One is evaluated when it is first looked at, so that functions can stop early."""

    def __init__(self, thunks: SequenceOf[Callable[[], Value]]) -> None:
        self._thunks = thunks

    def __len__(self) -> int:
        return len(self._thunks)

    def __getitem__(self, index: int) -> Value:
        return self._thunks[index]()

    def __iter__(self) -> Iterator[Value]:
        return (thunk() for thunk in self._thunks)


@dataclass(frozen=True, slots=True)
class Function:
    """How many arguments a function takes, and what it does with them."""

    minimum: int
    maximum: int
    call: Callable[[Arguments], Value]


def format_date(when: datetime, pattern: str) -> str:
    """A date in .NET's custom format, as far as Azure Pipelines documents it."""
    fields = {
        "yyyy": f"{when.year:04}",
        "yy": f"{when.year % 100:02}",
        "MM": f"{when.month:02}",
        "M": str(when.month),
        "dd": f"{when.day:02}",
        "d": str(when.day),
        "HH": f"{when.hour:02}",
        "H": str(when.hour),
        "mm": f"{when.minute:02}",
        "m": str(when.minute),
        "ss": f"{when.second:02}",
        "s": str(when.second),
        "K": "+00:00",
    }
    fraction = f"{when.microsecond:06}"
    return _DATE.sub(lambda match: fields.get(match[0]) or fraction[: len(match[0])], pattern)


def _format(arguments: Arguments) -> Value:
    pattern = to_text(arguments[0])

    def replace(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] is None:
            raise FunctionError(f"format: a single brace in {pattern!r}; a literal one is doubled")
        index = int(match[1]) + 1
        if index >= len(arguments):
            raise FunctionError(f"format: {match[0]} has no argument")
        value = arguments[index]
        if match[2] is not None:
            if not isinstance(value, datetime):
                raise FunctionError(f"format: {match[0]} formats dates, not {describe(value)}")
            return format_date(value, match[2])
        return to_text(value)

    return _PLACEHOLDER.sub(replace, pattern)


def _join(arguments: Arguments) -> Value:
    separator, values = to_text(arguments[0]), arguments[1]
    if not isinstance(values, Sequence):
        return to_text(values)
    return separator.join(to_text(value_of(item)) for item in values.items)


def _split(arguments: Arguments) -> Value:
    text, delimiters = to_text(arguments[0]), to_text(arguments[1])
    parts = re.split(f"[{re.escape(delimiters)}]", text) if delimiters else [text]
    return Sequence(tuple(Scalar(part, NOWHERE) for part in parts), NOWHERE)


def _contains_value(arguments: Arguments) -> Value:
    collection, wanted = arguments[0], arguments[1]
    if isinstance(collection, Sequence):
        nodes: tuple[Node, ...] = collection.items
    elif isinstance(collection, Mapping):
        nodes = tuple(value for _, value in collection.entries)
    else:
        return False
    return any(equal(wanted, value_of(node)) for node in nodes)


def _coalesce(arguments: Arguments) -> Value:
    value: Value = None
    for value in arguments:
        if value is not None and value != "":
            return value
    return value


def _length(arguments: Arguments) -> Value:
    value = arguments[0]
    if isinstance(value, Sequence):
        return float(len(value.items))
    if isinstance(value, Mapping):
        raise FunctionError("length: takes a string or a list, not a mapping")
    return float(len(to_text(value)))


def _xor(arguments: Arguments) -> Value:
    return to_boolean(arguments[0]) != to_boolean(arguments[1])


def _is_in(arguments: Arguments) -> bool:
    values = iter(arguments)
    left = next(values)
    return any(equal(left, right) for right in values)


def plain(value: Value) -> Any:
    """A value in the types that JSON and YAML know."""
    if isinstance(value, Sequence):
        return [plain(value_of(item)) for item in value.items]
    if isinstance(value, Mapping):
        return {key: plain(value_of(item)) for key, item in value}
    if isinstance(value, float):
        return int(value) if value == int(value) else value
    return value if value is None or isinstance(value, bool) else to_text(value)


def _text_test(test: Callable[[str, str], bool]) -> Callable[[Arguments], Value]:
    return lambda a: test(to_text(a[0]).upper(), to_text(a[1]).upper())


FUNCTIONS: dict[str, Function] = {
    "and": Function(2, MANY, lambda a: all(to_boolean(value) for value in a)),
    "coalesce": Function(2, MANY, _coalesce),
    "contains": Function(2, 2, _text_test(lambda text, part: part in text)),
    "containsValue": Function(2, 2, _contains_value),
    "convertToJson": Function(1, 1, lambda a: json.dumps(plain(a[0]), indent=2)),
    "endsWith": Function(2, 2, _text_test(str.endswith)),
    "eq": Function(2, 2, lambda a: equal(a[0], a[1])),
    "format": Function(1, MANY, _format),
    "ge": Function(2, 2, lambda a: compare(a[0], a[1]) >= 0),
    "gt": Function(2, 2, lambda a: compare(a[0], a[1]) > 0),
    "iif": Function(3, 3, lambda a: a[1] if to_boolean(a[0]) else a[2]),
    "in": Function(1, MANY, _is_in),
    "join": Function(2, 2, _join),
    "le": Function(2, 2, lambda a: compare(a[0], a[1]) <= 0),
    "length": Function(1, 1, _length),
    "lower": Function(1, 1, lambda a: to_text(a[0]).lower()),
    "lt": Function(2, 2, lambda a: compare(a[0], a[1]) < 0),
    "ne": Function(2, 2, lambda a: not equal(a[0], a[1])),
    "not": Function(1, 1, lambda a: not to_boolean(a[0])),
    "notIn": Function(1, MANY, lambda a: not _is_in(a)),
    "or": Function(2, MANY, lambda a: any(to_boolean(value) for value in a)),
    "replace": Function(
        3,
        3,
        lambda a: to_text(a[0]).replace(to_text(a[1]), to_text(a[2])) if to_text(a[1]) else a[0],
    ),
    "split": Function(2, 2, _split),
    "startsWith": Function(2, 2, _text_test(str.startswith)),
    "trim": Function(1, 1, lambda a: to_text(a[0]).strip()),
    "upper": Function(1, 1, lambda a: to_text(a[0]).upper()),
    "xor": Function(2, 2, _xor),
}
"""By their documented names. They are called in any case."""
