"""The smoke test of the way that data take: what it drops, what it waits for, and what it refuses."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ml_service.cli.arrival as module
from insurance_claims.data.synthesize import synthesize
from insurance_claims.ingestion.batch import CONTROL
from ml_service.cli.app import main
from ml_service.ingestion.arrival import FIRST_ID, FOLDER, check_file, drop, wait_for_outcome
from ml_service.ingestion.landing import open_landing
from ml_service.ingestion.options import Limits
from ml_service.platforms.base import PlatformError
from tests.ml_service.ingestion.stand_in import (
    DATA,
    StandIn,
    everything,
    ingestor,
    statuses,
)

Run = Any


@pytest.fixture
def mlops(
    platform: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs ``mlops ingest check-arrival`` and gives its exit code, stdout and stderr."""
    monkeypatch.setattr(module, "open_platform", lambda name: platform)

    def run(address: str, *arguments: str) -> tuple[int, str, str]:
        command = ["mlops", "ingest", "check-arrival", "--landing", address, *arguments]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


@contextmanager
def watched(platform: StandIn, address: str) -> Iterator[None]:
    """Somebody takes in what is dropped."""
    made, done = ingestor(platform, address), threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            made.handle(everything(made))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def test_rows_become_a_version_and_each_check_replaces_the_last(
    mlops: Run, platform: StandIn, landing: Any
) -> None:
    with watched(platform, landing.address):
        code, out, err = mlops(landing.address)
        assert (code, f"dropped {FOLDER}/" in err) == (0, True)
        assert ": accepted after " in out
        assert f"{DATA} version 1" in out
        code, out, _ = mlops(landing.address, "--json")
    seen = json.loads(out)
    assert (code, seen["entry"]["status"], seen["record"]["data_version"]) == (0, "accepted", 2)
    table = pd.read_parquet(platform.data.fetch(platform.data.get(DATA)) / "data.parquet")
    assert table["id"].tolist() == list(range(FIRST_ID, FIRST_ID + 20))
    assert sorted(set(table["target"])) == [0, 1]


def test_without_rows_nothing_reaches_the_data(mlops: Run, platform: StandIn, folder: Any) -> None:
    folder.drop("ours.csv", synthesize(200, seed=1)[0])
    with watched(platform, folder.address):
        code, out, _ = mlops(folder.address, "--no-rows")
    assert code == 0
    assert ": quarantined after " in out
    assert "no rows" in out
    assert "version" not in out
    assert platform.data.get(DATA).rows == 200


def test_where_nobody_watches_it_fails_in_time_and_says_so(
    mlops: Run, folder: Any, tmp_path: Path
) -> None:
    code, out, err = mlops(folder.address, "--timeout", "1")
    assert (code, out) == (1, "")
    assert "has no outcome after 1 s. Does anybody watch" in err.splitlines()[-1]
    assert len(list((tmp_path / "landing" / FOLDER).iterdir())) == 1


def test_another_outcome_than_the_right_one_is_exit_code_1(
    mlops: Run, platform: StandIn, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, refused = check_file(rows=False)
    monkeypatch.setattr(
        "ml_service.ingestion.arrival.check_file", lambda rows: (f"{FOLDER}/x.csv", refused)
    )
    with watched(platform, folder.address):
        code, _, err = mlops(folder.address)
    assert code == 1
    assert "x.csv had to be accepted and is quarantined" in err.splitlines()[-1]


def test_a_file_that_is_tried_again_is_waited_for_and_its_reason_told(
    platform: StandIn, folder: Any
) -> None:
    platform.pipelines.error = lambda names: "out of memory"
    made = ingestor(platform, folder.address, Limits())
    landing = open_landing(folder.address)
    drop(landing, "a.csv", b"id\n")
    made.handle(everything(made))
    assert statuses(platform, made) == {"a.csv": ["failed"]}
    now = iter(range(100))
    with pytest.raises(PlatformError, match="after 5 s; it failed: out of memory"):
        wait_for_outcome(
            platform.documents,
            landing,
            "a.csv",
            5,
            clock=lambda: float(next(now)),
            sleep=lambda seconds: None,
        )


def test_waiting_ends_where_it_has_become_pointless(platform: StandIn, folder: Any) -> None:
    def dead() -> None:
        raise PlatformError("the watcher has ended")

    with pytest.raises(PlatformError, match="the watcher has ended"):
        wait_for_outcome(platform.documents, open_landing(folder.address), "a.csv", 60, dead)


def test_every_check_drops_another_file_where_watchers_look() -> None:
    first, second = check_file(rows=True), check_file(rows=True)
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert not first[0].startswith(CONTROL)
