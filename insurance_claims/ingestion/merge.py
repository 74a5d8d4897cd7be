"""Curated parts put together with the version before them: one row an id, the newest one.

An id that arrives again is a correction: its row takes the place of the one before. So the result is the same however
files are grouped into batches, and merging what was merged already changes nothing. Rows are streamed; held are the
ids and the rows that correct others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError
from insurance_claims.ingestion.blocks import BLOCK_ROWS


@dataclass(frozen=True, slots=True)
class Merged:
    """What merging did.

    Attributes:
        rows: of the result.
        added: ids that were not there before.
        replaced: ids whose row was there, or in an earlier part, and gave way.
    """

    rows: int
    added: int
    replaced: int


def merge(before: Path | None, parts: Sequence[Path], target: Path) -> Merged:
    """Write the rows of a version and of parts as one Parquet file.

    Args:
        before: ``data.parquet`` of the version; None where there is none.
        parts: of the curated data, in the order of their arrival.
        target: file to write.

    Raises:
        DataError: a file cannot be read.
    """
    files = [*([] if before is None else [before]), *parts]
    try:
        return _merge(files, 0 if before is None else 1, target)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"the parts of the data cannot be put together: {error}") from None


def _merge(files: Sequence[Path], old: int, target: Path) -> Merged:
    ids = [_ids(file) for file in files]
    every = np.concatenate(ids) if ids else np.empty(0, np.int64)
    series = pd.Series(every)
    first = ~series.duplicated(keep="first").to_numpy(np.bool_)
    again = first & series.duplicated(keep="last").to_numpy(np.bool_)
    last = ~series.duplicated(keep="last").to_numpy(np.bool_)
    starts = np.cumsum([0, *map(len, ids)])
    kind = _columns(files)
    newest = _rows(files, starts, last & np.isin(every, every[again]), kind)
    place = pd.Series(np.arange(newest.num_rows), index=newest.column(schema.ID).to_numpy())
    with pq.ParquetWriter(target, kind, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        for table, start in _blocks(files, starts, kind):
            kept = first[start : start + table.num_rows]
            stale = again[start : start + table.num_rows]
            if stale.any():
                table = _corrected(table, stale, newest, place)
            waiting.append(table if kept.all() else table.filter(pa.array(kept)))
            # Many small files would make many small row groups, which are slow to write and to read.
            if sum(piece.num_rows for piece in waiting) >= BLOCK_ROWS:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    before = int(starts[old])
    return Merged(
        rows=int(np.count_nonzero(first)),
        added=int(np.count_nonzero(first[before:])),
        replaced=int(np.count_nonzero(again)),
    )


def _ids(file: Path) -> NDArray[np.int64]:
    # A table of a folder would have the folder's name as a column.
    with pq.ParquetFile(file) as opened:
        ids: NDArray[np.int64] = opened.read(columns=[schema.ID]).column(0).to_numpy()
    return ids


def _corrected(
    table: pa.Table, stale: NDArray[np.bool_], newest: pa.Table, place: pd.Series[Any]
) -> pa.Table:
    """The table with the newest row of an id where a stale one is."""
    ids = table.column(schema.ID).to_numpy()
    positions = np.arange(table.num_rows)
    positions[stale] = table.num_rows + place.loc[ids[stale]].to_numpy()
    return pa.concat_tables([table, newest]).take(pa.array(positions))


def _rows(
    files: Sequence[Path], starts: NDArray[Any], wanted: NDArray[np.bool_], kind: pa.Schema
) -> pa.Table:
    if not wanted.any():
        return kind.empty_table()
    found = [
        table.filter(pa.array(wanted[start : start + table.num_rows]))
        for table, start in _blocks(files, starts, kind)
    ]
    return pa.concat_tables(found).combine_chunks()


def _blocks(
    files: Sequence[Path], starts: NDArray[Any], kind: pa.Schema
) -> Iterator[tuple[pa.Table, int]]:
    for file, position in zip(files, starts.tolist(), strict=False):
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(BLOCK_ROWS):
                table = pa.Table.from_batches([batch])
                yield _fitted(table, kind), position
                position += table.num_rows


def _fitted(table: pa.Table, kind: pa.Schema) -> pa.Table:
    """The table with every column of the result; a column that it does not have holds nothing."""
    columns = []
    for field in kind:
        if field.name in table.column_names:
            columns.append(table.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.table(columns, schema=kind)


def _columns(files: Sequence[Path]) -> pa.Schema:
    """The columns of the contract, then the others in the order of appearance; as text where their types differ."""
    fields: dict[str, pa.DataType] = {}
    for name in schema.COLUMNS:
        fields[name] = pa.int64() if schema.is_whole(name) else pa.float64()
    for file in files:
        for field in pq.read_schema(file):
            if field.name not in schema.COLUMNS:
                known = fields.setdefault(field.name, field.type)
                if known != field.type:
                    fields[field.name] = pa.string()
    return pa.schema(list(fields.items()))
