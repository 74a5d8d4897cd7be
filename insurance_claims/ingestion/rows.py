"""Rows parted by the data contract: those that keep it, and those that do not, with every reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.data.contract import Mask, Rule, value_rules
from insurance_claims.ingestion.blocks import Block

LINE = "line"
"""Stands for lines that are no rows, where reasons are counted by column."""

_SHOWN = 60
"""Characters of a value that a reason repeats at most."""
_EMPTY = Rule("missing value", np.isnan, "empty")
_NO_NUMBER = Rule("number", np.isnan, "no number")


@dataclass(frozen=True, slots=True)
class Parted:
    """A block of rows, parted.

    Attributes:
        good: rows that keep the contract, in the types that versions have; added columns are text.
        rows: shape (n,): number of each good row.
        bad: the other rows: ``row``, ``reasons``, ``line`` where it is no row, and every column as text. None where
            all are good.
        reasons: how often each column is to blame.
    """

    good: pa.Table
    rows: NDArray[np.int64]
    bad: pa.Table | None
    reasons: Mapping[str, int]


def part_rows(block: Block) -> Parted:
    """Check every value of a block."""
    count = block.table.num_rows
    columns: dict[str, Any] = {}
    wrong: list[tuple[str, Rule, Mask]] = []
    for name in block.table.column_names:
        column = block.table.column(name)
        if name not in schema.COLUMNS:
            columns[name] = column
            continue
        values, found = _checked(name, column)
        columns[name] = values
        wrong += [(name, rule, mask) for rule, mask in found]
    bad = np.zeros(count, dtype=np.bool_)
    for _, _, mask in wrong:
        bad |= mask
    good = ~bad
    table = pa.table({name: _typed(name, values, good, bad) for name, values in columns.items()})
    reasons: dict[str, int] = {}
    for name, _, mask in wrong:
        reasons[name] = reasons.get(name, 0) + int(np.count_nonzero(mask))
    if block.broken:
        reasons[LINE] = len(block.broken)
    refused = _refused(block, np.flatnonzero(bad), wrong) if reasons else None
    return Parted(table, block.rows[good] if bad.any() else block.rows, refused, reasons)


@cache
def good_schema(added: tuple[str, ...]) -> pa.Schema:
    """Names and types of good rows."""
    fields = [(name, _arrow_type(name)) for name in schema.COLUMNS]
    return pa.schema(fields + [(name, pa.string()) for name in added])


def refuse(table: pa.Table, rows: NDArray[np.int64], reason: str) -> pa.Table:
    """Good rows as bad ones, for one reason.

    Args:
        table: of ``Parted.good``.
        rows: their numbers.
        reason: that all of them share.
    """
    facts = {"row": pa.array(rows), "reasons": pa.array([reason] * len(rows), pa.string())}
    texts = {name: table.column(name).cast(pa.string()) for name in table.column_names}
    return pa.table({**facts, LINE: pa.nulls(len(rows), pa.string()), **texts})


def _checked(name: str, column: Any) -> tuple[Any, list[tuple[Rule, Mask]]]:
    """A column as numbers, and what is wrong with it."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts = column.to_pandas()
        values = pd.to_numeric(texts, errors="coerce").to_numpy()
        if values.dtype.kind not in "if":
            values = values.astype(np.float64)
        nothing = (texts.isna() | (texts.str.strip() == "")).to_numpy(np.bool_)
    else:
        whole = name == schema.ID and pa.types.is_integer(column.type) and not column.null_count
        kind = pa.int64() if whole and not pa.types.is_uint64(column.type) else pa.float64()
        values = column.cast(kind, safe=False).to_numpy()
        nothing = np.isnan(values) if values.dtype.kind == "f" else None
    if values.dtype.kind == "f":
        none = np.isnan(values)
        if none.any():
            found = [(_EMPTY, none & nothing), (_NO_NUMBER, none & ~nothing)]
            values = np.where(none, schema.MISSING, values)
            return values, [
                *((rule, mask) for rule, mask in found if mask.any()),
                *((rule, mask & ~none) for rule, mask in _broken(name, values)),
            ]
    return values, _broken(name, values)


def _broken(name: str, values: NDArray[Any]) -> list[tuple[Rule, Mask]]:
    broken = ((rule, rule.broken(values)) for rule in _rules(name))
    return [(rule, mask) for rule, mask in broken if mask.any()]


@cache
def _rules(name: str) -> tuple[Rule, ...]:
    return value_rules(name)


def _arrow_type(name: str) -> pa.DataType:
    return pa.int64() if schema.is_whole(name) else pa.float64()


def _typed(name: str, values: Any, good: Mask, bad: Mask) -> Any:
    if isinstance(values, np.ndarray):
        if bad.any():
            values = values[good]
        kind = np.int64 if _arrow_type(name) == pa.int64() else np.float64
        return pa.array(values.astype(kind, copy=False))
    return values.filter(pa.array(good)) if bad.any() else values


def _refused(block: Block, bad: NDArray[np.int64], wrong: list[tuple[str, Rule, Mask]]) -> pa.Table:
    taken = block.table.take(pa.array(bad))
    texts = {name: taken.column(name).cast(pa.string()) for name in taken.column_names}
    said: list[list[str]] = [[] for _ in bad]
    for name, rule, mask in wrong:
        values = texts[name].to_pylist()
        for position in np.flatnonzero(mask[bad]):
            value = values[position]
            shown = "" if value is None else f" ({value[:_SHOWN]!r})"
            said[position].append(f"{name}: {rule.says}{shown}")
    facts = {
        "row": pa.array(block.rows[bad]),
        "reasons": pa.array(["; ".join(reasons) for reasons in said], pa.string()),
        LINE: pa.nulls(len(bad), pa.string()),
    }
    table = pa.table({**facts, **texts})
    if not block.broken:
        return table
    lines = {
        "row": pa.array([line.row for line in block.broken], pa.int64()),
        "reasons": pa.array([line.reason for line in block.broken], pa.string()),
        LINE: pa.array([line.text for line in block.broken], pa.string()),
        **{name: pa.nulls(len(block.broken), pa.string()) for name in texts},
    }
    return pa.concat_tables([table, pa.table(lines)])
