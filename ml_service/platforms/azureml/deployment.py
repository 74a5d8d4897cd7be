"""What is deployed: deployment.yml as typed objects, and the source, environment and tags of one deployment."""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

import insurance_claims
from insurance_claims.monitoring import collection
from insurance_claims.telemetry import CONNECTION
from insurance_claims.typed_yaml import load_typed
from ml_service.platforms.azureml.environment import scoring_environment
from ml_service.platforms.azureml.errors import translated
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Log, PlatformError
from ml_service.source import git_commit, source_sha256

DEPLOYMENT_FILE = Path(insurance_claims.__file__).parent / "scoring" / "deployment.yml"
ENTRY_SCRIPT = "insurance_claims/scoring/score.py"
CONTENT_TAG = "deployment_sha256"
VERSION_TAG = "model_version"
_SOURCE = "source"
_SHIPPED = (".py", ".yml", ".typed")
_ENVIRONMENT = "MLOPS_ENVIRONMENT"
# Single rows gain nothing from threads, and on a busy node lose most of their speed to them.
_VARIABLES = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Autoscale(_Section):
    """How many replicas there are on Kubernetes."""

    min_replicas: int = Field(ge=1)
    max_replicas: int = Field(ge=1)
    target_utilization: int = Field(ge=1, le=100)

    @model_validator(mode="after")
    def _in_order(self) -> Autoscale:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is above max_replicas")
        return self


class Deployment(_Section):
    """What a model gets in one environment."""

    target: Literal["container-instance", "kubernetes"]
    cpu: float = Field(gt=0)
    memory_gb: float = Field(gt=0)
    application_insights: bool
    collect_model_data: bool
    autoscale: Autoscale | None = None

    @model_validator(mode="after")
    def _scales_where_it_can(self) -> Deployment:
        if self.autoscale and self.target != "kubernetes":
            raise ValueError("autoscale needs target: kubernetes")
        return self


def load_deployments(path: Path = DEPLOYMENT_FILE) -> Mapping[str, Deployment]:
    """Read and check a deployment file.

    Returns:
        Environment to what a model gets there.

    Raises:
        PlatformError: it cannot be read, is not YAML, or does not fit; one line a problem.
    """
    found = load_typed(dict[str, Deployment], path, PlatformError)
    targets = [deployment.target for deployment in found.values()]
    for target in set(targets):
        if targets.count(target) > 1:
            # The settings hold one service name for each target.
            raise PlatformError(f"{path}: only one environment can have target {target}")
    return found


@dataclass(frozen=True, slots=True)
class Release:
    """One model version with what serves it.

    Attributes:
        version: of the model.
        model: the SDK's ``Model``.
        inference: the SDK's ``InferenceConfig``.
        deployment: resources and switches.
        tags: of the service: model version, build, commit, and what the content is.
    """

    version: int
    model: Any
    inference: Any
    deployment: Deployment
    tags: Mapping[str, str]

    def is_served_by(self, tags: Mapping[str, str] | None) -> bool:
        """Whether a service with these tags serves the same model with the same code and packages."""
        names = (VERSION_TAG, CONTENT_TAG)
        return all((tags or {}).get(name) == self.tags[name] for name in names)


@contextmanager
def release(
    ws: AzureWorkspace,
    name: str,
    version: int,
    environment: str,
    deployment: Deployment,
    log: Log,
    connection_string: str | None = None,
) -> Iterator[Release]:
    """Lay out what is deployed for a model version; the folder with the source is there until the block ends.

    Args:
        ws: the workspace.
        name: of the registered model.
        version: of the model.
        environment: its name in settings.
        deployment: what it gets.
        log: gets the progress.
        connection_string: where its telemetry goes.

    Raises:
        PlatformError: Azure refuses the environment, or has no such model.
    """
    packages = scoring_environment(ws, log)
    collecting = {name: os.environ[name] for name in collection.OWN if os.environ.get(name)}
    variables = {**_VARIABLES, **collecting, _ENVIRONMENT: environment}
    if connection_string is not None:
        variables[CONNECTION] = connection_string
    workspace = ws.workspace
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside) / _SOURCE
        copy_source(folder)
        with translated(f"preparing model {name} version {version}"):
            from azureml.core.model import InferenceConfig, Model

            # The SDK writes the place of the script into the environment that it is given.
            own = copy.deepcopy(packages)
            own.environment_variables = {**(own.environment_variables or {}), **variables}
            inference = InferenceConfig(
                entry_script=ENTRY_SCRIPT, source_directory=str(folder), environment=own
            )
            model = Model(workspace, id=f"{name}:{version}")
        yield Release(
            version, model, inference, deployment, _tags(ws, version, packages, deployment)
        )


def copy_source(to: Path) -> None:
    """Copy the model package, and nothing else, into a new folder."""
    package = Path(insurance_claims.__file__).parent
    for file in package.rglob("*"):
        if file.suffix in _SHIPPED and file.is_file():
            copied = to / package.name / file.relative_to(package)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)


def _tags(
    ws: AzureWorkspace, version: int, packages: Any, deployment: Deployment
) -> Mapping[str, str]:
    digest = hashlib.sha256()
    parts = (source_sha256(), packages.name, packages.version, deployment.model_dump_json())
    for part in parts:
        digest.update(f"{part}\0".encode())
    tags = {
        VERSION_TAG: str(version),
        CONTENT_TAG: digest.hexdigest(),
        "git_commit": git_commit(),
    }
    if ws.settings.build_id:
        tags["build_id"] = ws.settings.build_id
    return tags
