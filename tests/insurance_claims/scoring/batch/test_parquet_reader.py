"""Parquet files in chunks of rows, whatever their row groups are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insurance_claims.errors import DataError
from insurance_claims.scoring.batch.chunks import NEEDED, Chunk
from insurance_claims.scoring.batch.local_files import LocalFile
from insurance_claims.scoring.batch.parquet_reader import parquet_chunks, parquet_ignored


def read(path: Path, first: int = 0, rows: int = 300) -> list[Chunk]:
    return list(parquet_chunks(LocalFile(path), first, rows))


def ids(chunks: list[Chunk]) -> list[int]:
    return [number for chunk in chunks for number in chunk.table["id"].to_pylist()]


@pytest.mark.parametrize("group", [7, 100, 300, 450, 1000])
def test_chunks_do_not_depend_on_row_groups(
    tmp_path: Path, table: pd.DataFrame, group: int
) -> None:
    path = tmp_path / "a.parquet"
    table[table.columns[::-1]].to_parquet(path, row_group_size=group)
    chunks = read(path)
    assert [chunk.table.num_rows for chunk in chunks] == [300, 300, 300, 100]
    assert [chunk.last for chunk in chunks] == [False, False, False, True]
    assert all(chunk.table.column_names == list(NEEDED) for chunk in chunks)
    assert ids(chunks) == table["id"].tolist()
    assert np.concatenate([chunk.rows for chunk in chunks]).tolist() == list(range(1, 1001))
    for first in range(1, 4):
        later = read(path, first)
        assert [chunk.number for chunk in later] == list(range(first, 4))
        assert ids(later) == table["id"].tolist()[first * 300 :]
        assert later[0].rows[0] == first * 300 + 1


def test_a_file_without_rows_is_one_empty_chunk(tmp_path: Path, table: pd.DataFrame) -> None:
    table.head(0).to_parquet(tmp_path / "a.parquet")
    (chunk,) = read(tmp_path / "a.parquet")
    assert (chunk.table.num_rows, chunk.last) == (0, True)


def test_a_corrupt_row_group_is_named_and_those_before_it_are_read(
    tmp_path: Path, table: pd.DataFrame
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pandas(table), path, row_group_size=300, write_page_checksum=True)
    group = pq.ParquetFile(path).metadata.row_group(2)
    start = group.column(5).dictionary_page_offset or group.column(5).data_page_offset
    content = bytearray(path.read_bytes())
    end = start + group.column(5).total_compressed_size
    content[start + 30 : end] = bytes(255 - byte for byte in content[start + 30 : end])
    path.write_bytes(content)
    chunks = parquet_chunks(LocalFile(path), 0, 300)
    assert ids([next(chunks), next(chunks)]) == table["id"].tolist()[:600]
    with pytest.raises(DataError, match="cannot be read between rows 601 and 900"):
        next(chunks)


def test_columns_that_hold_no_numbers_are_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    path = tmp_path / "a.parquet"
    table.assign(ps_ind_01=pd.Timestamp("2026-01-01"), more="x").to_parquet(path)
    with pytest.raises(DataError, match=r"timestamp\[.*\] in column ps_ind_01"):
        parquet_ignored(LocalFile(path))
    table.assign(more="x").to_parquet(path)
    assert parquet_ignored(LocalFile(path)) == ["more"]
    table.drop(columns=["ps_ind_01", "id"]).to_parquet(path)
    with pytest.raises(DataError, match="lacks 2 of the 58 columns that scoring needs: id, ps_ind"):
        parquet_ignored(LocalFile(path))


def test_half_a_file_is_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    path = tmp_path / "a.parquet"
    table.to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged Parquet file"):
        parquet_ignored(LocalFile(path))
