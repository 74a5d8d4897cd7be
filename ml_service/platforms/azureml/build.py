"""A pipeline file as a pipeline of the SDK: each step a CommandStep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_service.pipeline import Pipeline, Step, StepInput
from ml_service.platforms.azureml.definition import PLACEHOLDER, Definition, data_parameter
from ml_service.platforms.azureml.errors import translated
from ml_service.platforms.azureml.silence import silent
from ml_service.platforms.azureml.workspace import AzureWorkspace

OUTPUT_PATH = "runs/{run-id}/{output-name}"
"""On the datastore; Azure fills in the id of the step's run."""


def output_path(run_id: str, name: str) -> str:
    """Where an output of a step's run is on the datastore."""
    return OUTPUT_PATH.replace("{run-id}", run_id).replace("{output-name}", name)


def build(
    ws: AzureWorkspace,
    pipeline: Pipeline,
    definition: Definition,
    datasets: Mapping[str, Any],
    source: Path,
    environment: Any,
    variables: Mapping[str, str],
    lineage: Mapping[str, str],
) -> Any:
    """The SDK's ``Pipeline``.

    Args:
        ws: the workspace.
        pipeline: from its file.
        definition: of the pipeline.
        datasets: the default ``FileDataset`` of each dataset parameter.
        source: folder that steps are run from.
        environment: that they run in.
        variables: of every step. Azure runs a step again whose variables are others.
        lineage: variables that differ from build to build, for steps that are never reused.

    Raises:
        PlatformError: Azure refuses it.
    """
    own = (variables, {**variables, **lineage})
    builder = _Builder(ws, pipeline, definition, datasets, source, environment, own)
    with translated(f"building pipeline {pipeline.name}"), silent():
        return builder.pipeline()


class _Builder:
    def __init__(
        self,
        ws: AzureWorkspace,
        pipeline: Pipeline,
        definition: Definition,
        datasets: Mapping[str, Any],
        source: Path,
        environment: Any,
        variables: tuple[Mapping[str, str], Mapping[str, str]],
    ) -> None:
        from azureml.pipeline.core import PipelineParameter

        self._ws = ws
        self._pipeline = pipeline
        self._source = source
        self._environment = environment
        self._of_reused, self._of_others = variables
        self._parameters = {
            name: PipelineParameter(name, pipeline.parameters[name]) for name in definition.words
        }
        self._datasets = {
            name: PipelineParameter(name, dataset) for name, dataset in datasets.items()
        }
        self._outputs: dict[tuple[str, str], Any] = {}

    def pipeline(self) -> Any:
        from azureml.pipeline.core import Pipeline as AzurePipeline

        steps: list[Any] = []
        for step in self._pipeline.steps:
            made = self._step(step)
            if steps:
                # In the order of the file, as on the local platform, whatever they read of each other.
                made.run_after(steps[-1])
            steps.append(made)
        return AzurePipeline(self._ws.workspace, steps=steps)

    def _step(self, step: Step) -> Any:
        from azureml.core.runconfig import RunConfiguration
        from azureml.pipeline.steps import CommandStep

        configuration = RunConfiguration()
        configuration.environment = self._environment
        own = self._of_reused if step.reuse else self._of_others
        configuration.environment_variables = dict(own)
        values = {f"outputs.{name}": self._output(step, name) for name in step.outputs}
        values |= {f"inputs.{name}": self._input(step, name) for name in step.inputs}
        values |= {f"parameters.{name}": value for name, value in self._parameters.items()}
        return CommandStep(
            name=step.name,
            command=[
                values[f"{match[1]}.{match[2]}"] if (match := PLACEHOLDER.fullmatch(word)) else word
                for word in step.run
            ],
            source_directory=str(self._source),
            # With its type, the SDK need not look it up.
            compute_target=(self._ws.azure.compute_name, "AmlCompute"),
            runconfig=configuration,
            allow_reuse=step.reuse,
        )

    def _input(self, step: Step, name: str) -> Any:
        from azureml.data.dataset_consumption_config import DatasetConsumptionConfig

        source = step.inputs[name]
        port = f"input_{name}"
        if isinstance(source, StepInput):
            return self._outputs[source.step, source.output].as_input(port).as_download()
        dataset = self._datasets[data_parameter(step, name)]
        return DatasetConsumptionConfig(port, dataset, mode="download")

    def _output(self, step: Step, name: str) -> Any:
        from azureml.data import OutputFileDatasetConfig

        # Uploaded when the step has ended well: what reads it never sees a half of it.
        made = OutputFileDatasetConfig(name, destination=(self._ws.datastore, OUTPUT_PATH))
        self._outputs[step.name, name] = made.as_upload(overwrite=True)
        return self._outputs[step.name, name]
