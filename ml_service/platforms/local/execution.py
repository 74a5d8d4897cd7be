"""One run of one pipeline on this machine: its steps, what is reused of them, and its record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from insurance_claims.files import read_json, write_json
from insurance_claims.registry import now
from ml_service.pipeline import Pipeline, Step, StepInput
from ml_service.platforms.base import DataVersion, Log, PipelineRun, RunStatus, StepRun
from ml_service.platforms.local.data import LocalData
from ml_service.platforms.local.run_tracking import RunTracking
from ml_service.platforms.local.runs import Record, Runs, this_process
from ml_service.platforms.local.state import State
from ml_service.platforms.local.step_process import Outcome, run_process
from ml_service.source import SOURCE, git_commit, lock_sha256, source_sha256

_STEP_FILE = "step.json"


@dataclass(frozen=True, slots=True)
class Site:
    """What every run on this machine shares.

    Attributes:
        state: where everything is kept.
        data: versions of data sets.
        runs: records of runs.
        experiment: name of the MLflow experiment.
        lineage: variables that a step gets, besides what is found out here.
    """

    state: State
    data: LocalData
    runs: Runs
    experiment: str
    lineage: Mapping[str, str]


class Execution:
    """One run of one pipeline.

    Args:
        site: what every run shares.
        pipeline: what to run.
        parameters: every one of the pipeline's.
        data: versions of the data inputs, by step and input.
        log: takes lines on progress.
        force: run every step, reuse nothing.
    """

    def __init__(
        self,
        site: Site,
        pipeline: Pipeline,
        parameters: Mapping[str, str],
        data: Mapping[tuple[str, str], DataVersion],
        log: Log,
        force: bool,
    ) -> None:
        self._site = site
        self._state = site.state
        self._pipeline = pipeline
        self._parameters = parameters
        self._data = data
        self._log = log
        self._force = force
        self._source = source_sha256()
        self._lock = lock_sha256()
        self._started = time.monotonic()
        lineage = {
            "MLOPS_GIT_COMMIT": git_commit(),
            "MLOPS_LOCK_SHA256": self._lock,
            **site.lineage,
        }
        self._tracking = RunTracking(
            self._state, site.experiment, pipeline.name, parameters, lineage
        )
        self._lineage = {**lineage, "MLOPS_PIPELINE_RUN_ID": self._tracking.run_id}
        pid, pid_started = this_process()
        steps = tuple(StepRun(step.name, RunStatus.WAITING) for step in pipeline.steps)
        run = PipelineRun(
            id=self._tracking.run_id,
            pipeline=pipeline.name,
            status=RunStatus.RUNNING,
            started=now(),
            seconds=None,
            parameters=dict(parameters),
            steps=steps,
        )
        self._record = Record(run, {}, {}, pid, pid_started)
        site.runs.save(self._record)

    @property
    def run_id(self) -> str:
        """Of the run."""
        return self._record.run.id

    def run(self) -> PipelineRun:
        """Run to the end; a failed run is returned, not raised."""
        self._log(f"run {self._record.run.id} of {self._pipeline.name}")
        try:
            for step in self._pipeline.steps:
                error = self._step(step)
                if error is not None:
                    return self._end(RunStatus.FAILED, f"step {step.name} failed: {error}")
        except KeyboardInterrupt:
            return self._end(RunStatus.CANCELLED, "interrupted")
        except BaseException as problem:
            self._end(RunStatus.FAILED, f"the runner failed: {problem}")
            raise
        return self._end(RunStatus.COMPLETED, None)

    def _step(self, step: Step) -> str | None:
        started = time.monotonic()
        key = self._key(step)
        folder = self._state.steps / key
        self._record.keys[step.name] = key
        run_id = self._tracking.start_step(step.name)
        self._record.mlflow_runs[step.name] = run_id
        self._save(StepRun(step.name, RunStatus.RUNNING))
        if step.reuse and not self._force and folder.is_dir():
            self._reuse(step, folder, run_id)
            return None
        outcome = Outcome("interrupted")
        status = RunStatus.CANCELLED
        try:
            outcome = self._execute(step, folder, run_id)
            status = RunStatus.FAILED if outcome.error else RunStatus.COMPLETED
        finally:
            seconds = round(time.monotonic() - started, 3)
            self._tracking.end_step(run_id, status)
            self._save(StepRun(step.name, status, seconds, outcome.error, outcome.peak_memory_mb))
            self._log(f"{step.name}: {status} in {seconds:.1f} s")
        return outcome.error

    def _reuse(self, step: Step, folder: Path, run_id: str) -> None:
        earlier = read_json(folder / _STEP_FILE)
        peak = earlier.get("peak_memory_mb")
        self._tracking.reuse_step(run_id, earlier["mlflow_run"])
        shutil.copy(folder / "log.txt", self._log_file(step))
        self._save(StepRun(step.name, RunStatus.REUSED, earlier["seconds"], None, peak))
        self._log(
            f"{step.name}: reused, same command, code and inputs as in run {earlier['run'][:8]} "
            f"(saved {earlier['seconds']:.1f} s; --force runs it again)"
        )

    def _execute(self, step: Step, folder: Path, run_id: str) -> Outcome:
        aside = self._state.steps / f".{self._record.run.id}-{step.name}"
        try:
            (aside / "outputs").mkdir(parents=True)
            outputs = {name: str(aside / "outputs" / name) for name in step.outputs}
            command = step.command(self._inputs(step), outputs, self._parameters)
            environment = {**self._lineage, **self._tracking.step_environment(run_id), **_python()}
            started = time.monotonic()
            with self._alone(step):
                outcome = run_process(
                    command,
                    environment,
                    SOURCE,
                    self._log_file(step),
                    lambda line: self._log(f"[{step.name}] {line}"),
                )
            if outcome.error is not None:
                return outcome
            if missing := [name for name, path in outputs.items() if not Path(path).is_dir()]:
                error = f"it did not write its output {', '.join(missing)}"
                return dataclasses.replace(outcome, error=error)
            shutil.copy(self._log_file(step), aside / "log.txt")
            write_json(
                aside / _STEP_FILE,
                {
                    "run": self._record.run.id,
                    "mlflow_run": run_id,
                    "seconds": round(time.monotonic() - started, 3),
                    "peak_memory_mb": outcome.peak_memory_mb,
                    "command": list(step.run),
                },
            )
            self._keep(aside, folder)
            return outcome
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _alone(self, step: Step) -> AbstractContextManager[object]:
        if not step.exclusive:
            return nullcontext()
        return self._state.lock(f"step-{self._pipeline.name}-{step.name}")

    def _keep(self, aside: Path, folder: Path) -> None:
        with self._state.lock("steps"):
            if folder.is_dir():
                # Forced, or another run was faster. Steps are reproducible, so what others already read stays.
                return
            aside.rename(folder)

    def _key(self, step: Step) -> str:
        if not step.reuse:
            return f"{self._record.run.id}-{step.name}"
        inputs = {}
        for name, source in step.inputs.items():
            if isinstance(source, StepInput):
                inputs[name] = f"{self._record.keys[source.step]}/{source.output}"
            else:
                version = self._data[step.name, name]
                inputs[name] = f"{version.name}:{version.version}:{version.sha256}"
        facts = {
            "run": list(step.run),
            "parameters": {
                name: value for name, value in self._parameters.items() if _uses(step, name)
            },
            "inputs": inputs,
            "source": self._source,
            "lock": self._lock,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def _inputs(self, step: Step) -> dict[str, str]:
        folders = {}
        for name, source in step.inputs.items():
            if isinstance(source, StepInput):
                path = (
                    self._state.steps / self._record.keys[source.step] / "outputs" / source.output
                )
            else:
                path = self._site.data.fetch(self._data[step.name, name])
            folders[name] = str(path)
        return folders

    def _log_file(self, step: Step) -> Path:
        return self._site.runs.folder(self._record.run.id) / f"{step.name}.log"

    def _save(self, step: StepRun) -> None:
        self._record = self._record.with_step(step)
        self._site.runs.save(self._record)

    def _end(self, status: RunStatus, error: str | None) -> PipelineRun:
        seconds = round(time.monotonic() - self._started, 3)
        run = dataclasses.replace(self._record.run, status=status, error=error, seconds=seconds)
        self._record = dataclasses.replace(self._record, run=run)
        self._site.runs.save(self._record)
        self._tracking.end(status)
        return run


def _uses(step: Step, parameter: str) -> bool:
    return any(f"{{parameters.{parameter}}}" in word for word in step.run)


def _python() -> dict[str, str]:
    """Makes the packages importable in a step wherever it runs, and its output appear at once."""
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    return {"PYTHONUNBUFFERED": "1", "PYTHONPATH": path}
