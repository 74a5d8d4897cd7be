"""Pipelines on Azure Machine Learning: published, run on the cluster, and watched from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from insurance_claims.telemetry import CONNECTION
from ml_service.pipeline import Pipeline
from ml_service.platforms.azureml import publishing
from ml_service.platforms.azureml.blobs import container_client
from ml_service.platforms.azureml.build import build, output_path
from ml_service.platforms.azureml.compute import training_compute
from ml_service.platforms.azureml.data import AzureData
from ml_service.platforms.azureml.definition import (
    PACKAGE,
    Definition,
    define,
    read_definition,
    source_hash,
    staged,
)
from ml_service.platforms.azureml.documents import AzureDocuments
from ml_service.platforms.azureml.environment import training_environment
from ml_service.platforms.azureml.errors import translated
from ml_service.platforms.azureml.observing import Observing
from ml_service.platforms.azureml.outputs import download_folder
from ml_service.platforms.azureml.run_records import REUSED_RUN, RunRecords, run_tags
from ml_service.platforms.azureml.silence import silent
from ml_service.platforms.azureml.waiting import PATIENCE, Watch
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Log, PipelineRun, PlatformError, PublishedPipeline
from ml_service.platforms.facts import RunFacts, gather_facts, keep_facts, read_facts
from ml_service.source import git_commit, lock_sha256


class AzurePipelines:
    """Runs pipelines in a workspace.

    Azure has no lock between runs: two runs may be in an ``exclusive`` step at the same time. Registration sees it
    where another model became champion meanwhile, and refuses.

    Args:
        ws: the workspace.
        data: versions of data sets, for the pipelines' inputs.
        lineage: variables that a step gets for a model's lineage, besides what is found out here.
        package: folder of the package that steps are run from.
        patience: seconds of failed looks at a run after which waiting for it ends.
    """

    def __init__(
        self,
        ws: AzureWorkspace,
        data: AzureData,
        lineage: Mapping[str, str],
        package: Path = PACKAGE,
        patience: float = PATIENCE,
    ) -> None:
        self._ws = ws
        self._data = data
        self._lineage = lineage
        self._package = package
        self._patience = patience
        self._records = RunRecords(ws)

    def publish(self, pipeline: Pipeline, version: str, log: Log) -> PublishedPipeline:
        """Make a pipeline runnable by name and version (the build id). The same again changes nothing.

        Raises:
            PlatformError: other content was published under that name and version, or Azure fails.
        """
        definition = self._define(pipeline, log)
        published = publishing.publish(
            self._ws,
            pipeline.name,
            version,
            definition,
            lambda: self._build(pipeline, definition, dict(pipeline.parameters), log),
            log,
        )
        if read_facts(self._documents, published.id) is None:
            # What runs of it are made of is decided here: they may be submitted by a schedule, from elsewhere.
            keep_facts(self._documents, published.id, gather_facts((), installed=False))
        return published

    def published(self, name: str, version: str) -> PublishedPipeline:
        """What was published under this name and version.

        Raises:
            PlatformError: nothing, or more than one.
        """
        found = publishing.find(self._ws, name, version)
        return PublishedPipeline(name, version, str(found.id))

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
            PlatformError: a data version is missing, Azure fails, or did not answer for too long.
        """
        if isinstance(pipeline, PublishedPipeline):
            run = self._submit_published(pipeline, parameters, log, force)
        else:
            run = self._submit_file(pipeline, parameters, log, force)
        log(f"run {run.id} of {pipeline.name}")
        with translated(f"looking up run {run.id}"), silent():
            page = run.get_portal_url()
        log(f"in Azure ML studio: {page}")
        return Watch(self._records, run, log, self._patience).to_the_end()

    def list(self) -> Sequence[PipelineRun]:
        """All runs, newest first."""
        return self._records.all()

    def get(self, run_id: str) -> PipelineRun:
        """One run, by id, by an unambiguous beginning of it, or ``latest``."""
        return self._records.read(self._records.find(run_id))

    def logs(self, run_id: str, step: str | None = None) -> str:
        """What the steps printed, in order.

        Raises:
            PlatformError: there is no such run or step.
        """
        run = self._records.find(run_id)
        names = [known.name for known in self._records.read(run).steps]
        if step is not None and step not in names:
            raise PlatformError(f"run {run.id} has no step {step!r}; it has: {', '.join(names)}")
        with translated(f"reading the logs of run {run.id}"), silent():
            children = {child.name: child for child in self._records.children(run)}
            texts = {name: self._records.text(children[name]) for name in names if name in children}
        if step is not None:
            return texts.get(step, "").rstrip()
        return "\n".join(
            f"[{name}] {line}" for name, text in texts.items() for line in text.splitlines()
        )

    def output(self, run_id: str, step: str, name: str) -> Path:
        """A local folder with an output of a completed step. Read only.

        Raises:
            PlatformError: the step did not complete, or has no such output.
        """
        run = self._records.find(run_id)
        with translated(f"looking up output {step}.{name} of run {run.id}"), silent():
            child = next((item for item in self._records.children(run) if item.name == step), None)
        missing = PlatformError(f"run {run.id} has no output {step}.{name}")
        if child is None or child.status not in ("Completed", "Finished"):
            raise missing
        made_by = str(child.properties.get(REUSED_RUN) or child.id)
        target = self._ws.cache / "outputs" / made_by / name
        with self._ws.lock(f"output-{made_by}-{name}"):
            if not target.is_dir():
                path = output_path(made_by, name)
                with translated(f"downloading output {step}.{name} of run {run.id}"):
                    if not download_folder(self._ws.datastore, path, target):
                        raise missing
        return target

    def assignments(
        self, pipeline: PublishedPipeline, parameters: Mapping[str, str]
    ) -> dict[str, Any]:
        """The values that a published pipeline takes on Azure: words, and datasets for data versions.

        Raises:
            PipelineError: a parameter is unknown.
            PlatformError: a data version is missing, or the pipeline was not published by this project.
        """
        _, definition = self._find(pipeline)
        resolved = definition.resolve(pipeline.name, parameters)
        return self._values(definition, resolved)

    def datasets(self, definition: Definition, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The SDK's dataset of each dataset parameter.

        Raises:
            PlatformError: a data version is missing.
        """
        wanted = definition.data_versions(parameters)
        found = {place: self._dataset(*place, definition.file) for place in set(wanted.values())}
        return {key: found[place] for key, place in wanted.items()}

    def _dataset(self, name: str, version: str, file: str) -> Any:
        whole = self._data.dataset(self._data.get(name, version))
        if not file:
            return whole
        from azureml.core import Dataset

        with translated(f"looking up data version {name}:{version}"), silent():
            place = (self._ws.datastore, f"{whole.tags['path']}{file}")
            return Dataset.File.from_files(place, validate=False)

    def _values(self, definition: Definition, parameters: Mapping[str, str]) -> dict[str, Any]:
        words = {word: parameters[word] for word in definition.words}
        return {**words, **self.datasets(definition, parameters)}

    def _find(self, pipeline: PublishedPipeline) -> tuple[Any, Definition]:
        """What was published, as the SDK's object, and its definition."""
        found = publishing.find(self._ws, pipeline.name, pipeline.version)
        definition = read_definition(found.description)
        if definition is None:
            raise PlatformError(
                f"{pipeline.name} version {pipeline.version} was not published by this project: "
                "publish it with `mlops publish` under a new version"
            )
        return found, definition

    def _submit_file(
        self, pipeline: Pipeline, parameters: Mapping[str, str], log: Log, force: bool
    ) -> Any:
        resolved = pipeline.resolve(parameters)
        definition = self._define(pipeline, log)
        made = self._build(pipeline, definition, resolved, log)
        facts = gather_facts((), installed=False)
        run = self._submit(pipeline.name, made, definition, resolved, regenerate_outputs=force)
        self._keep_facts(run, facts, definition, resolved, log)
        return run

    def _submit_published(
        self, pipeline: PublishedPipeline, parameters: Mapping[str, str], log: Log, force: bool
    ) -> Any:
        if force:
            raise PlatformError(
                f"{pipeline.name} version {pipeline.version} is published, and Azure Machine Learning decides which "
                "steps of a published pipeline are reused: run the pipeline's file with --force"
            )
        found, definition = self._find(pipeline)
        resolved = definition.resolve(pipeline.name, parameters)
        facts = read_facts(self._documents, str(found.id))
        run = self._submit(pipeline.name, found, definition, resolved)
        if facts is not None:
            self._keep_facts(run, facts, definition, resolved, log)
        return run

    def _submit(
        self,
        name: str,
        made: Any,
        definition: Definition,
        parameters: Mapping[str, str],
        **options: Any,
    ) -> Any:
        values = self._values(definition, parameters)
        tags = run_tags(name, definition.steps, parameters, self._ws.settings.build_id)
        experiment = self._records.experiment
        with translated(f"submitting {name}"), silent():
            return experiment.submit(made, tags=tags, pipeline_parameters=values, **options)

    def _keep_facts(
        self,
        run: Any,
        facts: RunFacts,
        definition: Definition,
        parameters: Mapping[str, str],
        log: Log,
    ) -> None:
        """Keep what a run is made of. It has begun: where this fails, it is watched all the same."""
        try:
            places = set(definition.data_versions(parameters).values())
            data = {name: self._data.get(name, version).version for name, version in places}
            keep_facts(self._documents, str(run.id), replace(facts, data=data))
        except PlatformError as error:
            log(
                f"what the run is made of could not be kept, `mlops runs why` will know less: {error}"
            )

    def _define(self, pipeline: Pipeline, log: Log) -> Definition:
        environment = training_environment(self._ws, log)
        azure = self._ws.azure
        facts = {
            "source": self._source,
            "environment": f"{environment.name}:{environment.version}",
            "compute": azure.compute_name,
            "datastore": azure.datastore_name or "",
        }
        return define(pipeline, facts)

    def _build(
        self,
        pipeline: Pipeline,
        definition: Definition,
        parameters: Mapping[str, str],
        log: Log,
    ) -> Any:
        datasets = self.datasets(definition, parameters)
        training_compute(self._ws, log)
        connection = Observing(self._ws).connection_string_if_any(log, "the steps")
        lineage = {
            "MLOPS_GIT_COMMIT": git_commit(),
            "MLOPS_LOCK_SHA256": lock_sha256(),
            **self._lineage,
        }
        return build(
            self._ws,
            pipeline,
            definition,
            datasets,
            staged(self._package, self._source, self._ws.cache / "source"),
            training_environment(self._ws, log),
            {} if connection is None else {CONNECTION: connection},
            lineage,
        )

    @cached_property
    def _documents(self) -> AzureDocuments:
        return AzureDocuments(lambda: container_client(self._ws.default_datastore))

    @cached_property
    def _source(self) -> str:
        return source_hash(self._package)
