"""CSV files, plain or gzipped, chunk by chunk, in the memory of a chunk.

A chunk is a number of lines, whatever they hold, so that chunks are the same every time. A good one is parsed by Arrow
at once. Where a value is no number the chunk is read again as text, so that its good rows are kept, and where quotes or
line breaks within values leave it unclear which line is which row, line by line.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError
from insurance_claims.scoring.batch.chunks import NEEDED, BrokenLine, Chunk, ignored_columns
from insurance_claims.scoring.batch.inputs import Format

_PIECE = 1 << 20
"""Bytes read at a time. A line that spans two of these whole is none of a CSV file."""

_MOST = 64 << 20
"""Bytes of a chunk: of longer lines than claims have, it holds fewer."""


_Unpacked: TypeAlias = IO[bytes] | gzip.GzipFile


@dataclass(frozen=True, slots=True)
class _Run:
    """Whole lines of a file."""

    data: bytes
    lines: int
    last: bool
    read: float


def csv_ignored(path: Path, packing: Format) -> list[str]:
    """Check a CSV file's header and give the names of the columns that are not looked at.

    Raises:
        DataError: the file cannot be read or has no header with every column that is needed.
    """
    with _opened(path, packing) as (_, stream):
        _, names, line = _header(path, stream)
        return ignored_columns(path, names, f". Its first line begins with {line[:60]!r}")


def csv_chunks(path: Path, packing: Format, first: int, rows: int) -> Iterator[Chunk]:
    """Read a CSV file from a chunk on.

    Args:
        path: of a file that ``csv_ignored`` has seen.
        packing: whether it is gzipped.
        first: number of the first chunk to parse. Those before it are only searched for line ends.
        rows: lines of a chunk.

    Raises:
        DataError: the file cannot be read to its end, or holds a line without an end.
    """
    with _opened(path, packing) as (raw, stream):
        above, names, _ = _header(path, stream)
        line = above + 1
        size = os.fstat(raw.fileno()).st_size
        for number, run in enumerate(_runs(path, raw, stream, rows, size)):
            if number >= first:
                yield _parse(names, run, number, line)
            line += run.lines


@contextmanager
def _opened(path: Path, packing: Format) -> Iterator[tuple[BinaryIO, _Unpacked]]:
    """The file itself and its unpacked content."""
    try:
        with path.open("rb") as raw:
            if packing is Format.GZIP:
                with gzip.open(raw) as unpacked:
                    yield raw, unpacked
            else:
                yield raw, raw
    except EOFError:
        raise DataError(f"{path} is a truncated gzip file: copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} is a damaged gzip file ({error}): copy or download it again"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _header(path: Path, stream: _Unpacked) -> tuple[int, list[str], str]:
    """Lines up to the end of the header, the column names, and the header itself."""
    number = 0
    while line := stream.readline(_PIECE):
        number += 1
        text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if text.strip():
            shown = text.decode("utf-8", errors="replace").strip("\r\n")
            return number, next(csv.reader([shown])), shown
    raise DataError(f"{path} is empty: it holds neither column names nor rows")


def _runs(path: Path, raw: BinaryIO, stream: _Unpacked, rows: int, size: int) -> Iterator[_Run]:
    """What is left of a file in runs of ``rows`` lines; one empty run where nothing is left."""
    waiting: tuple[bytes, int] | None = None
    for run in _cut(path, stream, rows):
        if waiting is not None:
            yield _Run(*waiting, last=False, read=min(1.0, raw.tell() / size))
        waiting = run
    yield _Run(*(waiting or (b"", 0)), last=True, read=1.0)


def _cut(path: Path, stream: _Unpacked, rows: int) -> Iterator[tuple[bytes, int]]:
    pieces: list[bytes] = []
    held = lines = 0
    while piece := stream.read(_PIECE):
        found = piece.count(b"\n")
        if not found and pieces and b"\n" not in pieces[-1]:
            raise DataError(f"{path} holds a line of more than {_PIECE:,} bytes: it is no CSV file")
        while lines + found >= rows or (held + len(piece) >= _MOST and found):
            taken = min(rows - lines, found)
            end = _line_end(piece, taken)
            yield b"".join([*pieces, piece[:end]]), lines + taken
            piece, found = piece[end:], found - taken
            pieces, held, lines = [], 0, 0
        pieces.append(piece)
        held, lines = held + len(piece), lines + found
    if held:
        rest = b"".join(pieces)
        yield rest, lines + (not rest.endswith(b"\n"))


def _line_end(data: bytes, line: int) -> int:
    """The position after a line, counted from 1."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    return int(ends[line - 1]) + 1


def _parse(names: Sequence[str], run: _Run, number: int, first_line: int) -> Chunk:
    rows = np.arange(first_line, first_line + run.lines, dtype=np.int64)
    # Arrow takes a lone carriage return for the end of a line as well.
    clear = run.data.count(b"\r") == run.data.count(b"\r\n")
    try:
        table = _numbers(names, run.data) if clear and run.lines else None
    except pa.ArrowInvalid:
        table = None
    # Blank lines, and lines within quotes, make the count differ.
    if table is not None and table.num_rows == run.lines:
        return Chunk(number, table, rows, (), run.read, run.last)
    lines, rows = _without_blank_lines(run.data, rows)
    found = _as_text(names, lines, rows) if clear else None
    table, broken = found or _line_by_line(names, lines, rows)
    good = np.setdiff1d(rows, np.array([line.row for line in broken], dtype=np.int64))
    return Chunk(number, table, good, tuple(broken), run.read, run.last)


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
