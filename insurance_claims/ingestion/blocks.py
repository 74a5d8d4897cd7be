"""A file that was dropped, block by block: CSV, gzipped CSV or Parquet, told apart by content.

Whatever its size, no more than a block of it is held. What makes a file as a whole unfit ends reading with one reason;
a line that is no row is handed on with its reason, beside the rows.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.data.load import MAX_RATIO, RATIO_FROM, check_header
from insurance_claims.errors import DataError

BLOCK_ROWS = 65_536
MAX_ROWS = 50_000_000
"""Of one file. A Parquet file of some bytes can claim any number of rows."""

_PIECE = 1 << 20
_LISTED = 5


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line of a CSV file that is no row.

    Attributes:
        row: its number; the header is line 1.
        text: all of it.
        reason: why it is none.
    """

    row: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of a file.

    Attributes:
        table: the schema's columns as numbers or as text, and the others as text.
        rows: shape (n,): each row's line in a CSV file, where the header is line 1; in Parquet its number from 1.
        broken: lines that are no rows.
    """

    table: pa.Table
    rows: NDArray[np.int64]
    broken: tuple[BrokenLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """An open file.

    Attributes:
        kind: ``csv``, ``csv.gz`` or ``parquet``.
        added: names of columns that the schema does not know.
        blocks: its rows.
    """

    kind: str
    added: tuple[str, ...]
    blocks: Iterator[Block]


def open_source(path: Path, opened: ExitStack, rows: int = BLOCK_ROWS) -> Source:
    """Open a file and look at its columns.

    Args:
        path: of a local file that nobody changes.
        opened: closes the file.
        rows: of a block.

    Raises:
        DataError: it is no table with every column of the schema. Reading the blocks may raise it too.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise DataError(f"{path.name} is empty (0 bytes)")
    if head == b"PAR1":
        return _parquet(path, opened, rows)
    if head == b"PK\x03\x04":
        raise DataError(f"{path.name} is a zip archive or a workbook: unpack it or save it as CSV")
    return _csv(path, opened, rows, packed=head[:2] == b"\x1f\x8b")


def _added(name: str, names: Sequence[str]) -> tuple[str, ...]:
    twice = [column for column, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{name} names columns more than once: {_listed(twice)}")
    lacking = [column for column in schema.COLUMNS if column not in names]
    if lacking:
        raise DataError(
            f"{name} lacks {len(lacking)} of the {len(schema.COLUMNS)} columns of the data contract: {_listed(lacking)}"
        )
    return tuple(column for column in names if column not in schema.COLUMNS)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def _parquet(path: Path, opened: ExitStack, rows: int) -> Source:
    try:
        file = opened.enter_context(pq.ParquetFile(path, page_checksum_verification=True))
        arrow, count = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name} is a damaged Parquet file: {_first_line(error)}") from None
    added = _added(path.name, arrow.names)
    _refuse_too_many(path, count)
    if count == 0:
        raise DataError(f"{path.name} holds column names but no rows")
    for name in arrow.names:
        kind = arrow.field(name).type
        if pa.types.is_nested(kind) or not (name in added or _is_readable(kind)):
            raise DataError(f"{path.name} holds {kind} in column {name}: write numbers or text")
    return Source("parquet", added, _parquet_blocks(path, file, added, rows))


def _is_readable(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(test(kind) for test in (*tests, pa.types.is_string, pa.types.is_large_string))


def _parquet_blocks(path: Path, file: Any, added: Sequence[str], rows: int) -> Iterator[Block]:
    first = 1
    batches = file.iter_batches(rows, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
            if batch is None:
                return
            table = _plain(pa.Table.from_batches([batch]), added)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path.name} cannot be read after row {first - 1:,}: {_first_line(error)}"
            ) from None
        yield Block(table, np.arange(first, first + table.num_rows, dtype=np.int64))
        first += table.num_rows


def _plain(table: pa.Table, added: Sequence[str]) -> pa.Table:
    """The table with its columns in one order, none of them coded, and those that were added as text."""
    columns = {}
    for name in (*schema.COLUMNS, *added):
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns[name] = column.cast(pa.string()) if name in added else column
    return pa.table(columns)


