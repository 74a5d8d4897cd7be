"""Parts and the version before them: one row an id, the newest, however the parts are grouped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from insurance_claims.errors import DataError
from insurance_claims.ingestion import merge as module
from insurance_claims.ingestion.merge import Merged, merge


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that every file is several of them."""
    monkeypatch.setattr(module, "BLOCK_ROWS", 37)


@pytest.fixture
def parts(tmp_path: Path, claims: pd.DataFrame) -> list[Path]:
    """Three parts; the second corrects rows of the first, the third of both."""
    tables = [claims.iloc[:120].copy(), claims.iloc[100:220].copy(), claims.iloc[90:300].copy()]
    for number, table in enumerate(tables):
        table["ps_car_13"] = 1.0 + number
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    for table, path in zip(tables, paths, strict=True):
        table.to_parquet(path, index=False)
    return paths


def merged(before: Path | None, files: Sequence[Path], target: Path) -> tuple[Merged, pd.DataFrame]:
    return merge(before, files, target), pd.read_parquet(target)


def test_the_newest_row_takes_the_place_of_the_first(
    tmp_path: Path, claims: pd.DataFrame, parts: list[Path]
) -> None:
    counts, table = merged(None, parts, tmp_path / "all.parquet")
    assert counts == Merged(rows=300, added=300, replaced=130)
    assert table["id"].tolist() == claims["id"].tolist()
    assert table["ps_car_13"].tolist() == [1.0] * 90 + [3.0] * 210


def test_it_does_not_matter_how_parts_are_grouped(tmp_path: Path, parts: list[Path]) -> None:
    _, at_once = merged(None, parts, tmp_path / "all.parquet")
    before: Path | None = None
    for number, part in enumerate(parts):
        target = tmp_path / f"step{number}.parquet"
        merge(before, [part], target)
        before = target
    assert before is not None
    pd.testing.assert_frame_equal(pd.read_parquet(before), at_once)


def test_merging_again_changes_nothing(tmp_path: Path, parts: list[Path]) -> None:
    _, first = merged(None, parts, tmp_path / "first.parquet")
    counts, second = merged(tmp_path / "first.parquet", parts, tmp_path / "second.parquet")
    assert counts.added == 0
    pd.testing.assert_frame_equal(second, first)


def test_a_column_that_only_some_have_holds_nothing_elsewhere(
    tmp_path: Path, claims: pd.DataFrame
) -> None:
    claims.iloc[:10].assign(place="x").to_parquet(tmp_path / "a.parquet", index=False)
    claims.iloc[10:20].to_parquet(tmp_path / "b.parquet", index=False)
    claims.iloc[20:30].assign(place=1).to_parquet(tmp_path / "c.parquet", index=False)
    files = [tmp_path / f"{name}.parquet" for name in "bac"]
    _, table = merged(files[0], files[1:], tmp_path / "all.parquet")
    assert list(table.columns) == [*claims.columns, "place"]
    assert table["place"].tolist() == [None] * 10 + ["x"] * 10 + ["1"] * 10


def test_a_damaged_part_is_named(tmp_path: Path, parts: list[Path]) -> None:
    parts[1].write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="cannot be put together"):
        merge(None, parts, tmp_path / "all.parquet")
