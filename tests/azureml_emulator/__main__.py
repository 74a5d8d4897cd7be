"""Run the emulator: ``python -m tests.azureml_emulator``. Says which variables to set, and runs until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shlex
import signal
import sys
from pathlib import Path

from tests.azureml_emulator.context import GROUP, SUBSCRIPTION, TENANT
from tests.azureml_emulator.registry import all_services
from tests.azureml_emulator.server import Emulator

READY = "the emulator is ready"
SETTINGS_FILE = "environment"
CONTROL_FILE = "control.json"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.azureml_emulator",
        description="Azure Machine Learning on this machine, for the real SDK.",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(".mlops/emulator"),
        metavar="DIR",
        help="where it keeps everything (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=9443,
        help="of the HTTPS listener; the next two are taken as well (default: %(default)s)",
    )
    parser.add_argument(
        "--workspace", default="emulator", help="name of the workspace (default: %(default)s)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        asyncio.run(_run(arguments.state, arguments.port, arguments.workspace))
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


async def _run(folder: Path, port: int, workspace: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    emulator = all_services(folder, port)
    emulator.context.make_workspace(workspace)
    await emulator.start()
    try:
        settings = write_settings(emulator, workspace)
        print(f"Azure Machine Learning, emulated, at {emulator.context.base_url}")
        print(f"workspace {workspace}; everything is kept in {emulator.folder}")
        print("in another terminal:")
        print(f"  set -a; . {shlex.quote(os.path.relpath(settings))}; set +a")
        print("then every `mlops` command goes to it. Ctrl-C ends it; its state stays.")
        print(READY, flush=True)
        await stop.wait()
    finally:
        await emulator.stop()


def write_settings(emulator: Emulator, workspace: str) -> Path:
    """Write the variables that lead clients to the emulator, for a shell, readable by this user alone.

    Returns:
        The file.
    """
    context = emulator.context
    variables = {
        **context.environment,
        "MLOPS_PLATFORM": "azureml",
        "SUBSCRIPTION_ID": SUBSCRIPTION,
        "RESOURCE_GROUP": GROUP,
        "WORKSPACE_NAME": workspace,
        "TENANT_ID": TENANT,
        "SP_APP_ID": context.secrets["app_id"],
        "SP_APP_SECRET": context.secrets["app_secret"],
    }
    control = {
        "url": context.base_url,
        "key": context.secrets["control"],
        "environment": variables,
    }
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    file = emulator.folder / SETTINGS_FILE
    for path, content in ((file, lines), (emulator.folder / CONTROL_FILE, json.dumps(control))):
        path.touch(mode=0o600)
        path.write_text(content, encoding="utf-8")
    return file


if __name__ == "__main__":
    main()