def _csv(path: Path, opened: ExitStack, rows: int, packed: bool) -> Source:
    stream: IO[bytes] = opened.enter_context(path.open("rb"))
    lines = _lines(path, stream, packed)
    header, number = b"", 0
    for line in lines:
        number += 1
        header = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if header.strip():
            break
    if not header.strip():
        raise DataError(f"{path.name} is empty: it holds neither column names nor rows")
    _refuse_other_encodings(path, header, number)
    # The message names the file as it was dropped, not where it is read from.
    check_header(Path(path.name), header)
    names = next(csv.reader([header.decode().strip("\r\n")]))
    added = _added(path.name, names)
    kind = "csv.gz" if packed else "csv"
    return Source(kind, added, _csv_blocks(path, lines, names, added, number + 1, rows))


def _lines(path: Path, stream: IO[bytes], packed: bool) -> Iterator[bytes]:
    """The lines of a file, unpacked."""
    size, total = path.stat().st_size, 0
    source: IO[bytes] | gzip.GzipFile = gzip.open(stream) if packed else stream
    try:
        while line := source.readline(_PIECE):
            total += len(line)
            if len(line) == _PIECE:
                raise DataError(f"{path.name} holds a line of {_PIECE:,} bytes: it is no CSV file")
            if packed and total > RATIO_FROM and total > MAX_RATIO * size:
                raise DataError(
                    f"{path.name} unpacks to more than {MAX_RATIO} times its size: it is not read"
                )
            yield line
    except EOFError:
        raise DataError(f"{path.name} is a truncated gzip file: drop it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path.name} is a damaged gzip file: {error}") from None


def _csv_blocks(
    path: Path,
    lines: Iterator[bytes],
    names: Sequence[str],
    added: Sequence[str],
    first: int,
    rows: int,
) -> Iterator[Block]:
    found = 0
    while True:
        block = list(islice(lines, rows))
        if not block:
            break
        data = b"".join(block)
        _refuse_other_encodings(path, data, first)
        numbers = np.arange(first, first + len(block), dtype=np.int64)
        made = _parsed(names, added, data, numbers) or _line_by_line(names, added, block, numbers)
        found += made.table.num_rows + len(made.broken)
        _refuse_too_many(path, found)
        yield made
        first += len(block)
    if not found:
        raise DataError(f"{path.name} holds column names but no rows")


def _refuse_too_many(path: Path, rows: int) -> None:
    if rows > MAX_ROWS:
        raise DataError(f"{path.name} holds more than {MAX_ROWS:,} rows: split it")


def _refuse_other_encodings(path: Path, data: bytes, first: int) -> None:
    if data.isascii():
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first + data.count(b"\n", 0, error.start)
        raise DataError(
            f"{path.name} is not UTF-8 text: line {line} holds byte 0x{data[error.start]:02x}. Save it as UTF-8"
        ) from None


def _parsed(
    names: Sequence[str], added: Sequence[str], data: bytes, rows: NDArray[np.int64]
) -> Block | None:
    """The lines as Arrow reads them; None where it does not see a row of numbers in every line."""
    types = {
        **dict.fromkeys(schema.COLUMNS, pa.float64()),
        **dict.fromkeys(added, pa.string()),
        schema.ID: pa.int64(),
    }
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(column_names=list(names), use_threads=False),
            convert_options=pa_csv.ConvertOptions(
                column_types=types,
                include_columns=[*schema.COLUMNS, *added],
                null_values=[""],
            ),
        )
    except pa.ArrowInvalid:
        return None
    return Block(table, rows) if table.num_rows == len(rows) else None


def _line_by_line(
    names: Sequence[str], added: Sequence[str], lines: Sequence[bytes], rows: NDArray[np.int64]
) -> Block:
    wanted = [*schema.COLUMNS, *added]
    positions = [list(names).index(name) for name in wanted]
    values: list[list[str]] = []
    kept: list[int] = []
    broken: list[BrokenLine] = []
    for row, line in zip(rows.tolist(), lines, strict=True):
        text = line.decode().strip("\r\n")
        if not text.strip():
            continue
        try:
            found = next(csv.reader([text], strict=True))
        except csv.Error as error:
            broken.append(BrokenLine(row, text, f"the line is no CSV: {error}"))
            continue
        if len(found) != len(names):
            reason = f"the line has {len(found)} values, the header names {len(names)} columns"
            broken.append(BrokenLine(row, text, reason))
            continue
        values.append([found[position] for position in positions])
        kept.append(row)
    columns = list(zip(*values, strict=True)) or [()] * len(wanted)
    arrays = [pa.array(column, pa.string()) for column in columns]
    table = pa.table(dict(zip(wanted, arrays, strict=True)))
    return Block(table, np.array(kept, dtype=np.int64), tuple(broken))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
