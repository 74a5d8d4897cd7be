"""What a bundled ARM template would make: each resource with its expressions worked out, loops and conditions done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from environment_setup.bundle import DEPLOYMENT
from environment_setup.check.evaluate import Scope, evaluate, resource_id
from environment_setup.check.expressions import TemplateError, is_expression

_TYPES: Mapping[str, Any] = {
    "string": str,
    "int": int,
    "bool": bool,
    "array": list,
    "object": dict,
}


@dataclass(frozen=True, slots=True)
class Deployed:
    """One resource.

    Attributes:
        module: that makes it; ``main`` for the template itself.
        content: the resource, without the keys that steer its deployment.
        depends: what it waits for: ids, names of modules and of loops.
        loop: name of the loop that made it, if one did.
    """

    module: str
    content: Mapping[str, Any]
    depends: tuple[str, ...]
    loop: str | None

    @property
    def kind(self) -> str:
        """Its type."""
        return str(self.content["type"])

    @property
    def id(self) -> str:
        """Its id."""
        own = resource_id(self.kind, *str(self.content["name"]).split("/"))
        scope = self.content.get("scope")
        return own if scope is None else f"{scope}{own[own.index('/providers/') :]}"

    def __str__(self) -> str:
        return f"{self.module}: {self.kind} {self.content['name']}"


def bind(
    declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any], scope: Scope
) -> tuple[dict[str, Any], list[str]]:
    """Values of a template's parameters, and what is wrong with those that were given.

    Args:
        declared: the template's ``parameters``.
        given: name to value, worked out.
        scope: for default values.
    """
    wrong = [f"there is no parameter {name}" for name in sorted(given.keys() - declared.keys())]
    values: dict[str, Any] = {}
    for name, rule in declared.items():
        if name not in given and "defaultValue" not in rule:
            wrong.append(f"parameter {name} is not given")
            continue
        value = given.get(name, evaluate(rule.get("defaultValue"), scope))
        values[name] = value
        if not is_expression(value):
            wrong += [f"parameter {name}: {message}" for message in _value_problems(value, rule)]
    return values, wrong


def expand(
    template: Mapping[str, Any], given: Mapping[str, Any], module: str = "main"
) -> Iterator[Deployed]:
    """The resources that a bundled template makes.

    Args:
        template: with its modules in it.
        given: name to value of its parameters.
        module: its name.

    Raises:
        TemplateError: a parameter, variable, function or property is not there, or a value does not fit.
    """
    variables = template.get("variables", {})
    values, wrong = bind(template["parameters"], given, Scope({}, variables))
    if wrong:
        raise TemplateError(f"{module}: {'; '.join(wrong)}")
    scope = Scope(values, variables)
    for resource in template["resources"]:
        try:
            found = list(_repeated(resource, scope, module))
        except TemplateError as error:
            raise TemplateError(f"{module}: {resource['type']}: {error}") from None
        for item in found:
            if item.kind != DEPLOYMENT:
                yield item
                continue
            properties = item.content["properties"]
            passed = {name: value["value"] for name, value in properties["parameters"].items()}
            yield item
            yield from expand(properties["template"], passed, str(item.content["name"]))
    for name, output in template.get("outputs", {}).items():
        try:
            evaluate(output["value"], scope)
        except TemplateError as error:
            raise TemplateError(f"{module}: output {name}: {error}") from None


def _repeated(resource: Mapping[str, Any], scope: Scope, module: str) -> Iterator[Deployed]:
    loop = resource.get("copy")
    for place in range(evaluate(loop["count"], scope) if loop else 1):
        here = scope.within("", place) if loop else scope
        if not evaluate(resource.get("condition", True), here):
            continue
        inner = resource.get("properties", {}).get("template")
        content = {
            key: evaluate(value, here)
            for key, value in resource.items()
            if key not in ("copy", "condition", "dependsOn", "properties")
        }
        properties = {
            key: evaluate(value, here)
            for key, value in resource.get("properties", {}).items()
            if key not in ("template", "copy")
        }
        if "copy" in resource.get("properties", {}):
            properties |= evaluate({"copy": resource["properties"]["copy"]}, here)
        if inner is not None:
            # A module's expressions see its own parameters, and are worked out with them.
            properties["template"] = inner
        if "properties" in resource:
            content["properties"] = properties
        depends = tuple(evaluate(resource.get("dependsOn", []), here))
        yield Deployed(module, content, depends, loop["name"] if loop else None)


def _value_problems(value: Any, rule: Mapping[str, Any]) -> Iterator[str]:
    wanted = _TYPES[rule["type"]]
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        yield f"{value!r} is no {rule['type']}"
        return
    if "allowedValues" in rule and value not in rule["allowedValues"]:
        yield f"{value!r} is none of {', '.join(rule['allowedValues'])}"
    size = value if isinstance(value, int) else len(value)
    if size < rule.get("minValue", rule.get("minLength", size)):
        yield f"{value!r} is below the least allowed"
    if size > rule.get("maxValue", rule.get("maxLength", size)):
        yield f"{value!r} is above the most allowed"
