"""A data file as a table, or one sentence that says why it cannot be one.

What the values have to be is the business of ``validate``: here a column that holds a text among its numbers is read as
text, so that validation can say which rows are wrong.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from insurance_claims.errors import DataError

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_ZIP = b"PK\x03\x04"
_LONGEST_HEADER = 1 << 20
_EXAMPLES = 5
_PIECE = 1 << 20

MAX_RATIO = 100
"""How many times its size a gzipped file may unpack to; claims come to about six."""
RATIO_FROM = 16 << 20
"""Bytes: what unpacks to less is no bomb."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file in Kaggle's format or a Parquet file, either of them also gzipped.

    The format is told by the content. A name that promises another one (``.gz``, ``.parquet``) is an error: such a file
    is damaged or was fetched wrongly.

    Args:
        path: of the file. A UTF-8 byte order mark is accepted.

    Returns:
        The table with a running index from 0. From CSV each column is int64, float64 (where values are fractions
        or missing) or text (where one value is no number).

    Raises:
        DataError: the file is missing, is no regular file, is damaged, holds no rows, or is no table of unique columns.
    """
    content, inner_name = _content(path)
    if content[:4] == _PARQUET:
        return _parquet(path, content)
    if inner_name.endswith(".parquet"):
        raise DataError(f"{path} is not Parquet, though its name says so: {_begins(content)}")
    if content[:4] == _ZIP:
        raise DataError(f"{path} is a zip archive or a workbook: unpack it or save it as CSV first")
    return _csv(path, content)


def _content(path: Path) -> tuple[bytes, str]:
    """The file's bytes, unpacked, and its name in lower case without the ending of the packing."""
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder: name the file in it")
        if not path.is_file() and path.exists():
            raise DataError(f"{path} is not a regular file: save the data to a file first")
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    name = path.name.lower()
    if not content:
        raise DataError(f"{path} is empty (0 bytes)")
    if content[:2] != _GZIP:
        if name.endswith(".gz"):
            raise DataError(f"{path} is not gzip, though its name says so: {_begins(content)}")
        return content, name
    try:
        return _unpacked(path, content), name.removesuffix(".gz")
    except EOFError:
        raise DataError(f"{path} is a truncated gzip file: copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} is a damaged gzip file ({error}): copy or download it again"
        ) from None


def _unpacked(path: Path, content: bytes) -> bytes:
    most = max(RATIO_FROM, MAX_RATIO * len(content))
    unpacked = io.BytesIO()
    with gzip.open(io.BytesIO(content)) as file:
        while piece := file.read(_PIECE):
            unpacked.write(piece)
            if unpacked.tell() > most:
                raise DataError(
                    f"{path} unpacks to more than {MAX_RATIO} times its size: it is not read"
                )
    return unpacked.getvalue()


def _parquet(path: Path, content: bytes) -> pd.DataFrame:
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is a damaged Parquet file ({_first_line(error)}): copy or download it again"
        ) from None
    _refuse_duplicates(path, table.column_names)
    return _to_pandas(path, table)


def _csv(path: Path, content: bytes) -> pd.DataFrame:
    _refuse_other_encodings(path, content)
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content or content.isspace():
        raise DataError(f"{path} is empty: it holds neither column names nor rows")
    check_header(path, content)
    try:
        table = _parse(content)
        odd = [field.name for field in table.schema if not _is_plain(field.type)]
        if odd:
            # Dates, times and true/false are guesses about a text; the text itself is what a person can look for.
            table = _parse(content, {name: pa.string() for name in odd})
    except pa.ArrowInvalid as error:
        raise DataError(_why_not_csv(path, content, error)) from None
    return _to_pandas(path, table)


def _parse(content: bytes, column_types: dict[str, Any] | None = None) -> Any:
    convert = pa_csv.ConvertOptions(column_types=column_types)
    return pa_csv.read_csv(pa.BufferReader(content), convert_options=convert)


def _is_plain(kind: Any) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_string(kind)
        or pa.types.is_null(kind)
    )


def _to_pandas(path: Path, table: Any) -> pd.DataFrame:
    if table.num_rows == 0:
        raise DataError(f"{path} holds column names but no rows")
    # A block per column: validation and hashing go by columns, and one big block would be a copy.
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True, split_blocks=True)
    return frame


def _refuse_other_encodings(path: Path, content: bytes) -> None:
    if content.isascii():
        position = content.find(b"\0", 0, _LONGEST_HEADER)
        if position < 0:
            return
    else:
        try:
            content.decode("utf-8")
            return
        except UnicodeDecodeError as error:
            position = error.start
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        found = "it is UTF-16"
    else:
        line = content.count(b"\n", 0, position) + 1
        found = f"line {line} holds byte 0x{content[position]:02x}"
    raise DataError(f"{path} is not UTF-8 text: {found}. Save it as UTF-8 first")


def check_header(path: Path, content: bytes) -> None:
    """Make sure that a CSV file begins with column names that are separated by commas.

    Args:
        path: of the file, for messages.
        content: its beginning in UTF-8, without a byte order mark: at least the first line.

    Raises:
        DataError: it has another separator, no names, or a name twice.
    """
    line = (
        content[:_LONGEST_HEADER].lstrip(b"\r\n").splitlines()[0].decode("utf-8", errors="replace")
    )
    for delimiter, name in ((";", "semicolon"), ("\t", "tab"), ("|", "vertical bar")):
        if line.count(delimiter) > line.count(","):
            raise DataError(
                f"{path} separates columns by {name} ({delimiter!r}): save it with commas. It begins with {line[:60]!r}"
            )
    names = next(csv.reader([line]))
    if all(_is_number(name) for name in names):
        raise DataError(
            f"{path} has no column names: its first line holds numbers ({line[:60]!r}). Add the header line"
        )
    _refuse_duplicates(path, names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_duplicates(path: Path, names: list[str]) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        listed = ", ".join(repr(name) for name in twice[:_EXAMPLES])
        raise DataError(
            f"{path} names {len(twice)} columns more than once: {listed}. Each needs its own name"
        )


def _why_not_csv(path: Path, content: bytes, error: Exception) -> str:
    """Read once more, slowly, to say which lines have too few or too many values."""
    ragged: list[Any] = []

    def collect(row: Any) -> str:
        ragged.append(row)
        return "skip"

    # Empty lines are kept, so that a row's number is its line; above the header they would be taken for it.
    above = len(content) - len(content.lstrip(b"\r\n"))
    first_line = content[:above].count(b"\n")
    parse = pa_csv.ParseOptions(invalid_row_handler=collect, ignore_empty_lines=False)
    try:
        pa_csv.read_csv(
            pa.BufferReader(content[above:]),
            read_options=pa_csv.ReadOptions(use_threads=False),
            parse_options=parse,
        )
    except pa.ArrowInvalid as second:
        return f"{path} is not readable as CSV: {_first_line(second)}"
    ragged = [row for row in ragged if row.text]
    if not ragged:
        return f"{path} is not readable as CSV: {_first_line(error)}"
    examples = ", ".join(
        f"line {first_line + row.number} has {row.actual_columns}" for row in ragged[:_EXAMPLES]
    )
    lines = "1 line has" if len(ragged) == 1 else f"{len(ragged):,} lines have"
    return (
        f"{path}: the header names {ragged[0].expected_columns} columns, but {lines} "
        f"more or fewer values: {examples}"
    )


def _begins(content: bytes) -> str:
    return f"it begins with {content[:20]!r}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
