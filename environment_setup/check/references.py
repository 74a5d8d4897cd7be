"""What refers to what in ARM templates: parameters and variables in use, outputs, ids that lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from environment_setup.bundle import DEPLOYMENT
from environment_setup.check.evaluate import GROUP
from environment_setup.check.expand import Deployed
from environment_setup.check.expressions import (
    Access,
    Call,
    Literal,
    Node,
    TemplateError,
    is_expression,
    parse,
    walk,
)


def template_problems(template: Mapping[str, Any], name: str = "main") -> Iterator[str]:
    """What is wrong with a bundled template and its modules as they stand, ``MODULE: MESSAGE``."""
    modules: dict[str, Mapping[str, Any]] = {
        resource["name"]: resource["properties"]["template"]
        for resource in template["resources"]
        if resource["type"] == DEPLOYMENT
    }
    own = {key: value for key, value in template.items() if key != "resources"}
    resources = [_without_module(resource) for resource in template["resources"]]
    try:
        trees = [parse(text) for text in _expressions([own, resources])]
    except TemplateError as error:
        yield f"{name}: {error}"
        return
    for kind in ("parameters", "variables"):
        used = set(_named(trees, kind))
        declared = template.get(kind, {}).keys()
        for item in sorted(used - declared):
            yield f"{name}: {kind.removesuffix('s')} {item} does not exist"
        for item in sorted(declared - used):
            yield f"{name}: {kind.removesuffix('s')} {item} is not used"
    for module, output in _outputs(trees):
        if output not in modules.get(module, {}).get("outputs", {}):
            yield f"{name}: module {module} has no output {output}"
    for module, inner in modules.items():
        yield from template_problems(inner, module)


def id_problems(resources: Sequence[Deployed]) -> Iterator[str]:
    """References to resources of the group that nothing makes."""
    ids = {item.id for item in resources if item.kind != DEPLOYMENT}
    for item in resources:
        for subnet in item.content.get("properties", {}).get("subnets", []):
            ids.add(f"{item.id}/subnets/{subnet['name']}")
    for item in resources:
        siblings = [other for other in resources if other.module == item.module]
        known = {other.loop for other in siblings} | {other.content["name"] for other in siblings}
        for needed in item.depends:
            if needed not in ids and needed not in known:
                yield f"{item}: waits for {needed.removeprefix(GROUP)}, which nothing makes"
        if item.kind == DEPLOYMENT:
            continue
        for text in _texts(item.content):
            if text.startswith(f"{GROUP}/providers/") and text not in ids:
                yield f"{item}: refers to {text.removeprefix(GROUP)}, which nothing makes"


def _without_module(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    if resource["type"] != DEPLOYMENT:
        return resource
    properties = {key: item for key, item in resource["properties"].items() if key != "template"}
    return {**resource, "properties": properties}


def _expressions(value: Any) -> Iterator[str]:
    return (text for text in _texts(value) if is_expression(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _named(trees: Sequence[Node], kind: str) -> Iterator[str]:
    for tree in trees:
        for node in walk(tree):
            if (
                isinstance(node, Call)
                and node.name == kind
                and isinstance(node.arguments[0], Literal)
            ):
                yield str(node.arguments[0].value)


def _outputs(trees: Sequence[Node]) -> Iterator[tuple[str, str]]:
    for tree in trees:
        for node in walk(tree):
            match node:
                case Access(
                    Access(Call("reference", (Literal(str(module)),)), Literal("outputs")),
                    Literal(str(output)),
                ):
                    yield module, output
