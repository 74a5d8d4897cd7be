"""What can be found wrong with a pipeline without running it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from azure_pipelines_local.errors import Location, Problem
from azure_pipelines_local.expressions import Expression, Index, Literal, Name, walk
from azure_pipelines_local.groups import Groups
from azure_pipelines_local.model import Job, Pipeline, Runtime, Stage
from azure_pipelines_local.predefined import known_names
from azure_pipelines_local.references import (
    defined_names,
    groups_of,
    job_texts,
    macros,
    runtimes,
    set_by,
    step_texts,
)
from azure_pipelines_local.values import to_text

# `$(pwd)` in a script is a command of the shell, which Azure Pipelines leaves alone too.
_COMMANDS = frozenset("arch date hostname id ls mktemp nproc pwd tty uname whoami".split())
_RESOURCE = frozenset(
    "projectname projectid pipelinename pipelineid runname runid runuri sourcebranch sourcecommit "
    "sourceprovider requestedfor requestedforid".split()
)


def problems_of(
    pipeline: Pipeline, root: Path, groups: Groups, queued: Mapping[str, str]
) -> list[Problem]:
    """Everything that reading the pipeline did not find: undefined variables, outputs that do not exist.

    Args:
        root: the repository; scripts that steps name are read.
        groups: what is known of variable groups. A group that nothing is known of may hold any variable.
        queued: variables that are set when a run is started.
    """
    return list(dict.fromkeys(_Checker(pipeline, root, groups, queued).problems()))


class _Checker:
    def __init__(
        self, pipeline: Pipeline, root: Path, groups: Groups, queued: Mapping[str, str]
    ) -> None:
        self._pipeline = pipeline
        self._root = root
        self._groups = groups
        self._stages = {stage.name.lower(): stage for stage in pipeline.stages}
        resources = {
            f"resources.pipeline.{resource.alias.lower()}.{name}"
            for resource in pipeline.resources
            for name in _RESOURCE
        }
        self._common = (
            known_names() | resources | {name.lower() for name in queued}
        ) | defined_names(pipeline.variables)

    def problems(self) -> Iterator[Problem]:
        for stage in self._pipeline.stages:
            for runtime in runtimes(stage):
                yield from self._references(runtime, stage, None)
            for job in stage.jobs:
                for runtime in runtimes(job):
                    yield from self._references(runtime, stage, job)
                yield from self._variables(stage, job)

    def _variables(self, stage: Stage, job: Job) -> Iterator[Problem]:
        """Macros of variables that are defined nowhere."""
        definitions = (*self._pipeline.variables, *stage.variables, *job.variables)
        known = {*self._common, *defined_names(definitions)}
        for group in groups_of(definitions):
            if not self._groups.knows(group):
                return
            known |= {entry.name.lower() for entry in self._groups.entries(group, ())}
        if isinstance(job.matrix, Runtime):
            return
        for leg in (job.matrix or {}).values():
            known |= {name.lower() for name in leg}
        open_steps: set[str] = set()
        for step in job.all_steps:
            names = set_by(step, self._root)
            if names is None:
                return
            known |= names
            if step.name:
                known |= {f"{step.name.lower()}.{name}" for name in names}
                # What a program sets without saying so in its text belongs to a step with a name.
                if not names:
                    open_steps.add(step.name.lower())
        for text in job_texts(job):
            yield from self._undefined(text, False, known, open_steps, job.where)
        for step in job.all_steps:
            for text, is_script in step_texts(step):
                yield from self._undefined(text, is_script, known, open_steps, step.where)

    def _undefined(
        self, text: str, is_script: bool, known: set[str], open_steps: set[str], where: Location
    ) -> Iterator[Problem]:
        for name in macros(text):
            lower = name.lower()
            if lower in known or lower.split(".")[0] in open_steps:
                continue
            if is_script and (name in _COMMANDS or " " in name):
                continue
            yield Problem(f"the variable $({name}) is defined nowhere", where)

    def _references(self, runtime: Runtime, stage: Stage, job: Job | None) -> Iterator[Problem]:
        """Mentions of jobs, stages and outputs that do not exist or are not depended on."""
        for path in _paths(runtime.tree):
            if path[0] == "stagedependencies":
                message = self._in_stages(path[1:], stage)
            elif job is None:
                message = self._of_stage(path[1:], stage)
            else:
                message = _of_job(path[1:], job, {j.name.lower(): j for j in stage.jobs})
            if message:
                yield Problem(message, runtime.where)

    def _in_stages(self, path: tuple[str, ...], stage: Stage) -> str:
        if message := self._depended(path[0], stage):
            return message
        jobs = {job.name.lower(): job for job in self._stages[path[0].lower()].jobs}
        if len(path) > 1 and path[1].lower() not in jobs:
            return f"stage {path[0]} has no job {path[1]!r}; it has: {_names(jobs.values())}"
        return _output(path[2:], jobs[path[1].lower()]) if len(path) > 1 else ""

    def _of_stage(self, path: tuple[str, ...], stage: Stage) -> str:
        if message := self._depended(path[0], stage):
            return message
        if len(path) < 3 or path[1].lower() != "outputs":
            return ""
        name, _, rest = path[2].partition(".")
        jobs = {job.name.lower(): job for job in self._stages[path[0].lower()].jobs}
        if name.lower() not in jobs:
            return (
                f"an output of a stage is JOB.STEP.VARIABLE, and stage {path[0]} has no job {name!r}; "
                f"it has: {_names(jobs.values())}"
            )
        return _output(("outputs", rest), jobs[name.lower()])

    def _depended(self, name: str, stage: Stage) -> str:
        if name.lower() in {other.lower() for other in stage.depends_on}:
            return ""
        return f"stage {stage.name} reads {name}, which is not in its dependsOn: it would be empty"


def _of_job(path: tuple[str, ...], job: Job, jobs: Mapping[str, Job]) -> str:
    if path[0].lower() not in {name.lower() for name in job.depends_on}:
        return f"job {job.name} reads {path[0]}, which is not in its dependsOn: it would be empty"
    return _output(path[1:], jobs[path[0].lower()])


def _output(path: tuple[str, ...], job: Job) -> str:
    """Whether ``outputs['STEP.VARIABLE']`` names a step of the job."""
    if len(path) < 2 or path[0].lower() != "outputs":
        return ""
    parts = path[1].split(".")
    has_lead = job.deployment is not None or job.matrix is not None or bool(job.parallel)
    form = (
        ("JOB.STEP.VARIABLE" if job.deployment else "LEG.STEP.VARIABLE")
        if has_lead
        else "STEP.VARIABLE"
    )
    if len(parts) != (3 if has_lead else 2):
        return f"an output of job {job.name} is {form}, not {path[1]!r}"
    steps = {step.name.lower(): step for step in job.all_steps if step.name}
    if parts[-2].lower() not in steps:
        there = ", ".join(str(step.name) for step in steps.values()) or "none"
        return f"job {job.name} has no step named {parts[-2]!r}; named are: {there}"
    return ""


def _names(jobs: Iterable[Job]) -> str:
    return ", ".join(job.name for job in jobs) or "none"


def _paths(tree: Expression) -> Iterator[tuple[str, ...]]:
    """The longest paths such as dependencies, A, outputs, step.variable in an expression."""
    inner: set[int] = set()
    for part in walk(tree):
        if isinstance(part, Index) and id(part) not in inner:
            path: list[str] = []
            node: Expression = part
            while isinstance(node, Index):
                inner.add(id(node))
                path.insert(0, to_text(node.key.value) if isinstance(node.key, Literal) else "")
                node = node.of
            if isinstance(node, Name) and node.name in ("dependencies", "stagedependencies"):
                # What is computed is not known here.
                known = path[: path.index("")] if "" in path else path
                if known:
                    yield (node.name, *known)
