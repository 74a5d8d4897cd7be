"""What a data factory's files say of each other: references, parameters, expressions, order, names, places, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from environment_setup.check.expressions import TemplateError
from environment_setup.data_factory.activities import Activity, activities, order_problems
from environment_setup.data_factory.export import REFERENCES
from environment_setup.data_factory.expressions import (
    EVENT,
    FUNCTIONS,
    SYSTEM,
    expressions,
    names,
    tree,
)
from environment_setup.data_factory.files import Content, Factory, Kind

# Narrower than Azure's rules for some kinds, and within those for all. Source of the numbers: Azure Data Factory,
# "Naming rules", and Azure's limits of services.
_NAME = re.compile(r"[A-Za-z0-9_]{1,140}")
_ACTIVITY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ -]{0,54}")
_ACTIVITIES, _PARAMETERS = 40, 50
_SECRETS = {
    *("accountKey", "connectionString", "encryptedCredential", "functionKey", "password"),
    *("sasToken", "sasUri", "servicePrincipalKey"),
}
_NESTED = ("pipeline", "pipelineReference")
"""Beside a reference under these keys stand the parameters that it is given."""


def reference_problems(factory: Factory, containers: Sequence[str]) -> Iterator[str]:
    """Everything that is wrong, ``KIND/NAME: MESSAGE``.

    Args:
        factory: its files.
        containers: of the data account.
    """
    referred: set[tuple[Kind, str]] = set()
    spoken: set[str] = set()
    for kind, name, content in factory.all():
        if not _NAME.fullmatch(name):
            yield f"{kind}/{name}: the name has to be letters, digits and _, at most 140"
        for problem in (
            *_references(factory, content, referred),
            *_secrets(content["properties"]),
            *_places(kind, content["properties"], containers),
            *_unevaluated(content["properties"]),
            *_texts(factory, kind, content, spoken),
        ):
            yield f"{kind}/{name}: {problem}"
    for kind, name, _ in factory.all():
        if kind != "trigger" and (kind, name) not in referred:
            yield f"{kind}/{name}: nothing uses it"
    yield from _environments(factory, spoken)


def _references(
    factory: Factory, content: Content, referred: set[tuple[Kind, str]]
) -> Iterator[str]:
    for kind_name, name, given in _referring(content["properties"], {}):
        kind = REFERENCES.get(kind_name)
        target = factory.resources[kind].get(name) if kind else None
        if kind is None or target is None:
            yield f"{kind_name} {name} leads nowhere"
            continue
        referred.add((kind, name))
        declared = target["properties"].get("parameters", {})
        for parameter in sorted(given.keys() - declared.keys()):
            yield f"{kind} {name} has no parameter {parameter}"
        for parameter, rule in declared.items():
            if parameter not in given and "defaultValue" not in rule:
                yield f"{kind} {name} is not given its parameter {parameter}"


def _referring(
    value: Any, given: Mapping[str, Any]
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Type, name and parameters of each reference."""
    if isinstance(value, list):
        for item in value:
            yield from _referring(item, {})
    elif isinstance(value, dict):
        if "referenceName" in value:
            yield (
                str(value.get("type")),
                str(value["referenceName"]),
                value.get("parameters", given),
            )
        for key, item in value.items():
            yield from _referring(item, value.get("parameters", {}) if key in _NESTED else {})


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _secrets(item)
    elif isinstance(value, dict):
        if value.get("type") == "SecureString" and "value" in value:
            yield "a secret stands in the file: put it into the vault"
        if value.get("type") == "AzureMLService" and (
            value.get("typeProperties", {}).get("authentication") != "MSI"
        ):
            yield "authentication has to be MSI, the factory's managed identity"
        for key, item in value.items():
            if key in _SECRETS and not (
                isinstance(item, dict) and item.get("type") == "AzureKeyVaultSecret"
            ):
                yield f"{key} has to be an AzureKeyVaultSecret, or left out: the managed identity logs in"
            yield from _secrets(item)


def _places(kind: Kind, properties: Content, containers: Sequence[str]) -> Iterator[str]:
    fields = properties.get("typeProperties", {})
    container = fields.get("location", {}).get("container") if kind == "dataset" else None
    if kind == "trigger" and properties["type"] == "BlobEventsTrigger":
        _, container, *rest = [*str(fields.get("blobPathBeginsWith", "")).split("/"), "", ""]
        if rest[:1] != ["blobs"]:
            yield "blobPathBeginsWith has to be /CONTAINER/blobs/"
        if not fields.get("blobPathEndsWith"):
            yield "blobPathEndsWith is missing: the lists that the pipeline writes would start it again"
    if kind == "trigger" and not all(
        "pipelineReference" in i for i in properties["pipelines"] or [{}]
    ):
        yield "it starts no pipeline"
    if container and container not in containers:
        yield f"the data account has no container {container}"


