"""Filters in OData's words, as the SDK writes them: ``(RunType eq x or Tags/y eq "z") and (ParentRunId eq null)``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.azureml_emulator.routing import Refused

Test = Callable[[dict[str, Any]], bool]
_Tokens = list[str | re.Match[str]]
_WORD = re.compile(r"(and|or)\b")
_CONDITION = re.compile(
    r"(?P<field>\w+(?:/[^\s()]+)?)\s+(?P<relation>eq|ne|ge|gt)\s+(?:\"(?P<quoted>[^\"]*)\"|(?P<value>[^()]+?))"
    r"(?=\s+(?:and|or)\s|\s*\)|\s*$)"
)


def condition(text: str) -> Test:
    """What a filter asks of a document. An empty one lets all through.

    Raises:
        Refused: it cannot be read.
    """
    tokens: _Tokens = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
        elif text[position] in "()":
            tokens.append(text[position])
            position += 1
        elif word := _WORD.match(text, position):
            tokens.append(word[1])
            position = word.end()
        elif match := _CONDITION.match(text, position):
            tokens.append(match)
            position = match.end()
        else:
            raise Refused(400, "UserError", f"Invalid filter: {text}")
    if not tokens:
        return lambda run: True
    test, rest = _any(tokens)
    if rest:
        raise Refused(400, "UserError", f"Invalid filter: {text}")
    return test


def _any(tokens: _Tokens) -> tuple[Test, _Tokens]:
    left, tokens = _all(tokens)
    while tokens and tokens[0] == "or":
        right, tokens = _all(tokens[1:])
        left = _joined(left, right, any)
    return left, tokens


def _all(tokens: _Tokens) -> tuple[Test, _Tokens]:
    left, tokens = _single(tokens)
    while tokens and tokens[0] == "and":
        right, tokens = _single(tokens[1:])
        left = _joined(left, right, all)
    return left, tokens


def _single(tokens: _Tokens) -> tuple[Test, _Tokens]:
    if tokens and tokens[0] == "(":
        test, rest = _any(tokens[1:])
        if rest and rest[0] == ")":
            return test, rest[1:]
    elif tokens and isinstance(tokens[0], re.Match):
        return _compared(tokens[0]), tokens[1:]
    raise Refused(400, "UserError", "Invalid filter")


def _joined(left: Test, right: Test, how: Callable[[Any], bool]) -> Test:
    return lambda run: how(test(run) for test in (left, right))


def _compared(match: re.Match[str]) -> Test:
    field, _, key = match["field"].partition("/")
    value = match["quoted"] if match["quoted"] is not None else match["value"].strip()
    wanted = None if value == "null" and match["quoted"] is None else value

    def test(run: dict[str, Any]) -> bool:
        fields = {name.lower(): content for name, content in run.items()}
        actual = fields.get(field.lower())
        if key:
            # "y ne null or y eq null" is the client's way to ask whether y is there at all.
            inner = actual or {}
            if key not in inner:
                return False
            actual = inner[key]
        if match["relation"] == "eq":
            return bool(actual == wanted)
        if match["relation"] == "ne":
            return bool(actual != wanted)
        # Moments are written in one way, with or without a T.
        there, asked = str(actual or "").replace("T", " "), str(wanted).replace("T", " ")
        return there > asked or (match["relation"] == "ge" and there == asked)

    return test
