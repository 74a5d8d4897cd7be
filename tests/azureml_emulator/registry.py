"""The emulator with all of its services."""

from __future__ import annotations

from pathlib import Path

from tests.azureml_emulator.execution import lifetime
from tests.azureml_emulator.server import Emulator
from tests.azureml_emulator.services import (
    artifacts,
    blobs,
    computes,
    control,
    datasets,
    datastores,
    history,
    environments,
    login,
    metrics,
    mlflow_api,
    models,
    modules,
    pipeline_runs,
    published,
    resource_manager,
    schedules,
    snapshots,
    telemetry,
    webservices,
    workspaces,
)
from tests.azureml_emulator.serving import front
from tests.azureml_emulator.serving.hosting import Hosting


def all_services(folder: Path, port: int) -> Emulator:
    """An emulator that is not started yet."""
    hosting = Hosting()
    services = [
        control.routes,
        login.routes,
        workspaces.routes,
        resource_manager.routes,
        datastores.routes,
        blobs.routes,
        artifacts.routes,
        mlflow_api.routes,
        history.routes,
        metrics.routes,
        computes.routes,
        environments.routes,
        datasets.routes,
        snapshots.routes,
        modules.routes,
        published.routes,
        pipeline_runs.routes,
        schedules.routes,
        models.routes,
        telemetry.routes,
        webservices.routes(hosting),
    ]
    serving = front.application(hosting)
    emulator = Emulator(folder, port, services, serving)
    lifetime.attach(serving, emulator.context)
    telemetry.attach(serving, emulator.context)
    hosting.attach(emulator.context)
    return emulator
