"""What a worker of a cluster does at once: some chunks of one input.

Work names what is to be read, and does not hold it wherever it can be read from the middle, so that it is small to send
and can be done again elsewhere when a worker dies.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

import lightgbm as lgb

import insurance_claims
from insurance_claims.errors import DataError, ModelError
from insurance_claims.scoring.batch.checks import check_rows
from insurance_claims.scoring.batch.chunks import Chunk
from insurance_claims.scoring.batch.csv_lines import Lines, csv_lines, read_lines
from insurance_claims.scoring.batch.csv_reader import parse_lines
from insurance_claims.scoring.batch.inputs import Format
from insurance_claims.scoring.batch.job import BatchModel, Job, Scored, score_chunk
from insurance_claims.scoring.batch.parquet_reader import parquet_chunks, parquet_spans
from insurance_claims.scoring.batch.sources import Source

_SPAN = 4
"""Chunks of a Parquet file that are read at once: more for few reads of a large row group, fewer for many workers."""


class Work(Protocol):
    """Some chunks of one input."""

    @property
    def source(self) -> Source:
        """The input."""

    def chunks(self) -> Iterator[Chunk]:
        """Read them."""


@dataclass(frozen=True, slots=True)
class LinesWork:
    """Lines of a CSV file, known by where they are.

    Attributes:
        source: the file.
        lines: without their bytes.
        length: of these.
    """

    source: Source
    lines: Lines
    length: int

    def chunks(self) -> Iterator[Chunk]:
        """Read and parse them."""
        data = read_lines(self.source, self.lines.start, self.length)
        yield parse_lines(replace(self.lines, data=data))


@dataclass(frozen=True, slots=True)
class UnpackedWork:
    """Lines of a gzipped CSV file: only whoever has read all before them knows them, so they are sent along.

    Attributes:
        source: the file.
        lines: with their bytes.
    """

    source: Source
    lines: Lines

    def chunks(self) -> Iterator[Chunk]:
        """Parse them."""
        yield parse_lines(self.lines)


@dataclass(frozen=True, slots=True)
class RowsWork:
    """Chunks of a Parquet file.

    Attributes:
        source: the file.
        first: number of the first chunk.
        end: number of the chunk after the last.
        rows: of a chunk.
    """

    source: Source
    first: int
    end: int
    rows: int

    def chunks(self) -> Iterator[Chunk]:
        """Read them."""
        return parquet_chunks(self.source, self.first, self.rows, self.end)


def missing_work(job: Job) -> Iterator[tuple[int, Work]]:
    """The work of a job that is not done, and the number of the input that it is of.

    CSV files are read on the way, to find where lines end.

    Raises:
        DataError: an input cannot be read.
    """
    rows = job.options.chunk_rows
    for number, item in enumerate(job.inputs):
        first = job.first_missing(number)
        if first is None:
            continue
        if item.format is Format.PARQUET:
            for start, end in parquet_spans(item.source, rows, _SPAN):
                missing = [chunk for chunk in range(start, end) if not job.done(number, chunk)]
                if missing:
                    yield number, RowsWork(item.source, missing[0], missing[-1] + 1, rows)
        else:
            for lines in csv_lines(item.source, item.format, rows):
                if lines.number >= first and not job.done(number, lines.number):
                    yield number, _lines_work(item.source, item.format, lines)


def score_work(work: Work, model: BatchModel, headroom: float, code: str) -> list[Scored]:
    """Read, check and score, in a worker.

    Args:
        work: what.
        model: that scores, with one thread.
        headroom: ordinal and continuous values may be up to this many times the schema's largest.
        code: what ``code_sha256`` says where the results go.

    Raises:
        DataError: the input cannot be read here.
        ModelError: the worker has other code, or a score is no number.
    """
    if code != code_sha256():
        raise ModelError(
            f"the worker on {socket.gethostname()} has another version of insurance_claims or of LightGBM "
            f"({lgb.__version__}): install the same on all machines"
        )
    try:
        chunks = [(chunk, check_rows(chunk, headroom)) for chunk in work.chunks()]
    except DataError as error:
        raise DataError(
            f"{error} (said the worker on {socket.gethostname()}: inputs have to be where workers find them too, "
            "under the same name)"
        ) from None
    return [score_chunk(chunk, checked, model, 1) for chunk, checked in chunks]


@cache
def code_sha256() -> str:
    """Names what scores and checks depend on: the source of this package, and LightGBM's version."""
    digest = hashlib.sha256(lgb.__version__.encode())
    folder = Path(insurance_claims.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _lines_work(source: Source, packing: Format, lines: Lines) -> Work:
    if packing is Format.GZIP:
        return UnpackedWork(source, lines)
    return LinesWork(source, replace(lines, data=b""), len(lines.data))
