"""An expanded pipeline as typed objects. Every problem is found, with file and line."""

from __future__ import annotations

from collections.abc import Collection, Sequence as SequenceOf
from pathlib import Path

from azure_pipelines_local.errors import Location, PipelineError
from azure_pipelines_local.model import (
    DEFAULT_STAGE,
    HOOKS,
    NAME,
    ON_FAILURE,
    ON_SUCCESS,
    Deployment,
    Job,
    Pipeline,
    PipelineResource,
    Runtime,
    Stage,
    Step,
)
from azure_pipelines_local.read_steps import read_steps
from azure_pipelines_local.reader import JOB_CONDITION, STAGE_CONDITION, VARIABLE, Reader
from azure_pipelines_local.tasks.registry import TASKS
from azure_pipelines_local.values import to_text
from azure_pipelines_local.yaml_source import Mapping, Node, Scalar

_ROOT = {
    "appendCommitMessageToRunName",
    "jobs",
    "lockBehavior",
    "name",
    "pool",
    "pr",
    "resources",
    "schedules",
    "stages",
    "steps",
    "trigger",
    "variables",
}
_STAGE = {
    "stage",
    "displayName",
    "dependsOn",
    "condition",
    "variables",
    "jobs",
    "pool",
    "lockBehavior",
    "trigger",
    "isSkippable",
    "templateContext",
}
_ANY_JOB = {
    "displayName",
    "dependsOn",
    "condition",
    "continueOnError",
    "timeoutInMinutes",
    "cancelTimeoutInMinutes",
    "variables",
    "pool",
    "container",
    "services",
    "strategy",
    "workspace",
    "templateContext",
}
_JOB = {"job", "steps", *_ANY_JOB}
_ROOT_JOB = {
    "container",
    "services",
    "strategy",
    "continueOnError",
    "timeoutInMinutes",
    "workspace",
}
_DEPLOYMENT = {"deployment", "environment", *_ANY_JOB}
_STRATEGIES = {
    "runOnce": {*HOOKS, "on"},
    "canary": {*HOOKS, "on", "increments"},
    "rolling": {*HOOKS, "on", "maxParallel"},
}
_RESOURCES = {"pipelines", "repositories", "containers", "builds", "packages", "webhooks"}
_PIPELINE_RESOURCE = {"pipeline", "source", "project", "branch", "version", "tags", "trigger"}


def read_pipeline(root: Mapping, file: Path, simulated: Collection[str] = ()) -> Pipeline:
    """Read an expanded pipeline.

    Args:
        simulated: tasks that are not known here and are to be passed over, in lower case.

    Raises:
        PipelineError: lists everything that does not fit.
    """
    reader = Reader(simulated)
    kinds = [kind for kind in ("stages", "jobs", "steps") if root.get(kind) is not None]
    allowed = _ROOT | (_ROOT_JOB if kinds == ["steps"] else set())
    reader.mapping(root, "a pipeline", allowed)
    pool = _pool(reader, root.get("pool"))
    if len(kinds) != 1:
        given = f"not {' and '.join(kinds)}" if kinds else "and it has none of them"
        reader.problem(f"a pipeline has stages, jobs or steps, {given}", root.where)
    pipeline = Pipeline(
        file=file,
        number_format=reader.text(root, "name") or "$(Date:yyyyMMdd)$(Rev:.r)",
        variables=reader.variables(root.get("variables")),
        resources=_resources(reader, root.get("resources")),
        stages=_stages(reader, root, kinds[0] if kinds else "", pool),
    )
    _check_graph(reader, pipeline.stages, "stage")
    for stage in pipeline.stages:
        _check_graph(reader, stage.jobs, "job")
    if reader.problems:
        raise PipelineError.of(
            sorted(
                dict.fromkeys(reader.problems),
                key=lambda problem: (
                    str(problem.where and problem.where.file),
                    _row(problem.where),
                ),
            )
        )
    return pipeline


def _row(where: Location | None) -> int:
    return where.line if where else 0


