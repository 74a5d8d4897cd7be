"""The registry of a workspace, through MLflow: the same calls and tags as on the local platform."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from filelock import FileLock

from insurance_claims import registry
from insurance_claims.files import whole_folder
from insurance_claims.registry import ModelVersion
from ml_service.platforms.azureml.errors import translated
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import PlatformError


class AzureModels:
    """Versions of one registered model.

    Args:
        workspace: that holds them.
        name: of the model.
    """

    def __init__(self, workspace: AzureWorkspace, name: str) -> None:
        self._workspace = workspace
        self._name = name

    def list(self) -> Sequence[ModelVersion]:
        """All versions, newest first."""
        with translated(f"listing the versions of model {self._name}"):
            return registry.versions(self._workspace.mlflow, self._name)

    def get(self, version: int | Literal["champion", "latest"]) -> ModelVersion:
        """One version.

        Raises:
            RegistryError: there is none.
        """
        with translated(f"looking up version {version} of model {self._name}"):
            return registry.get(self._workspace.mlflow, self._name, version)

    def champion(self) -> ModelVersion | None:
        """The version that challengers are compared with, if there is one."""
        with translated(f"looking up the champion of model {self._name}"):
            return registry.champion(self._workspace.mlflow, self._name)

    def promote(self, version: int, reason: str) -> ModelVersion:
        """Make a version the champion.

        Raises:
            RegistryError: there is none.
        """
        with translated(f"making version {version} of model {self._name} the champion"):
            registry.promote(self._workspace.mlflow, self._name, version, reason)
        return self.get(version)

    def fetch(self, version: int) -> Path:
        """A local copy of the model folder, checked against the checksums in the registry.

        Raises:
            PlatformError: the stored files are not those that were registered, or cannot be fetched.
        """
        model = self.get(version)
        folder = self._workspace.cache / "models" / self._name / str(version)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                with whole_folder(folder) as target:
                    self._download(model, target)
                    _check(target, model, f"the workspace's copy ({model.source})")
            _check(folder, model, f"{folder} (remove it to fetch it again)")
        return folder

    def _download(self, model: ModelVersion, to: Path) -> None:
        from azure.storage.blob import BlobClient
        from azureml.core import Model

        with translated(f"fetching version {model.version} of model {model.name}"):
            found = Model(self._workspace.workspace, name=model.name, version=model.version)
            for path, address in sorted(found.get_sas_urls().items()):
                file = _place(path, to)
                file.parent.mkdir(parents=True, exist_ok=True)
                # The library's own pauses between attempts add up to minutes.
                blob = BlobClient.from_blob_url(
                    address, retry_total=3, initial_backoff=1, increment_base=2
                )
                with file.open("wb") as target:
                    blob.download_blob().readinto(target)


def _place(path: str, folder: Path) -> Path:
    """Where in a folder a file of a model goes."""
    parts = PurePosixPath(path).parts
    # The model folder's own name comes first.
    file = folder.joinpath(*(parts[1:] or parts))
    if not file.resolve().is_relative_to(folder.resolve()):
        raise PlatformError(f"{path} is no path of a file in a model's folder")
    return file


def _check(folder: Path, model: ModelVersion, what: str) -> None:
    """Refuse a folder that does not hold the files that were registered."""
    if problem := registry.files_problem(folder, model.tags):
        raise PlatformError(
            f"{what} is not the model that was registered as version {model.version}: {problem}"
        )
