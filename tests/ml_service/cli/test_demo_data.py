"""``mlops demo-data``: with a real Azurite, and without one."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from insurance_claims.errors import ClaimsError
from ml_service.cli import demo_data
from tests.azurite import skip_without_azurite


@pytest.mark.slow
def test_a_file_becomes_a_judged_model_and_nothing_goes_on_running(tmp_path: Path) -> None:
    skip_without_azurite()
    ours = ("MLOPS_", "MLFLOW_", "AZURE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    result = subprocess.run(
        [sys.executable, "-m", "ml_service", "demo-data", "--rows", "3000"],
        cwd=demo_data._ROOT,
        env={**inherited, "MLOPS_HOME": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    printed = result.stdout
    assert result.returncode == 0, printed + result.stderr
    [good] = re.findall(r"^january.csv +accepted .*$", printed, re.MULTILINE)
    assert re.search(r"accepted +1 +\w{8} +(none +refuse|version 1 +promote)", good)
    assert re.search(r"^february.csv +quarantined *$", printed, re.MULTILINE)
    assert "february.csv separates columns by semicolon" in printed
    assert "$ mlops data lineage --file january.csv" in printed
    assert "stopped: the next watcher goes on from here" in result.stderr
    port = re.search(r"Azurite answers at http://127.0.0.1:(\d+)", printed)
    assert port is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port[1])), timeout=5)


def test_without_azurite_a_folder_stands_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Neither node nor anything else is found there.
    monkeypatch.setenv("PATH", str(tmp_path))
    with demo_data._storage(tmp_path) as address:
        assert Path(address).is_dir()
    printed = capsys.readouterr().out
    assert "a folder stands for blob storage, as Azurite does not run here: no Azurite: " in printed
    assert "install Node.js" in printed


def test_a_watcher_that_ends_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    monkeypatch.setenv("MLOPS_LANDING", str(tmp_path / "nowhere"))
    with demo_data._watcher() as alive:
        alive()
        with pytest.raises(ClaimsError, match="the watcher has ended"):
            while True:
                alive()
