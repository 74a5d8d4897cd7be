"""Environments: the images that steps and services run in, named by their content."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from ml_service.platforms.azureml.errors import retried, status, translated
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Log, PlatformError

BASE_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1"
"""What the conda environments are installed into; dated, so that it does not change under a version."""

_POLL_SECONDS = 5.0
_BUILDING = frozenset({"Running", "GettingOrProvisioningACR", "Queued", "NotStarted"})
_LAST_LINES = 20


def training_environment(
    ws: AzureWorkspace, log: Log, wait: Callable[[float], None] = time.sleep
) -> Any:
    """What the steps of pipelines run in, as the SDK's ``Environment``, registered.

    Args:
        ws: the workspace.
        log: gets the progress.
        wait: takes seconds.

    Raises:
        PlatformError: Azure refuses it, or its image cannot be built.
    """
    name = ws.azure.environment_name
    return ws.once(
        "training-environment", lambda: _environment(ws, name, "training", None, log, wait)
    )


def scoring_environment(
    ws: AzureWorkspace, log: Log, wait: Callable[[float], None] = time.sleep
) -> Any:
    """What deployed models run in. See ``training_environment``."""
    name = ws.azure.scoring_environment_name
    # What starts the server in front of score.py is added to the image by Azure.
    return ws.once(
        "scoring-environment", lambda: _environment(ws, name, "scoring", "latest", log, wait)
    )


def conda_file(room: str) -> Path:
    """The conda file of a room of the package, made by ``make lock``."""
    return Path(str(resources.files("insurance_claims") / room / "conda_dependencies.yml"))


def content_version(conda: bytes, base_image: str, serving: str | None) -> str:
    """The version of an environment: the same content has the same version."""
    digest = hashlib.sha256()
    for part in (base_image.encode(), (serving or "").encode(), conda):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _environment(
    ws: AzureWorkspace,
    name: str,
    room: str,
    serving: str | None,
    log: Log,
    wait: Callable[[float], None],
) -> Any:
    from azureml.core import Environment

    conda = conda_file(room)
    version = content_version(conda.read_bytes(), BASE_IMAGE, serving)
    workspace = ws.workspace
    with translated(f"looking up environment {name}"):
        try:
            environment = retried(lambda: Environment.get(workspace, name, version), wait)
            log(f"environment {name} {version}: reused")
        except Exception as error:
            if status(error) != 404:
                raise
            environment = None
    if environment is None:
        with translated(f"registering environment {name}"):
            wanted = Environment.from_conda_specification(name, str(conda))
            wanted.version = version
            wanted.docker.base_image = BASE_IMAGE
            wanted.inferencing_stack_version = serving
            environment = retried(lambda: wanted.register(workspace), wait)
        log(f"environment {name} {version}: registered from {conda.name} on {BASE_IMAGE}")
    if ws.azure.rebuild_environment:
        _build(ws, environment, log, wait)
    return environment


def _build(ws: AzureWorkspace, environment: Any, log: Log, wait: Callable[[float], None]) -> None:
    """Build an image anew and wait for it."""
    label = f"environment {environment.name} {environment.version}"
    log(f"{label}: building its image")
    with translated(f"building the image of {label}"):
        build = retried(lambda: environment.build(ws.workspace), wait)
        shown = ""
        while (state := retried(lambda: str(build.status), wait)) in _BUILDING:
            if state != shown:
                log(f"{label}: {state.lower()}")
                shown = state
            wait(_POLL_SECONDS)
        if state != "Succeeded":
            lines = (build.get_log() or "").strip().splitlines()[-_LAST_LINES:]
            end = "\n".join(f"  {line}" for line in lines) or "  (no log)"
            raise PlatformError(
                f"the image of {label} was not built ({state}). The end of its log:\n{end}\n"
                f"If a package cannot be installed, see insurance_claims' conda_dependencies.yml, made by `make lock`."
            )
    log(f"{label}: image built")
