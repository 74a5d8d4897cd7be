"""What a command does not need, it does not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

IMPORTED = """
import runpy, sys
sys.argv = ["mlops", *sys.argv[1:]]
try:
    runpy.run_module("ml_service", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
found = [name for name, module in sys.modules.items() if module and name.split(".")[0] in ("azureml", "azure")]
print("imported:", *found)
"""


def imported_by(*arguments: str) -> str:
    """What a command imported of Azure's packages."""
    command = [sys.executable, "-c", IMPORTED, *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [("--help",), ("data", "list"), ("models", "list"), ("runs", "list")]
)
def test_local_commands_import_nothing_of_azure(home: Path, arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments) == "imported:"


def test_a_command_of_the_azure_platform_does(azure: str) -> None:
    assert "azureml.core" in imported_by("models", "list")
