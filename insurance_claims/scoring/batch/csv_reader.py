"""CSV files parsed, chunk by chunk.

A good chunk is parsed by Arrow at once. Where a value is no number the chunk is read again as text, so that its good
rows are kept, and where quotes or line breaks within values leave it unclear which line is which row, line by line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.scoring.batch.chunks import NEEDED, BrokenLine, Chunk
from insurance_claims.scoring.batch.csv_lines import Lines, csv_lines
from insurance_claims.scoring.batch.inputs import Format
from insurance_claims.scoring.batch.sources import Source


def csv_chunks(source: Source, packing: Format, first: int, rows: int) -> Iterator[Chunk]:
    """Read a CSV file from a chunk on.

    Args:
        source: of a file that ``csv_ignored`` has seen.
        packing: whether it is gzipped.
        first: number of the first chunk to parse. Those before it are only searched for line ends.
        rows: lines of a chunk.

    Raises:
        DataError: the file cannot be read to its end, or holds a line without an end.
    """
    for lines in csv_lines(source, packing, rows):
        if lines.number >= first:
            yield parse_lines(lines)


def parse_lines(lines: Lines) -> Chunk:
    """Parse a chunk's lines. It depends on nothing else, so any process can do it."""
    names, data = lines.names, lines.data
    rows = np.arange(lines.first, lines.first + lines.count, dtype=np.int64)
    # Arrow takes a lone carriage return for the end of a line as well.
    clear = data.count(b"\r") == data.count(b"\r\n")
    try:
        table = _numbers(names, data) if clear and lines.count else None
    except pa.ArrowInvalid:
        table = None
    broken: list[BrokenLine] = []
    # Blank lines, and lines within quotes, make the count differ.
    if table is None or table.num_rows != lines.count:
        kept, rows = _without_blank_lines(data, rows)
        found = _as_text(names, kept, rows) if clear else None
        table, broken = found or _line_by_line(names, kept, rows)
        rows = np.setdiff1d(rows, np.array([line.row for line in broken], dtype=np.int64))
    return Chunk(lines.number, table, rows, tuple(broken), lines.size, lines.last)


def _without_blank_lines(
    data: bytes, rows: NDArray[np.int64]
) -> tuple[list[bytes], NDArray[np.int64]]:
    lines = data.split(b"\n")[: len(rows)]
    kept = [position for position, line in enumerate(lines) if line.strip()]
    return [lines[position] for position in kept], rows[kept]


def _numbers(names: Sequence[str], data: bytes) -> Any:
    types = {schema.ID: pa.int64(), **dict.fromkeys(schema.FEATURE_NAMES, pa.float64())}
    options = pa_csv.ConvertOptions(
        column_types=types, include_columns=list(NEEDED), null_values=[""]
    )
    return pa_csv.read_csv(
        pa.BufferReader(data),
        read_options=pa_csv.ReadOptions(column_names=list(names), use_threads=False),
        convert_options=options,
    )


def _as_text(
    names: Sequence[str], lines: Sequence[bytes], rows: NDArray[np.int64]
) -> tuple[Any, list[BrokenLine]] | None:
    """Every value as text, and the lines that are no rows; None where these are not all lines."""
    data = b"\n".join(lines)
    ragged: list[Any] = []

    def collect(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        # What Arrow says of a line that is not UTF-8 does not reach the function above.
        data.decode("utf-8")
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            # One block: Arrow numbers the lines of the first alone.
            read_options=pa_csv.ReadOptions(
                column_names=list(names), use_threads=False, block_size=len(data) + 1
            ),
            parse_options=pa_csv.ParseOptions(invalid_row_handler=collect),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(NEEDED, pa.string()), include_columns=list(NEEDED)
            ),
        )
    except (UnicodeDecodeError, pa.ArrowInvalid):
        return None
    if table.num_rows + len(ragged) != len(lines):
        return None
    broken = [
        BrokenLine(int(rows[row.number - 1]), row.text, _ragged(row.actual_columns, names))
        for row in ragged
    ]
    return table, broken


def _line_by_line(
    names: Sequence[str], lines: Sequence[bytes], rows: NDArray[np.int64]
) -> tuple[Any, list[BrokenLine]]:
    positions = [list(names).index(name) for name in NEEDED]
    found: list[list[str]] = []
    broken: list[BrokenLine] = []
    for row, line in zip(rows.tolist(), lines, strict=True):
        text = line.decode("utf-8", errors="replace").rstrip("\r")
        try:
            values = next(csv.reader([text], strict=True), [])
        except csv.Error as error:
            broken.append(BrokenLine(row, text, f"the line is no CSV: {error}"))
            continue
        if len(values) != len(names):
            broken.append(BrokenLine(row, text, _ragged(len(values), names)))
        else:
            found.append([values[position] for position in positions])
    return _texts(found), broken


def _ragged(values: int, names: Sequence[str]) -> str:
    return f"the line has {values} values, the header names {len(names)} columns"


def _texts(rows: Sequence[Sequence[str]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(NEEDED)
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.table(dict(zip(NEEDED, arrays, strict=True)))
