"""The commands of docs/azureml.md take a newcomer from nothing to a smoke-tested endpoint, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.azureml_emulator.process import EmulatorProcess

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "azureml.md"


def commands() -> str:
    """The shell block after the one that starts the emulator."""
    first, second = re.findall(
        r"^```bash\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )[:2]
    assert first.strip() == "make emulator"
    return str(second)


@pytest.mark.slow
def test_the_commands_lead_to_a_tested_endpoint(tmp_path: Path) -> None:
    emulator = EmulatorProcess(tmp_path / ".mlops" / "emulator")
    emulator.start()
    try:
        emulator.calls()
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        result = subprocess.run(
            ["bash", "-e", "-c", commands()],
            cwd=tmp_path,
            # The SDK keeps caches in the home folder.
            env={"PATH": path, "HOME": str(tmp_path), "OMP_NUM_THREADS": "2"},
            capture_output=True,
            text=True,
        )
        calls, refused = emulator.calls()
    finally:
        emulator.stop()
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "checks passed" in result.stdout
    assert "staging is down" in result.stdout
    assert "Traceback" not in result.stderr
    assert [call["path"] for call in calls if call["status"] == 501] == []
    assert refused == []
