"""Values of variable groups, which Azure DevOps keeps outside of the repository."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure_pipelines_local.errors import Location, PipelineError
from azure_pipelines_local.values import to_text
from azure_pipelines_local.variables import Entry, environment_name
from azure_pipelines_local.yaml_source import Mapping as MappingNode, Node, Scalar, load

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][\w.]*)\s*=\s*(.*)")
_SECRET = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|KEY", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Groups:
    """What is known of variable groups.

    Attributes:
        by_name: the variables of groups that a YAML file describes, by the group's name in lower case.
        shared: the variables that belong to every other group; None where the environment is asked for them.
    """

    by_name: Mapping[str, tuple[Entry, ...]]
    shared: tuple[Entry, ...] | None

    def knows(self, group: str) -> bool:
        """Whether a file says what is in the group."""
        return group.lower() in self.by_name or self.shared is not None

    def entries(self, group: str, wanted: Iterable[str]) -> tuple[Entry, ...]:
        """The variables of a group.

        Args:
            wanted: names that the pipeline uses; the environment is asked for them where no file describes the group.
        """
        if group.lower() in self.by_name:
            return self.by_name[group.lower()]
        if self.shared is not None:
            return self.shared
        names = {name: environment_name(name) for name in wanted}
        return tuple(
            _entry(name, os.environ[variable])
            for name, variable in names.items()
            if variable in os.environ
        )


def read_groups(file: Path | None) -> Groups:
    """Read a file with the values of groups: YAML, or lines of NAME=value that belong to every group.

    Raises:
        PipelineError: it cannot be read or is neither.
    """
    if file is None:
        return Groups({}, None)
    if file.suffix in (".yml", ".yaml"):
        return Groups({name.lower(): _group(name, node) for name, node in load(file)}, None)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise PipelineError(f"{file} cannot be read: {error.strerror}") from None
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise PipelineError("a line is NAME=value", Location(file, number))
        entries.append(_entry(match[1], _unquoted(match[2])))
    return Groups({}, tuple(entries))


def read_connections(files: Mapping[str, str]) -> dict[str, tuple[Entry, ...]]:
    """Read what stands for the login of service connections: a file of NAME=value lines for each.

    Raises:
        PipelineError: a file cannot be read or is something else.
    """
    found = {}
    for name, file in files.items():
        entries = read_groups(Path(file)).shared
        if entries is None:
            raise PipelineError(f"{file}: a connection is described by lines of NAME=value")
        found[name.lower()] = entries
    return found


def _group(name: str, node: Node) -> tuple[Entry, ...]:
    if not isinstance(node, MappingNode):
        raise PipelineError(f"group {name} is a mapping of names to values", node.where)
    return tuple(_described(key, value) for key, value in node)


def _described(name: str, node: Node) -> Entry:
    if isinstance(node, Scalar):
        return _entry(name, to_text(node.value))
    values: dict[str, Any] = dict(node) if isinstance(node, MappingNode) else {}
    value, secret = values.pop("value", None), values.pop("secret", None)
    if not isinstance(value, Scalar) or values or not isinstance(secret, Scalar | None):
        raise PipelineError(f"{name} is a value, or a mapping of value and secret", node.where)
    is_secret = to_text(secret.value).lower() == "true" if secret else bool(_SECRET.search(name))
    return Entry(name, to_text(value.value), is_secret)


def _entry(name: str, value: str) -> Entry:
    return Entry(name, value, bool(_SECRET.search(name)))


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text.split(" #")[0].strip()
