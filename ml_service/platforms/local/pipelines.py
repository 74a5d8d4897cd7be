"""Pipelines on this machine: steps are processes, tracked as nested MLflow runs, reused by content."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from insurance_claims.files import read_json, write_json, write_whole
from insurance_claims.registry import now
from ml_service.pipeline import DataInput, Pipeline, Step, StepInput, fill, load_pipeline
from ml_service.platforms.base import (
    DataVersion,
    Log,
    PipelineRun,
    PlatformError,
    PublishedPipeline,
    RunStatus,
    StepRun,
)
from ml_service.platforms.local.data import LocalData
from ml_service.platforms.local.run_tracking import RunTracking
from ml_service.platforms.local.runs import Record, Runs, this_process
from ml_service.platforms.local.state import State
from ml_service.platforms.local.step_process import run_process, warm_up
from ml_service.source import SOURCE, git_commit, lock_sha256, source_sha256

_STEP_FILE = "step.json"


class LocalPipelines:
    """Runs pipelines and remembers them.

    Args:
        state: where everything is kept.
        data: versions of data sets, for the pipelines' inputs.
        experiment: name of the MLflow experiment.
        lineage: variables that a step gets for a model's lineage, besides what is found out here.
    """

    def __init__(
        self, state: State, data: LocalData, experiment: str, lineage: Mapping[str, str]
    ) -> None:
        self._state = state
        self._data = data
        self._experiment = experiment
        self._lineage = lineage
        self._runs = Runs(state)

    def publish(self, pipeline: Pipeline, version: str, log: Log) -> PublishedPipeline:
        """Keep the pipeline file as it is now, to be run by name and version.

        Raises:
            PlatformError: another file was published under that name and version.
        """
        target = self._published_file(pipeline.name, version)
        content = pipeline.file.read_bytes()
        if target.exists() and target.read_bytes() != content:
            raise PlatformError(
                f"another {pipeline.name} was published as version {version} already: publish under a new version"
            )
        write_whole(target, content)
        log(f"published {pipeline.name} version {version}")
        return self.published(pipeline.name, version)

    def published(self, name: str, version: str) -> PublishedPipeline:
        """What was published under this name and version.

        Raises:
            PlatformError: nothing.
        """
        if not self._published_file(name, version).is_file():
            raise PlatformError(
                f"no pipeline {name} was published as version {version}: publish it with `mlops publish`"
            )
        return PublishedPipeline(name, version, f"{name}:{version}")

    def run(
        self,
        pipeline: Pipeline | PublishedPipeline,
        parameters: Mapping[str, str],
        log: Log,
        force: bool = False,
    ) -> PipelineRun:
        """Run to the end, streaming the steps' logs. A failed run is returned, not raised.

        Raises:
            PipelineError: a parameter is unknown.
            PlatformError: a data version is missing.
        """
        # It imports while this process reads and opens MLflow.
        warm_up()
        if isinstance(pipeline, PublishedPipeline):
            pipeline = load_pipeline(self._published_file(pipeline.name, pipeline.version))
        resolved = pipeline.resolve(parameters)
        data = {
            (step.name, name): self._data.get(
                fill(source.name, resolved), fill(source.version, resolved)
            )
            for step in pipeline.steps
            for name, source in step.inputs.items()
            if isinstance(source, DataInput)
        }
        self._clear_leftovers()
        return _Execution(self, pipeline, resolved, data, log, force).run()

    def list(self) -> Sequence[PipelineRun]:
        """All runs, newest first."""
        return [record.run for record in self._runs.all()]

    def get(self, run_id: str) -> PipelineRun:
        """One run, by id, by an unambiguous beginning of it, or ``latest``."""
        return self._runs.get(run_id).run

    def logs(self, run_id: str, step: str | None = None) -> str:
        """What the steps printed, in order."""
        record = self._runs.get(run_id)
        names = [known.name for known in record.run.steps]
        if step is not None and step not in names:
            raise PlatformError(
                f"run {record.run.id} has no step {step!r}; it has: {', '.join(names)}"
            )
        parts = []
        for name in [step] if step else names:
            path = self._runs.folder(record.run.id) / f"{name}.log"
            if path.is_file():
                text = path.read_text(encoding="utf-8")
                parts += (
                    [f"[{name}] {line}" for line in text.splitlines()]
                    if step is None
                    else [text.rstrip()]
                )
        return "\n".join(parts)

    def output(self, run_id: str, step: str, name: str) -> Path:
        """The folder with an output of a completed step.

        Raises:
            PlatformError: the step did not complete, or has no such output.
        """
        record = self._runs.get(run_id)
        folder = self._state.steps / record.keys.get(step, "-") / "outputs" / name
        if not folder.is_dir():
            raise PlatformError(f"run {record.run.id} has no output {step}.{name}")
        return folder

    def _published_file(self, name: str, version: str) -> Path:
        return self._state.home / "published" / name / version / "pipeline.yml"

    def _clear_leftovers(self) -> None:
        """Remove what killed runs left half done, and close their MLflow runs."""
        for record in self._runs.all():
            if record.run.status is RunStatus.INTERRUPTED:
                for path in self._state.steps.glob(f".{record.run.id}-*"):
                    shutil.rmtree(path, ignore_errors=True)
                RunTracking.close_killed(self._state, [record.run.id, *record.mlflow_runs.values()])
                self._runs.save(record)


class _Execution:
    """One run of one pipeline."""

    def __init__(
        self,
        owner: LocalPipelines,
        pipeline: Pipeline,
        parameters: Mapping[str, str],
        data: Mapping[tuple[str, str], DataVersion],
        log: Log,
        force: bool,
    ) -> None:
        self._owner = owner
        self._state = owner._state
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
            **owner._lineage,
        }
        self._tracking = RunTracking(
            self._state, owner._experiment, pipeline.name, parameters, lineage
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
        owner._runs.save(self._record)

    def run(self) -> PipelineRun:
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
        error: str | None = "interrupted"
        status = RunStatus.CANCELLED
        try:
            error = self._execute(step, folder, run_id)
            status = RunStatus.FAILED if error else RunStatus.COMPLETED
        finally:
            seconds = round(time.monotonic() - started, 3)
            self._tracking.end_step(run_id, status)
            self._save(StepRun(step.name, status, seconds, error))
            self._log(f"{step.name}: {status} in {seconds:.1f} s")
        return error

    def _reuse(self, step: Step, folder: Path, run_id: str) -> None:
        earlier = read_json(folder / _STEP_FILE)
        self._tracking.reuse_step(run_id, earlier["mlflow_run"])
        shutil.copy(folder / "log.txt", self._log_file(step))
        self._save(StepRun(step.name, RunStatus.REUSED, earlier["seconds"]))
        self._log(
            f"{step.name}: reused, same command, code and inputs as in run {earlier['run'][:8]} "
            f"(saved {earlier['seconds']:.1f} s; --force runs it again)"
        )

    def _execute(self, step: Step, folder: Path, run_id: str) -> str | None:
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
                return outcome.error
            if missing := [name for name, path in outputs.items() if not Path(path).is_dir()]:
                return f"it did not write its output {', '.join(missing)}"
            shutil.copy(self._log_file(step), aside / "log.txt")
            write_json(
                aside / _STEP_FILE,
                {
                    "run": self._record.run.id,
                    "mlflow_run": run_id,
                    "seconds": round(time.monotonic() - started, 3),
                    "command": list(step.run),
                },
            )
            self._keep(aside, folder)
            return None
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
                path = self._owner._data.fetch(self._data[step.name, name])
            folders[name] = str(path)
        return folders

    def _log_file(self, step: Step) -> Path:
        return self._owner._runs.folder(self._record.run.id) / f"{step.name}.log"

    def _save(self, step: StepRun) -> None:
        self._record = self._record.with_step(step)
        self._owner._runs.save(self._record)

    def _end(self, status: RunStatus, error: str | None) -> PipelineRun:
        seconds = round(time.monotonic() - self._started, 3)
        run = dataclasses.replace(self._record.run, status=status, error=error, seconds=seconds)
        self._record = dataclasses.replace(self._record, run=run)
        self._owner._runs.save(self._record)
        self._tracking.end(status)
        return run


def _uses(step: Step, parameter: str) -> bool:
    return any(f"{{parameters.{parameter}}}" in word for word in step.run)


def _python() -> dict[str, str]:
    """Makes the packages importable in a step wherever it runs, and its output appear at once."""
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    return {"PYTHONUNBUFFERED": "1", "PYTHONPATH": path}
