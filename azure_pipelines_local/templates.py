"""Expansion: templates, parameters and ``${{ }}`` become one plain pipeline."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from azure_pipelines_local import parameters as typed
from azure_pipelines_local.errors import Location, PipelineError
from azure_pipelines_local.expressions import Context, evaluate, parse
from azure_pipelines_local.merging import (
    EXPRESSION,
    Branch,
    all_directives,
    is_directive,
    merged_roots,
    named_variable,
    unique,
)
from azure_pipelines_local.values import Value, describe, to_boolean, to_text, value_of
from azure_pipelines_local.yaml_source import (
    NOWHERE,
    Mapping,
    Node,
    Scalar,
    Sequence,
    load,
    to_node,
)

KINDS = frozenset({"steps", "jobs", "stages", "variables"})
"""Keys whose lists may hold templates."""

_EACH = re.compile(r"each\s+([A-Za-z_][A-Za-z0-9_]*)\s+in\s+(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expanded:
    """A pipeline without templates and expressions.

    Attributes:
        root: what the file has become; its ``parameters`` are gone.
        parameters: their values.
        files: every file that was read, the pipeline first.
    """

    root: Mapping
    parameters: Mapping
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Scope:
    """What expressions can see, and the templates that led here."""

    names: MappingOf[str, Value]
    chain: tuple[Path, ...]

    def with_name(self, name: str, value: Value) -> _Scope:
        return replace(self, names={**self.names, name.lower(): value})

    def with_variable(self, name: str, value: Node) -> _Scope:
        known = self.names["variables"]
        old = known.entries if isinstance(known, Mapping) else ()
        kept = tuple(entry for entry in old if str(entry[0].value).lower() != name.lower())
        entries = (*kept, (Scalar(name, value.where), value))
        return self.with_name("variables", Mapping(entries, value.where))


def expand(
    file: Path,
    root: Path,
    given: MappingOf[str, str] | None = None,
    variables: MappingOf[str, str] | None = None,
    start: datetime | None = None,
) -> Expanded:
    """Expand a pipeline file.

    Args:
        root: the repository; templates whose path begins with ``/`` are relative to it.
        given: parameters by name, as text.
        variables: what is known before the run: predefined and queue-time variables.
        start: ``pipeline.startTime``.

    Raises:
        PipelineError: a template or an expression does not fit; says where.
    """
    return _Expander(root, start).expand(file, given or {}, variables or {})


class _Expander:
    def __init__(self, root: Path, start: datetime | None) -> None:
        self._root = root
        self._start = start
        self._files: list[Path] = []

    def expand(
        self, file: Path, given: MappingOf[str, str], variables: MappingOf[str, str]
    ) -> Expanded:
        source = self._load(file)
        declared = typed.declared(source.get("parameters"))
        values = typed.from_command_line(declared, given, NOWHERE)
        bound = typed.bind(declared, values, file.name, Location(file, 1))
        pipeline = to_node({"startTime": self._start})
        scope = _Scope(
            {
                "parameters": bound,
                "variables": value_of(to_node(dict(variables))),
                "pipeline": value_of(pipeline),
            },
            (file,),
        )
        root, scope = self._root_of(source, scope)
        if (extends := source.get("extends")) is not None:
            root = merged_roots(root, self._extended(extends, scope))
        return Expanded(root, bound, tuple(dict.fromkeys(self._files)))

    def _load(self, file: Path) -> Mapping:
        self._files.append(file)
        return load(file)

    def _root_of(self, source: Mapping, scope: _Scope) -> tuple[Mapping, _Scope]:
        """Everything but parameters and extends, expanded; and the scope with the root's variables."""
        kept = tuple(
            entry for entry in source.entries if entry[0].value not in ("parameters", "extends")
        )
        entries, scope = self._entries(Mapping(kept, source.where), scope, None)
        return Mapping(entries, source.where), scope

    def _extended(self, node: Node, scope: _Scope) -> Mapping:
        if not isinstance(node, Mapping):
            raise PipelineError("extends is a mapping with a template", node.where)
        path, template, inner = self._template(node, scope)
        root, inner = self._root_of(template, inner)
        if (extends := template.get("extends")) is not None:
            root = merged_roots(root, self._extended(extends, inner))
        if not any(root.get(kind) for kind in ("stages", "jobs", "steps")):
            raise PipelineError(f"{path.name} has neither stages, jobs nor steps", node.where)
        return root

    def _template(self, node: Mapping, scope: _Scope) -> tuple[Path, Mapping, _Scope]:
        """A template's file, its content, and what its expressions see."""
        for key, _ in node.entries:
            if key.value not in ("template", "parameters"):
                raise PipelineError(
                    f"next to template there is only parameters, not {key.value!r}", key.where
                )
        named = node.get("template")
        reference = self._expanded(named, scope, None) if named else None
        if not isinstance(reference, Scalar) or not to_text(reference.value):
            raise PipelineError("template is the path of a file", node.where)
        path = self._resolve(to_text(reference.value), reference.where)
        if path in scope.chain:
            chain = " -> ".join(os.path.relpath(file, self._root) for file in (*scope.chain, path))
            raise PipelineError(f"templates include each other in a circle: {chain}", node.where)
        template = self._load(path)
        given: dict[str, Node] = {}
        if (arguments := node.get("parameters")) is not None:
            values = self._expanded(arguments, scope, None)
            if not isinstance(values, Mapping):
                raise PipelineError("the parameters of a template are a mapping", values.where)
            given = dict(values)
        declared = typed.declared(template.get("parameters"))
        bound = typed.bind(declared, given, os.path.relpath(path, self._root), node.where)
        names = {name: scope.names[name] for name in ("variables", "pipeline")}
        return path, template, _Scope({**names, "parameters": bound}, (*scope.chain, path))

    def _resolve(self, reference: str, where: Location) -> Path:
        name, at, repository = reference.partition("@")
        if at and repository != "self":
            raise PipelineError(
                f"the template {reference!r} is in another repository, which a local run does not "
                "fetch: copy it into this one",
                where,
            )
        base = self._root if name.startswith("/") else where.file.parent
        path = Path(os.path.normpath(base / name.lstrip("/")))
        if not path.is_file():
            raise PipelineError(
                f"there is no template {name!r}: {os.path.relpath(path, self._root)} does not exist",
                where,
            )
        return path

    def _included(self, node: Mapping, scope: _Scope, kind: str) -> tuple[Node, ...]:
        """The items that a template stands for."""
        path, template, inner = self._template(node, scope)
        body = template.get(kind)
        if body is None:
            raise PipelineError(f"{path.name} has no {kind}, which are needed here", node.where)
        for key, _ in template.entries:
            if key.value not in ("parameters", "resources", kind):
                raise PipelineError(
                    f"a template of {kind} holds parameters and {kind}, not {key.value!r}",
                    key.where,
                )
        if kind == "variables" and isinstance(body, Mapping):
            entries, _ = self._entries(body, inner, None)
            return tuple(named_variable(key, value) for key, value in entries)
        expanded = self._expanded(body, inner, kind)
        if isinstance(expanded, Sequence):
            return expanded.items
        if isinstance(expanded, Scalar) and expanded.value in ("", None):
            return ()
        raise PipelineError(f"{kind} is a list", body.where)

    def _expanded(self, node: Node, scope: _Scope, kind: str | None) -> Node:
        if isinstance(node, Scalar):
            return self._scalar(node, scope)
        if isinstance(node, Sequence):
            return Sequence(self._items(node, scope, kind)[0], node.where)
        return Mapping(self._entries(node, scope, kind)[0], node.where)

    def _scalar(self, node: Scalar, scope: _Scope) -> Node:
        if not isinstance(node.value, str) or "${{" not in node.value:
            return node
        if whole := EXPRESSION.fullmatch(node.value.strip()):
            value = self._value(whole[1], scope, node.where)
            if isinstance(value, Sequence | Mapping):
                return value
            return Scalar(value, node.where)
        text = EXPRESSION.sub(lambda match: self._as_text(match[1], scope, node.where), node.value)
        if "${{" in text and "${{" in EXPRESSION.sub("", node.value):
            raise PipelineError("an expression `${{` is not closed by `}}`", node.where)
        return Scalar(text, node.where)

    def _as_text(self, text: str, scope: _Scope, where: Location) -> str:
        value = self._value(text, scope, where)
        if isinstance(value, Sequence | Mapping):
            raise PipelineError(
                f"`{text.strip()}` is {describe(value)}, which cannot be part of a text; "
                "convertToJson makes one of it",
                where,
            )
        return to_text(value)

    def _value(self, text: str, scope: _Scope, where: Location) -> Value:
        context = Context(scope.names, {})
        return evaluate(parse(text, where, context.vocabulary), context, where)

    def _items(
        self, node: Sequence, scope: _Scope, kind: str | None
    ) -> tuple[tuple[Node, ...], _Scope]:
        """The items of a list; and, in a list of variables, a scope that knows them."""
        result: list[Node] = []
        branch = Branch()
        for item in node.items:
            added: tuple[Node, ...]
            directives = isinstance(item, Mapping) and all_directives(item)
            if directives and isinstance(item, Mapping):
                added, scope = self._chosen(item, scope, kind, branch)
            else:
                branch.reset()
                added = self._item(item, scope, kind)
            for one in added:
                result.append(one)
                if kind == "variables":
                    scope = _with_static(scope, one)
        return tuple(result), scope

    def _item(self, item: Node, scope: _Scope, kind: str | None) -> tuple[Node, ...]:
        if kind in KINDS and isinstance(item, Mapping) and item.key("template"):
            return self._included(item, scope, str(kind))
        expanded = self._expanded(item, scope, None)
        if isinstance(item, Scalar) and isinstance(expanded, Sequence):
            # A list that an expression put in the place of an item becomes part of the list around it. Templates in
            # it are those that a parameter brought along.
            return tuple(
                one
                for inner in expanded.items
                for one in (
                    self._included(inner, scope, str(kind))
                    if kind in KINDS and isinstance(inner, Mapping) and inner.key("template")
                    else (inner,)
                )
            )
        return (expanded,)

    def _chosen(
        self, item: Mapping, scope: _Scope, kind: str | None, branch: Branch
    ) -> tuple[tuple[Node, ...], _Scope]:
        """What an item of if, elseif, else, each and insert alone puts into the list around it."""
        result: list[Node] = []
        merged: list[tuple[Scalar, Node]] = []
        for key, body in item.entries:
            for inner in self._directed(key, scope, branch):
                if isinstance(body, Sequence):
                    added, after = self._items(body, inner, kind)
                    result.extend(added)
                    if kind == "variables":
                        scope = scope.with_name("variables", after.names["variables"])
                    continue
                expanded = self._expanded(body, inner, None)
                if isinstance(expanded, Sequence):
                    result.extend(expanded.items)
                elif isinstance(expanded, Mapping):
                    merged.extend(expanded.entries)
                elif expanded.value not in ("", None):
                    raise PipelineError("a list or a mapping is expected here", body.where)
        if merged:
            result.append(Mapping(unique(merged), item.where))
        return tuple(result), scope

    def _entries(
        self, node: Mapping, scope: _Scope, kind: str | None
    ) -> tuple[tuple[tuple[Scalar, Node], ...], _Scope]:
        """The entries of a mapping, its variables first: the other entries may use them."""
        is_variables = kind == "variables"
        variables = node.key("variables")
        expanded_variables: Node | None = None
        if variables is not None and not is_variables:
            expanded_variables, scope = self._variables(node.get("variables"), scope)
        result: list[tuple[Scalar, Node]] = []
        branch = Branch()
        for key, body in node.entries:
            if is_directive(key):
                for inner in self._directed(key, scope, branch):
                    added = self._expanded(body, inner, kind)
                    if not isinstance(added, Mapping):
                        raise PipelineError("a mapping is expected here", body.where)
                    result.extend(added.entries)
                    if is_variables:
                        scope = _with_all(scope, added)
                continue
            branch.reset()
            if key is variables and expanded_variables is not None:
                result.append((key, expanded_variables))
                continue
            name = self._scalar(key, scope)
            if not isinstance(name, Scalar):
                raise PipelineError("a key is a single value", key.where)
            name = Scalar(to_text(name.value), name.where)
            inside = str(name.value) if name.value in KINDS and not is_variables else None
            value = self._expanded(body, scope, inside)
            result.append((name, value))
            if is_variables:
                scope = scope.with_variable(str(name.value), value)
        return unique(result), scope

    def _variables(self, node: Node | None, scope: _Scope) -> tuple[Node, _Scope]:
        if isinstance(node, Sequence):
            items, scope = self._items(node, scope, "variables")
            return Sequence(items, node.where), scope
        if isinstance(node, Mapping):
            entries, scope = self._entries(node, scope, "variables")
            return Mapping(entries, node.where), scope
        assert node is not None
        expanded = self._scalar(node, scope) if isinstance(node, Scalar) else node
        return expanded, scope

    def _directed(self, key: Scalar, scope: _Scope, branch: Branch) -> list[_Scope]:
        """The scopes in which the body of a directive is expanded: none, one, or one for each element."""
        match = EXPRESSION.fullmatch(str(key.value).strip())
        text = match[1].strip() if match else ""
        word = text.split(None, 1)[0].lower() if text else ""
        rest = text[len(word) :].strip()
        if word == "each":
            branch.reset()
            return self._each(text, key.where, scope)
        if word == "insert":
            branch.reset()
            return [scope]
        if word == "if":
            branch.begin()
        elif not branch.open:
            raise PipelineError(f"`{word}` follows no `if`", key.where)
        if word == "else" and rest:
            raise PipelineError("`else` has no condition; `elseif` has one", key.where)
        if branch.taken:
            chosen = False
        else:
            chosen = word == "else" or to_boolean(self._value(rest, scope, key.where))
        branch.taken = branch.taken or chosen
        branch.open = word != "else"
        return [scope] if chosen else []

    def _each(self, text: str, where: Location, scope: _Scope) -> list[_Scope]:
        match = _EACH.fullmatch(text)
        if not match:
            raise PipelineError(f"`{text}` is not of the form `each NAME in LIST`", where)
        collection = self._value(match[2], scope, where)
        if isinstance(collection, Sequence):
            return [scope.with_name(match[1], value_of(item)) for item in collection.items]
        if isinstance(collection, Mapping):
            return [
                scope.with_name(match[1], value_of(to_node({"key": key, "value": value}, where)))
                for key, value in collection
            ]
        if collection in (None, ""):
            return []
        raise PipelineError(
            f"`{match[2]}` is {describe(collection)}: each goes through lists and mappings", where
        )


def _with_static(scope: _Scope, item: Node) -> _Scope:
    """The scope with one more variable of a list, where it has a name and a value."""
    if isinstance(item, Mapping):
        name, value = item.get("name"), item.get("value")
        if isinstance(name, Scalar) and value is not None:
            return scope.with_variable(to_text(name.value), value)
    return scope


def _with_all(scope: _Scope, added: Mapping) -> _Scope:
    for name, value in added:
        scope = scope.with_variable(name, value)
    return scope
