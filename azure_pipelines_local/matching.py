"""Patterns for files: ``*``, ``?``, ``[abc]``, ``{a,b}``, ``**`` for folders at any depth, ``!`` to take out again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|\{[^{}]*\}|.", re.DOTALL)


def to_regex(pattern: str) -> re.Pattern[str]:
    """The regular expression of one pattern, for paths with forward slashes."""
    return re.compile(_translated(pattern))


def _translated(pattern: str) -> str:
    result = ""
    for token in _TOKEN.findall(pattern):
        if token == "**/":
            result += "(?:.*/)?"
        elif token == "**":
            result += ".*"
        elif token == "*":
            result += "[^/]*"
        elif token == "?":
            result += "[^/]"
        elif token.startswith("[") and len(token) > 1:
            result += token.replace("[!", "[^", 1)
        elif token.startswith("{") and len(token) > 1:
            result += "(?:" + "|".join(map(_translated, token[1:-1].split(","))) + ")"
        else:
            result += re.escape(token)
    return result


def split_patterns(text: str) -> list[str]:
    """One pattern a line. Lines that begin with # are comments."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def files_of(folder: Path) -> Iterator[Path]:
    """Every file in a folder, at any depth, in order. What git keeps for itself is left out."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        yield from (Path(where, name) for name in sorted(files))


def find(folder: Path, patterns: list[str], anywhere: bool = False) -> list[Path]:
    """Files that some pattern takes in and no later one takes out.

    Args:
        folder: what relative patterns are relative to.
        patterns: of paths.
        anywhere: whether an absolute pattern may lead out of the folder. Else nothing outside is found.
    """
    root = os.path.abspath(folder)
    rules: list[tuple[bool, re.Pattern[str]]] = []
    places = [Path(root)]
    for pattern in patterns:
        text = os.path.normpath(os.path.join(root, pattern.lstrip("!")))
        if os.path.isdir(text):
            text = f"{text.rstrip('/')}/**"
        inside = text.startswith(root + "/")
        # The folder's own name may hold characters that mean something in a pattern.
        expression = (
            re.escape(root + "/") + _translated(text.removeprefix(root + "/"))
            if inside
            else _translated(text)
        )
        rules.append((not pattern.startswith("!"), re.compile(expression)))
        if anywhere and not inside:
            places.append(_start(text))
    # A place inside of another one is searched with it.
    starts = [place for place in places if not any(other in place.parents for other in places)]
    found = [path for start in dict.fromkeys(starts) for path in files_of(start)]
    return [path for path in found if _is_taken(path, rules)]


def _start(pattern: str) -> Path:
    """The deepest folder that holds all that an absolute pattern can mean."""
    folders = []
    for part in Path(pattern).parent.parts:
        if any(character in part for character in "*?[{"):
            break
        folders.append(part)
    return Path(*folders)


def _is_taken(path: Path, rules: list[tuple[bool, re.Pattern[str]]]) -> bool:
    taken = False
    for takes, pattern in rules:
        if pattern.fullmatch(path.as_posix()):
            taken = takes
    return taken
