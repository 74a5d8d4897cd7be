"""What a step reports of itself, run as the command that platforms run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from insurance_claims import telemetry
from insurance_claims.monitoring.step_report import ENDED, STARTED
from tests.insurance_claims.ingestion_server import Ingestion

ROOT = Path(__file__).resolve().parents[3]
STEP = """
import logging, sys, warnings
from insurance_claims.errors import DataError
from insurance_claims.files import whole_folder, write_json
from insurance_claims.step import run_step, step_parser

def main(arguments):
    logging.info("not a warning")
    logging.getLogger("mlflow").warning("odd")
    warnings.warn("odder")
    {work}

run_step(step_parser("claims.teststep", None), main)
"""
WORK = {
    "completes": """
    with whole_folder(arguments.output) as aside:
        write_json(aside / "manifest.json", {"rows": {"train": 60, "holdout": 40}})""",
    "refuses": "raise DataError('column ps_ind_01 is missing')",
    "fails": "{}['reason']",
    "is stopped": "raise KeyboardInterrupt",
}


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    """An endpoint that takes everything."""
    server = Ingestion()
    yield server
    server.stop()


def _run(work: str, output: Path, connection: str | None) -> subprocess.CompletedProcess[str]:
    program = STEP.replace("{work}", WORK[work].strip("\n").removeprefix("    "))
    environment = {**os.environ, "MLOPS_PIPELINE_RUN_ID": "run-1", "MLFLOW_RUN_ID": "step-1"}
    environment.pop(telemetry.CONNECTION, None)
    if connection is not None:
        environment[telemetry.CONNECTION] = connection
    return subprocess.run(
        [sys.executable, "-c", program, "--output", str(output)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_completed_step_reports_its_time_memory_cards_rows_and_warnings(
    ingestion: Ingestion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 20, 1024\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ended = _run("completes", tmp_path / "out", ingestion.text)
    assert ended.returncode == 0, ended.stderr
    [start] = ingestion.events(STARTED)
    [end] = ingestion.events(ENDED)
    for event in (start, end):
        assert event["properties"]["step"] == "claims.teststep"
        assert event["properties"]["pipeline_run_id"] == "run-1"
        assert event["properties"]["step_run_id"] == "step-1"
    assert end["properties"]["outcome"] == "completed"
    figures = end["measurements"]
    assert (figures["rows"], figures["warnings"]) == (100, 2)
    assert figures["seconds"] > 0 and figures["cpu_seconds"] >= 0
    assert 10 < figures["peak_memory_mb"] < 100_000
    assert (figures["gpu_percent"], figures["gpu_memory_mb"]) == (20, 1024)
    texts = [message["message"] for message in ingestion.content("Message")]
    assert texts[0] == "odd" and texts[1].startswith("UserWarning: odder")
    assert not ingestion.content("Exception")


@pytest.mark.parametrize(
    ("work", "outcome", "kind", "message"),
    [
        ("refuses", "failed", "DataError", "column ps_ind_01 is missing"),
        ("fails", "failed", "KeyError", "'reason'"),
    ],
)
def test_a_failed_step_reports_its_exception_and_where_it_was(
    ingestion: Ingestion, tmp_path: Path, work: str, outcome: str, kind: str, message: str
) -> None:
    ended = _run(work, tmp_path / "out", ingestion.text)
    assert ended.returncode == 1
    [end] = ingestion.events(ENDED)
    assert end["properties"]["outcome"] == outcome
    assert "rows" not in end["measurements"]
    [found] = ingestion.content("Exception")
    assert found["properties"]["step"] == "claims.teststep"
    [exception] = found["exceptions"]
    assert (exception["typeName"], exception["message"]) == (kind, message)
    assert exception["parsedStack"][0]["method"] == "main"


def test_an_interrupted_step_says_so(ingestion: Ingestion, tmp_path: Path) -> None:
    assert _run("is stopped", tmp_path / "out", ingestion.text).returncode != 0
    [end] = ingestion.events(ENDED)
    assert end["properties"]["outcome"] == "interrupted"
    assert not ingestion.content("Exception")


def test_a_step_prints_and_exits_the_same_with_and_without_telemetry(
    ingestion: Ingestion, tmp_path: Path
) -> None:
    silent = _run("refuses", tmp_path / "out", None)
    ingestion.stop()
    reported = _run("refuses", tmp_path / "out", ingestion.text)
    assert (silent.returncode, silent.stdout, silent.stderr) == (
        reported.returncode,
        reported.stdout,
        reported.stderr,
    )
    assert silent.stderr.endswith("error: column ps_ind_01 is missing\n")
