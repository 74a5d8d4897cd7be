"""YAML as a tree that remembers file and line.

Azure Pipelines reads every scalar as text; only parameters have types. So a scalar that comes from a file holds a
``str``, and other values appear where an expression puts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from azure_pipelines_local.errors import Location, PipelineError

NOWHERE = Location(Path("<command line>"), 1)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version literal of two to four numbers."""

    parts: tuple[int, ...]

    def __str__(self) -> str:
        return ".".join(map(str, self.parts))


Atom: TypeAlias = "str | bool | float | Version | datetime | None"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value."""

    value: Atom
    where: Location


@dataclass(frozen=True, slots=True)
class Sequence:
    """Items in order."""

    items: tuple[Node, ...]
    where: Location


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in order. Keys that are expressions may occur more than once before expansion."""

    entries: tuple[tuple[Scalar, Node], ...]
    where: Location

    def __iter__(self) -> Iterator[tuple[str, Node]]:
        return ((str(key.value), value) for key, value in self.entries)

    def get(self, name: str) -> Node | None:
        """The value of a key, in whatever case it is written."""
        wanted = name.lower()
        return next((value for key, value in self if key.lower() == wanted), None)

    def key(self, name: str) -> Scalar | None:
        """The key itself, for its line."""
        return next((key for key, _ in self.entries if key.value == name), None)


Node: TypeAlias = "Scalar | Sequence | Mapping"


def load(path: Path) -> Mapping:
    """Read a file whose root is a mapping.

    Raises:
        PipelineError: it cannot be read, is not YAML, or uses what Azure Pipelines does not read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PipelineError("not UTF-8", Location(path, 1)) from None
    node = parse(text, path)
    if not isinstance(node, Mapping):
        raise PipelineError("a pipeline or template is a mapping of keys to values", node.where)
    return node


def parse(text: str, path: Path) -> Node:
    """The tree of one YAML document.

    Raises:
        PipelineError: as for :func:`load`.
    """
    try:
        _refuse_anchors(text, path)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return Scalar("", Location(path, 1)) if root is None else _node(root, path)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error)
        raise PipelineError(f"not YAML: {problem}", Location(path, line)) from None
    except RecursionError:
        raise PipelineError("nested too deeply", Location(path, 1)) from None


def _refuse_anchors(text: str, path: Path) -> None:
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if getattr(event, "anchor", None):
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise PipelineError(
                "Azure Pipelines does not read YAML anchors and aliases: use a template",
                Location(path, line),
            )


def _node(node: yaml.Node, path: Path) -> Node:
    where = Location(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        is_null = node.tag == "tag:yaml.org,2002:null"
        return Scalar("" if is_null else node.value, where)
    if isinstance(node, yaml.SequenceNode):
        return Sequence(tuple(_node(item, path) for item in node.value), where)
    entries = []
    seen: set[str] = set()
    for key_node, value in node.value:
        key = _node(key_node, path)
        if not isinstance(key, Scalar):
            raise PipelineError("a key is a single value", key.where)
        text = str(key.value)
        if text in seen and not text.startswith("${{"):
            raise PipelineError(f"the key {text!r} is given twice", key.where)
        seen.add(text)
        entries.append((key, _node(value, path)))
    return Mapping(tuple(entries), where)


def to_node(value: Any, where: Location = NOWHERE) -> Node:
    """Python's dicts and lists as a tree."""
    if isinstance(value, Scalar | Sequence | Mapping):
        return value
    if isinstance(value, dict):
        return Mapping(
            tuple((Scalar(str(key), where), to_node(item, where)) for key, item in value.items()),
            where,
        )
    if isinstance(value, list | tuple):
        return Sequence(tuple(to_node(item, where) for item in value), where)
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return Scalar(value, where)
