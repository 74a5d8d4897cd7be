"""Running the steps of a job, one after another."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from azure_pipelines_local.agent import Agent, worse
from azure_pipelines_local.conditions import holds, step_functions, variables_of, why_not
from azure_pipelines_local.errors import PipelineError
from azure_pipelines_local.model import Step
from azure_pipelines_local.records import Result, StepRecord
from azure_pipelines_local.tasks.registry import TASKS
from azure_pipelines_local.tasks.task import Call, TaskFailed


@dataclass(slots=True)
class Progress:
    """How far a job is.

    Attributes:
        status: the worst of its steps.
        cancelled: whether it was cancelled, or ran for too long.
        deadline: of the job, on the monotonic clock; None for none.
        cancel_seconds: how long steps may take that run although the job was cancelled.
    """

    deadline: float | None
    cancel_seconds: float
    status: Result = Result.SUCCEEDED
    cancelled: bool = False
    reason: str = ""
    records: list[StepRecord] = field(default_factory=list)


def run_steps(
    agent: Agent, steps: Sequence[Step], progress: Progress, logs: Path, title: str
) -> None:
    """Run the steps whose conditions hold.

    Args:
        logs: the folder that gets a file for each step.
        title: what is put before the names of steps, such as a leg of a matrix.
    """
    logs.mkdir(parents=True, exist_ok=True)
    for step in steps:
        _look_for_the_end(agent, progress)
        name = agent.session.masker.mask(agent.variables.expand(step.display_name))
        record = StepRecord(name=step.name, display_name=title + name, task=step.task)
        progress.records.append(record)
        agent.variables.set("Agent.JobStatus", progress.status)
        reason = _why_skipped(agent, step, progress)
        if reason:
            record.end(Result.SKIPPED, reason)
            agent.session.report.ended("step", record)
            continue
        log = _log_file(logs, step.name or name)
        record.log = str(log.relative_to(agent.session.folder))
        _run_step(agent, step, record, progress, log)
        agent.session.report.ended("step", record)
        if record.result is not None:
            progress.status = worse(progress.status, record.result)


def run_after(agent: Agent, progress: Progress, logs: Path, title: str) -> None:
    """Do what steps asked to be done after the last one, if all went well. It can fail without failing the job."""
    if not progress.status.good:
        return
    for name, action in agent.after:
        record = StepRecord(display_name=f"{title}after: {name}")
        progress.records.append(record)
        log = _log_file(logs, name)
        record.log = str(log.relative_to(agent.session.folder))
        record.begin()
        agent.session.report.began("step", record)
        with log.open("w", encoding="utf-8", buffering=1) as file:
            agent.begin_step(record, file)
            result = Result.SUCCEEDED
            try:
                action()
            except (OSError, ValueError) as error:
                agent.issue("warning", str(error))
                result = Result.ISSUES
        record.end(result)
        agent.session.report.ended("step", record)


def _log_file(logs: Path, name: str) -> Path:
    number = len(list(logs.iterdir())) + 1
    short = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]
    return logs / f"{number:02}-{short}.log"


def _look_for_the_end(agent: Agent, progress: Progress) -> None:
    """Notice that the job was cancelled, or has run for too long."""
    if progress.cancelled:
        return
    if agent.stopping():
        _cancel(agent, progress, "cancelled")
    elif progress.deadline is not None and time.monotonic() > progress.deadline:
        _cancel(agent, progress, "the job ran longer than timeoutInMinutes")


def _cancel(agent: Agent, progress: Progress, reason: str) -> None:
    agent.cancelling = progress.cancelled = True
    progress.status = Result.CANCELED
    progress.reason = reason
    progress.deadline = time.monotonic() + progress.cancel_seconds


def _why_skipped(agent: Agent, step: Step, progress: Progress) -> str:
    if agent.variables.expand(step.enabled).lower() != "true":
        return "not enabled"
    over = progress.deadline is not None and time.monotonic() > progress.deadline
    if progress.cancelled and over:
        return "cancelTimeoutInMinutes is over"
    functions = step_functions(progress.status, progress.cancelled)
    names = {"variables": variables_of(agent.variables)}
    try:
        runs = holds(step.condition, names, functions)
    except PipelineError as error:
        progress.status = worse(progress.status, Result.FAILED)
        return str(error)
    if runs:
        return ""
    if step.condition is None:
        return "cancelled" if progress.cancelled else "an earlier step failed"
    return why_not(step.condition, {}, False)


def _run_step(agent: Agent, step: Step, record: StepRecord, progress: Progress, log: Path) -> None:
    record.begin()
    agent.session.report.began("step", record)
    with log.open("w", encoding="utf-8", buffering=1) as file:
        agent.begin_step(record, file)
        for attempt in range(1 + int(_number(agent, step.retries))):
            if attempt:
                agent.print(f"##[warning]try {attempt + 1}: it failed before")
            result, reason = _attempt(agent, step, progress)
            if result is not Result.FAILED or agent.stopping():
                break
        # The end of the whole job is noticed here, so that its reason is not taken for the step's own.
        was_cancelled = progress.cancelled
        _look_for_the_end(agent, progress)
        if progress.cancelled and not was_cancelled and result is Result.FAILED:
            result, reason = Result.CANCELED, progress.reason
        if reason:
            agent.issue("error", reason)
        if result is Result.FAILED and _flag(agent, step.continue_on_error):
            result, reason = Result.ISSUES, f"{reason or 'failed'}, and continueOnError is set"
        record.end(result, agent.session.masker.mask(reason))


def _attempt(agent: Agent, step: Step, progress: Progress) -> tuple[Result, str]:
    agent.claimed = None
    deadline = progress.deadline
    if minutes := _number(agent, step.timeout_minutes):
        own = time.monotonic() + 60 * minutes
        deadline = own if deadline is None else min(own, deadline)
    expand = agent.variables.expand
    own_environment = {name: expand(value) for name, value in step.env.items()}
    call = Call(
        inputs={name: expand(value) for name, value in step.inputs.items()},
        environment=agent.environment(own_environment, os.environ),
        deadline=deadline,
        agent=agent,
    )
    result, reason = Result.SUCCEEDED, ""
    try:
        TASKS[step.task.lower()].run(call)
    except TaskFailed as error:
        result, reason = error.result, str(error)
    except (PipelineError, OSError, ValueError) as error:
        result, reason = Result.FAILED, str(error)
    if agent.claimed is not None and worse(agent.claimed, result) is not result:
        result, reason = agent.claimed, f"the step said so: {agent.claimed}"
    return result, reason


def _flag(agent: Agent, text: str) -> bool:
    return agent.variables.expand(text).lower() == "true"


def _number(agent: Agent, text: str) -> float:
    try:
        return float(agent.variables.expand(text) or 0)
    except ValueError:
        agent.issue("warning", f"{text!r} is not a number: 0 is taken")
        return 0.0
