"""Batch scoring gives every row of a file the model's own score, or fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from insurance_claims import schema
from insurance_claims.errors import DataError, ModelError, RegistryError
from insurance_claims.model import Model, load_model
from insurance_claims.parameters import load_parameters
from insurance_claims.scoring import batch_score
from insurance_claims.scoring.batch_score import BatchScorer, registered_scorer

HEADROOM = load_parameters().scoring.headroom


@pytest.fixture
def scorer(model_dir: Path) -> BatchScorer:
    """The model as version 3."""
    return BatchScorer(load_model(model_dir), 3, HEADROOM)


@pytest.fixture
def table(rows: list[list[float]]) -> pd.DataFrame:
    """The rows with ids that are not their positions."""
    table = pd.DataFrame(rows, columns=list(schema.FEATURE_NAMES))
    table.insert(0, schema.ID, np.arange(len(table)) * 7 + 3)
    return table


@pytest.fixture
def write(tmp_path: Path) -> Callable[[pd.DataFrame], Path]:
    """Writes a table as a Parquet file."""

    def make(table: pd.DataFrame) -> Path:
        file = tmp_path / "rows.parquet"
        table.to_parquet(file)
        return file

    return make


def test_scores_are_those_of_the_model(
    scorer: BatchScorer,
    model_dir: Path,
    table: pd.DataFrame,
    rows: list[list[float]],
    write: Callable[[pd.DataFrame], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In several pieces, and with the columns in another order than the schema's.
    monkeypatch.setattr(batch_score, "_ROWS", 64)
    file = write(table[[*reversed(table.columns)]])
    expected = load_model(model_dir).predict(np.array(rows)).tolist()
    assert list(scorer.score(file)) == [
        f"{name},{score!r},3" for name, score in zip(table[schema.ID], expected, strict=True)
    ]


def test_run_scores_every_file_of_a_mini_batch(
    scorer: BatchScorer,
    table: pd.DataFrame,
    write: Callable[[pd.DataFrame], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_score, "_scorer", scorer)
    file = str(write(table.head(5)))
    assert len(batch_score.run([file, file])) == 10


def test_what_cannot_be_scored_is_refused(
    scorer: BatchScorer,
    table: pd.DataFrame,
    write: Callable[[pd.DataFrame], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feature = schema.FEATURE_NAMES[0]
    wrong = {
        f"no column {feature}": table.drop(columns=feature),
        "has empty cells": table.astype({feature: float}).assign(
            **{feature: lambda rows: rows[feature].where(rows.index != 2)}
        ),
        f"row 4, column {feature}: 1000 is not allowed": table.assign(
            **{feature: lambda rows: rows[feature].where(rows.index != 4, 1000)}
        ),
    }
    for reason, rows in wrong.items():
        with pytest.raises(DataError, match=reason):
            list(scorer.score(write(rows)))
    (tmp_path / "text.parquet").write_text("no Parquet")
    monkeypatch.setattr(batch_score, "_scorer", scorer)
    with pytest.raises(DataError, match="text.parquet cannot be read"):
        batch_score.run([str(tmp_path / "text.parquet")])
    assert "error: text.parquet cannot be read" in capsys.readouterr().err


def test_a_score_that_is_no_number_is_refused(
    model_dir: Path,
    table: pd.DataFrame,
    write: Callable[[pd.DataFrame], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Model, "predict", lambda self, rows: np.full(len(rows), np.nan))
    with pytest.raises(ModelError, match="no number"):
        list(BatchScorer(load_model(model_dir), 3, HEADROOM).score(write(table)))


def test_a_version_is_a_number_or_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    with pytest.raises(RegistryError, match="'newest' is no model version"):
        registered_scorer("claims", "newest")
    for version in ("3", "champion"):
        with pytest.raises(RegistryError, match=f"claims has no version {version}"):
            registered_scorer("claims", version)


def test_it_is_found_wherever_it_is_started(tmp_path: Path, root: Path) -> None:
    shutil.copytree(root / "insurance_claims", tmp_path / "source" / "insurance_claims")
    script = tmp_path / "source" / "insurance_claims" / "scoring" / "batch_score.py"
    code = (
        f"import runpy; names = runpy.run_path({str(script)!r}); import insurance_claims; "
        "print(insurance_claims.__file__, sorted(names))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "source"))
    assert "'init'" in done.stdout and "'run'" in done.stdout
