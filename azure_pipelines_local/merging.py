"""Parts of expansion that need no scope: directives, chains of if and else, putting mappings together."""

from __future__ import annotations

import re

from azure_pipelines_local.errors import PipelineError
from azure_pipelines_local.yaml_source import Mapping, Node, Scalar, Sequence

EXPRESSION = re.compile(r"\$\{\{((?:[^'}]|'[^']*'|\}(?!\}))*)\}\}")
"""One ``${{ }}`` in a text; its content is group 1. A doubled quote reads as two literals, which changes nothing."""

_DIRECTIVE = re.compile(r"(if|elseif|else|each|insert)\b", re.IGNORECASE)


class Branch:
    """Where we are in a chain of if, elseif and else."""

    def __init__(self) -> None:
        self.open = False
        self.taken = False

    def begin(self) -> None:
        """An if."""
        self.open = True
        self.taken = False

    def reset(self) -> None:
        """Something that ends a chain."""
        self.open = False
        self.taken = False


def is_directive(key: Scalar) -> bool:
    """Whether a key is if, elseif, else, each or insert."""
    match = EXPRESSION.fullmatch(str(key.value).strip())
    return bool(match and _DIRECTIVE.match(match[1].strip()))


def all_directives(item: Mapping) -> bool:
    """Whether an item of a list consists of directives alone."""
    return bool(item.entries) and all(is_directive(key) for key, _ in item.entries)


def unique(entries: list[tuple[Scalar, Node]]) -> tuple[tuple[Scalar, Node], ...]:
    """The entries of a mapping.

    Raises:
        PipelineError: a key is there twice.
    """
    seen: dict[str, Scalar] = {}
    for key, _ in entries:
        if str(key.value) in seen:
            raise PipelineError(
                f"the key {str(key.value)!r} is given twice once expressions are expanded; "
                f"the first is at {seen[str(key.value)].where}",
                key.where,
            )
        seen[str(key.value)] = key
    return tuple(entries)


def named_variable(key: Scalar, value: Node) -> Mapping:
    """A variable of a mapping in the form that it has in a list."""
    name = (Scalar("name", key.where), key)
    return Mapping((name, (Scalar("value", value.where), value)), key.where)


def merged_roots(pipeline: Mapping, template: Mapping) -> Mapping:
    """A pipeline with the template that it extends. Variables and resources are those of both."""
    entries = dict((str(key.value), (key, value)) for key, value in template.entries)
    for key, value in pipeline.entries:
        name = str(key.value)
        if name in ("stages", "jobs", "steps"):
            raise PipelineError(f"a pipeline that extends a template has no {name}", key.where)
        if name in entries and name == "variables":
            value = Sequence(
                (*_variable_items(value), *_variable_items(entries[name][1])), value.where
            )
        elif name in entries and name == "resources":
            value = _both(value, entries[name][1])
        entries[name] = (key, value)
    return Mapping(tuple(entries.values()), pipeline.where)


def _variable_items(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Mapping):
        return tuple(named_variable(key, value) for key, value in node.entries)
    return node.items if isinstance(node, Sequence) else ()


def _both(first: Node, second: Node) -> Node:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        other = dict(second)
        entries = [
            (key, _both(value, other[str(key.value)]) if str(key.value) in other else value)
            for key, value in first.entries
        ]
        mine = {str(key.value) for key, _ in first.entries}
        entries += [entry for entry in second.entries if str(entry[0].value) not in mine]
        return Mapping(tuple(entries), first.where)
    if isinstance(first, Sequence) and isinstance(second, Sequence):
        return Sequence((*first.items, *second.items), first.where)
    return first
