"""Records of pipeline runs: one folder a run, below ``.mlops/runs``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from insurance_claims.files import read_json, write_json
from ml_service.platforms.base import PipelineRun, PlatformError, RunStatus, StepRun
from ml_service.platforms.local.state import State

_RECORD = "run.json"


@dataclass(frozen=True, slots=True)
class Record:
    """A run and what only this platform needs to know of it.

    Attributes:
        run: what the protocol shows.
        keys: step name to the folder of its outputs below ``.mlops/steps``.
        mlflow_runs: step name to the id of its nested MLflow run.
        pid: the runner's process.
        pid_started: when that process started, so that another one with the same number is not taken for it.
    """

    run: PipelineRun
    keys: dict[str, str]
    mlflow_runs: dict[str, str]
    pid: int
    pid_started: float

    def with_step(self, step: StepRun) -> Record:
        """The same record with a step's newest state."""
        steps = tuple(step if known.name == step.name else known for known in self.run.steps)
        return dataclasses.replace(self, run=dataclasses.replace(self.run, steps=steps))


class Runs:
    """Reads and writes records."""

    def __init__(self, state: State) -> None:
        self._state = state

    def folder(self, run_id: str) -> Path:
        """Where a run keeps its record and logs."""
        return self._state.runs / run_id

    def save(self, record: Record) -> None:
        """Write a record whole."""
        write_json(self.folder(record.run.id) / _RECORD, dataclasses.asdict(record))

    def all(self) -> Sequence[Record]:
        """Every record, newest first."""
        records = [self._load(path) for path in self._state.runs.glob(f"*/{_RECORD}")]
        return sorted(records, key=lambda record: record.run.started, reverse=True)

    def get(self, run_id: str) -> Record:
        """A record by id, by an unambiguous beginning of it, or ``latest``.

        Raises:
            PlatformError: there is none, or there are several.
        """
        if run_id == "latest" and (records := self.all()):
            return records[0]
        paths = [
            path
            for path in self._state.runs.glob(f"*/{_RECORD}")
            if path.parent.name.startswith(run_id)
        ]
        if len(paths) != 1 or not run_id:
            problem = "no run" if not paths else "more than one run"
            raise PlatformError(
                f"{problem} has an id that begins with {run_id!r}: see `mlops runs list`"
            )
        return self._load(paths[0])

    def _load(self, path: Path) -> Record:
        content: dict[str, Any] = read_json(path)
        run = content["run"]
        steps = tuple(
            StepRun(**{**step, "status": RunStatus(step["status"])}) for step in run["steps"]
        )
        record = Record(
            run=PipelineRun(**{**run, "status": RunStatus(run["status"]), "steps": steps}),
            keys=content["keys"],
            mlflow_runs=content["mlflow_runs"],
            pid=content["pid"],
            pid_started=content["pid_started"],
        )
        return (
            record
            if record.run.status is not RunStatus.RUNNING or _alive(record)
            else _interrupted(record)
        )


def this_process() -> tuple[int, float]:
    """Number and start of this process."""
    return os.getpid(), psutil.Process().create_time()


def _alive(record: Record) -> bool:
    try:
        return bool(abs(psutil.Process(record.pid).create_time() - record.pid_started) < 1)
    except psutil.NoSuchProcess:
        return False


def _interrupted(record: Record) -> Record:
    """The record of a run whose process is gone without having said how it ended."""
    steps = tuple(
        dataclasses.replace(step, status=RunStatus.INTERRUPTED)
        if step.status is RunStatus.RUNNING
        else step
        for step in record.run.steps
    )
    run = dataclasses.replace(
        record.run,
        status=RunStatus.INTERRUPTED,
        steps=steps,
        error="the runner's process is gone: it was killed, or the machine went down. Run the pipeline again",
    )
    return dataclasses.replace(record, run=run)
