"""Pipelines on this machine: steps are processes, tracked as nested MLflow runs, reused by content."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_claims.files import write_whole
from ml_service.pipeline import DataInput, Pipeline, fill, load_pipeline
from ml_service.platforms.base import (
    Documents,
    Log,
    PipelineRun,
    PlatformError,
    PublishedPipeline,
    RunStatus,
)
from ml_service.platforms.facts import gather_facts, keep_facts
from ml_service.platforms.local.data import LocalData
from ml_service.platforms.local.execution import Execution, Site
from ml_service.platforms.local.run_tracking import RunTracking
from ml_service.platforms.local.runs import Runs
from ml_service.platforms.local.state import State
from ml_service.platforms.local.step_process import warm_up


class LocalPipelines:
    """Runs pipelines and remembers them.

    Args:
        state: where everything is kept.
        data: versions of data sets, for the pipelines' inputs.
        documents: where it is kept what runs were made of.
        experiment: name of the MLflow experiment.
        lineage: variables that a step gets for a model's lineage, besides what is found out here.
    """

    def __init__(
        self,
        state: State,
        data: LocalData,
        documents: Documents,
        experiment: str,
        lineage: Mapping[str, str],
    ) -> None:
        self._state = state
        self._data = data
        self._documents = documents
        self._runs = Runs(state)
        self._site = Site(state, data, self._runs, experiment, lineage)

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
        facts = gather_facts(data.values(), installed=True)
        execution = Execution(self._site, pipeline, resolved, data, log, force)
        keep_facts(self._documents, execution.run_id, facts)
        return execution.run()

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
