"""Works out the expressions of ARM templates, as far as that takes no Azure.

What only Azure knows (the outcome of ``reference()``) stays an expression, and so does what is made of it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from environment_setup.check.expressions import (
    Access,
    Call,
    Literal,
    Node,
    TemplateError,
    is_expression,
    parse,
)

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/group"
_ENVIRONMENT = {"suffixes": {"storage": "core.windows.net"}}
_SUBSCRIPTION = {
    "subscriptionId": "00000000-0000-0000-0000-000000000000",
    "tenantId": "00000000-0000-0000-0000-000000000001",
}


@dataclass(frozen=True)
class Scope:
    """What an expression can see.

    Attributes:
        parameters: worked out.
        variables: as they stand in the template.
        copies: name of a loop to where it is; ``""`` is the loop of the resource.
        known: variables that were worked out before.
    """

    parameters: Mapping[str, Any]
    variables: Mapping[str, Any]
    copies: Mapping[str, int] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)

    def within(self, loop: str, place: int) -> Scope:
        """The same inside of a loop."""
        copies = {**self.copies, loop: place}
        return Scope(self.parameters, self.variables, copies, self.known)


def evaluate(value: Any, scope: Scope) -> Any:
    """A value with every expression in it worked out.

    Raises:
        TemplateError: a function, parameter, variable or property is not there.
    """
    if isinstance(value, dict):
        if isinstance(value.get("copy"), list) and all("input" in loop for loop in value["copy"]):
            return _loops(value, scope)
        return {str(evaluate(key, scope)): evaluate(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [evaluate(item, scope) for item in value]
    if is_expression(value):
        return _node(parse(value), scope)
    return value.removeprefix("[") if isinstance(value, str) and value.startswith("[[") else value


def resource_id(kind: str, *names: str) -> str:
    """The id of a resource of the group."""
    namespace, *types = kind.split("/")
    if len(types) != len(names):
        raise TemplateError(f"resourceId('{kind}') takes {len(types)} names, not {len(names)}")
    pairs = "/".join(f"{part}/{name}" for part, name in zip(types, names, strict=True))
    return f"{GROUP}/providers/{namespace}/{pairs}"


def _loops(value: dict[str, Any], scope: Scope) -> dict[str, Any]:
    found = {key: evaluate(item, scope) for key, item in value.items() if key != "copy"}
    for loop in value["copy"]:
        count = evaluate(loop["count"], scope)
        found[loop["name"]] = [
            evaluate(loop["input"], scope.within(loop["name"], place)) for place in range(count)
        ]
    return found


def _node(node: Node, scope: Scope) -> Any:
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Access):
        return _access(_node(node.of, scope), _node(node.key, scope))
    return _call(node, scope)


def _access(of: Any, key: Any) -> Any:
    if is_expression(of):
        return f"[{of[1:-1]}.{key}]"
    try:
        return of[key]
    except (KeyError, IndexError, TypeError):
        raise TemplateError(f"there is no {key!r} in {str(of)[:60]}") from None


def _call(node: Call, scope: Scope) -> Any:
    name = node.name.lower()
    if name == "if":
        condition, yes, no = node.arguments
        return _node(yes if _node(condition, scope) else no, scope)
    arguments = [_node(argument, scope) for argument in node.arguments]
    if name in ("parameters", "variables"):
        return _named(name, arguments[0], scope)
    if name == "copyindex":
        loop = arguments[0] if arguments else ""
        if loop not in scope.copies:
            raise TemplateError("copyIndex() outside of a loop")
        return scope.copies[loop]
    if name != "reference" and name not in _FUNCTIONS:
        raise TemplateError(f"function {node.name} is not known here")
    if name == "reference" or (name not in _OPAQUE and any(map(is_expression, arguments))):
        return f"[{node.name}({', '.join(str(item).strip('[]') for item in arguments)})]"
    return _FUNCTIONS[name](*arguments)


def _named(kind: str, name: str, scope: Scope) -> Any:
    values = scope.parameters if kind == "parameters" else scope.variables
    if name not in values:
        raise TemplateError(f"{kind.removesuffix('s')} {name} does not exist")
    if kind == "parameters":
        return values[name]
    # Variables may use each other, but no loop, so that they are the same everywhere.
    if name not in scope.known:
        scope.known[name] = evaluate(values[name], scope)
    return scope.known[name]


def _format(pattern: str, *values: Any) -> str:
    return re.sub(r"\{(\d+)\}", lambda match: str(values[int(match[1])]), pattern)


def _guid(*parts: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "-".join(parts)))


def _extension_id(of: str, kind: str, *names: str) -> str:
    return of + resource_id(kind, *names).removeprefix(GROUP)


_OPAQUE = {"guid", "createarray", "empty"}
"""Functions that take what is not known yet like any other value."""

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "createarray": lambda *values: list(values),
    "empty": lambda value: not value,
    "environment": lambda: _ENVIRONMENT,
    "extensionresourceid": _extension_id,
    "format": _format,
    "guid": _guid,
    "last": lambda value: value[-1],
    "length": len,
    "not": lambda value: not value,
    "replace": lambda text, old, new: text.replace(old, new),
    "resourcegroup": lambda: {"id": GROUP, "location": "westeurope", "name": "group"},
    "resourceid": resource_id,
    "subscription": lambda: _SUBSCRIPTION,
    "subscriptionresourceid": lambda kind, name: f"/{kind}/{name}",
    "take": lambda value, count: value[:count],
    "tolower": lambda text: text.lower(),
    # Thirteen letters and digits, as Azure's.
    "uniquestring": lambda *parts: uuid.uuid5(uuid.NAMESPACE_URL, "-".join(parts)).hex[:13],
}