def _stages(reader: Reader, root: Mapping, kind: str, pool: str) -> tuple[Stage, ...]:
    if kind != "stages":
        if kind == "steps":
            kept = ("steps", *_ROOT_JOB)
            entries = tuple(entry for entry in root.entries if entry[0].value in kept)
            jobs: tuple[Job, ...] = (_job(reader, Mapping(entries, root.where), "Job", pool),)
        else:
            jobs = _jobs(reader, root.get("jobs"), pool)
        return (Stage(DEFAULT_STAGE, "", (), None, (), jobs, root.where),)
    stages: list[Stage] = []
    for index, item in enumerate(reader.items(root.get("stages"), "stages"), 1):
        entry = reader.mapping(item, "a stage", _STAGE)
        name = _name(reader, entry, "stage") or f"Stage{index}"
        depends_on = reader.names(entry.get("dependsOn"), "dependsOn")
        if entry.get("dependsOn") is None and stages:
            depends_on = (stages[-1].name,)
        stage_pool = _pool(reader, entry.get("pool")) or pool
        stages.append(
            Stage(
                name=name,
                display_name=reader.text(entry, "displayName") or name,
                depends_on=depends_on,
                condition=reader.condition(entry, STAGE_CONDITION),
                variables=reader.variables(entry.get("variables")),
                jobs=_jobs(reader, entry.get("jobs"), stage_pool),
                where=item.where,
            )
        )
    return tuple(stages)


def _jobs(reader: Reader, node: Node | None, pool: str) -> tuple[Job, ...]:
    jobs = []
    for index, item in enumerate(reader.items(node, "jobs"), 1):
        entry = reader.mapping(item, "a job")
        if entry.get("deployment") is not None:
            reader.mapping(item, "a deployment job", _DEPLOYMENT)
        elif entry.key("job") is not None:
            reader.mapping(item, "a job", _JOB)
        else:
            reader.problem("a job begins with job, deployment or template", item.where)
            continue
        jobs.append(_job(reader, entry, f"Job{index}", pool))
    return tuple(jobs)


def _job(reader: Reader, entry: Mapping, unnamed: str, pool: str) -> Job:
    kind = "deployment" if entry.get("deployment") is not None else "job"
    name = _name(reader, entry, kind) or unnamed
    strategy = entry.get("strategy")
    deployment, matrix, parallel = None, None, ""
    if kind == "deployment":
        deployment = _deployment(reader, entry, strategy)
    elif strategy is not None:
        matrix, parallel = _legs(reader, strategy)
    own_pool = _pool(reader, entry.get("pool")) or pool
    steps = () if deployment else _with_checkout(read_steps(reader, entry.get("steps")), own_pool)
    if own_pool == "server":
        _check_agentless(reader, steps)
    return Job(
        name=name,
        display_name=reader.text(entry, "displayName") or name,
        depends_on=reader.names(entry.get("dependsOn"), "dependsOn"),
        condition=reader.condition(entry, JOB_CONDITION),
        variables=reader.variables(entry.get("variables")),
        steps=steps,
        deployment=deployment,
        matrix=matrix,
        parallel=parallel,
        timeout_minutes=reader.number(entry, "timeoutInMinutes", "60"),
        cancel_minutes=reader.number(entry, "cancelTimeoutInMinutes", "5"),
        continue_on_error=reader.boolean(entry, "continueOnError"),
        pool=own_pool,
        container=_container(reader, entry.get("container")),
        where=entry.where,
    )


def _check_agentless(reader: Reader, steps: tuple[Step, ...]) -> None:
    for step in steps:
        if not TASKS[step.task.lower()].agentless:
            reader.problem(f"{step.task} needs an agent: it cannot run in pool: server", step.where)


def _with_checkout(steps: tuple[Step, ...], pool: str) -> tuple[Step, ...]:
    """The steps, led by a checkout where none is written, as a job on an agent does."""
    if pool == "server" or not steps or any(step.task == "Checkout@1" for step in steps):
        return steps
    inputs = {"repository": "self"}
    first = Step.injected("Checkout@1", "checkout self", inputs, steps[0].where)
    return (first, *steps)


def _deployment(reader: Reader, entry: Mapping, strategy: Node | None) -> Deployment:
    name, resource = _environment(reader, entry.get("environment"), entry.where)
    found = reader.mapping(strategy, "strategy") if strategy else Mapping((), entry.where)
    chosen = [key for key, _ in found if key in _STRATEGIES]
    if len(chosen) != 1 or len(found.entries) != 1:
        reader.problem(f"a deployment job has one strategy: {', '.join(_STRATEGIES)}", found.where)
        return Deployment("runOnce", name, resource, (), {})
    kind = chosen[0]
    body = reader.mapping(found.entries[0][1], kind, _STRATEGIES[kind])
    hooks = {}
    for hook in HOOKS:
        if (node := body.get(hook)) is not None:
            hooks[hook] = _hook(reader, node, hook)
    if (node := body.get("on")) is not None:
        endings = reader.mapping(node, "on", {"failure", "success"})
        for key, ending in endings:
            hook = ON_FAILURE if key == "failure" else ON_SUCCESS
            hooks[hook] = _hook(reader, ending, hook)
    increments = tuple(
        to_text(item.value)
        for item in reader.items(body.get("increments"), "increments")
        if isinstance(item, Scalar)
    )
    for increment in increments:
        if not increment.isdigit():
            reader.problem(f"increments are whole percentages, not {increment!r}", body.where)
    if "deploy" not in hooks:
        reader.problem(f"{kind} needs deploy with steps", body.where)
    return Deployment(kind, name, resource, increments, hooks)


