"""Small valid files, as they are dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from insurance_claims.data.synthesize import synthesize

Drop = Callable[..., Path]


@pytest.fixture(scope="session")
def claims() -> pd.DataFrame:
    """300 valid rows. A test that spoils them takes a copy."""
    return synthesize(300, seed=7)[0]


@pytest.fixture
def drop(tmp_path: Path) -> Drop:
    """Writes rows to a CSV file in a folder of the test."""

    def write(table: pd.DataFrame, name: str = "claims.csv", sep: str = ",") -> Path:
        path = tmp_path / name
        table.to_csv(path, index=False, sep=sep, lineterminator="\n")
        return path

    return write
