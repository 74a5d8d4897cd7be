"""``mlops doctor`` and ``mlops ui``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ml_service.cli.context import JsonOption, print_json, progress
from ml_service.settings import settings


def doctor(json: JsonOption = False) -> None:
    """Check this machine: Python, packages against the lock, disk, ports, .env, state folder."""
    from ml_service.doctor import examine

    findings = examine()
    if json:
        print_json({"ok": all(f.ok for f in findings), "findings": findings})
    else:
        for finding in findings:
            print(finding.describe())
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


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
