"""A pipeline run in MLflow: one run, with a nested run a step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ml_service.platforms.base import RunStatus
from ml_service.platforms.local.state import State

if TYPE_CHECKING:
    from mlflow import MlflowClient

_STATUS = {
    RunStatus.COMPLETED: "FINISHED",
    RunStatus.REUSED: "FINISHED",
    RunStatus.FAILED: "FAILED",
    RunStatus.CANCELLED: "KILLED",
    RunStatus.INTERRUPTED: "KILLED",
}


class RunTracking:
    """Opens and closes the MLflow runs of one pipeline run. Steps only log to theirs.

    Args:
        state: the local platform's.
        experiment: name of the MLflow experiment; made on first use.
        pipeline: name of the pipeline, which becomes the run's name.
        parameters: of the pipeline.
        tags: of the run.
    """

    def __init__(
        self,
        state: State,
        experiment: str,
        pipeline: str,
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> None:
        from mlflow.entities import Param

        self._state = state
        self._client: MlflowClient = state.mlflow
        self._experiment = experiment
        self._experiment_id = self._experiment_named(experiment)
        named = {key: value for key, value in tags.items() if value}
        run = self._client.create_run(self._experiment_id, run_name=pipeline, tags=named)
        self.run_id: str = run.info.run_id
        self._client.log_batch(self.run_id, params=[Param(*item) for item in parameters.items()])

    def start_step(self, name: str) -> str:
        """Open a nested run and return its id."""
        tags = {"mlflow.parentRunId": self.run_id}
        run = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
        return str(run.info.run_id)

    def step_environment(self, run_id: str) -> dict[str, str]:
        """What a step needs to log to its run."""
        return {
            "MLFLOW_TRACKING_URI": self._state.tracking_uri,
            "MLFLOW_EXPERIMENT_NAME": self._experiment,
            "MLFLOW_RUN_ID": run_id,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def reuse_step(self, run_id: str, earlier: str) -> None:
        """Show what the step logged when it ran, so that a reused step is no hole in the run."""
        data = self._client.get_run(earlier).data
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, 0) for key, value in data.metrics.items()],
            params=[Param(key, value) for key, value in data.params.items()],
        )
        self._client.set_tag(run_id, "reused_from", earlier)
        self.end_step(run_id, RunStatus.REUSED)

    def end_step(self, run_id: str, status: RunStatus) -> None:
        """Close a nested run."""
        self._client.set_terminated(run_id, _STATUS[status])

    def end(self, status: RunStatus) -> None:
        """Close the run."""
        self._client.set_terminated(self.run_id, _STATUS[status])

    @staticmethod
    def close_killed(state: State, run_ids: Sequence[str]) -> None:
        """Close the MLflow runs of a pipeline run whose process is gone."""
        for run_id in run_ids:
            if state.mlflow.get_run(run_id).info.status == "RUNNING":
                state.mlflow.set_terminated(run_id, "KILLED")

    def _experiment_named(self, name: str) -> str:
        with self._state.lock("mlflow"):
            known = self._client.get_experiment_by_name(name)
            if known is not None:
                return str(known.experiment_id)
            location = (self._state.artifacts / name).as_uri()
            return str(self._client.create_experiment(name, artifact_location=location))
