"""The step: the notebook is executed, kept as evidence, and what it cannot do is one clear reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from insurance_claims.errors import DataError
from insurance_claims.ingestion.batch import (
    Batch,
    Claimed,
    batch_from_json,
    batch_to_json,
    control_file,
    open_batch,
    process_batch,
    read_report,
    write_report,
)
from insurance_claims.ingestion.ingest import NOTEBOOK
from insurance_claims.ingestion.storage import folder_etag, open_store

Drop = Callable[..., Path]


def claimed(landing: Path, *files: Path) -> Batch:
    """A batch of these files, written down where the step looks for it."""
    found = []
    for file in files:
        status = file.stat()
        name = file.relative_to(landing).as_posix()
        found.append(Claimed(name, folder_etag(status), status.st_size))
    batch = Batch("b1", "2026-01-02", tuple(found))
    control = landing / control_file(batch.id)
    control.parent.mkdir(exist_ok=True)
    control.write_bytes(batch_to_json(batch))
    return batch


def step(
    landing: Path, output: Path, batch: str, engine: str = "local"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insurance_claims.ingestion.ingest", "--max-bad", "0.05"]
    command += ["--engine", engine]
    command += ["--landing", str(landing), "--batch", batch, "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_the_step_executes_the_notebook_and_keeps_it(
    drop: Drop, tmp_path: Path, claims: pd.DataFrame, engine: str
) -> None:
    good, bad = drop(claims, "gut ä.csv"), drop(claims, "bad.csv", sep=";")
    batch = claimed(tmp_path, good, bad)
    output = tmp_path / "ingested"
    result = step(tmp_path, output, batch.id, engine)
    assert result.returncode == 0, result.stderr
    assert "gut ä.csv: 300 rows" in result.stdout
    assert "semicolon" in result.stdout
    first, second = (item.outcome for item in read_report(output))
    assert first is not None
    assert second is not None
    assert (first.status, second.status) == ("accepted", "quarantined")
    assert first.part is not None
    assert (output / "curated" / first.part).is_file()
    executed = json.loads((output / "notebook.ipynb").read_text())
    assert "gut ä.csv: 300 rows" in json.dumps(executed, ensure_ascii=False)
    parameters = next(
        cell
        for cell in executed["cells"]
        if "injected-parameters" in cell["metadata"].get("tags", [])
    )
    assert str(tmp_path) in "".join(parameters["source"])


def test_a_batch_that_is_not_there_is_one_reason_and_no_output(tmp_path: Path) -> None:
    result = step(tmp_path, tmp_path / "ingested", "b2")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "_ingestion/b2.json cannot be read" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert not (tmp_path / "ingested").exists()


def test_the_package_ships_the_notebook(root: Path) -> None:
    assert NOTEBOOK.resolve() == root / "notebooks/ingest.ipynb"


def test_a_file_that_changed_since_it_was_claimed_has_no_outcome(
    drop: Drop, tmp_path: Path, claims: pd.DataFrame
) -> None:
    changed, kept = drop(claims, "a.csv"), drop(claims, "b.csv")
    batch = claimed(tmp_path, changed, kept)
    changed.write_bytes(b"id\n")
    store, _ = open_batch(str(tmp_path), batch.id)
    first, second = process_batch(store, batch, tmp_path / "out", 0.05)
    assert first.outcome is None
    assert first.sha256 is None
    assert "left for the next batch" in first.describe()
    assert second.outcome is not None


def test_a_report_without_every_file_is_not_written(
    drop: Drop, tmp_path: Path, claims: pd.DataFrame
) -> None:
    batch = claimed(tmp_path, drop(claims, "a.csv"), drop(claims, "b.csv"))
    output = tmp_path / "out"
    results = list(process_batch(open_store(str(tmp_path)), batch, output, 0.05))
    with pytest.raises(DataError, match="2 files, 1 have a result"):
        write_report(output, batch, results[:1])
    next(output.rglob("*.parquet")).unlink()
    with pytest.raises(DataError, match="is missing"):
        write_report(output, batch, results)
    assert not (output / "report.json").exists()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"id": "a"}', b'{"id":1,"arrival":2,"files":[{}]}']
)
def test_a_damaged_list_of_files_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="no list of a batch's files"):
        batch_from_json(content, "here")
