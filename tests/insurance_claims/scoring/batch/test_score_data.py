"""The step, and batch_scoring.yml on the local platform with a registered model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims import registry
from insurance_claims.data.content import write_version
from insurance_claims.errors import ClaimsError, DataError, ModelError, RegistryError
from insurance_claims.files import read_json
from insurance_claims.scoring.batch import score_data
from insurance_claims.scoring.batch.job import BatchModel, Engine
from insurance_claims.scoring.batch.registered import load_registered
from insurance_claims.scoring.batch.run import score_here
from ml_service.pipeline import find_pipeline, load_pipeline
from ml_service.platforms.base import RunStatus
from ml_service.platforms.local.platform import LocalPlatform
from tests.insurance_claims.scoring.batch.outputs import scores

NAME = "claims"


@pytest.fixture
def registered(
    local: LocalPlatform, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> LocalPlatform:
    """A platform with two versions of one model, the first of which is the champion."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local.state.tracking_uri)
    for data in ("a", "b"):
        register(local, model_dir, data, read_json(model_dir / "model.json")["sha256"])
    registry.promote(local.state.mlflow, NAME, 1, "for the test")
    return local


def register(local: LocalPlatform, folder: Path, data: str, sha256: str) -> None:
    client = local.state.mlflow
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(folder), "model")
    source = f"{run.info.artifact_uri}/model"
    tags = {registry.MODEL_SHA256: sha256, "data_sha256": data}
    registry.register(client, NAME, run.info.run_id, source, tags)


@pytest.fixture
def raw(tmp_path: Path, table: pd.DataFrame) -> Path:
    """The folder of a data version."""
    folder = tmp_path / "raw"
    folder.mkdir()
    write_version(table, folder, name=NAME, version=1, created="now", source="claims.csv")
    return folder


def step(raw: Path, output: Path, *more: str) -> None:
    words = ["--raw", str(raw), "--output", str(output), "--model-name", NAME, "--threads", "1"]
    score_data.main(score_data._parser().parse_args([*words, *more]))


def test_the_step_scores_with_the_version_that_it_is_told(
    registered: LocalPlatform, raw: Path, tmp_path: Path, table: pd.DataFrame, model: BatchModel
) -> None:
    step(raw, tmp_path / "champion", "--chunk-rows", "300")
    step(raw, tmp_path / "latest", "--model-version", "latest")
    step(raw, tmp_path / "second", "--model-version", "2")
    found = [scores(tmp_path / name) for name in ("champion", "latest", "second")]
    assert [sorted(set(item["model_version"])) for item in found] == [[1], [2], [2]]
    for item in found:
        assert item["id"].tolist() == table["id"].tolist()
        assert item["score"].tolist() == found[0]["score"].tolist()
    assert read_json(tmp_path / "champion" / "scores.json")["parts"] == 4


def test_the_step_scores_where_it_is_told(
    registered: LocalPlatform, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def choose(*arguments: object) -> Engine:
        asked.append(arguments)
        return score_here

    monkeypatch.setattr(score_data, "choose_engine", choose)
    step(raw, tmp_path / "scores", "--engine", "dask", "--scheduler", "tcp://x:8786")
    step(raw, tmp_path / "again")
    assert asked == [("dask", "tcp://x:8786", 1), ("local", None, 1)]
    assert len(scores(tmp_path / "scores")) == 1000


def test_too_many_bad_rows_fail_the_step_and_leave_nothing(
    registered: LocalPlatform,
    raw: Path,
    tmp_path: Path,
    table: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table.assign(ps_ind_01=[99] * 60 + [1] * 940).to_parquet(raw / "data.parquet")
    with pytest.raises(DataError, match=r"60 of 1,000 rows cannot be scored, more than .* 0.05"):
        step(raw, tmp_path / "scores")
    assert "60 rows (6.00%) are in quarantine: ps_ind_01 60" in capsys.readouterr().out
    assert not (tmp_path / "scores").exists()
    step(raw, tmp_path / "scores", "--max-bad", "0.06")
    assert len(scores(tmp_path / "scores")) == 940


def test_a_folder_without_data_is_refused(registered: LocalPlatform, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a data version: it holds no data.parquet"):
        step(tmp_path, tmp_path / "scores")


@pytest.mark.parametrize(
    "words", [("--max-bad", "2"), ("--threads", "0"), ("--chunk-rows", "x"), ("--engine", "spark")]
)
def test_options_out_of_range_are_wrong_use(raw: Path, tmp_path: Path, words: Any) -> None:
    with pytest.raises(SystemExit) as end:
        step(raw, tmp_path / "scores", *words)
    assert end.value.code == 2


def test_what_is_not_in_the_registry_is_said(
    registered: LocalPlatform, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_registered(NAME, "2").version == 2
    with pytest.raises(RegistryError, match="claims has no version 7; it has: 2, 1"):
        load_registered(NAME, "7")
    with pytest.raises(RegistryError, match="'best' is no model version"):
        load_registered(NAME, "best")
    register(registered, model_dir, "c", "another sha256")
    with pytest.raises(ModelError, match="version 3 of claims is not what was registered"):
        load_registered(NAME, "latest")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(ClaimsError, match="MLFLOW_TRACKING_URI is not set"):
        load_registered(NAME, "champion")


@pytest.mark.slow
def test_the_pipeline_scores_a_data_version(
    registered: LocalPlatform, tmp_path: Path, table: pd.DataFrame
) -> None:
    table.to_csv(tmp_path / "claims.csv", index=False)
    registered.data.add("portfolio", tmp_path / "claims.csv", print)
    pipeline = load_pipeline(find_pipeline("batch_scoring"))
    said: list[str] = []
    parameters = {"data": "portfolio", "model_name": NAME}
    run = registered.pipelines.run(pipeline, parameters, said.append)
    assert run.error is None
    found = scores(registered.pipelines.output(run.id, "score", "scores"))
    assert found["id"].tolist() == table["id"].tolist()
    assert set(found["model_version"]) == {1}
    assert "[score] scored 1,000 of 1,000 rows with version 1" in said
    step_run = registered.state.mlflow.search_runs(
        [registered.state.mlflow.get_run(run.id).info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{run.id}'",
    )[0]
    assert step_run.data.metrics["rows_scored"] == 1000
    failed = registered.pipelines.run(pipeline, {**parameters, "model_version": "9"}, said.append)
    assert failed.status is RunStatus.FAILED
    assert "model claims has no version 9; it has: 2, 1" in (failed.error or "")
