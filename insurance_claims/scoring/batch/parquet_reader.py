"""Parquet files, chunk by chunk, in the memory of a chunk and of a row group as it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from insurance_claims.errors import DataError
from insurance_claims.scoring.batch.chunks import NEEDED, Chunk, ignored_columns
from insurance_claims.scoring.batch.sources import Source, reason

_DAMAGED = "It is damaged: write or copy it again, then score it into another output folder"
_READ_AGAIN = (
    "Run the same command again, for connections break; where that does not help, it is damaged"
)


def parquet_ignored(source: Source) -> list[str]:
    """Check a Parquet file's columns and give the names of those that are not looked at.

    Raises:
        DataError: the file is damaged, lacks a column, or holds one that is neither numbers nor text.
    """
    with _open(source) as (file, _):
        arrow = file.schema_arrow
        ignored = ignored_columns(source.name, arrow.names)
        for name in NEEDED:
            kind = arrow.field(name).type
            if not _is_readable(kind):
                raise DataError(
                    f"{source.name} holds {kind} in column {name}, where numbers are expected: write it again as "
                    "numbers"
                )
        return ignored


def parquet_chunks(
    source: Source, first: int, rows: int, end: int | None = None
) -> Iterator[Chunk]:
    """Read chunks of a Parquet file.

    Args:
        source: of a file that ``parquet_ignored`` has seen.
        first: number of the first chunk to read. Row groups before it are not touched.
        rows: of a chunk.
        end: number of the first chunk that is not read any more; None reads to the end of the file.

    Raises:
        DataError: a row group cannot be read.
    """
    with _open(source) as (file, size):
        total = file.metadata.num_rows
        number, start = first, first * rows
        for table in _tables(source, file, start, rows):
            stop = start + table.num_rows
            numbers = np.arange(start + 1, stop + 1, dtype=np.int64)
            last = stop == total
            # As if all rows took the same.
            taken = (size if last else size * stop // total) - size * start // max(total, 1)
            yield Chunk(number, table, numbers, (), taken, last)
            number, start = number + 1, stop
            if number == end:
                return


def parquet_spans(source: Source, rows: int, most: int) -> list[tuple[int, int]]:
    """Parts of a Parquet file that are well read apart: few row groups are in two of them.

    Args:
        source: of a file that ``parquet_ignored`` has seen.
        rows: of a chunk.
        most: chunks of a span.

    Returns:
        First chunk of each, and the chunk after its last. A file without rows has one empty chunk.
    """
    with _open(source) as (file, _):
        metadata = file.metadata
        groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    ends = np.cumsum(groups, dtype=np.int64)
    # A chunk belongs to the row group that holds its first row.
    cuts = np.unique(-(-ends // rows)) if len(ends) and ends[-1] else np.array([1])
    spans = []
    start = 0
    for cut in cuts.tolist():
        while start < cut:
            spans.append((start, min(start + most, cut)))
            start = spans[-1][1]
    return spans


def _tables(source: Source, file: Any, start: int, rows: int) -> Iterator[pa.Table]:
    """Tables of ``rows`` rows from row ``start`` on; the last one may hold fewer, and is empty in an empty file."""
    metadata = file.metadata
    if metadata.num_rows == 0:
        yield file.schema_arrow.empty_table().select(NEEDED)
        return
    groups: list[int] = []
    before = 0
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).num_rows
        if groups or before + size > start:
            groups.append(group)
        else:
            before += size
    waiting: list[pa.Table] = []
    skip, held, at = start - before, 0, start
    # Of row groups that are asked for together and read in a few requests, all would be held in memory.
    runs = [[group] for group in groups] if source.remote else [groups]
    batches = (
        batch
        for run in runs
        for batch in file.iter_batches(rows, run, list(NEEDED), use_threads=False)
    )
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            where = f"between rows {at + held + 1:,} and {at + held + rows:,}"
            advice = _READ_AGAIN if source.remote else _DAMAGED
            raise DataError(
                f"{source.name} cannot be read {where}: {reason(error)}. {advice}"
            ) from None
        if batch is None:
            break
        # By name: the batch has the file's order of columns.
        table = pa.Table.from_batches([batch]).select(NEEDED)
        table, skip = table.slice(skip), max(0, skip - table.num_rows)
        waiting.append(table)
        held += table.num_rows
        while held >= rows:
            everything = pa.concat_tables(waiting)
            yield everything.slice(0, rows)
            waiting, held, at = [everything.slice(rows)], held - rows, at + rows
    if held:
        yield pa.concat_tables(waiting)


@contextmanager
def _open(source: Source) -> Iterator[tuple[Any, int]]:
    """A Parquet file and its bytes."""
    with source.open() as stored:
        try:
            # Over a network, a row group is read in a few requests at once, not in one for each column.
            file = pq.ParquetFile(stored, page_checksum_verification=True, pre_buffer=source.remote)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{source.name} is a damaged Parquet file ({reason(error)}): copy or download it again"
            ) from None
        with file:
            yield file, stored.size()


def _is_readable(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_null(kind)
    )
