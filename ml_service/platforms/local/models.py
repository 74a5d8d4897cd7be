"""The registry of the local platform: MLflow's, on SQLite."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from insurance_claims import registry
from insurance_claims.files import whole_folder
from insurance_claims.registry import ModelVersion
from ml_service.platforms.base import PlatformError
from ml_service.platforms.local.state import State


class LocalModels:
    """Versions of one registered model."""

    def __init__(self, state: State, name: str) -> None:
        self._state = state
        self._name = name

    def list(self) -> Sequence[ModelVersion]:
        """All versions, newest first."""
        return registry.versions(self._state.mlflow, self._name)

    def get(self, version: int | Literal["champion", "latest"]) -> ModelVersion:
        """One version.

        Raises:
            RegistryError: there is none.
        """
        return registry.get(self._state.mlflow, self._name, version)

    def champion(self) -> ModelVersion | None:
        """The version that challengers are compared with, if there is one."""
        return registry.champion(self._state.mlflow, self._name)

    def promote(self, version: int, reason: str) -> ModelVersion:
        """Make a version the champion.

        Raises:
            RegistryError: there is none.
        """
        with self._state.lock("champion"):
            registry.promote(self._state.mlflow, self._name, version, reason)
        return self.get(version)

    def fetch(self, version: int) -> Path:
        """A local copy of the model folder, checked against the checksums in the registry.

        Raises:
            PlatformError: the stored files are not those that were registered.
        """
        model = self.get(version)
        folder = self._state.models / self._name / str(version)
        with self._state.lock(f"model-{self._name}-{version}"):
            if not folder.exists():
                with tempfile.TemporaryDirectory() as aside, whole_folder(folder) as target:
                    fetched = registry.fetch(model, Path(aside))
                    _check(fetched, model, f"what is stored at {model.source}")
                    shutil.copytree(fetched, target, dirs_exist_ok=True)
        _check(folder, model, f"{folder} (remove it to fetch it again)")
        return folder


def _check(folder: Path, model: ModelVersion, what: str) -> None:
    """Refuse a folder that does not hold the files that were registered."""
    if problem := registry.files_problem(folder, model.tags):
        raise PlatformError(
            f"{what} is not the model that was registered as version {model.version}: {problem}"
        )
