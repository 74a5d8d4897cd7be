"""``--engine dask``: handed on to the step, refused where it makes no sense, and no file is blamed for a cluster."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

import ml_service.cli.ingest as module
from insurance_claims import dask_cluster
from insurance_claims.dask_cluster import SCHEDULER, ClusterError
from ml_service.cli.app import main
from tests.ml_service.ingestion.stand_in import QUICK, StandIn, everything, ingestor, statuses

Run = Any


@pytest.fixture
def mlops(
    platform: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs ``mlops ingest run`` and gives its exit code and what it printed."""
    monkeypatch.setattr(module, "open_platform", lambda name: platform)
    monkeypatch.setattr(platform, "name", "local", raising=False)
    # Set by the command, and taken back by the test.
    monkeypatch.setenv(SCHEDULER, "")

    def run(address: str, *arguments: str) -> tuple[int, str]:
        command = ["mlops", "ingest", "run", "--landing", address, "--settle", "0", "--no-train"]
        monkeypatch.setattr(sys, "argv", [*command, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    return run


def test_the_step_is_told_of_the_engine_and_finds_the_scheduler(
    mlops: Run, platform: StandIn, folder: Any, claims: pd.DataFrame
) -> None:
    folder.drop("a.csv", claims[:100])
    assert mlops(folder.address)[0] == 0
    folder.drop("b.csv", claims[100:])
    address = "tcp://10.0.0.4:8786"
    assert mlops(folder.address, "--engine", "dask", "--scheduler", address)[0] == 0
    runs = platform.pipelines.of("ingestion")
    assert [run.parameters["engine"] for run in runs] == ["dask", "local"]
    assert os.environ[SCHEDULER] == address


@pytest.mark.parametrize(
    ("arguments", "where", "code", "reason"),
    [
        (("--engine", "spark"), "local", 2, "there is no engine 'spark'"),
        (("--scheduler", "tcp://x:1"), "local", 2, "--scheduler is for --engine dask"),
        (("--engine", "dask"), "azureml", 1, "the compute of Azure Machine Learning has no Dask"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    mlops: Run,
    platform: StandIn,
    folder: Any,
    claims: pd.DataFrame,
    arguments: tuple[str, ...],
    where: str,
    code: int,
    reason: str,
) -> None:
    platform.name = where  # type: ignore[attr-defined]
    folder.drop("a.csv", claims)
    ended, printed = mlops(folder.address, *arguments)
    assert ended == code
    assert reason in " ".join(printed.split())
    assert platform.pipelines.list() == []


def test_a_cluster_that_is_gone_is_no_files_fault(
    platform: StandIn, folder: Any, claims: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER, "tcp://127.0.0.1:1")
    monkeypatch.setattr(dask_cluster, "_CONNECT_SECONDS", 0.3)
    folder.drop("a.csv", claims)
    platform.pipelines.error = lambda names: "the Dask cluster has lost all of its workers"
    made = ingestor(platform, folder.address, replace(QUICK, engine="dask"))
    with pytest.raises(ClusterError, match="no Dask cluster at tcp://127.0.0.1:1"):
        made.handle(everything(made))
    assert statuses(platform, made) == {}
    platform.pipelines.error = lambda names: None
    made.handle([])
    assert statuses(platform, made) == {"a.csv": ["accepted"]}
