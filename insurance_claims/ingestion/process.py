"""One file of a batch: its good rows to a part of the curated data, the others to quarantine, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError
from insurance_claims.ingestion.blocks import BLOCK_ROWS, open_source
from insurance_claims.ingestion.rows import Parted, good_schema, part_rows, refuse

CURATED = "curated"
QUARANTINE = "quarantine"

_TWICE = f"{schema.ID}: an id that another row of the file has too"
_CODEC = "zstd"

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file.

    Attributes:
        status: ``accepted``, or ``quarantined`` as a whole.
        severity: ``warning`` where rows were put aside or a column was added, ``error`` where nothing was taken.
        reason: in words; empty where there is nothing to say.
        rows: rows and lines that were read.
        bad: of these, the ones in quarantine.
        reasons: how often each column is to blame.
        added: columns that the schema does not know; they are carried along as text.
        part: the part of the curated data, relative to the output; None where there is none.
    """

    status: Literal["accepted", "quarantined"]
    severity: Severity
    reason: str
    rows: int = 0
    bad: int = 0
    reasons: Mapping[str, int] | None = None
    added: tuple[str, ...] = ()
    part: str | None = None


def process_file(
    path: Path, output: Path, part: str, max_bad: float, rows: int = BLOCK_ROWS
) -> Outcome:
    """Validate a file and take its rows apart.

    Args:
        path: of a local copy, under the name that it was dropped with.
        output: folder that gets ``curated/PART`` and ``quarantine/PART``.
        part: path of the Parquet files below these.
        max_bad: with a larger share of bad rows, nothing of the file is taken.
        rows: held at a time.
    """
    curated, quarantine = output / CURATED / part, output / QUARANTINE / part
    counts = _Counts()
    try:
        with ExitStack() as opened:
            source = open_source(path, opened, rows)
            aside = opened.enter_context(_Quarantine(quarantine))
            curated.parent.mkdir(parents=True, exist_ok=True)
            with pq.ParquetWriter(curated, good_schema(source.added), compression=_CODEC) as file:
                for block in source.blocks:
                    parted = part_rows(block)
                    file.write_table(parted.good)
                    aside.write(parted.bad)
                    counts.add(parted)
            repeated = counts.repeated_ids()
            if len(repeated):
                _take_out(curated, repeated, counts, aside)
    except (DataError, pa.ArrowException) as error:
        for unfinished in (curated, quarantine):
            unfinished.unlink(missing_ok=True)
        return Outcome("quarantined", "error", " ".join(str(error).split()))
    return _judged(counts, source.added, curated, part, max_bad)


class _Counts:
    """What is remembered of the blocks of a file: 16 bytes a row."""

    def __init__(self) -> None:
        self.bad = 0
        self.reasons: dict[str, int] = {}
        self._ids: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.int64]] = []

    def add(self, parted: Parted) -> None:
        self._ids.append(parted.good.column(schema.ID).to_numpy())
        self._rows.append(parted.rows)
        self.bad += 0 if parted.bad is None else parted.bad.num_rows
        self.blame(parted.reasons)

    def blame(self, reasons: Mapping[str, int]) -> None:
        for name, times in reasons.items():
            self.reasons[name] = self.reasons.get(name, 0) + times

    @property
    def good(self) -> int:
        return sum(map(len, self._ids))

    @property
    def rows(self) -> NDArray[np.int64]:
        return np.concatenate(self._rows)

    def repeated_ids(self) -> NDArray[np.int64]:
        ids = np.sort(np.concatenate(self._ids))
        return np.unique(ids[1:][ids[1:] == ids[:-1]])

    def move(self, number: int) -> None:
        """So many good rows turned out to be bad."""
        self._ids = [np.empty(self.good - number, np.int64)]
        self.bad += number
        self.blame({schema.ID: number})


class _Quarantine:
    """A Parquet file of bad rows; it is made when there is the first one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def __enter__(self) -> _Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, bad: pa.Table | None) -> None:
        if bad is None:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(self._path, bad.schema, compression=_CODEC)
        self._file.write_table(bad)


def _take_out(
    curated: Path, repeated: NDArray[np.int64], counts: _Counts, aside: _Quarantine
) -> None:
    """Move every row with one of these ids to quarantine: nobody knows which of them is right."""
    numbers, start = counts.rows, 0
    rewritten = curated.with_name(f".{curated.name}")
    moved = 0
    with pq.ParquetFile(curated) as old:
        with pq.ParquetWriter(rewritten, old.schema_arrow, compression=_CODEC) as new:
            for batch in old.iter_batches(BLOCK_ROWS):
                table = pa.Table.from_batches([batch])
                twice = np.isin(table.column(schema.ID).to_numpy(), repeated)
                rows = numbers[start : start + table.num_rows]
                start += table.num_rows
                new.write_table(table.filter(pa.array(~twice)))
                if twice.any():
                    aside.write(refuse(table.filter(pa.array(twice)), rows[twice], _TWICE))
                    moved += int(np.count_nonzero(twice))
    rewritten.replace(curated)
    counts.move(moved)


def _judged(
    counts: _Counts, added: tuple[str, ...], curated: Path, part: str, max_bad: float
) -> Outcome:
    total = counts.good + counts.bad
    facts: dict[str, Any] = {
        "rows": total,
        "bad": counts.bad,
        "reasons": dict(sorted(counts.reasons.items(), key=lambda item: (-item[1], item[0]))),
        "added": added,
    }
    said = []
    if counts.bad:
        blamed = ", ".join(list(facts["reasons"])[:5])
        said.append(f"{counts.bad:,} of {total:,} rows are in quarantine (to blame: {blamed})")
    if added:
        said.append(f"not of the data contract, carried along as text: {', '.join(added)}")
    if counts.bad > max_bad * total or not counts.good:
        curated.unlink()
        said.append(f"no more than {max_bad:.1%} may be bad: nothing of the file is taken")
        return Outcome("quarantined", "error", "; ".join(said), **facts)
    return Outcome("accepted", "warning" if said else "info", "; ".join(said), **facts, part=part)
