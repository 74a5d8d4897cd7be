"""Small valid tables, made up from the schema alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from insurance_claims import schema
from insurance_claims.data.content import write_version

MakeTable = Callable[..., pd.DataFrame]


def _make_table(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        schema.ID: np.arange(rows, dtype=np.int64) * 3 + 7,
        schema.TARGET: (np.arange(rows) % 4 == 0).astype(np.int64),
    }
    for feature in schema.FEATURES:
        low, high = feature.minimum, feature.maximum
        if feature.is_integer:
            values = random.integers(int(low), int(high) + 1, rows)
        else:
            values = np.round(random.uniform(low, high, rows), 9)
        if feature.missing_allowed:
            values = np.where(random.random(rows) < 0.2, schema.MISSING, values)
        columns[feature.name] = values
    return pd.DataFrame(columns)


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """Makes a valid table of so many rows, every fourth with a claim."""
    return _make_table


@pytest.fixture
def table() -> pd.DataFrame:
    """A valid table that a test may spoil."""
    return _make_table()


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The folder of a version of 2,000 valid rows."""
    folder = tmp_path / "version"
    folder.mkdir()
    moment = "2026-01-02T03:04:05+00:00"
    write_version(
        _make_table(2000), folder, name="claims", version=3, created=moment, source="claims.csv"
    )
    return folder
