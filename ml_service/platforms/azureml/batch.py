"""Batch scoring: a published pipeline with one ParallelRunStep over the rows of a data version."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ml_service.platforms.azureml import publishing
from ml_service.platforms.azureml.build import OUTPUT_PATH
from ml_service.platforms.azureml.compute import training_compute
from ml_service.platforms.azureml.definition import PACKAGE, Definition, source_hash, staged
from ml_service.platforms.azureml.environment import training_environment
from ml_service.platforms.azureml.errors import translated
from ml_service.platforms.azureml.pipelines import AzurePipelines
from ml_service.platforms.azureml.silence import silent
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Log, PublishedPipeline

PIPELINE = "insurance_claims-parallel-batch-scoring"
STEP = "score"
OUTPUT = "scores"
SCORES_FILE = "scores.csv"
_ENTRY = "insurance_claims/scoring/batch_score.py"
_ROWS = "rows"
_DATA_FILE = "data.parquet"
_TIMEOUT_SECONDS = 3600
"""For one file: it may hold millions of rows."""


class AzureBatch:
    """Publishes batch scoring; what is published is run as every pipeline.

    Its output ``score.scores`` holds ``scores.csv``: ``id,score,model_version`` without a header, in no order.

    Args:
        ws: the workspace.
        pipelines: of the same workspace.
        nodes: that share the files.
    """

    def __init__(self, ws: AzureWorkspace, pipelines: AzurePipelines, nodes: int = 1) -> None:
        self._ws = ws
        self._pipelines = pipelines
        self._nodes = nodes

    def publish(self, version: str, log: Log) -> PublishedPipeline:
        """Make batch scoring runnable under a version. The same again changes nothing.

        Its parameters: ``data`` and ``data_version``, ``model_name`` and ``model_version`` (a number or ``champion``).

        Raises:
            PlatformError: other content was published under that version, or Azure fails.
        """
        environment = training_environment(self._ws, log)
        source = source_hash(PACKAGE)
        definition = self._definition(environment, source)
        return publishing.publish(
            self._ws,
            PIPELINE,
            version,
            definition,
            lambda: self._build(definition, environment, source, log),
            log,
        )

    def _definition(self, environment: Any, source: str) -> Definition:
        settings, azure = self._ws.settings, self._ws.azure
        facts = [source, environment.name, environment.version, azure.compute_name, self._nodes]
        parameters = {
            "data": settings.dataset_name,
            "data_version": "latest",
            "model_name": settings.model_name,
            "model_version": "champion",
        }
        content = json.dumps([PIPELINE, parameters, facts, azure.datastore_name], sort_keys=True)
        return Definition(
            content=hashlib.sha256(content.encode()).hexdigest(),
            steps=(STEP,),
            parameters=parameters,
            words=("model_name", "model_version"),
            data={_ROWS: ("{parameters.data}", "{parameters.data_version}")},
            file=_DATA_FILE,
        )

    def _build(self, definition: Definition, environment: Any, source: str, log: Log) -> Any:
        from azureml.data import OutputFileDatasetConfig
        from azureml.data.dataset_consumption_config import DatasetConsumptionConfig
        from azureml.pipeline.core import Pipeline, PipelineParameter
        from azureml.pipeline.steps import ParallelRunConfig, ParallelRunStep

        training_compute(self._ws, log)
        datasets = self._pipelines.datasets(definition, definition.parameters)
        folder = staged(PACKAGE, source, self._ws.cache / "source")
        with translated(f"building pipeline {PIPELINE}"), silent():
            configuration = ParallelRunConfig(
                environment=environment,
                source_directory=str(folder),
                entry_script=_ENTRY,
                # One file at a time, none of which may fail.
                mini_batch_size="1",
                error_threshold=0,
                run_max_try=1,
                run_invocation_timeout=_TIMEOUT_SECONDS,
                output_action="append_row",
                append_row_file_name=SCORES_FILE,
                compute_target=self._ws.azure.compute_name,
                node_count=self._nodes,
                process_count_per_node=1,
            )
            rows = PipelineParameter(_ROWS, datasets[_ROWS])
            output = OutputFileDatasetConfig(OUTPUT, destination=(self._ws.datastore, OUTPUT_PATH))
            words = [
                word
                for name in definition.words
                for word in (
                    f"--{name.replace('_', '-')}",
                    PipelineParameter(name, definition.parameters[name]),
                )
            ]
            step = ParallelRunStep(
                name=STEP,
                parallel_run_config=configuration,
                inputs=[DatasetConsumptionConfig(_ROWS, rows)],
                output=output.as_upload(overwrite=True),
                arguments=words,
                # The champion may be another one by then.
                allow_reuse=False,
            )
            return Pipeline(self._ws.workspace, steps=[step])
