"""Running the stages of a pipeline and the jobs of a stage, in the order of what they depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from azure_pipelines_local.conditions import (
    context_of,
    graph_functions,
    holds,
    job_facts,
    stage_facts,
    variables_of,
    why_not,
)
from azure_pipelines_local.errors import PipelineError
from azure_pipelines_local.jobs import JobRun
from azure_pipelines_local.model import Job, Pipeline, Stage
from azure_pipelines_local.records import JobRecord, Output, Result, StageRecord, combined
from azure_pipelines_local.scopes import add_definitions
from azure_pipelines_local.session import Session
from azure_pipelines_local.state import KeptRun
from azure_pipelines_local.values import Value, value_of
from azure_pipelines_local.variables import Variables
from azure_pipelines_local.yaml_source import to_node

_Node = TypeVar("_Node", Stage, Job)


def in_order(nodes: Sequence[_Node]) -> Iterator[_Node]:
    """Nodes so that each comes after those it depends on; otherwise as they are written."""
    left = list(nodes)
    done: set[str] = set()
    there = {node.name.lower() for node in nodes}
    while left:
        node = next(n for n in left if {d.lower() for d in n.depends_on} & there <= done)
        left.remove(node)
        done.add(node.name.lower())
        yield node


def ancestors(node: _Node, nodes: Sequence[_Node]) -> dict[str, _Node]:
    """Everything that a node depends on, directly or through others, by name in lower case."""
    by_name = {other.name.lower(): other for other in nodes}
    found: dict[str, _Node] = {}
    waiting = [name.lower() for name in node.depends_on]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = by_name[name]
            waiting += [other.lower() for other in by_name[name].depends_on]
    return {name: found[name] for name in by_name if name in found}


class PipelineRun:
    """The stages of a run."""

    def __init__(self, session: Session, pipeline: Pipeline, chosen: Sequence[Stage]) -> None:
        self._session = session
        self._pipeline = pipeline
        self._chosen = chosen
        self._stages: dict[str, StageRecord] = {}
        self._jobs: dict[str, dict[str, JobRecord]] = {}

    def run(self) -> Result:
        """Run the stages that were chosen; the others are taken from the run that stands in for them."""
        if self._session.base is not None:
            self._take_over(self._session.base)
        for stage in in_order(self._chosen):
            record = StageRecord(name=stage.name, display_name=stage.display_name)
            self._session.record.stages.append(record)
            self._stages[stage.name.lower()] = record
            self._jobs[stage.name.lower()] = {}
            try:
                self._run_stage(stage, record)
            except PipelineError as error:
                self._fail(record, error)
            if not stage.name.startswith("__"):
                self._session.report.ended("stage", record)
            self._session.save()
        results = [record.result or Result.FAILED for record in self._session.record.stages]
        if self._session.cancellation.requested:
            return Result.CANCELED
        result = combined(results)
        # Nothing that had to run did not: a run without any stage whose condition holds has succeeded.
        return Result.SUCCEEDED if result is Result.SKIPPED else result

    def _fail(self, record: StageRecord | JobRecord, error: PipelineError) -> None:
        reason = self._session.masker.mask(str(error))
        record.end(Result.FAILED, reason)
        self._session.report.line(f"error: {reason}", "bold red")

    def _take_over(self, base: KeptRun) -> None:
        chosen = {stage.name.lower() for stage in self._chosen}
        for kept in base.summary["stages"]:
            name = str(kept["name"]).lower()
            if name in chosen:
                continue
            self._stages[name] = StageRecord(_result(kept), name=kept["name"])
            self._jobs[name] = {
                str(job["name"]).lower(): JobRecord(
                    _result(job),
                    name=job["name"],
                    outputs={key: Output(value, False) for key, value in job["outputs"].items()},
                )
                for job in kept["jobs"]
            }

    def _run_stage(self, stage: Stage, record: StageRecord) -> None:
        names = self._stage_names(stage)
        variables = self._session.variables.copy()
        add_definitions(variables, self._pipeline.variables, names, self._session)
        add_definitions(variables, stage.variables, names, self._session)
        before = {
            name: self._stages[name].result or Result.SKIPPED
            for name in ancestors(stage, self._pipeline.stages)
            if name in self._stages
        }
        canceled = self._session.cancellation.requested
        contexts = {**names, "variables": variables_of(variables)}
        if not holds(stage.condition, contexts, graph_functions(before, canceled)):
            self._skip(stage, record, why_not(stage.condition, before, canceled))
            return
        record.begin()
        if not stage.name.startswith("__"):
            self._session.report.began("stage", record)
        for environment in _environments(stage, variables):
            if not self._session.approve(f"environment {environment}"):
                self._skip(stage, record, f"environment {environment} was not approved")
                record.end(Result.FAILED)
                return
        for job in in_order(stage.jobs):
            self._run_job(stage, job, record)
        record.end(combined([job.result or Result.FAILED for job in record.jobs]))

    def _skip(self, stage: Stage, record: StageRecord, reason: str) -> None:
        record.end(Result.SKIPPED, reason)
        for job in in_order(stage.jobs):
            skipped = JobRecord(name=job.name, display_name=job.display_name)
            skipped.end(Result.SKIPPED, "the stage did not run")
            record.jobs.append(skipped)
            self._jobs[stage.name.lower()][job.name.lower()] = skipped

    def _run_job(self, stage: Stage, job: Job, stage_record: StageRecord) -> None:
        record = JobRecord(name=job.name, display_name=job.display_name, pool=job.pool)
        stage_record.jobs.append(record)
        done = self._jobs[stage.name.lower()]
        before = {name: done[name].result or Result.SKIPPED for name in ancestors(job, stage.jobs)}
        done[job.name.lower()] = record
        canceled = self._session.cancellation.requested
        try:
            names = self._job_names(stage, job)
            variables = self._session.variables.copy()
            add_definitions(variables, self._pipeline.variables, names, self._session)
            add_definitions(variables, stage.variables, names, self._session)
            visible = variables.copy()
            add_definitions(visible, job.variables, names, self._session)
            if job.deployment is not None:
                record.environment = visible.expand(job.deployment.environment)
            contexts = {**names, "variables": variables_of(visible)}
            if not holds(job.condition, contexts, graph_functions(before, canceled)):
                record.end(Result.SKIPPED, why_not(job.condition, before, canceled))
            else:
                record.begin()
                detail = f" (pool: {visible.expand(job.pool)})" if job.pool else ""
                self._session.report.began("job", record, detail)
                if job.container:
                    self._session.report.line(
                        f"container {job.container} is not used: steps run on this machine",
                        "yellow",
                        4,
                    )
                JobRun(self._session, stage, job, variables, names, record).run()
        except PipelineError as error:
            self._fail(record, error)
        self._session.report.ended("job", record)
        self._session.save()

    def _stage_names(self, stage: Stage) -> dict[str, Value]:
        """What a stage's condition sees: the stages that it depends on."""
        facts = {}
        for name in stage.depends_on:
            if (record := self._stages.get(name.lower())) is not None:
                jobs = [(job.name, job) for job in self._jobs[name.lower()].values()]
                facts[name] = stage_facts(record.result or Result.SKIPPED, jobs)
        return {**self._common_names(stage), "dependencies": context_of(facts)}

    def _job_names(self, stage: Stage, job: Job) -> dict[str, Value]:
        """What a job sees: the jobs of its stage that it depends on."""
        done = self._jobs[stage.name.lower()]
        facts = {name: job_facts(done[name.lower()]) for name in job.depends_on}
        return {**self._common_names(stage), "dependencies": context_of(facts)}

    def _common_names(self, stage: Stage) -> dict[str, Value]:
        stages = {
            name: {job.name: job_facts(job) for job in self._jobs[name.lower()].values()}
            for name in stage.depends_on
            if name.lower() in self._jobs
        }
        start: Mapping[str, object] = {"startTime": self._session.start}
        return {
            "stagedependencies": context_of(stages),
            "pipeline": value_of(to_node(dict(start))),
        }


def _environments(stage: Stage, variables: Variables) -> list[str]:
    found = [variables.expand(job.deployment.environment) for job in stage.jobs if job.deployment]
    return list(dict.fromkeys(found))


def _result(kept: Mapping[str, Any]) -> Result:
    """A kept result. What was under way when its run was killed has none."""
    return Result(kept["result"] or Result.CANCELED)
