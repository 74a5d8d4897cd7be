"""What happened in a run, as it is kept and shown."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Result(StrEnum):
    """How a step, job, stage or run ended, in Azure Pipelines' words."""

    SUCCEEDED = "Succeeded"
    ISSUES = "SucceededWithIssues"
    FAILED = "Failed"
    CANCELED = "Canceled"
    SKIPPED = "Skipped"

    @property
    def good(self) -> bool:
        """Whether it counts as a success."""
        return self in (Result.SUCCEEDED, Result.ISSUES)


def combined(results: Iterable[Result]) -> Result:
    """The result of what consists of parts: the worst one; skipped only where all of them are."""
    found = set(results)
    for worst in (Result.FAILED, Result.CANCELED, Result.ISSUES, Result.SUCCEEDED):
        if worst in found:
            return worst
    return Result.SKIPPED


@dataclass(slots=True)
class Output:
    """An output variable."""

    value: str
    secret: bool


@dataclass(slots=True)
class Timed:
    """Something that begins and ends."""

    result: Result | None = None
    reason: str = ""
    started: str = ""
    seconds: float = 0.0
    _began: float = 0.0

    def begin(self) -> None:
        """It begins now."""
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self._began = time.monotonic()

    def end(self, result: Result, reason: str = "") -> None:
        """It ends now. Something that never began took no time."""
        self.result = result
        self.reason = reason or self.reason
        if self.started:
            self.seconds = round(time.monotonic() - self._began, 3)

    def _facts(self) -> dict[str, Any]:
        facts = {"result": self.result, "reason": self.reason}
        return facts | {"started": self.started, "seconds": self.seconds}


@dataclass(slots=True)
class StepRecord(Timed):
    """One step."""

    name: str | None = None
    display_name: str = ""
    task: str = ""
    log: str = ""
    issues: list[str] = field(default_factory=list)
    az: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """What is kept."""
        return {
            "name": self.name,
            "display_name": self.display_name,
            "task": self.task,
            **self._facts(),
            "log": self.log,
            "issues": self.issues,
            **({"az": self.az} if self.az else {}),
        }


@dataclass(slots=True)
class JobRecord(Timed):
    """One job, or one leg of a matrix, or all hooks of a deployment."""

    name: str = ""
    display_name: str = ""
    pool: str = ""
    environment: str = ""
    steps: list[StepRecord] = field(default_factory=list)
    outputs: dict[str, Output] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What is kept. Secret outputs are not."""
        return {
            "name": self.name,
            "display_name": self.display_name,
            "pool": self.pool,
            **({"environment": self.environment} if self.environment else {}),
            **self._facts(),
            "outputs": {
                name: output.value for name, output in self.outputs.items() if not output.secret
            },
            "steps": [step.to_json() for step in self.steps],
        }


@dataclass(slots=True)
class StageRecord(Timed):
    """One stage."""

    name: str = ""
    display_name: str = ""
    jobs: list[JobRecord] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """What is kept."""
        return {
            "name": self.name,
            "display_name": self.display_name,
            **self._facts(),
            "jobs": [job.to_json() for job in self.jobs],
        }


@dataclass(slots=True)
class RunRecord(Timed):
    """A whole run."""

    id: int = 0
    number: str = ""
    pipeline: str = ""
    file: str = ""
    branch: str = ""
    commit: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    stages: list[StageRecord] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    tests: list[dict[str, Any]] = field(default_factory=list)
    coverage: list[dict[str, Any]] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """What is kept."""
        return {
            "id": self.id,
            "number": self.number,
            "pipeline": self.pipeline,
            "file": self.file,
            "branch": self.branch,
            "commit": self.commit,
            **self._facts(),
            "parameters": self.parameters,
            "tags": self.tags,
            "artifacts": self.artifacts,
            "tests": self.tests,
            "coverage": self.coverage,
            "summaries": self.summaries,
            "stages": [stage.to_json() for stage in self.stages],
        }
