"""Columns that differ are found, and those that differ by chance are not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from insurance_claims.data.synthesize import synthesize
from ml_service.why.columns import changed_columns

ROWS = 3000


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Rows of an earlier version."""
    return synthesize(ROWS, 1)[0]


def compare(old: pd.DataFrame, new: pd.DataFrame, folder: Path) -> dict[str, str]:
    folders = []
    for name, content in (("old", old), ("new", new)):
        (folder / name).mkdir()
        content.to_parquet(folder / name / "data.parquet")
        folders.append(folder / name)
    return {change.name: change.describe() for change in changed_columns(*folders)}


def test_other_rows_of_the_same_kind_are_no_change(table: pd.DataFrame, tmp_path: Path) -> None:
    assert compare(table, synthesize(ROWS, 2)[0], tmp_path) == {}


def test_what_changed_is_said(table: pd.DataFrame, tmp_path: Path) -> None:
    new = synthesize(ROWS, 2)[0]
    new["ps_car_13"] = new["ps_car_13"] * 2
    new["ps_reg_03"] = new["ps_reg_03"].where(new["id"] % 2 == 0, -1.0)
    new["ps_ind_16_bin"] = 1
    new["target"] = (new["id"] % 4 == 0).astype(int)
    new["extra"] = 1
    found = compare(table, new, tmp_path)
    assert set(found) == {"ps_car_13", "ps_reg_03", "ps_ind_16_bin", "target", "extra"}
    assert "of the rows outside" in found["ps_car_13"]
    assert "PSI" in found["ps_car_13"]
    assert "missing in 5" in found["ps_reg_03"]
    assert "PSI" in found["ps_ind_16_bin"]
    assert found["target"].startswith("target: claim rate 3.")
    assert found["extra"] == "extra: is new"


def test_a_column_without_any_value_is_said_and_not_compared(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    found = compare(table, table.assign(ps_reg_03=-1.0), tmp_path)
    assert list(found) == ["ps_reg_03"]
    assert "missing in 100.0% of the rows" in found["ps_reg_03"]
