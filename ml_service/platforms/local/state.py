"""Where the local platform keeps what it knows: one folder, ``.mlops`` unless MLOPS_HOME says otherwise."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow import MlflowClient

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


class State:
    """The local platform's folder.

    Attributes:
        home: absolute path of it.
        data: versions of data sets, ``NAME/VERSION/``.
        runs: one folder a pipeline run: its record and its logs.
        steps: outputs of steps, by key; a folder is there whole or not at all.
        models: local copies of registered models.
        artifacts: what MLflow stores files in.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.data = self.home / "data"
        self.runs = self.home / "runs"
        self.steps = self.home / "steps"
        self.models = self.home / "models"
        self.artifacts = self.home / "artifacts"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address of this state."""
        return f"sqlite:///{self.home / 'mlflow.db'}"

    @cached_property
    def mlflow(self) -> MlflowClient:
        """MLflow's client. The database is made on first use, by one process at a time."""
        import logging

        from mlflow import MlflowClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        with self.lock("mlflow"):
            client = MlflowClient(self.tracking_uri)
            client.search_experiments(max_results=1)
        return client

    def lock(self, name: str) -> FileLock:
        """A lock that holds between processes and goes with the one that holds it."""
        folder = self.home / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock")