def _hook(reader: Reader, node: Node, name: str) -> tuple[Step, ...]:
    return read_steps(reader, reader.mapping(node, name, {"steps", "pool"}).get("steps"))


def _environment(reader: Reader, node: Node | None, where: Location) -> tuple[str, str]:
    if node is None:
        reader.problem("a deployment job needs an environment", where)
        return "", ""
    if isinstance(node, Scalar):
        name, _, resource = to_text(node.value).partition(".")
        return name, resource
    entry = reader.mapping(
        node, "environment", {"name", "resourceName", "resourceId", "resourceType", "tags"}
    )
    name = reader.text(entry, "name")
    if not name:
        reader.problem("an environment needs a name", node.where)
    return name, reader.text(entry, "resourceName")


def _legs(reader: Reader, node: Node) -> tuple[dict[str, dict[str, str]] | Runtime | None, str]:
    entry = reader.mapping(node, "strategy", {"matrix", "maxParallel", "parallel"})
    matrix = entry.get("matrix")
    if matrix is None:
        return None, reader.number(entry, "parallel", "") if entry.get("parallel") else ""
    if isinstance(matrix, Scalar):
        text = to_text(matrix.value).strip()
        if text.startswith("$[") and text.endswith("]"):
            return reader.runtime(text[2:-1], matrix.where, VARIABLE), ""
        reader.problem(
            "a matrix is a mapping of legs, or $[ ] that gives one as JSON", matrix.where
        )
        return None, ""
    legs = {}
    for name, leg in reader.mapping(matrix, "matrix"):
        if not NAME.fullmatch(name):
            reader.problem(f"a leg's name holds letters, digits and _, not {name!r}", leg.where)
        legs[name] = reader.texts(leg, f"leg {name}")
    return legs, ""


def _resources(reader: Reader, node: Node | None) -> tuple[PipelineResource, ...]:
    if node is None:
        return ()
    found = reader.mapping(node, "resources", _RESOURCES)
    result = []
    for item in reader.items(found.get("pipelines"), "pipelines"):
        entry = reader.mapping(item, "a pipeline resource", _PIPELINE_RESOURCE)
        alias, source = reader.text(entry, "pipeline"), reader.text(entry, "source")
        if not alias or not source:
            reader.problem("a pipeline resource needs pipeline (an alias) and source", item.where)
        result.append(PipelineResource(alias, source, item.where))
    return tuple(result)


def _pool(reader: Reader, node: Node | None) -> str:
    if node is None:
        return ""
    if isinstance(node, Scalar):
        return to_text(node.value)
    entry = reader.mapping(node, "pool", {"name", "vmImage", "demands"})
    return reader.text(entry, "vmImage") or reader.text(entry, "name")


def _container(reader: Reader, node: Node | None) -> str:
    if node is None or isinstance(node, Scalar):
        return to_text(node.value) if node else ""
    return reader.text(reader.mapping(node, "container"), "image")


def _name(reader: Reader, entry: Mapping, kind: str) -> str:
    name = reader.text(entry, kind)
    if name and not NAME.fullmatch(name):
        reader.problem(f"a {kind}'s name holds letters, digits and _, not {name!r}", entry.where)
    return name


def _check_graph(reader: Reader, nodes: SequenceOf[Stage] | SequenceOf[Job], kind: str) -> None:
    """Names are unique, those in dependsOn exist, and nothing waits for itself."""
    known: dict[str, Stage | Job] = {}
    for node in nodes:
        if node.name.lower() in known:
            reader.problem(f"a second {kind} is called {node.name!r}", node.where)
        known[node.name.lower()] = node
    for node in nodes:
        for name in node.depends_on:
            if name.lower() not in known:
                there = ", ".join(other.name for other in nodes if other is not node) or "none"
                reader.problem(
                    f"{kind} {node.name} depends on {name!r}, which does not exist; there is: {there}",
                    node.where,
                )
    if circle := _in_circles(known):
        names = ", ".join(known[name].name for name in circle)
        reader.problem(
            f"dependsOn goes in a circle, so these can never start: {names}",
            known[next(iter(circle))].where,
        )


def _in_circles(nodes: dict[str, Stage | Job]) -> Collection[str]:
    left = {
        name: {other.lower() for other in node.depends_on} & nodes.keys()
        for name, node in nodes.items()
    }
    while free := [name for name, waits in left.items() if not waits & left.keys()]:
        for name in free:
            del left[name]
    return left
