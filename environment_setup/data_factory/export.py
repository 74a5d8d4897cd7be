"""Makes an ARM template and its parameter file of a data factory's files.

Names of accounts, of the vault, the workspace and the factory are worked out by Azure as in
``environment_setup/arm/main.json``: its variables are taken over.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from environment_setup.bundle import ARM, MAIN, load
from environment_setup.check.expressions import TemplateError, is_expression
from environment_setup.data_factory.files import KINDS, Factory, Kind

API = "2018-06-01"
PIPELINE_ID = "ingestionPipelineId"
"""Parameter of the template, and global parameter of the factory."""
TYPES: Mapping[str, str] = {
    "linkedService": "linkedservices",
    "dataset": "datasets",
    "pipeline": "pipelines",
    "trigger": "triggers",
}
REFERENCES: Mapping[str, Kind] = {
    "LinkedServiceReference": "linkedService",
    "DatasetReference": "dataset",
    "PipelineReference": "pipeline",
}
_SCHEMA = "https://schema.management.azure.com/schemas"
_GLOBAL = "factories/globalParameters"
_FACTORY = "variables('names').factory"
_VARIABLE = re.compile(r"variables\('(\w+)'\)")


def template(factory: Factory, environment: str) -> dict[str, Any]:
    """The ARM template of an environment: everything but the factory itself.

    Raises:
        TemplateError: there is no such environment, or an expression in expressions.json has no place.
    """
    _known(factory, environment)
    resources = list(_resources(factory, environment))
    main = load(ARM / MAIN)
    names = ("baseName", "environment")
    return {
        "$schema": f"{_SCHEMA}/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {name: main["parameters"][name] for name in names}
        | {
            PIPELINE_ID: {
                "type": "string",
                "minLength": 36,
                "maxLength": 36,
                "metadata": {"description": "Published ingestion pipeline that is run."},
            }
        },
        "variables": _used(main["variables"], resources),
        "resources": resources,
    }


def parameters(
    factory: Factory, environment: str, pipeline_id: str | None = None
) -> dict[str, Any]:
    """The template's parameter file.

    Args:
        factory: its files.
        environment: dev, test or prod.
        pipeline_id: of the published ingestion pipeline. Without it, the parameter has to be given at deployment: the
            id is another in each environment.

    Raises:
        TemplateError: there is no such environment.
    """
    _known(factory, environment)
    given = load(ARM / "parameters" / f"{environment}.json")["parameters"]
    return {
        "$schema": f"{_SCHEMA}/2019-04-01/deploymentParameters.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "baseName": given["baseName"],
            "environment": {"value": environment},
        }
        | ({PIPELINE_ID: {"value": pipeline_id}} if pipeline_id else {}),
    }


def _known(factory: Factory, environment: str) -> None:
    if environment not in factory.environments:
        raise TemplateError(
            f"there is no environment {environment}: choose {', '.join(factory.environments)}"
        )


def _resources(factory: Factory, environment: str) -> Iterator[dict[str, Any]]:
    left = {(kind, path) for kind, paths in factory.expressions.items() for path in paths}
    content = _filled(factory, "factory", factory.environments[environment], left)
    values = _escaped(content["properties"]["globalParameters"])
    yield _resource(_GLOBAL, "default", values, [])
    for kind in KINDS:
        for name, document in factory.resources[kind].items():
            filled = _filled(factory, kind, document, left)
            needed = [_id(f"factories/{TYPES[of]}", to) for of, to in sorted(_needs(filled))]
            if kind == "pipeline":
                needed.append(_id(_GLOBAL, "default"))
            yield _resource(
                f"factories/{TYPES[kind]}", name, _escaped(filled["properties"]), needed
            )
    for kind_name, path in sorted(left):
        raise TemplateError(f"expressions.json: no {kind_name} has {path}")


def _resource(kind: str, name: str, properties: Any, needed: list[str]) -> dict[str, Any]:
    return {
        "type": f"Microsoft.DataFactory/{kind}",
        "apiVersion": API,
        "name": f"[format('{{0}}/{name}', {_FACTORY})]",
        "dependsOn": needed,
        "properties": properties,
    }


def _id(kind: str, name: str) -> str:
    return f"[resourceId('Microsoft.DataFactory/{kind}', {_FACTORY}, '{name}')]"


def _filled(
    factory: Factory, kind: str, document: Mapping[str, Any], left: set[tuple[str, str]]
) -> dict[str, Any]:
    """A document with ARM's expressions where it has a place for them, which is then no longer ``left``."""
    filled = dict(copy.deepcopy(document))
    for path, expression in factory.expressions.get(kind, {}).items():
        *parents, last = path.split(".")
        place: Any = filled
        for key in parents:
            place = place.get(key, {})
        if last in place:
            place[last] = _Expression(expression)
            left.discard((kind, path))
    return filled


class _Expression(str):
    """A text that Azure Resource Manager is to work out."""


def _escaped(value: Any) -> Any:
    """A value in which no text of Data Factory looks like an expression of ARM."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, _Expression):
        return str(value)
    return f"[{value}" if isinstance(value, str) and value.startswith("[") else value


def _needs(value: Any) -> set[tuple[Kind, str]]:
    if isinstance(value, list):
        return {found for item in value for found in _needs(item)}
    if not isinstance(value, dict):
        return set()
    found = {need for item in value.values() for need in _needs(item)}
    if value.get("type") in REFERENCES and "referenceName" in value:
        found.add((REFERENCES[value["type"]], value["referenceName"]))
    return found


def _used(variables: Mapping[str, Any], resources: list[dict[str, Any]]) -> dict[str, Any]:
    """The variables of ARM's that resources use, and those that these are made of."""
    found: set[str] = set()
    new = _named(resources) & variables.keys()
    while new:
        found |= new
        new = _named([variables[name] for name in new]) - found
    return {name: value for name, value in variables.items() if name in found}


def _named(value: Any) -> set[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return {name for item in value for name in _named(item)}
    return set(_VARIABLE.findall(value)) if is_expression(value) else set()
