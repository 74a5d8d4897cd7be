"""A pipeline after expansion, as typed objects. Texts may still hold ``$(macros)``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from azure_pipelines_local.errors import Location
from azure_pipelines_local.expressions import Expression

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Of a stage, job, leg or step."""

DEFAULT_STAGE = "__default"
HOOKS = ("preDeploy", "deploy", "routeTraffic", "postRouteTraffic")
ON_SUCCESS, ON_FAILURE = "on.success", "on.failure"


@dataclass(frozen=True, slots=True)
class Runtime:
    """An expression that is evaluated during a run: a condition, or the inside of ``$[ ]``."""

    text: str
    tree: Expression
    where: Location


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable with a value, or with an expression for it."""

    name: str
    value: str
    expression: Runtime | None
    readonly: bool
    where: Location


@dataclass(frozen=True, slots=True)
class Group:
    """A variable group by name. Its values are not in the repository."""

    name: str
    where: Location


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a task. ``script``, ``publish`` and the other short forms are calls of tasks too."""

    task: str
    name: str | None
    display_name: str
    condition: Runtime | None
    inputs: Mapping[str, str]
    env: Mapping[str, str]
    enabled: str
    continue_on_error: str
    timeout_minutes: str
    retries: str
    where: Location

    @classmethod
    def injected(
        cls, task: str, display_name: str, inputs: Mapping[str, str], where: Location
    ) -> Step:
        """A step that nobody wrote, such as the checkout at the beginning of a job."""
        return cls(task, None, display_name, None, inputs, {}, "true", "false", "0", "0", where)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What makes a deployment job: an environment and hooks.

    Attributes:
        strategy: runOnce, canary or rolling.
        environment: its name.
        resource: a resource in it, or the empty text.
        increments: percentages of a canary.
        hooks: steps by the hook's name.
    """

    strategy: str
    environment: str
    resource: str
    increments: tuple[str, ...]
    hooks: Mapping[str, tuple[Step, ...]]


@dataclass(frozen=True, slots=True)
class Job:
    """Steps that run one after another on one agent.

    Attributes:
        matrix: variables of each leg, by the leg's name; or an expression that gives them as JSON.
        parallel: how many copies, as text; empty for one.
        pool: what it would run on, for people; ``server`` for an agentless job.
        container: in which it would run, for people.
    """

    name: str
    display_name: str
    depends_on: tuple[str, ...]
    condition: Runtime | None
    variables: tuple[Variable | Group, ...]
    steps: tuple[Step, ...]
    deployment: Deployment | None
    matrix: Mapping[str, Mapping[str, str]] | Runtime | None
    parallel: str
    timeout_minutes: str
    cancel_minutes: str
    continue_on_error: str
    pool: str
    container: str
    where: Location

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """Those of the hooks too."""
        if self.deployment is None:
            return self.steps
        return tuple(step for steps in self.deployment.hooks.values() for step in steps)


@dataclass(frozen=True, slots=True)
class Stage:
    """Jobs with a common condition."""

    name: str
    display_name: str
    depends_on: tuple[str, ...]
    condition: Runtime | None
    variables: tuple[Variable | Group, ...]
    jobs: tuple[Job, ...]
    where: Location


@dataclass(frozen=True, slots=True)
class PipelineResource:
    """Another pipeline whose artifacts are used."""

    alias: str
    source: str
    where: Location


@dataclass(frozen=True, slots=True)
class Pipeline:
    """All of it."""

    file: Path
    number_format: str
    variables: tuple[Variable | Group, ...]
    resources: tuple[PipelineResource, ...]
    stages: tuple[Stage, ...]
