"""The commands: what they print, and how they end."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ml_service.cli.ingest as module
from ml_service.cli.app import main
from tests.ml_service.ingestion.stand_in import StandIn

Run = Any


@pytest.fixture
def mlops(
    platform: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Run:
    """Runs a command and gives its exit code, stdout and stderr."""
    monkeypatch.setattr(module, "open_platform", lambda name: platform)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mlops", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def test_run_takes_all_and_trains(mlops: Run, folder: Any, claims: pd.DataFrame) -> None:
    folder.drop("a.csv", claims)
    code, out, err = mlops("ingest", "run", "--landing", folder.address, "--settle", "0")
    assert (code, out) == (0, "a.csv: accepted, 400 rows\n")
    assert "training with insurance_claims version 1" in err
    code, out, _ = mlops("ingest", "run", "--landing", folder.address, "--settle", "0", "--json")
    assert (code, json.loads(out)) == (0, {"records": [], "training": None})


def test_a_file_that_was_not_taken_is_exit_code_1(
    mlops: Run, folder: Any, claims: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_LANDING", folder.address)
    folder.drop("a.csv", claims)
    folder.drop("bad.csv", claims.assign(ps_ind_01=99))
    code, out, _ = mlops("ingest", "run", "--settle", "0", "--no-train", "--json")
    assert code == 1
    (record,) = json.loads(out)["records"]
    assert {entry["name"]: entry["severity"] for entry in record["files"]} == {
        **{"a.csv": "info", "bad.csv": "error"}
    }
    code, out, _ = mlops("ingest", "status", "--json")
    shown = {item["name"]: item for item in json.loads(out)["files"]}
    assert (shown["a.csv"]["status"], shown["a.csv"]["data_version"]) == ("accepted", 1)
    assert (shown["bad.csv"]["status"], shown["bad.csv"]["bad"]) == ("quarantined", 400)
    code, out, _ = mlops("ingest", "show", "bad.csv")
    assert code == 0
    assert "quarantined, 400 rows, 400 bad" in out
    evidence = Path(out.splitlines()[-1].removeprefix("evidence: "))
    assert (evidence / "report.json").is_file()
    assert len(list((evidence / "quarantine").rglob("*.parquet"))) == 1
    code, _, err = mlops("ingest", "show", "nothing.csv")
    assert (code, "no file 'nothing.csv' has an outcome" in err) == (1, True)
    folder.drop("new.csv", b"x")
    code, out, _ = mlops("ingest", "status")
    assert code == 0
    assert "waiting" in out
    code, out, _ = mlops("ingest", "status", "--alerts", "--json")
    assert [item["name"] for item in json.loads(out)["files"]] == ["bad.csv"]
    code, out, _ = mlops("ingest", "retry", "bad.csv")
    assert (code, out) == (0, "bad.csv is tried again\n")
    code, out, _ = mlops("ingest", "run", "--settle", "0", "--no-train")
    assert code == 1
    assert "bad.csv: quarantined" in out
    code, _, err = mlops("ingest", "retry", "a.csv")
    assert code == 1
    assert "neither dead nor quarantined" in err


def test_an_event_is_handled_and_the_handshake_answered(
    mlops: Run, container: Any, claims: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.drop("a b.csv", claims)
    body = {
        "eventType": "Microsoft.Storage.BlobCreated",
        "data": {"api": "PutBlob", "url": f"{container.address}/a%20b.csv"},
    }
    Path("event.json").write_text(json.dumps([body]))
    arguments = ("ingest", "event", "event.json", "--landing", container.address)
    code, out, _ = mlops(*arguments)
    assert (code, out) == (0, "a b.csv: accepted, 400 rows\n")
    code, out, _ = mlops(*arguments)
    assert (code, out) == (0, "nothing new\n")
    shake = {
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "c0de"},
    }

    class Stdin:
        buffer = io.BytesIO(json.dumps([shake]).encode())

    monkeypatch.setattr(sys, "stdin", Stdin)
    code, out, _ = mlops("ingest", "event", "-", "--landing", container.address)
    assert (code, json.loads(out)) == (0, {"validationResponse": "c0de"})


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("run", "--landing", "nowhere"), 1, "nowhere is not a folder"),
        (("run", "--landing", "https://a.b/c?sig=geheim"), 1, "AZURE_STORAGE_SAS_TOKEN"),
        (("event", "nothing.json", "--landing", "."), 1, "nothing.json cannot be read"),
        (("run",), 2, "--landing"),
        (("run", "--landing", ".", "--max-bad", "2"), 2, "max-bad"),
    ],
)
def test_wrong_use_is_one_reason(
    mlops: Run, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    ended, out, err = mlops("ingest", *arguments)
    assert ended == code
    assert reason in err
    assert "Traceback" not in out + err
    assert "geheim" not in out + err


def test_ctrl_c_ends_a_watcher_cleanly(
    mlops: Run, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_service.ingestion.watch import Watcher

    def interrupted(self: Watcher) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Watcher, "look", interrupted)
    code, _, err = mlops("ingest", "watch", "--landing", folder.address)
    assert code == 0
    assert err.splitlines()[-1] == "stopped: the next watcher goes on from here"
