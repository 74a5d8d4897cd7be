"""Reads a data factory's files, laid out as Data Factory keeps them in git: a folder a kind, a file a resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from environment_setup.bundle import load
from environment_setup.check.expressions import TemplateError

FOLDER = Path(__file__).resolve().parent
Kind: TypeAlias = Literal["linkedService", "dataset", "pipeline", "trigger"]
KINDS: tuple[Kind, ...] = ("linkedService", "dataset", "pipeline", "trigger")
"""Each refers to those before it alone."""
ENVIRONMENTS = "factory"
EXPRESSIONS = "expressions.json"
Content: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Factory:
    """A data factory's files.

    Attributes:
        resources: kind to name to content.
        environments: name to the factory's own content there, which holds its global parameters.
        expressions: kind to place to the ARM expression that stands there in the exported template, since the value is
            another in each environment.
    """

    resources: Mapping[Kind, Mapping[str, Content]]
    environments: Mapping[str, Content]
    expressions: Mapping[str, Mapping[str, str]]

    def all(self) -> Iterator[tuple[Kind, str, Content]]:
        """Every resource."""
        for kind, named in self.resources.items():
            for name, content in named.items():
                yield kind, name, content

    def global_parameters(self, environment: str) -> Mapping[str, Content]:
        """Name to type and value."""
        found: Mapping[str, Content] = self.environments[environment]["properties"][
            "globalParameters"
        ]
        return found


def load_factory(folder: Path = FOLDER) -> Factory:
    """Read a data factory.

    Raises:
        TemplateError: a file is no resource, or is not named like it.
    """
    named = {kind: _resources(folder / kind) for kind in KINDS}
    environments = _resources(folder / ENVIRONMENTS)
    for name, content in environments.items():
        if not isinstance(content["properties"].get("globalParameters"), dict):
            raise TemplateError(f"{folder / ENVIRONMENTS / name}.json: globalParameters is missing")
    return Factory(named, environments, load(folder / EXPRESSIONS))


def _resources(folder: Path) -> dict[str, Content]:
    files = sorted(folder.glob("*.json"))
    if not files:
        raise TemplateError(f"{folder} holds no JSON file")
    found: dict[str, Content] = {}
    for file in files:
        content = load(file)
        if content.get("name") != file.stem:
            raise TemplateError(f"{file}: the name has to be {file.stem}, as the file's")
        if not isinstance(content.get("properties"), dict):
            raise TemplateError(f"{file}: properties are missing")
        found[file.stem] = content
    return found
