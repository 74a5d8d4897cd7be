"""What a run takes from runs that are kept: artifacts of other pipelines, and stages that it leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from azure_pipelines_local.errors import PipelineError
from azure_pipelines_local.model import Pipeline, Stage
from azure_pipelines_local.predefined import PROJECT
from azure_pipelines_local.records import Result
from azure_pipelines_local.runner import ancestors
from azure_pipelines_local.state import KeptRun, State


def choose_resources(
    pipeline: Pipeline, state: State, given: Mapping[str, str]
) -> dict[str, KeptRun]:
    """A run for each pipeline resource, by its alias: the one that was given, else the latest that succeeded.

    Raises:
        PipelineError: there is none, or an alias is unknown.
    """
    aliases = {resource.alias for resource in pipeline.resources}
    for alias in given:
        if alias not in aliases:
            known = ", ".join(sorted(aliases)) or "none"
            raise PipelineError(f"there is no pipeline resource {alias!r}; there is: {known}")
    found = {}
    for resource in pipeline.resources:
        if resource.alias in given:
            found[resource.alias] = state.find(given[resource.alias])
            continue
        latest = state.latest(resource.source)
        if latest is None:
            raise PipelineError(
                f"no run of the pipeline {resource.source!r} is kept that succeeded: run it first "
                f"(with --name {resource.source!r}), or say --resource {resource.alias}=RUN",
                resource.where,
            )
        found[resource.alias] = latest
    return found


def resource_variables(kept: KeptRun) -> dict[str, str]:
    """What ``resources.pipeline.ALIAS`` says of a run."""
    summary = kept.summary
    return {
        "pipelineName": summary["pipeline"],
        "pipelineID": "1",
        "projectName": PROJECT,
        "projectID": "1",
        "runName": summary["number"],
        "runID": str(summary["id"]),
        "runURI": kept.folder.as_uri(),
        "sourceBranch": summary["branch"],
        "sourceCommit": summary["commit"],
        "sourceProvider": "Git",
    }


def choose_stages(
    pipeline: Pipeline, name: str, state: State, names: Sequence[str]
) -> tuple[Sequence[Stage], KeptRun | None]:
    """The stages to run, and the kept run that stands in for those that they depend on.

    Args:
        name: under which runs of the pipeline are kept.
        names: of the stages; all where there is none.

    Raises:
        PipelineError: a stage does not exist, or no run is kept that could stand in.
    """
    stages = pipeline.stages
    if not names:
        return stages, None
    by_name = {stage.name.lower(): stage for stage in stages}
    for wanted in names:
        if wanted.lower() not in by_name:
            there = ", ".join(stage.name for stage in stages)
            raise PipelineError(f"there is no stage {wanted!r}; there is: {there}")
    wanted_names = {wanted.lower() for wanted in names}
    chosen = [stage for stage in stages if stage.name.lower() in wanted_names]
    needed = {other for stage in chosen for other in ancestors(stage, stages)} - wanted_names
    if not needed:
        return chosen, None
    for kept in state.kept():
        if kept.summary["pipeline"] == name and _has(kept, needed):
            return chosen, kept
    missing = ", ".join(by_name[other].name for other in sorted(needed))
    raise PipelineError(
        f"{', '.join(stage.name for stage in chosen)} depends on {missing}, and no run is kept in "
        "which that succeeded: run it too"
    )


def _has(kept: KeptRun, needed: set[str]) -> bool:
    stages = (kept.stage(name) for name in needed)
    return all(s is not None and s["result"] and Result(s["result"]).good for s in stages)