def _texts(factory: Factory, kind: Kind, content: Content, spoken: set[str]) -> Iterator[str]:
    """What expressions name, and what is declared and never named."""
    properties = content["properties"]
    parameters = properties.get("parameters", {}).keys()
    variables = properties.get("variables", {}).keys()
    known: dict[str, Set[str]] = {"function": FUNCTIONS}
    if kind == "pipeline":
        shared = (factory.global_parameters(name).keys() for name in factory.environments)
        known |= {"parameters": parameters, "variables": variables, "system": SYSTEM}
        known["globalParameters"] = set().union(*shared)
    elif kind == "trigger":
        known["triggerBody"] = EVENT
    else:
        known["dataset" if kind == "dataset" else "linkedService"] = parameters
    used: set[tuple[str, str]] = set()
    if kind == "pipeline":
        yield from _pipeline(properties, known, used)
    else:
        yield from _named(properties, known, used)
    spoken |= {name for of, name in used if of == "globalParameters"}
    of_parameters = {name for of, name in used if of in ("parameters", "dataset", "linkedService")}
    for name in sorted(parameters - of_parameters):
        yield f"parameter {name} is not used"
    for name in sorted(variables - {name for of, name in used if of == "variables"}):
        yield f"variable {name} is not used"


def _pipeline(
    properties: Content, known: Mapping[str, Set[str]], used: set[tuple[str, str]]
) -> Iterator[str]:
    listed = properties.get("activities", [])
    if wrong := list(order_problems(listed)):
        yield from wrong
        return
    found = list(activities(listed))
    seen: set[str] = set()
    for activity in found:
        if activity.name in seen:
            yield f"activity {activity.name} is there twice"
        seen.add(activity.name)
        yield from _activity(activity, known, used)
    if not 0 < len(found) <= _ACTIVITIES:
        yield f"{len(found)} activities: there have to be 1 to {_ACTIVITIES}"
    if len(properties.get("parameters", {})) > _PARAMETERS:
        yield f"more than {_PARAMETERS} parameters"


def _activity(
    activity: Activity, known: Mapping[str, Set[str]], used: set[tuple[str, str]]
) -> Iterator[str]:
    if not _ACTIVITY_NAME.fullmatch(activity.name):
        yield f"activity {activity.name}: the name is longer than 55, or has other signs than letters, digits, _ and -"
    variable = activity.own["typeProperties"].get("variableName")
    if variable is not None and variable not in known["variables"]:
        yield f"activity {activity.name}: there is no variable {variable}"
    for problem in _named(activity.own, {**known, "activity": activity.earlier}, used):
        yield f"activity {activity.name}: {problem}"


def _unevaluated(value: Any) -> Iterator[str]:
    """Expressions in an object that Data Factory takes as it stands."""
    if isinstance(value, dict):
        if value.keys() == {"type", "value"} and value["type"] != "Expression":
            yield from (
                f"@{text} stands there as a text: type has to be Expression"
                for text in expressions(value["value"])
            )
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _unevaluated(item)


def _named(value: Any, known: Mapping[str, Set[str]], used: set[tuple[str, str]]) -> Iterator[str]:
    for text in expressions(value):
        try:
            found = set(names(tree(text)))
        except TemplateError as error:
            yield f"an expression cannot be read: {error}"
            continue
        used |= found
        for of, name in sorted(found):
            if of == "activity" and name not in known.get(of, ()):
                yield f"@{text} speaks of activity {name}, which has not run before"
            elif name not in known.get(of, ()):
                yield f"@{text}: {of} {name} does not exist here"


def _environments(factory: Factory, spoken: Set[str]) -> Iterator[str]:
    kinds = {
        name: {key: item.get("type") for key, item in factory.global_parameters(name).items()}
        for name in factory.environments
    }
    first = next(iter(kinds))
    for name, found in kinds.items():
        if found != kinds[first]:
            yield f"factory/{name}: global parameters are not those of factory/{first}"
    for parameter in sorted(kinds[first].keys() - spoken):
        yield f"factory/{first}: global parameter {parameter} is not used"
