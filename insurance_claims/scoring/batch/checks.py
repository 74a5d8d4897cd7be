"""Which rows can be scored, and why the others cannot: the rules of scoring requests, a column at a time.

Arrow's columns become floats column by column, in memory that holds a column's values side by side: no DataFrame, no
copy by rows, and LightGBM predicts from it as quickly as from rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.schema import Column
from insurance_claims.scoring.batch.chunks import NEEDED, Chunk
from insurance_claims.scoring.request import bounds

LINE = "line"
"""Counts lines that are no rows, among the columns that are to blame."""

_NUMBER = r'^\s*("\s*-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"|-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)\s*$'
_EXACT_FLOAT = 2.0**53
"""From here on, neighbouring whole numbers are the same float64."""
_SHOWN = 60
"""Characters of a text value that a reason repeats at most."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Checked:
    """A chunk, parted into rows to score and rows that cannot be scored.

    Attributes:
        ids: shape (n,), of the good rows.
        features: shape (n, 57), of the good rows, in the schema's order.
        bad: the others as text: row, reasons, line (where it is no row), and every column as it was; None where all
            rows are good.
        reasons: how often each column is to blame; LINE for lines that are no rows.
    """

    ids: NDArray[np.int64]
    features: Floats
    bad: pa.Table | None
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the values of a feature may be."""

    column: Column
    lower: float
    upper: float

    @property
    def expected(self) -> str:
        """In words."""
        kind = "a whole number" if self.column.is_integer else "a number"
        span = f"{kind} from {self.lower:g} to {self.upper:g}"
        return f"{span}, or {schema.MISSING} for missing" if self.column.missing_allowed else span

    def good(self, values: Floats) -> Mask:
        """Which values are allowed. NaN is not."""
        good: Mask = (values >= self.lower) & (values <= self.upper)
        if self.column.is_integer:
            good &= np.floor(values) == values
        if self.column.missing_allowed:
            good |= values == schema.MISSING
        return good


def check_rows(chunk: Chunk, headroom: float) -> Checked:
    """Part a chunk's rows.

    Args:
        chunk: as it was read.
        headroom: ordinal and continuous values may be up to this many times the schema's largest.
    """
    count = chunk.table.num_rows
    ids, good_ids = _ids(_plain(chunk.table, schema.ID))
    wrong: dict[str, Mask] = {} if good_ids.all() else {schema.ID: ~good_ids}
    features = np.empty((count, len(schema.FEATURES)), order="F")
    for position, rule in enumerate(_rules(headroom)):
        values = _numbers(_plain(chunk.table, rule.column.name))
        features[:, position] = values
        good = rule.good(values)
        if not good.all():
            wrong[rule.column.name] = ~good
    if not wrong and not chunk.broken:
        return Checked(ids, features, None, {})
    bad = np.logical_or.reduce([np.zeros(count, dtype=np.bool_), *wrong.values()])
    reasons = {name: int(np.count_nonzero(mask)) for name, mask in wrong.items()}
    if chunk.broken:
        reasons[LINE] = len(chunk.broken)
    table = _bad_rows(chunk, np.flatnonzero(bad), wrong, _expected(headroom))
    return Checked(ids[~bad], features[~bad], table, reasons)


@cache
def _rules(headroom: float) -> tuple[_Rule, ...]:
    lower, upper = bounds(headroom)
    limits = zip(schema.FEATURES, lower.tolist(), upper.tolist(), strict=True)
    return tuple(_Rule(column, least, most) for column, least, most in limits)


@cache
def _expected(headroom: float) -> dict[str, str]:
    features = {rule.column.name: rule.expected for rule in _rules(headroom)}
    return {schema.ID: "a whole number from 0", **features}


def _plain(table: pa.Table, name: str) -> Any:
    """A column in one piece, and not as codes of a dictionary."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    # Of a table of one piece, this copies nothing.
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _numbers(values: Any) -> Floats:
    """Values as floats; NaN where there is none, or no number."""
    if _is_text(values):
        values = _parsed(values, pa.float64())
    numbers: Floats = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def _ids(values: Any) -> tuple[NDArray[np.int64], Mask]:
    """Values as whole numbers, and which of them are ids: whole numbers from 0 that no rounding made."""
    if _is_text(values):
        values = _parsed(values, pa.int64())
    if pa.types.is_integer(values.type) and not pa.types.is_uint64(values.type):
        good = pc.fill_null(pc.greater_equal(values, 0), False).to_numpy(zero_copy_only=False)
        ids = pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        return ids, good
    floats = _numbers(values)
    good = (floats >= 0) & (floats < _EXACT_FLOAT) & (np.floor(floats) == floats)
    return np.where(good, floats, 0).astype(np.int64), good


def _is_text(values: Any) -> bool:
    return bool(pa.types.is_string(values.type) or pa.types.is_large_string(values.type))


def _parsed(values: Any, kind: Any) -> Any:
    """Text as numbers, by the same parser as CSV's; null where it is none."""
    pattern = _NUMBER if pa.types.is_floating(kind) else r'^\s*("\s*-?\d{1,18}\s*"|-?\d{1,18})\s*$'
    is_number = pc.match_substring_regex(values, pattern)
    plain = pc.if_else(is_number, values, pa.scalar(None, values.type))
    return pc.utf8_trim(plain, ' \t\r\n\f\v"').cast(kind)


def _bad_rows(
    chunk: Chunk, bad: NDArray[np.int64], wrong: Mapping[str, Mask], expected: Mapping[str, str]
) -> pa.Table:
    raw = {name: _plain(chunk.table, name).take(pa.array(bad)) for name in NEEDED}
    texts = {name: _text(values) for name, values in raw.items()}
    said = [
        _said(name, raw[name], texts[name], mask[bad], expected[name])
        for name, mask in wrong.items()
    ]
    none = pa.nulls(len(bad), pa.string())
    reasons = pc.binary_join_element_wise(*said, "; ", null_handling="skip") if len(bad) else none
    rows = {"row": pa.array(chunk.rows[bad]), "reasons": reasons, LINE: none, **texts}
    table = pa.table(rows)
    if not chunk.broken:
        return table
    lines = pa.table(
        {
            "row": pa.array([line.row for line in chunk.broken], pa.int64()),
            "reasons": pa.array([line.reason for line in chunk.broken], pa.string()),
            LINE: pa.array([line.text for line in chunk.broken], pa.string()),
            **{name: pa.nulls(len(chunk.broken), pa.string()) for name in NEEDED},
        }
    )
    return pa.concat_tables([table, lines]).sort_by("row")


def _text(values: Any) -> Any:
    return values.cast(pa.string())


def _said(name: str, raw: Any, texts: Any, wrong: Mask, expected: str) -> Any:
    """For each row what is wrong with one column, null where nothing is."""
    if _is_text(raw):
        # As JSON has it: control characters of a damaged file do not belong on a person's terminal.
        shown = pa.array([_quoted(text) for text in texts.to_pylist()], pa.string())
    else:
        shown = pc.fill_null(texts, "empty")
    said = pc.binary_join_element_wise(f"{name} is ", shown, f", expected {expected}", "")
    return pc.if_else(pa.array(wrong), said, pa.scalar(None, pa.string()))


def _quoted(text: str | None) -> str:
    if not text or not text.strip():
        return "empty"
    return json.dumps(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...", ensure_ascii=False)


def total(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Reasons of several chunks together, the most frequent first."""
    summed: dict[str, int] = {}
    for reasons in counts:
        for name, times in reasons.items():
            summed[name] = summed.get(name, 0) + times
    return dict(sorted(summed.items(), key=lambda item: (-item[1], item[0])))
