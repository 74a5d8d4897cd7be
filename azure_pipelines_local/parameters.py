"""Typed parameters of pipelines and templates."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass

from azure_pipelines_local.errors import Location, PipelineError
from azure_pipelines_local.values import describe, equal, to_number, to_text, value_of
from azure_pipelines_local.yaml_source import Mapping, Node, Scalar, Sequence, parse

_MAPPINGS = {"step", "job", "deployment", "stage", "container"}
_LISTS = {f"{name}List" for name in _MAPPINGS}
_TEXTS = {"string", "filePath", "environment", "serviceConnection", "secureFile", "pool"}
TYPES = {"number", "boolean", "object", "stringList", *_TEXTS, *_MAPPINGS, *_LISTS}
_KEYS = {"name", "displayName", "type", "default", "values"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter. ``type`` is None for the older form without types, which takes anything."""

    name: str
    type: str | None
    default: Node | None
    values: tuple[Node, ...]
    where: Location


def declared(node: Node | None) -> tuple[Parameter, ...]:
    """The parameters that a file declares, in either of the two forms.

    Raises:
        PipelineError: a declaration does not fit.
    """
    if node is None:
        return ()
    if isinstance(node, Mapping):
        return tuple(
            Parameter(str(key.value), None, value, (), key.where) for key, value in node.entries
        )
    if not isinstance(node, Sequence):
        raise PipelineError("parameters is a list of name, type and default", node.where)
    return tuple(_parameter(item) for item in node.items)


def _parameter(item: Node) -> Parameter:
    if not isinstance(item, Mapping):
        raise PipelineError("a parameter is a mapping with a name and a type", item.where)
    for key, _ in item.entries:
        if key.value not in _KEYS:
            raise PipelineError(f"a parameter has no {key.value!r}", key.where)
    name = _text(item, "name")
    if name is None:
        raise PipelineError("a parameter needs a name", item.where)
    kind = _text(item, "type") or "string"
    if kind not in TYPES:
        known = ", ".join(sorted(TYPES))
        raise PipelineError(
            f"parameter {name} has the unknown type {kind!r}; there is: {known}", item.where
        )
    allowed = item.get("values")
    if allowed is not None and not isinstance(allowed, Sequence):
        raise PipelineError(f"the values of parameter {name} are a list", allowed.where)
    values = tuple(allowed.items) if isinstance(allowed, Sequence) else ()
    return Parameter(name, kind, item.get("default"), values, item.where)


def _text(item: Mapping, key: str) -> str | None:
    node = item.get(key)
    if node is None:
        return None
    if not isinstance(node, Scalar):
        raise PipelineError(f"{key} is a single value", node.where)
    return to_text(node.value)


def bind(
    parameters: tuple[Parameter, ...], given: MappingOf[str, Node], owner: str, where: Location
) -> Mapping:
    """Values of all parameters: what was given, else the default.

    Args:
        owner: the file that declares them, for messages.
        where: who gives them.

    Raises:
        PipelineError: one is unknown, missing, of the wrong type, or not among the values that are allowed.
    """
    names = {parameter.name.lower(): parameter.name for parameter in parameters}
    for name, node in given.items():
        if name.lower() not in names:
            has = ", ".join(names.values()) or "none"
            raise PipelineError(f"{owner} has no parameter {name!r}; it has: {has}", node.where)
    by_name = {name.lower(): node for name, node in given.items()}
    entries = []
    for parameter in parameters:
        chosen = by_name.get(parameter.name.lower(), parameter.default)
        if chosen is None:
            raise PipelineError(
                f"{owner} needs the parameter {parameter.name!r}, which has no default", where
            )
        key = Scalar(parameter.name, parameter.where)
        entries.append((key, _typed(parameter, chosen, owner)))
    return Mapping(tuple(entries), where)


def _typed(parameter: Parameter, node: Node, owner: str) -> Node:
    value = _converted(parameter, node)
    if value is None:
        found = describe(value_of(node))
        if isinstance(node, Scalar):
            found = repr(to_text(node.value))
        raise PipelineError(
            f"parameter {parameter.name!r} of {owner} is a {parameter.type}, not {found}",
            node.where,
        )
    if parameter.values and not any(
        equal(value_of(value), value_of(allowed)) for allowed in parameter.values
    ):
        one_of = ", ".join(to_text(value_of(allowed)) for allowed in parameter.values)
        raise PipelineError(
            f"parameter {parameter.name!r} of {owner} is one of: {one_of}; "
            f"not {to_text(value_of(value))!r}",
            node.where,
        )
    return value


def _converted(parameter: Parameter, node: Node) -> Node | None:
    kind = parameter.type
    if kind is None or kind == "object":
        return node
    if kind in _LISTS or kind == "stringList":
        # An empty text is what a key without a value holds.
        if isinstance(node, Scalar) and node.value in ("", None):
            return Sequence((), node.where)
        return node if isinstance(node, Sequence) else None
    if kind in _MAPPINGS:
        return node if isinstance(node, Mapping) else None
    if not isinstance(node, Scalar):
        return node if kind == "pool" else None
    if kind == "boolean":
        text = to_text(node.value).lower()
        return Scalar(text == "true", node.where) if text in ("true", "false") else None
    if kind == "number":
        number = None if node.value in ("", None) else to_number(node.value)
        return None if number is None else Scalar(number, node.where)
    return Scalar(to_text(node.value), node.where)


def from_command_line(
    parameters: tuple[Parameter, ...], given: MappingOf[str, str], where: Location
) -> dict[str, Node]:
    """What was typed as ``name=value``: text, or YAML for parameters that hold more than one value."""
    kinds = {parameter.name.lower(): parameter.type for parameter in parameters}
    result: dict[str, Node] = {}
    for name, text in given.items():
        kind = kinds.get(name.lower(), "string")
        is_text = kind in _TEXTS or kind in ("number", "boolean")
        result[name] = Scalar(text, where) if is_text else parse(text, where.file)
    return result
