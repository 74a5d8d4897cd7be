"""What the tests of the Azure platform share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Before any test imports the SDK: turns its telemetry off.
import ml_service.platforms.azureml  # noqa: F401
from insurance_claims import registry
from insurance_claims.files import read_json
from ml_service.platforms.base import Endpoint
from ml_service.settings import AzureSettings, Settings
from tests.ml_service.platforms.azureml.clients import quiet

if TYPE_CHECKING:
    from ml_service.platforms.azureml.endpoints import AzureEndpoints
    from ml_service.platforms.azureml.workspace import AzureWorkspace
    from tests.azureml_emulator.process import EmulatorProcess

# The SDK reads these when it is imported: how long it waits before it asks again.
os.environ.setdefault("AZUREML_DEFAULT_BACKOFF", "0")
os.environ.setdefault("AZUREML_DEFAULT_500_BACKOFF", "0")
os.environ.setdefault("AZUREML_DEFAULT_503_BACKOFF", "0")


@pytest.fixture
def connect(azure: str) -> Callable[..., AzureWorkspace]:
    """Opens the module's workspace like another process would, with some variables set otherwise."""
    from ml_service.platforms.azureml.workspace import AzureWorkspace

    def open_with(**variables: str) -> AzureWorkspace:
        return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate(variables))

    return open_with


@pytest.fixture
def fault(emulator: EmulatorProcess) -> Iterator[Callable[..., None]]:
    """Asks for a fault; none is left behind."""
    yield emulator.fault
    emulator.clear_faults()


@pytest.fixture
def lines() -> list[str]:
    """Collects what is logged: its ``append`` is a log."""
    return []


def no_wait(_seconds: float) -> None:
    """Takes no time."""


@pytest.fixture(scope="module")
def workspace(azure: str) -> AzureWorkspace:
    """An empty workspace of the emulator."""
    from ml_service.platforms.azureml.workspace import AzureWorkspace

    return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate({}))


@pytest.fixture(scope="module")
def endpoints(workspace: AzureWorkspace, models: Path) -> Iterator[AzureEndpoints]:
    """Nothing deployed; the model's versions 1 to 4 are registered, of which 4 cannot be loaded."""
    from ml_service.platforms.azureml.endpoints import AzureEndpoints
    from ml_service.platforms.azureml.models import AzureModels

    name = workspace.settings.model_name
    client = workspace.mlflow
    experiment = client.create_experiment("endpoints")
    with pytest.MonkeyPatch.context() as patch:
        # MLflow uploads to the workspace that its whole process tracks to, as a step does.
        patch.setenv("MLFLOW_TRACKING_URI", workspace.workspace.get_mlflow_tracking_uri())
        for version in ("1", "2", "3", "4"):
            run = client.create_run(experiment)
            client.log_artifacts(run.info.run_id, str(models / version), "model")
            client.set_terminated(run.info.run_id)
            tags = {registry.MODEL_SHA256: read_json(models / version / "model.json")["sha256"]}
            source = f"{run.info.artifact_uri}/model"
            registry.register(
                client, name, run.info.run_id, source, {**tags, "data_sha256": version}
            )
    made = AzureEndpoints(workspace, AzureModels(workspace, name))
    yield made
    for endpoint in made.list():
        made.remove(endpoint.environment, quiet)


@pytest.fixture
def staging(endpoints: AzureEndpoints) -> Endpoint:
    """Version 1 on staging: deployed once, and again only where a test changed it."""
    return endpoints.deploy("staging", 1, quiet)


@pytest.fixture
def production(endpoints: AzureEndpoints) -> Endpoint:
    """Version 1 on production, with all traffic and no other version."""
    return endpoints.deploy("production", 1, quiet)
