"""``mlops score``: into a folder in this process, else over HTTP."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner, Result

from insurance_claims import registry
from insurance_claims.data.synthesize import synthesize
from insurance_claims.files import read_json
from insurance_claims.model import load_model
from insurance_claims.schema import FEATURE_NAMES
from insurance_claims.scoring.batch import engines
from insurance_claims.scoring.batch.job import Engine
from insurance_claims.scoring.batch.run import score_here
from ml_service.cli import score as score_module
from ml_service.platforms.local.platform import LocalPlatform
from tests.azurite import AzuriteProcess, azurite

__all__ = ["azurite"]


@pytest.fixture
def table(home: Path) -> pd.DataFrame:
    """200 rows, in a.csv of the working folder."""
    found = synthesize(200, seed=3)[0]
    found.to_csv("a.csv", index=False)
    return found


@pytest.fixture
def registered(local: LocalPlatform, models: Path) -> LocalPlatform:
    """Versions 1, the champion, and 2."""
    client = local.state.mlflow
    for version in ("1", "2"):
        run = client.create_run("0")
        client.log_artifacts(run.info.run_id, str(models / version), "model")
        tags = {registry.MODEL_SHA256: read_json(models / version / "model.json")["sha256"]}
        source = f"{run.info.artifact_uri}/model"
        registry.register(client, "insurance_claims", run.info.run_id, source, tags)
    registry.promote(client, "insurance_claims", 1, "for the test")
    return local


def score(*arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(score_module.score)
    return CliRunner().invoke(app, arguments)


def message(result: Result) -> str:
    """What was wrong, in one line, whatever box it was printed in."""
    text = f"{result.stderr} {result.exception}".replace("│", " ")
    return " ".join(text.split())


def test_into_a_folder_with_the_champion_or_a_version(
    registered: LocalPlatform, models: Path, table: pd.DataFrame
) -> None:
    result = score("a.csv", "--output", "out")
    assert result.exit_code == 0, message(result)
    assert result.stdout == "scored 200 of 200 rows with version 1\nwrote out\n"
    found = pd.read_parquet("out/scores")
    rows = table[list(FEATURE_NAMES)].to_numpy(dtype=float)
    assert found["score"].tolist() == load_model(models / "1").predict(rows).tolist()
    result = score("*.csv", "--output", "second", "--model", "2", "--json")
    assert json.loads(result.stdout)["model"]["version"] == 2
    assert set(pd.read_parquet("second/scores")["model_version"]) == {2}
    result = score("a.csv", "--output", "second", "--model", "1")
    assert result.exit_code == 1
    assert "version 2" in message(result)
    assert "version 1" in message(result)


def test_blobs_are_scored_with_the_login_of_the_environment(
    registered: LocalPlatform,
    table: pd.DataFrame,
    azurite: AzuriteProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in azurite.environment.items():
        monkeypatch.setenv(name, value)
    container = azurite.container()
    container.upload_blob("in/a.csv", Path("a.csv").read_bytes())
    result = score(f"{azurite.url}/{container.container_name}/in", "--output", "out")
    assert result.exit_code == 0, message(result)
    assert result.stdout == "scored 200 of 200 rows with version 1\nwrote out\n"


def test_the_engine_gets_scheduler_and_workers(
    registered: LocalPlatform, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def choose(*arguments: object) -> Engine:
        asked.append(arguments)
        return score_here

    monkeypatch.setattr(engines, "choose_engine", choose)
    for number, words in enumerate([("--scheduler", "tcp://x:8786"), ("--threads", "3")]):
        result = score("a.csv", "--output", f"out{number}", "--engine", "dask", *words)
        assert result.exit_code == 0, message(result)
    assert asked == [("dask", "tcp://x:8786", os.cpu_count()), ("dask", None, 3)]


def test_too_many_bad_rows_exit_1_after_all_are_scored(
    registered: LocalPlatform, table: pd.DataFrame
) -> None:
    table.assign(ps_ind_01=[99] * 11 + [1] * 189).to_parquet("bad.parquet")
    result = score("bad.parquet", "--output", "out", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["quarantined"] == 11
    assert "error: more than the share of 0.05 cannot be scored" in result.stderr
    assert score("bad.parquet", "--output", "out", "--max-bad", "0.055").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["a.csv"], 1, "nothing is deployed to staging"),
        (["a.csv", "--output", "scores.csv"], 1, "nothing is deployed to staging"),
        (["a.csv", "--output", "x", "--env", "production"], 1, "deployed to production"),
        (["a.csv", "--model", "2"], 2, "--model is for scoring into a folder"),
        (["a.csv", "--env", "staging", "--threads", "1"], 2, "--threads is for scoring into"),
        (["a.csv", "--output", "scores.csv", "--json"], 2, "--json is for scoring into a folder"),
        (["a.csv", "b.csv"], 2, "over HTTP one file at a time"),
        (["https://acme.blob.core.windows.net/c/a.csv"], 2, "over HTTP a file of this machine"),
        (["a.csv", "--engine", "dask"], 2, "--engine is for scoring into a folder"),
        (["a.csv", "--output", "out", "--engine", "spark"], 2, "there is no engine 'spark'"),
        (["a.csv", "--output", "out", "--scheduler", "x:8786"], 2, "is for --engine dask"),
        (
            ["a.csv", "--output", "out", "--engine=dask", "--scheduler=x", "--threads=2"],
            *(2, "leave --threads out"),
        ),
        (["a.csv", "--output", "https://acme.blob.core.windows.net/c/out"], 2, "is no folder"),
        (["https://acme.blob.core.windows.net", "--output", "out"], 1, "no address of a container"),
        (["a.csv", "--output", ".", "--env", "staging"], 2, "is a folder"),
        (["a.csv", "--output", "out", "--model", "best"], 2, "not 'best'"),
        (["a.csv", "--output", "out", "--model", "7"], 1, "has no version 7"),
        (["nowhere.csv", "--output", "out"], 1, "nowhere.csv does not exist"),
        ([], 2, "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_says_why(
    registered: LocalPlatform, table: pd.DataFrame, words: list[str], code: int, reason: str
) -> None:
    result = score(*words)
    assert result.exit_code == code
    assert reason in message(result)
    assert result.stdout == ""
    assert not Path("out").exists()


def test_a_terminal_sees_a_bar(registered: LocalPlatform, table: pd.DataFrame) -> None:
    command = "from typer import run; from ml_service.cli.score import score; run(score)"
    theirs, ours = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", command, "a.csv", "--output", "out"],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=ours,
        text=True,
    )
    os.close(ours)
    shown = os.read(theirs, 65536).decode()
    os.close(theirs)
    assert done.returncode == 0, shown
    assert done.stdout == "scored 200 of 200 rows with version 1\nwrote out\n"
    assert "200 rows (100%)" in shown
