"""Which variables a pipeline uses and which it defines, as far as its text shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from azure_pipelines_local.model import Group, Job, Pipeline, Runtime, Stage, Step, Variable
from azure_pipelines_local.values import to_text
from azure_pipelines_local.variables import MACRO
from azure_pipelines_local.yaml_source import Mapping, Node, Scalar

_IN_EXPRESSION = re.compile(r"\bvariables(?:\.([A-Za-z_]\w*)|\['([^']+)'\])", re.IGNORECASE)
_SET = re.compile(r"##vso\[task\.setvariable\s+([^\]]*)\]")
_FILE = re.compile(r"[\w./-]+\.(?:sh|py|ps1)\b")
_MODULE = re.compile(r"-m\s+([A-Za-z_][\w.]*)")
_LARGEST = 1_000_000


def texts(node: Node) -> Iterator[str]:
    """Every text in a tree."""
    if isinstance(node, Scalar):
        yield to_text(node.value)
    elif isinstance(node, Mapping):
        for key, value in node:
            yield key
            yield from texts(value)
    else:
        for item in node.items:
            yield from texts(item)


def used_names(root: Node) -> set[str]:
    """Names of variables in macros and expressions, as they are written."""
    found: set[str] = set()
    for text in texts(root):
        found |= {match[1] for match in MACRO.finditer(text)}
        found |= {match[1] or match[2] for match in _IN_EXPRESSION.finditer(text)}
    return found


def defined_names(definitions: Iterable[Variable | Group]) -> set[str]:
    """Names of variables that have a value in YAML, in lower case."""
    return {item.name.lower() for item in definitions if isinstance(item, Variable)}


def groups_of(definitions: Iterable[Variable | Group]) -> set[str]:
    """Names of the groups among definitions."""
    return {item.name for item in definitions if isinstance(item, Group)}


def all_defined(pipeline: Pipeline) -> set[str]:
    """Names of all variables in YAML, in whatever scope, in lower case."""
    found = defined_names(pipeline.variables)
    for stage in pipeline.stages:
        found |= defined_names(stage.variables)
        for job in stage.jobs:
            found |= defined_names(job.variables)
    return found


def set_by(step: Step, root: Path) -> set[str] | None:
    """Variables that a step sets as far as its text shows, in lower case; None where a name is computed.

    Scripts and Python modules of the repository that the text names are read too.
    """
    found: set[str] = set()
    for text in _sources(step, root):
        for match in _SET.finditer(text):
            names = re.findall(r"variable\s*=\s*([^;\]]+)", match[1])
            if not names or any(symbol in names[0] for symbol in "${}%\"'"):
                return None
            found.add(names[0].strip().lower())
    if step.task == "Cache@2":
        found.add(step.inputs.get("cacheHitVar", "").lower())
    if step.task == "UsePythonVersion@0":
        found.add("pythonlocation")
    return found


def _sources(step: Step, root: Path) -> Iterator[str]:
    for text in step.inputs.values():
        yield text
        names = _FILE.findall(text)
        for module in _MODULE.findall(text):
            path = module.replace(".", "/")
            names += [f"{path}.py", f"{path}/__main__.py"]
        for name in names:
            file = root / name.lstrip("/")
            if file.is_file() and file.stat().st_size < _LARGEST:
                yield file.read_text("utf-8", "replace")


def macros(text: str) -> list[str]:
    """Names in the macros of a text."""
    return [match[1] for match in MACRO.finditer(text)]


def job_texts(job: Job) -> Iterator[str]:
    """Texts of a job itself, without its steps, in which macros are filled in."""
    for definition in job.variables:
        if isinstance(definition, Variable) and definition.expression is None:
            yield definition.value
    yield from (job.timeout_minutes, job.cancel_minutes, job.continue_on_error, job.pool)
    if job.deployment is not None:
        yield from (job.deployment.environment, job.deployment.resource)


def step_texts(step: Step) -> Iterator[tuple[str, bool]]:
    """Texts of a step in which macros are filled in, and whether each is a script."""
    for name, value in step.inputs.items():
        yield value, name in ("script", "inlineScript")
    yield from ((value, False) for value in step.env.values())
    for value in (step.display_name, step.continue_on_error, step.timeout_minutes, step.retries):
        yield value, False


def runtimes(owner: Stage | Job) -> Iterator[Runtime]:
    """Expressions of a stage or job that are evaluated where it begins."""
    if owner.condition is not None:
        yield owner.condition
    for definition in owner.variables:
        if isinstance(definition, Variable) and definition.expression is not None:
            yield definition.expression
    if isinstance(owner, Job) and isinstance(owner.matrix, Runtime):
        yield owner.matrix
