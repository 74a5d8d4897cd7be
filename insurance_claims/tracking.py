"""What steps log for people to look at: parameters, metrics, curves and files, to MLflow.

Nothing reads these back to decide anything: facts between steps flow in files. Only calls that Azure Machine Learning
answers as well are used (no logged models, no aliases, no ``runs:/`` registration).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from insurance_claims.errors import ClaimsError

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

_BATCH = 1000
"""The most metrics that MLflow takes in one call."""


class Tracker(Protocol):
    """Where a step logs to."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters of the run."""

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log final figures of the run."""

    def log_curve(self, name: str, values: Sequence[float]) -> None:
        """Log a metric with one value a step, from step 1."""

    def log_files(self, folder: Path, under: str) -> None:
        """Log every file of a folder as artifacts below ``under``."""


class _NoTracker:
    def log_params(self, params: Mapping[str, Any]) -> None:
        return None

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        return None

    def log_curve(self, name: str, values: Sequence[float]) -> None:
        return None

    def log_files(self, folder: Path, under: str) -> None:
        return None


class _MlflowTracker:
    def __init__(self, run_id: str) -> None:
        from mlflow import MlflowClient

        with reported("opening the step's run"):
            self._client = MlflowClient()
        self._run_id = run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        with reported("logging parameters"):
            self._client.log_batch(
                self._run_id, params=[Param(key, str(value)) for key, value in params.items()]
            )

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        self._log([(name, value, 0) for name, value in metrics.items()])

    def log_curve(self, name: str, values: Sequence[float]) -> None:
        self._log([(name, value, step) for step, value in enumerate(values, start=1)])

    def log_files(self, folder: Path, under: str) -> None:
        with reported("logging files"):
            self._client.log_artifacts(self._run_id, str(folder), under)

    def _log(self, points: list[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value, step in points]
        with reported("logging metrics"):
            for start in range(0, len(metrics), _BATCH):
                self._client.log_batch(self._run_id, metrics=metrics[start : start + _BATCH])


@contextmanager
def reported(what: str, kind: type[ClaimsError] = ClaimsError) -> Iterator[None]:
    """Turn what MLflow raises in the block into one reason.

    Where a plugin stands behind MLflow, as on Azure, that can be anything: put nothing but calls of MLflow into it.

    Args:
        what: was being done.
        kind: of the error to raise.

    Raises:
        ClaimsError: of that kind; what failed, where and why.
    """
    try:
        yield
    except ClaimsError:
        raise
    except Exception as error:
        where = os.environ.get("MLFLOW_TRACKING_URI", "its default address")
        why = " ".join(str(error).split()) or type(error).__name__
        raise kind(f"{what}: MLflow at {where} failed: {why}. Run the pipeline again") from error


@contextmanager
def tracker() -> Iterator[Tracker]:
    """The tracker of this process: the MLflow run named by MLFLOW_RUN_ID, or nothing where there is none.

    The platform that started the step has opened the run and closes it; a step only logs to it.
    """
    run_id = os.environ.get("MLFLOW_RUN_ID")
    yield _MlflowTracker(run_id) if run_id else _NoTracker()
