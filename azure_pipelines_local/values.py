"""Values of expressions, and the documented rules by which one type becomes another."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TypeAlias

from azure_pipelines_local.yaml_source import Atom, Mapping, Node, Scalar, Sequence, Version

Value: TypeAlias = "Atom | Sequence | Mapping"

_NUMBER = re.compile(r"\s*[+-]?(?:\d[\d,]*(?:\.\d*)?|\.\d+)\s*")
_VERSION = re.compile(r"\d+(?:\.\d+){1,3}")
_INT32_MAX = 2**31 - 1


class NotComparable(ValueError):
    """The right side has no meaning in the left side's type."""


def value_of(node: Node) -> Value:
    """What a node means in an expression."""
    return node.value if isinstance(node, Scalar) else node


def to_text(value: Value) -> str:
    """As text. Collections have none: the empty string."""
    if value is None or isinstance(value, Sequence | Mapping):
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, float):
        return format(value, ".15g")
    if isinstance(value, datetime):
        return value.strftime("%m/%d/%Y %H:%M:%S +00:00")
    return str(value)


def to_boolean(value: Value) -> bool:
    """As a boolean: null, zero and the empty string are false, everything else is true."""
    if value is None or value == "":
        return False
    if isinstance(value, bool):
        return value
    return not (isinstance(value, float) and value == 0)


def to_number(value: Value) -> float | None:
    """As a number; None where there is none."""
    if value is None:
        return 0.0
    if isinstance(value, bool | float):
        return float(value)
    if isinstance(value, str):
        if value == "":
            return 0.0
        if _NUMBER.fullmatch(value):
            return float(value.replace(",", ""))
    return None


def to_version(value: Value) -> Version | None:
    """As a version; None where there is none."""
    if isinstance(value, Version):
        return value
    if isinstance(value, float):
        if value <= 0 or value == int(value):
            return None
        value = to_text(value)
    if isinstance(value, str) and _VERSION.fullmatch(value.strip()):
        parts = tuple(int(part) for part in value.strip().split("."))
        return Version(parts) if max(parts) <= _INT32_MAX else None
    return None


def equal(left: Value, right: Value) -> bool:
    """Whether both are the same once the right one has the left one's type. Text is compared without case."""
    if left is None:
        return right is None or right == ""
    if isinstance(left, bool):
        return left == to_boolean(right)
    if isinstance(left, float):
        return left == to_number(right)
    if isinstance(left, Version):
        return left == to_version(right)
    if isinstance(left, Sequence | Mapping) or isinstance(right, Sequence | Mapping):
        return left is right
    return to_text(left).upper() == to_text(right).upper()


def compare(left: Value, right: Value) -> int:
    """-1, 0 or 1, once the right value has the left one's type.

    Raises:
        NotComparable: it cannot have it, or the left one has no order.
    """
    if isinstance(left, bool | float):
        number = float(to_boolean(right)) if isinstance(left, bool) else to_number(right)
        if number is None:
            raise NotComparable(f"{to_text(right)!r} is not a number")
        return (left > number) - (left < number)
    if isinstance(left, Version):
        version = to_version(right)
        if version is None:
            raise NotComparable(f"{to_text(right)!r} is not a version")
        return (left > version) - (left < version)
    if isinstance(left, str) and not isinstance(right, Sequence | Mapping):
        mine, other = left.upper(), to_text(right).upper()
        return (mine > other) - (mine < other)
    raise NotComparable(f"{describe(left)} has no order")


def describe(value: Value) -> str:
    """A value's type, for messages."""
    if value is None:
        return "null"
    names = {bool: "a boolean", float: "a number", str: "a string", Version: "a version"}
    names |= {Sequence: "a list", Mapping: "a mapping", datetime: "a date"}
    return names[type(value)]
