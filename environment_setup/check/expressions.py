"""Reads the expressions of ARM templates, ``[format('{0}-logs', parameters('name'))]``, as trees.

Source of the syntax: Azure Resource Manager, "Syntax and expressions in ARM templates".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from insurance_claims.errors import ClaimsError

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<name>[A-Za-z_]\w*)|(?P<sign>[()\[\],.]))"
)


class TemplateError(ClaimsError):
    """A template cannot be read, or what it says cannot be worked out."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A text or a number."""

    value: str | int


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """A property or an element of something: ``x.name``, ``x['name']``, ``x[0]``."""

    of: Node
    key: Node


Node: TypeAlias = Literal | Call | Access


def is_expression(value: object) -> bool:
    """Whether a text is an expression. ``[[`` begins a text with a bracket."""
    return isinstance(value, str) and value.startswith("[") and not value.startswith("[[")


@functools.cache
def parse(text: str) -> Node:
    """The tree of an expression, brackets included.

    Raises:
        TemplateError: it is none.
    """
    if not text.endswith("]"):
        raise TemplateError(f"{text} does not end with ]")
    tokens = list(_tokens(text[1:-1], text))
    node, rest = _value(tokens, 0, text)
    if rest != len(tokens):
        raise TemplateError(f"{text}: {tokens[rest]} was not expected")
    return node


def walk(node: Node) -> Iterator[Node]:
    """A tree's nodes, from the top."""
    yield node
    if isinstance(node, Call):
        for argument in node.arguments:
            yield from walk(argument)
    if isinstance(node, Access):
        yield from walk(node.of)
        yield from walk(node.key)


def _tokens(inner: str, text: str) -> Iterator[str]:
    place = 0
    while place < len(inner.rstrip()):
        match = _TOKEN.match(inner, place)
        if match is None:
            raise TemplateError(f"{text}: {inner[place:].strip()[:20]} cannot be read")
        yield match[0].strip()
        place = match.end()


def _value(tokens: list[str], place: int, text: str) -> tuple[Node, int]:
    token = _at(tokens, place, text)
    node: Node
    if token.startswith("'"):
        node, place = Literal(token[1:-1].replace("''", "'")), place + 1
    elif re.fullmatch(r"-?\d+", token):
        node, place = Literal(int(token)), place + 1
    elif re.fullmatch(r"\w+", token):
        if _at(tokens, place + 1, text) != "(":
            raise TemplateError(f"{text}: {token} is no function")
        arguments, place = _arguments(tokens, place + 2, text)
        node = Call(token, arguments)
    else:
        raise TemplateError(f"{text}: {token} was not expected")
    while place < len(tokens) and tokens[place] in (".", "["):
        key: Node
        if tokens[place] == ".":
            key, place = Literal(_at(tokens, place + 1, text)), place + 2
        else:
            key, place = _value(tokens, place + 1, text)
            if _at(tokens, place, text) != "]":
                raise TemplateError(f"{text}: ] is missing")
            place += 1
        node = Access(node, key)
    return node, place


def _arguments(tokens: list[str], place: int, text: str) -> tuple[tuple[Node, ...], int]:
    found: list[Node] = []
    if _at(tokens, place, text) == ")":
        return (), place + 1
    while True:
        node, place = _value(tokens, place, text)
        found.append(node)
        sign = _at(tokens, place, text)
        if sign == ")":
            return tuple(found), place + 1
        if sign != ",":
            raise TemplateError(f"{text}: {sign} was not expected")
        place += 1


def _at(tokens: list[str], place: int, text: str) -> str:
    if place >= len(tokens):
        raise TemplateError(f"{text} breaks off")
    return tokens[place]
