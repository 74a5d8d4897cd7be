"""CSV files, plain or gzipped, cut into chunks of whole lines in the memory of a chunk.

A chunk is a number of lines, whatever they hold, so that chunks are the same every time.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TypeAlias

import numpy as np
import pyarrow as pa

from insurance_claims.errors import DataError
from insurance_claims.scoring.batch.chunks import ignored_columns
from insurance_claims.scoring.batch.inputs import Format
from insurance_claims.scoring.batch.sources import Source, reason

_PIECE = 1 << 20
"""Bytes read at a time. A line that spans two of these whole is none of a CSV file."""

_REQUEST = 8 << 20
"""Bytes read at a time where each read is a request over a network."""

_MOST = 64 << 20
"""Bytes of a chunk: of longer lines than claims have, it holds fewer."""

_Unpacked: TypeAlias = IO[bytes] | gzip.GzipFile


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a file: a chunk that is not parsed yet.

    Attributes:
        number: of the chunk.
        names: of the file's columns.
        first: number of the first line; the header of a file is line 1.
        count: how many lines.
        start: position of the first byte in the unpacked file.
        data: all bytes.
        size: bytes of the file that it took, as they are stored.
        last: whether the file ends here.
    """

    number: int
    names: tuple[str, ...]
    first: int
    count: int
    start: int
    data: bytes
    size: int
    last: bool


def csv_ignored(source: Source, packing: Format) -> list[str]:
    """Check a CSV file's header and give the names of the columns that are not looked at.

    Raises:
        DataError: the file cannot be read or has no header with every column that is needed.
    """
    with _opened(source, packing) as (_, stream):
        _, names, line = _header(source.name, stream)
        return ignored_columns(source.name, names, f". Its first line begins with {line[:60]!r}")


def csv_lines(source: Source, packing: Format, rows: int) -> Iterator[Lines]:
    """The lines of a CSV file, in chunks; one chunk without lines where nothing follows the header.

    Args:
        source: of a file that ``csv_ignored`` has seen.
        packing: whether it is gzipped.
        rows: lines of a chunk.

    Raises:
        DataError: the file cannot be read to its end, or holds a line without an end.
    """
    with _opened(source, packing) as (raw, stream):
        above, names, _ = _header(source.name, stream)
        size = _size(raw)
        first, start, before, number = above + 1, stream.tell(), 0, 0
        runs = _cut(source.name, stream, rows)
        data, count = next(runs, (b"", 0))
        while True:
            following = next(runs, None)
            read = min(raw.tell(), size) if following else size
            yield Lines(
                number, tuple(names), first, count, start, data, read - before, following is None
            )
            if following is None:
                return
            first, start, before, number = first + count, start + len(data), read, number + 1
            data, count = following


def read_lines(source: Source, start: int, length: int) -> bytes:
    """Bytes of a file that is not packed.

    Raises:
        DataError: they cannot be read.
    """
    with source.open() as file:
        try:
            file.seek(start)
            data: bytes = file.read(length)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{source.name} cannot be read: {reason(error)}") from None
    return data


@contextmanager
def _opened(source: Source, packing: Format) -> Iterator[tuple[IO[bytes], _Unpacked]]:
    """The file itself and its unpacked content."""
    with source.open() as stored:
        raw = io.BufferedReader(stored, _REQUEST if source.remote else io.DEFAULT_BUFFER_SIZE)
        try:
            if packing is Format.GZIP:
                with gzip.open(raw) as unpacked:
                    yield raw, unpacked
            else:
                yield raw, raw
        except EOFError:
            raise DataError(
                f"{source.name} is a truncated gzip file: copy or download it again"
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{source.name} is a damaged gzip file ({error}): copy or download it again"
            ) from None
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{source.name} cannot be read: {reason(error)}") from None


def _size(raw: IO[bytes]) -> int:
    here = raw.tell()
    size = raw.seek(0, os.SEEK_END)
    raw.seek(here)
    return size


def _header(name: str, stream: _Unpacked) -> tuple[int, Sequence[str], str]:
    """Lines up to the end of the header, the column names, and the header itself."""
    number = 0
    while line := stream.readline(_PIECE):
        number += 1
        text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if text.strip():
            shown = text.decode("utf-8", errors="replace").strip("\r\n")
            return number, next(csv.reader([shown])), shown
    raise DataError(f"{name} is empty: it holds neither column names nor rows")


def _cut(name: str, stream: _Unpacked, rows: int) -> Iterator[tuple[bytes, int]]:
    """What is left of a file in runs of ``rows`` lines."""
    pieces: list[bytes] = []
    held = lines = 0
    while piece := stream.read(_PIECE):
        found = piece.count(b"\n")
        if not found and pieces and b"\n" not in pieces[-1]:
            raise DataError(f"{name} holds a line of more than {_PIECE:,} bytes: it is no CSV file")
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
