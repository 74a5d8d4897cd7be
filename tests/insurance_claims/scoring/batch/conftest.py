"""A model that scores, and rows for it in every form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims.data.synthesize import synthesize
from insurance_claims.model import load_model
from insurance_claims.scoring.batch.job import BatchModel, Options
from insurance_claims.scoring.batch.run import Report, score_files

HEADROOM = 2.0
CHUNK = 300

Score = Callable[..., Report]


@pytest.fixture(scope="session")
def model(model_dir: Path) -> BatchModel:
    """Version 3 of claims."""
    return BatchModel(load_model(model_dir), "claims", 3)


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """1,000 synthetic rows with the target."""
    return synthesize(1000, seed=11)[0]


@pytest.fixture
def score(model: BatchModel, tmp_path: Path) -> Score:
    """Scores files into ``tmp_path / "out"``, 300 rows a part."""

    def run(
        *inputs: Path | str, out: str = "out", by: BatchModel = model, **options: Any
    ) -> Report:
        chosen = Options(HEADROOM, **{"chunk_rows": CHUNK, "threads": 1, **options})
        return score_files(
            [str(item) for item in inputs], tmp_path / out, by, chosen, lambda progress: None
        )

    return run


@pytest.fixture
def damaged(tmp_path: Path, table: pd.DataFrame) -> Path:
    """A CSV file with four bad rows and a line that is none."""
    path = tmp_path / "damaged.csv"
    bad = table.copy()
    bad.loc[5, "ps_ind_01"] = 99
    bad.loc[6, ["ps_ind_01", "ps_ind_04_cat"]] = [99, 5]
    bad.loc[700, "ps_car_13"] = -1
    bad["ps_reg_01"] = bad["ps_reg_01"].astype(object)
    bad.loc[999, "ps_reg_01"] = "x"
    bad.to_csv(path, index=False)
    path.write_text(path.read_text() + "7,7\n")
    return path
