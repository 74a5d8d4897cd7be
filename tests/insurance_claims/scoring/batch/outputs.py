"""What a batch wrote, and what it should have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from insurance_claims import schema
from insurance_claims.scoring.batch.job import BatchModel


def scores(out: Path) -> pd.DataFrame:
    """Every part, in the order of the parts' names."""
    parts = sorted((out / "scores").glob("*.parquet"))
    return pd.concat([pd.read_parquet(path) for path in parts], ignore_index=True)


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the manifest, which holds the time."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "scores.json"
    }


def expected(model: BatchModel, table: pd.DataFrame) -> pd.DataFrame:
    """The scores of good rows."""
    rows = table[list(schema.FEATURE_NAMES)].to_numpy(dtype=float)
    found = {"id": table["id"].to_numpy(), "score": model.model.predict(rows), "model_version": 3}
    return pd.DataFrame(found)
