"""Spooled requests become Parquet files: those that a worker is done with, and those of workers that were killed.

A file's name is that of the spool. Whoever is killed between writing it and removing the spool has it written again by
the next one, under the same name: that makes no doubles.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from insurance_claims import schema
from insurance_claims.monitoring import collected
from insurance_claims.monitoring.collected import CollectionError, Place
from insurance_claims.monitoring.spool import (
    Seen,
    SpoolError,
    claimed,
    from_bytes,
    spools,
    to_bytes,
)

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of one spool.

    Attributes:
        model: name and version of the model that answered.
        rows: that are kept now.
        torn: whether its end was lost.
    """

    model: tuple[str, int]
    rows: int
    torn: bool


def convert(folder: Path, place: Place) -> Iterator[Converted]:
    """Make Parquet files of the spools that nobody writes, oldest first, and remove them.

    Args:
        folder: that holds them.
        place: where rows are kept.

    Raises:
        CollectionError: rows cannot be written, or a spool cannot be read; it stays.
    """
    problems = []
    for path in spools(folder):
        try:
            with claimed(path) as found:
                if found is None:
                    continue
                converted = Converted(("", 0), 0, found.torn)
                if found.origin is not None:
                    model = found.origin.model_name, found.origin.model_version
                    omitted = frozenset(found.origin.omitted)
                    rows = _write(place, path.stem, found.seen, model, omitted)
                    converted = Converted(model, rows, found.torn)
                path.unlink()
        except (SpoolError, OSError, ValueError) as problem:
            # Of this one alone: the others are not held up by it.
            problems.append(f"{path}: {problem}")
            continue
        yield converted
    if problems:
        raise CollectionError("; ".join(problems))


def rows_table(seen: Sequence[Seen], model: tuple[str, int], omitted: frozenset[str]) -> pa.Table:
    """Requests and their answers as a table with a row for each scored row.

    Args:
        seen: at least one request; rows that were answered, so nothing about them is checked again.
        model: name and version.
        omitted: features to leave out.

    Raises:
        ValueError: these are not as many rows as scores, or no rows of the schema.
    """
    import pyarrow as pa

    scores = from_bytes(b"".join(told for *_, told in seen))
    sent = from_bytes(b"".join(rows for _, _, rows, _ in seen)).reshape(len(scores), -1)
    # A feature a row: Arrow takes them as they are.
    values = np.ascontiguousarray(sent.T)
    count = np.array([len(from_bytes(told)) for *_, told in seen])
    firsts = np.repeat(np.cumsum(count) - count, count)
    times = np.array([int(moment * 1e6) for moment, *_ in seen])
    ids = pa.array([request_id for _, request_id, *_ in seen], pa.string())
    kind = collected.row_schema(omitted)
    columns = {
        collected.TIME: pa.array(np.repeat(times, count)),
        collected.REQUEST_ID: ids.take(pa.array(np.repeat(np.arange(len(seen)), count))),
        collected.ROW: pa.array(np.arange(len(scores)) - firsts),
        collected.MODEL_NAME: pa.repeat(model[0], len(scores)),
        collected.MODEL_VERSION: pa.repeat(model[1], len(scores)),
        collected.SCORE: pa.array(scores, pa.float64()),
    }
    columns |= dict(zip(schema.FEATURE_NAMES, map(pa.array, values), strict=True))
    return pa.table([columns[column.name].cast(column.type) for column in kind], schema=kind)


def warm_up(model: tuple[str, int], omitted: frozenset[str]) -> None:
    """Import what a file needs, before it is needed: not when the process is busy, or ends and refuses to."""
    row = [column.minimum for column in schema.FEATURES]
    seen = (0.0, "warm-up", to_bytes([row]), to_bytes([0.5]))
    collected.packed(rows_table([seen], model, omitted))


def _write(
    place: Place, stem: str, seen: Sequence[Seen], model: tuple[str, int], omitted: frozenset[str]
) -> int:
    count = 0
    days: defaultdict[str, list[Seen]] = defaultdict(list)
    for request in seen:
        days[datetime.fromtimestamp(request[0], UTC).date().isoformat()].append(request)
    for day, requests in days.items():
        table = rows_table(requests, model, omitted)
        folder = collected.partition(day, model[1])
        place.write(f"{folder}/{stem}.parquet", table)
        count += table.num_rows
    return count
