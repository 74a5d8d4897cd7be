"""Labels: which of the scored rows had a claim, as it becomes known.

Each file of labels is kept whole, under the hash of what it said that was new, so that adding it again adds nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_claims import schema
from insurance_claims.data.load import read_table
from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring.collected import LABELS, REQUEST_ID, ROW, Place
from insurance_claims.schema import TARGET, is_whole
from ml_service.feedback.rows import KEY, key_of, read_all
from ml_service.platforms.base import Documents

if TYPE_CHECKING:
    import pandas as pd

ROW_ID = "row_id"
"""Column that names a row by REQUEST_ID:NUMBER, in place of two columns."""

_SHOWN = 3


class LabelError(ClaimsError):
    """A file of labels cannot be taken."""


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What became of a file of labels.

    Attributes:
        rows: that the file has.
        added: labels that were not known yet.
        known: labels that were known already, or came twice.
        unknown: of those added, how many belong to no row that was collected, so far.
        claims: of those added.
    """

    rows: int
    added: int
    known: int
    unknown: int
    claims: int

    def describe(self) -> str:
        """In one line."""
        text = f"{self.rows:,} labels: {self.added:,} added ({self.claims:,} claims), {self.known:,} known already"
        if self.unknown:
            text += (
                f"; {self.unknown:,} belong to no collected row: they are kept, and count as soon as there is one "
                "(rows come a minute after their request; sampled-out ones never do)"
            )
        return text


def add_labels(place: Place, documents: Documents, file: Path) -> LabelReport:
    """Take a file of labels.

    Args:
        place: where rows are collected; labels are kept beside them.
        documents: of the platform, for their lock.
        file: CSV or Parquet with ``target`` (0 or 1) and ``request_id`` with ``row`` (from 0; may be left out where
            every request had one row), or ``row_id``.

    Raises:
        LabelError: a column or value cannot be, or a label contradicts another one. Nothing is kept of the file.
        DataError: it cannot be read.
    """
    given = _read(file)
    fresh = _without_doubles(given, f"{file} contradicts itself")
    with documents.lock("feedback/labels"):
        kept = read_labels(place)
        both = _without_doubles(_joined(kept, fresh), f"{file} contradicts labels that are known")
        new = both.iloc[len(kept) :]
        if len(new):
            _write(place, new)
    collected = read_all(place, [REQUEST_ID]).table
    unknown = int((~key_of(new).isin(key_of(collected))).sum())
    claims = int((new[TARGET] > 0).sum())
    return LabelReport(len(given), len(new), len(given) - len(new), unknown, claims)


def read_labels(place: Place) -> pd.DataFrame:
    """All labels that are known: request_id, row, target; one line a row."""
    import pyarrow as pa

    target = pa.int64() if is_whole(TARGET) else pa.float64()
    kind = pa.schema([(REQUEST_ID, pa.string()), (ROW, pa.int64()), (TARGET, target)])
    tables = [place.read(name) for name in place.names(LABELS)]
    table: pd.DataFrame = pa.concat_tables([kind.empty_table(), *tables]).to_pandas()
    return table


def with_labels(rows: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Those of the rows whose label is known, with the column ``target``."""
    known = labels.set_index(KEY)[TARGET]
    return rows.join(known, on=KEY, how="inner").reset_index(drop=True)


def _read(file: Path) -> pd.DataFrame:
    import pandas as pd

    facts = schema.PROBLEM.facts
    table = read_table(file)
    if ROW_ID in table and REQUEST_ID not in table:
        parts = table[ROW_ID].astype(str).str.rpartition(":")
        table = table.assign(**{REQUEST_ID: parts[0], ROW: parts[2]})
    if lacking := [name for name in (REQUEST_ID, TARGET) if name not in table]:
        raise LabelError(
            f"{file} has no column {lacking[0]}: labels are {REQUEST_ID}, {ROW} and {TARGET}, or {ROW_ID} and {TARGET}"
        )
    found = table[[REQUEST_ID, TARGET]].assign(**{ROW: table[ROW] if ROW in table else 0})
    found[REQUEST_ID] = found[REQUEST_ID].astype(str)
    target = pd.to_numeric(found[TARGET], errors="coerce")
    if (bad := target.isna() | ~facts.fits(target)).any():
        raise LabelError(_wrong(file, TARGET, bad, facts.value))
    found[TARGET] = target.astype("int64" if is_whole(TARGET) else "float64")
    found[ROW] = _whole(found[ROW], file)
    if (bad := (found[REQUEST_ID].isin(("", "nan", "None"))) | (found[ROW] < 0)).any():
        raise LabelError(_wrong(file, REQUEST_ID, bad, "the id of a request, and its row from 0"))
    return found[[*KEY, TARGET]]


def _whole(values: pd.Series[float], file: Path) -> pd.Series[int]:
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce")
    bad = numbers.isna() | (numbers % 1 != 0)
    if bad.any():
        raise LabelError(_wrong(file, ROW, bad, "a whole number from 0"))
    return numbers.astype("int64")


def _wrong(file: Path, name: str, bad: pd.Series[bool], allowed: str) -> str:
    first = [int(index) + 1 for index in bad.index[bad][:_SHOWN]]
    rows = ", ".join(map(str, first))
    return f"{file}: {name} is not {allowed} in {int(bad.sum()):,} rows (row {rows}): no label was taken"


def _joined(kept: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([kept, fresh], ignore_index=True)


def _without_doubles(table: pd.DataFrame, problem: str) -> pd.DataFrame:
    once = table.drop_duplicates([*KEY, TARGET])
    if (twice := once.duplicated(KEY)).any():
        examples = ", ".join(key_of(once[twice])[:_SHOWN])
        raise LabelError(
            f"{problem}: {int(twice.sum()):,} rows {schema.PROBLEM.facts.both} ({examples}): no label was taken"
        )
    return once


def _write(place: Place, labels: pd.DataFrame) -> None:
    import pyarrow as pa

    text = labels.sort_values(KEY).to_csv(index=False)
    name = f"{LABELS}/{hashlib.sha256(text.encode()).hexdigest()}.parquet"
    place.write(name, pa.Table.from_pandas(labels, preserve_index=False))
