"""A model that scores, and rows for it in every form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims.data.synthesize import synthesize
from insurance_claims.model import load_model
from insurance_claims.scoring.batch.run import BatchModel, Options, Report, score_files

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
