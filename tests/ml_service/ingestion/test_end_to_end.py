"""The real thing: files dropped into Azurite, a watcher that is killed, the notebook, a version, a judged model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims.data.synthesize import synthesize
from ml_service.platforms.base import Platform
from ml_service.platforms.local.platform import LocalPlatform
from tests.ml_service.ingestion.stand_in import DATA, QUICK, everything, ingestor, statuses

pytestmark = pytest.mark.slow

_PATIENCE = 120.0


def watch(address: str, root: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a watcher as a person does."""
    command = [sys.executable, "-m", "ml_service", "ingest", "watch", "--landing", address]
    command += ["--poll", "0.2", "--debounce", "1"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with log.open("ab") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def until(what: Callable[[], bool], watcher: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not what():
        assert watcher.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def document(home: Path, pattern: str) -> Any:
    """A document of the platform; None where it is not there yet."""
    found = [json.loads(path.read_text()) for path in (home / "documents").rglob(pattern)]
    return found[0] if found else None


def test_a_killed_watcher_is_followed_by_another_and_a_model_is_judged(
    container: Any, local: LocalPlatform, home: Path, root: Path, tmp_path: Path
) -> None:
    table = synthesize(3000, seed=11)[0]
    log = tmp_path / "watch.log"
    first = watch(container.address, root, log)
    container.drop("2026/Q1 Schäden.csv", table[:1500])
    container.drop("2026/Q2.csv", table[1500:])
    container.drop("2026/Q3.csv", b"")
    until(lambda: document(home, "open.json") is not None, first, log)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = watch(container.address, root, log)
    until(lambda: (document(home, "training-*.json") or {}).get("run") is not None, second, log)
    second.send_signal(signal.SIGINT)
    assert second.wait(30) == 0, log.read_text()
    assert "stopped" in log.read_text().splitlines()[-1]
    assert sorted(item.name for item in container._container.list_blobs()) == [
        "2026/Q1 Schäden.csv",
        "2026/Q2.csv",
        "2026/Q3.csv",
    ]
    held = pd.read_parquet(local.data.fetch(local.data.get("insurance_claims")) / "data.parquet")
    assert sorted(held["id"]) == table["id"].tolist()
    assert [run.pipeline for run in local.pipelines.list() if run.status == "completed"].count(
        "insurance_claims-training"
    ) == 1
    run = local.pipelines.get(document(home, "training-*.json")["run"])
    decision = local.pipelines.output(run.id, "evaluate", "evaluation") / "decision.json"
    assert json.loads(decision.read_text())["decision"] in ("promote", "refuse")


def test_the_pipeline_runs_on_azure_machine_learning(
    azure: str, folder: Any, claims: pd.DataFrame
) -> None:
    from ml_service.platforms.azureml.platform import AzureMLPlatform
    from ml_service.settings import azure_settings, settings

    platform: Platform = AzureMLPlatform(settings(), azure_settings())
    folder.drop("Schäden 1.csv", claims)
    folder.drop("bad.csv", b"id;target\n")
    made = ingestor(platform, folder.address, QUICK)
    made.handle(everything(made))
    assert statuses(platform, made) == {"Schäden 1.csv": ["accepted"], "bad.csv": ["quarantined"]}
    version = platform.data.get(DATA)
    assert version.rows == 400
    assert made.handle(everything(made)) == []
    (run,) = platform.pipelines.list()
    evidence = platform.pipelines.output(run.id, "process", "ingested") / "notebook.ipynb"
    assert "Schäden 1.csv: 400 rows" in evidence.read_text()
