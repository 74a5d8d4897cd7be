"""Logging commands: ``##vso[area.action property=value;...]message`` in a step's output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_PREFIX = "##vso["
# The agent's own order: the percent sign last, so that an escaped one is not read as part of another escape.
_ESCAPES = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%AZP25", "%"))


@dataclass(frozen=True, slots=True)
class Command:
    """One logging command. The names of properties are in lower case."""

    name: str
    properties: Mapping[str, str]
    message: str

    def flag(self, name: str) -> bool:
        """Whether a property is true."""
        return self.properties.get(name, "").lower() == "true"


def parse(line: str) -> Command | None:
    """The command in a line of output; None where there is none, or none that can be read."""
    start = line.find(_PREFIX)
    end = line.find("]", start)
    if start < 0 or end < 0:
        return None
    head, message = line[start + len(_PREFIX) : end], line[end + 1 :]
    name, _, rest = head.strip().partition(" ")
    if name.count(".") != 1 or not name.replace(".", "").isalnum():
        return None
    properties = {}
    for part in rest.split(";"):
        key, equals, value = part.partition("=")
        if equals and key.strip():
            properties[key.strip().lower()] = _unescape(value)
    return Command(name.lower(), properties, _unescape(message))


def _unescape(text: str) -> str:
    for escaped, plain in _ESCAPES:
        text = text.replace(escaped, plain)
    return text
