"""``mlops doctor`` and ``mlops ui``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Annotated

import typer

from ml_service.cli.context import JsonOption, PlatformOption, print_json, progress
from ml_service.findings import Finding
from ml_service.settings import SettingsError, settings


def doctor(platform: PlatformOption = None, json: JsonOption = False) -> None:
    """Check this machine: Python, packages, disk, ports, .env, state; with azureml what is in Azure too."""
    from ml_service.doctor import examine

    if platform not in (None, "local", "azureml"):
        raise typer.BadParameter(f"there is no platform {platform!r}; there is: local, azureml")
    findings = []
    for finding in chain(examine(), _of_azure(platform)):
        findings.append(finding)
        if not json:
            print(finding.describe(), flush=True)
    failed = any(finding.ok is False for finding in findings)
    if json:
        print_json({"ok": not failed, "findings": findings})
    raise typer.Exit(1 if failed else 0)


def _of_azure(platform: str | None) -> Iterator[Finding]:
    try:
        chosen = platform or settings().platform
    except SettingsError:
        # The examination of this machine says it.
        return
    if chosen == "azureml":
        from ml_service.platforms.azureml.doctor import examine

        yield from examine()


def ui(
    port: Annotated[int, typer.Option(help="Loopback port.", min=1, max=65535)] = 5000,
) -> None:
    """Show runs, curves, plots and models in MLflow's own pages, until Ctrl-C."""
    from ml_service.platforms.local.state import State

    state = State(settings().home)
    _ = state.mlflow  # makes the database where there is none yet
    progress(f"MLflow at http://127.0.0.1:{port} (Ctrl-C ends it)")
    command = [
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        state.tracking_uri,
        "--host",
        "127.0.0.1",
    ]
    os.execv(sys.executable, [sys.executable, *command, "--port", str(port), "--workers", "1"])
