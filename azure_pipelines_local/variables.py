"""Variables of a scope, and ``$(macros)``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from azure_pipelines_local.yaml_source import NOWHERE, Mapping, Scalar

MACRO = re.compile(r"\$\(([A-Za-z_][\w.\- ]*)\)")


class ReadOnly(ValueError):
    """A variable that may not be changed was to be changed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One variable as it was written."""

    name: str
    value: str
    secret: bool = False
    readonly: bool = False


class Variables:
    """Variables by name, in whatever case it is written."""

    def __init__(self, entries: dict[str, Entry] | None = None) -> None:
        self._entries = entries or {}

    def copy(self) -> Variables:
        """The same variables; changing them does not change these."""
        return Variables(dict(self._entries))

    def set(self, name: str, value: str, *, secret: bool = False, readonly: bool = False) -> None:
        """Give a variable a value, whatever it was before."""
        self._entries[name.lower()] = Entry(name, value, secret, readonly)

    def change(self, name: str, value: str, *, secret: bool, readonly: bool) -> None:
        """Give a variable a value during a job. What was secret stays so.

        Raises:
            ReadOnly: it may not be changed.
        """
        old = self._entries.get(name.lower())
        if old and old.readonly:
            raise ReadOnly(f"variable {old.name} is read-only")
        self.set(name, value, secret=secret or bool(old and old.secret), readonly=readonly)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def value(self, name: str) -> str | None:
        """A variable's value with its macros filled in; None where there is no such variable."""
        entry = self._entries.get(name.lower())
        return None if entry is None else self._filled(entry.value, frozenset({name.lower()}))

    def expand(self, text: str) -> str:
        """Fill macros in. Those of unknown variables stay as they are."""
        return self._filled(text, frozenset())

    def _filled(self, text: str, inside: frozenset[str]) -> str:
        def replace(match: re.Match[str]) -> str:
            name = match[1].lower()
            entry = self._entries.get(name)
            # A variable that is made of itself stays as it is, like an unknown one.
            if entry is None or name in inside:
                return match[0]
            return self._filled(entry.value, inside | {name})

        return MACRO.sub(replace, text)

    def environment(self) -> dict[str, str]:
        """As environment variables. Secrets are not among them, nor what cannot be one."""
        return {
            environment_name(entry.name): self.expand(entry.value)
            for entry in self
            if not entry.secret and "=" not in entry.name and "\0" not in entry.name + entry.value
        }

    def secrets(self) -> Iterator[str]:
        """Values that must not be seen."""
        return (self.expand(entry.value) for entry in self if entry.secret)

    def context(self) -> Mapping:
        """As expressions see them."""
        entries = tuple(
            (Scalar(entry.name, NOWHERE), Scalar(self.expand(entry.value), NOWHERE))
            for entry in self
        )
        return Mapping(entries, NOWHERE)


def environment_name(name: str) -> str:
    """The environment variable that stands for a variable."""
    return re.sub(r"[. ]", "_", name).upper()
