"""Parts of the output: one Parquet file for the scores of each chunk, and one for its rows that cannot be scored.

A part appears whole or not at all, and the scores' comes last: where it is, its chunk is done. It carries its counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError
from insurance_claims.files import write_whole

SCORES = "scores"
QUARANTINE = "quarantine"

_KEY = b"insurance_claims.part"


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of one finished part.

    Attributes:
        plan: sha256 of the plan that it belongs to.
        scored: rows with a score.
        quarantined: rows and lines without one.
        reasons: how often each column is to blame for that.
        size: bytes of its input that it took, as they are stored.
        last: whether its input ends with it.
    """

    plan: str
    scored: int
    quarantined: int
    reasons: Mapping[str, int]
    size: int
    last: bool


def part_name(number: int, chunk: int) -> str:
    """The name of the part of a chunk of the input with this number."""
    return f"part-{number:05d}-{chunk:06d}.parquet"


def write_part(
    folder: Path,
    name: str,
    part: Part,
    scores: Mapping[str, NDArray[Any]],
    bad: pa.Table | None,
) -> None:
    """Write a part, the rows that cannot be scored first.

    Args:
        folder: of the output.
        name: of the part.
        part: what to say of it.
        scores: id, score and model_version, of the rows with a score.
        bad: the other rows; None where there are none.

    Raises:
        DataError: it cannot be written, as on a full disk.
    """
    if bad is not None:
        _write(folder / QUARANTINE / name, bad)
    known = {_KEY: json.dumps(asdict(part))}
    _write(folder / SCORES / name, pa.table(dict(scores)).replace_schema_metadata(known))


def read_part(folder: Path, name: str, plan: str) -> Part | None:
    """What is known of a part; None where it is not there, not readable or not of this plan, and has to be made."""
    try:
        metadata = pq.read_metadata(folder / SCORES / name).metadata
        part = Part(**json.loads(metadata[_KEY]))
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None
    return part if part.plan == plan else None


def score_columns(
    ids: NDArray[np.int64], scores: NDArray[np.float64], version: int
) -> dict[str, NDArray[Any]]:
    """The columns of a part."""
    versions = np.full(len(ids), version, dtype=np.int64)
    return {schema.ID: ids, "score": scores, "model_version": versions}


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was writing. Nothing else may be writing there."""
    for place in (folder, folder / SCORES, folder / QUARANTINE):
        for path in place.glob(".*.part"):
            path.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> DataError:
    """Why something cannot be written, and what to do."""
    return DataError(
        f"{path} cannot be written: {error.strerror or error}. What is scored so far stays: put it right and run the "
        "same command again"
    )


def _write(path: Path, table: pa.Table) -> None:
    buffer = pa.BufferOutputStream()
    # Ids and scores hardly repeat: to look for repetitions takes longer than writing.
    repeated = [name for name in table.column_names if name not in (schema.ID, "score")]
    pq.write_table(table, buffer, use_dictionary=repeated)
    try:
        write_whole(path, buffer.getvalue().to_pybytes())
    except OSError as error:
        raise unwritable(path, error) from None
