"""The model registry: versions as integers, full lineage as tags, one champion.

Only calls of MLflow's registry that Azure Machine Learning answers too. MLflow knows the tracking address from
MLFLOW_TRACKING_URI.

The champion is the version with the newest ``champion_since`` tag: moving it is one write, so that no crash can leave
two champions or none, and the tags are its history.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from insurance_claims.errors import RegistryError
from insurance_claims.files import sha256_of_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

CHAMPION_SINCE = "champion_since"
CHAMPION_REASON = "champion_reason"
MODEL_SHA256 = "model_sha256"
FILES_SHA256 = "files_sha256"

_MODEL_FILE = "model.txt"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered version.

    Attributes:
        name: of the registered model.
        version: 1, 2, ...
        created: UTC, ISO 8601.
        run_id: the MLflow run that holds the model's files.
        source: where they are.
        tags: lineage, metrics and champion history.
        champion: whether it is the champion now.
    """

    name: str
    version: int
    created: str
    run_id: str
    source: str
    tags: Mapping[str, str]
    champion: bool


def versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """All versions of a model, newest first; none where the model is not registered."""
    found = _search(client, name)
    champion = max(
        (item for item in found if CHAMPION_SINCE in item.tags),
        key=lambda item: (item.tags[CHAMPION_SINCE], int(item.version)),
        default=None,
    )
    result = [
        _version(item, champion is not None and item.version == champion.version) for item in found
    ]
    return sorted(result, key=lambda item: item.version, reverse=True)


def champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """The champion, or None where there is none yet."""
    return next((item for item in versions(client, name) if item.champion), None)


def get(
    client: MlflowClient, name: str, version: int | Literal["champion", "latest"]
) -> ModelVersion:
    """One version.

    Raises:
        RegistryError: there is no such version.
    """
    found = versions(client, name)
    if version == "latest" and found:
        return found[0]
    for item in found:
        if item.version == version or (version == "champion" and item.champion):
            return item
    known = ", ".join(str(item.version) for item in found) or "none"
    raise RegistryError(f"model {name} has no version {version!s}; it has: {known}")


def promote(client: MlflowClient, name: str, version: int, reason: str) -> None:
    """Make a version the champion.

    Raises:
        RegistryError: there is no such version.
    """
    get(client, name, version)
    # The reason first: the moment counts only once it is there.
    client.set_model_version_tag(name, str(version), CHAMPION_REASON, reason)
    client.set_model_version_tag(name, str(version), CHAMPION_SINCE, now())


def register(
    client: MlflowClient, name: str, run_id: str, source: str, tags: Mapping[str, str]
) -> ModelVersion:
    """Register what was logged under ``source`` of a run.

    A version with the same ``model_sha256`` and data is returned instead of making a second one, so that a step that
    was killed after it registered can be run again.
    """
    for item in versions(client, name):
        same = (MODEL_SHA256, "data_sha256", "parameters_sha256")
        if all(item.tags.get(key) == tags.get(key) for key in same):
            return item
    _ensure_model(client, name)
    # Tags travel with the creation: a version is never seen without its lineage.
    made = client.create_model_version(name, source=source, run_id=run_id, tags=dict(tags))
    return get(client, name, int(made.version))


def fetch(model: ModelVersion, to: Path) -> Path:
    """Download a version's files into an existing folder and return the folder that holds model.txt."""
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(artifact_uri=model.source, dst_path=str(to)))


def files_sha256(folder: Path) -> str:
    """SHA-256 of a model folder: of every file's path and content."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        if path.is_file():
            digest.update(f"{sha256_of_file(path)} {name}\n".encode())
    return digest.hexdigest()


def files_problem(folder: Path, tags: Mapping[str, str]) -> str | None:
    """Why a folder does not hold what was registered with these tags; None where it does.

    Versions that were registered without a checksum of all files are known by that of model.txt alone.
    """
    file = folder / _MODEL_FILE
    if not file.is_file():
        return f"it has no {_MODEL_FILE}"
    actual = {MODEL_SHA256: sha256_of_file(file)}
    if FILES_SHA256 in tags:
        actual[FILES_SHA256] = files_sha256(folder)
    for key, what in ((MODEL_SHA256, f"its {_MODEL_FILE}"), (FILES_SHA256, "its files together")):
        if key in actual and actual[key] != tags.get(key):
            expected = tags.get(key, "nothing")
            return f"the sha256 of {what} is {actual[key][:12]}, the registry says {expected[:12]}"
    return None


def now() -> str:
    """This moment: UTC, ISO 8601, microseconds, so that it sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _search(client: MlflowClient, name: str) -> list[MlflowVersion]:
    found: list[MlflowVersion] = []
    token: str | None = None
    while token != "":
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found += page
        token = page.token or ""
    return found


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version(item: MlflowVersion, is_champion: bool) -> ModelVersion:
    return ModelVersion(
        name=item.name,
        version=int(item.version),
        created=datetime.fromtimestamp(item.creation_timestamp / 1000, UTC).isoformat(
            timespec="seconds"
        ),
        run_id=item.run_id or "",
        source=item.source or "",
        tags=dict(item.tags),
        champion=is_champion,
    )
