"""Parquet files, chunk by chunk, in the memory of a chunk and of a row group as it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from insurance_claims.errors import DataError
from insurance_claims.scoring.batch.chunks import NEEDED, Chunk, ignored_columns


def parquet_ignored(path: Path) -> list[str]:
    """Check a Parquet file's columns and give the names of those that are not looked at.

    Raises:
        DataError: the file is damaged, lacks a column, or holds one that is neither numbers nor text.
    """
    with _open(path) as file:
        arrow = file.schema_arrow
        ignored = ignored_columns(path, arrow.names)
        for name in NEEDED:
            kind = arrow.field(name).type
            if not _is_readable(kind):
                raise DataError(
                    f"{path} holds {kind} in column {name}, where numbers are expected: write it again as numbers"
                )
        return ignored


def parquet_chunks(path: Path, first: int, rows: int) -> Iterator[Chunk]:
    """Read a Parquet file from a chunk on.

    Args:
        path: of a file that ``parquet_ignored`` has seen.
        first: number of the first chunk to read. Row groups before it are not touched.
        rows: of a chunk.

    Raises:
        DataError: a row group cannot be read.
    """
    with _open(path) as file:
        total = file.metadata.num_rows
        number, start = first, first * rows
        for table in _tables(path, file, start, rows):
            end = start + table.num_rows
            numbers = np.arange(start + 1, end + 1, dtype=np.int64)
            yield Chunk(number, table, numbers, (), end / total if total else 1.0, end == total)
            number, start = number + 1, end


def _tables(path: Path, file: Any, start: int, rows: int) -> Iterator[pa.Table]:
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
    batches = file.iter_batches(rows, groups, list(NEEDED), use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{path} cannot be read between rows {at + held + 1:,} and {at + held + rows:,}: {reason}. "
                "It is damaged: write or copy it again, then score it into another output folder"
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


def _open(path: Path) -> Any:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} is a damaged Parquet file ({reason}): copy or download it again"
        ) from None


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
