"""The step, as a platform runs it: a command line, folders in and out, one reason when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from insurance_claims import schema
from insurance_claims.data.content import write_version
from insurance_claims.data.load import read_table
from insurance_claims.data.split import assign
from insurance_claims.data.validate import check
from insurance_claims.parameters import load_parameters

MakeTable = Callable[..., pd.DataFrame]


def _prepare(raw: Path, output: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insurance_claims.data.prepare"]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    return subprocess.run(
        [*command, "--raw", str(raw), "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=120,
        env=inherited | environment,
    )


def _version_of(table: pd.DataFrame, folder: Path) -> Path:
    folder.mkdir()
    write_version(table, folder, name="claims", version=1, created="now", source="claims.csv")
    return folder


def _refused(raw: Path, output: Path) -> str:
    """The reason of a step that must fail and leave nothing behind."""
    before = sorted(output.parent.iterdir())
    done = _prepare(raw, output)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert sorted(output.parent.iterdir()) == before
    return done.stderr


def test_it_writes_the_dataset(version: Path, tmp_path: Path) -> None:
    output = tmp_path / "dataset"
    done = _prepare(version, output)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((output / "manifest.json").read_text())
    raw = json.loads((version / "manifest.json").read_text())
    assert manifest["data"] == {
        key: raw[key] for key in ("name", "version", "sha256", "rows", "claim_rate")
    }
    assert manifest["schema_version"] == schema.SCHEMA_VERSION
    split = load_parameters().split
    assert manifest["split"] == split.model_dump()
    for name, rows in manifest["rows"].items():
        part = pd.read_parquet(output / f"{name}.parquet")
        assert len(part) == rows
        assert int(part["target"].sum()) == manifest["claims"][name]
        assert tuple(part.columns) == schema.COLUMNS
        assert (assign(part["id"].to_numpy(), split) == name).all()
        assert f"{name}: {rows:,} rows" in done.stdout
    assert sum(manifest["rows"].values()) == 2000
    assert "claims version 3: 2,000 rows" in done.stdout


def test_the_same_input_gives_the_same_bytes(version: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert _prepare(version, tmp_path / name).returncode == 0
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_it_logs_counts_and_lineage_to_the_run(version: Path, home: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{home / 'mlflow.db'}"
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("prepare", str(tmp_path / "artifacts")))
    output = tmp_path / "dataset"
    done = _prepare(version, output, MLFLOW_TRACKING_URI=uri, MLFLOW_RUN_ID=run.info.run_id)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((output / "manifest.json").read_text())
    logged = client.get_run(run.info.run_id).data
    assert logged.params["data_sha256"] == manifest["data"]["sha256"]
    for name in ("train", "validation", "holdout"):
        assert logged.metrics[f"rows_{name}"] == manifest["rows"][name]
        assert logged.metrics[f"claims_{name}"] == manifest["claims"][name]


def test_data_that_breaks_the_contract_is_refused(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table(2000)
    table.loc[4, "ps_ind_02_cat"] = 9
    reason = _refused(_version_of(table, tmp_path / "raw"), tmp_path / "dataset")
    assert "ps_ind_02_cat: 1 row holds an unknown category" in reason
    assert "row 5: 9" in reason


def test_a_split_without_claims_is_refused(make_table: MakeTable, tmp_path: Path) -> None:
    reason = _refused(_version_of(make_table(4), tmp_path / "raw"), tmp_path / "dataset")
    assert "train has" in reason and "validation has 0 claims" in reason and "holdout has" in reason


def test_one_row_is_refused(make_table: MakeTable, tmp_path: Path) -> None:
    reason = _refused(_version_of(make_table(1), tmp_path / "raw"), tmp_path / "dataset")
    assert "target: 1 row holds the same target" in reason


def test_a_missing_or_changed_version_is_refused(version: Path, tmp_path: Path) -> None:
    assert "does not exist" in _refused(tmp_path / "nowhere", tmp_path / "dataset")
    table = pd.read_parquet(version / "data.parquet")
    table.head(1999).to_parquet(version / "data.parquet")
    assert "was changed after it was written" in _refused(version, tmp_path / "dataset")


def test_an_output_that_exists_is_left_alone(version: Path, tmp_path: Path) -> None:
    output = tmp_path / "dataset"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    assert "exists already" in _refused(version, output)
    assert [path.name for path in output.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("arguments", [[], ["--raw", "x"]])
def test_wrong_use_says_what_is_needed(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "insurance_claims.data.prepare", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "required" in done.stderr


def test_the_real_rows_split_into_parts_with_enough_claims(real_data: Path, tmp_path: Path) -> None:
    raw = _version_of(check(read_table(real_data)), tmp_path / "raw")
    done = _prepare(raw, tmp_path / "dataset")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "dataset" / "manifest.json").read_text())
    assert sum(manifest["rows"].values()) == 15_000
    assert sum(manifest["claims"].values()) == 571
    assert min(manifest["claims"].values()) > 50
