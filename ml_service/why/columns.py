"""Columns that differ between two versions of a data set by more than chance explains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from insurance_claims.drift.features import compare
from insurance_claims.drift.statistics import share_difference
from insurance_claims.parameters import load_parameters
from insurance_claims.schema import FEATURE_NAMES, MISSING, PERIOD, TARGET

_FILE = "data.parquet"
_NOTABLE_SHARE = 0.01
"""Of the rows: with fewer outside, a range is that of other rows and not another range."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """How one column differs.

    Attributes:
        name: of the column.
        differences: in words: range, missing share, distribution.
    """

    name: str
    differences: tuple[str, ...]

    def describe(self) -> str:
        """In one line."""
        return f"{self.name}: {', '.join(self.differences)}"


def changed_columns(old: Path, new: Path) -> tuple[ColumnChange, ...]:
    """Columns that differ between two data versions, in the schema's order.

    What counts is what counts as drift: ``monitoring`` in parameters.yml.

    Args:
        old: folder of the earlier version.
        new: folder of the later version.

    Raises:
        ClaimsError: a version or the parameters cannot be read.
    """
    limits = load_parameters().monitoring
    # Column by column, for a version may be as large as this machine's memory; so each gets its share of the chance.
    limits = limits.model_copy(update={"alpha": limits.alpha / len(FEATURE_NAMES)})
    before, after = (pq.ParquetFile(folder / _FILE) for folder in (old, new))
    names = [before.schema_arrow.names, after.schema_arrow.names]
    found = [ColumnChange(name, ("is gone",)) for name in names[0] if name not in names[1]]
    found += [ColumnChange(name, ("is new",)) for name in names[1] if name not in names[0]]
    for name in (
        name
        for name in (TARGET, *FEATURE_NAMES)
        if name in names[0] and name in names[1] and name != PERIOD
    ):
        a, b = _values(before, name), _values(after, name)
        if name == TARGET:
            claims = int((a > 0).sum()), int((b > 0).sum())
            rate = share_difference((claims[0], a.size), (claims[1], b.size))
            shares = f"{claims[0] / a.size:.2%} -> {claims[1] / b.size:.2%}"
            said = [f"claim rate {shares}"] * (rate.p_value < limits.alpha)
        else:
            [drift] = compare({name: a}, {name: b}, limits)
            said = [*_range(a, b), *drift.reasons]
        found += [ColumnChange(name, tuple(said))] if said else []
    return tuple(found)


def _values(file: Any, name: str) -> Floats:
    return np.asarray(file.read(columns=[name]).column(0).to_numpy(), dtype=np.float64)


def _range(old: Floats, new: Floats) -> list[str]:
    """Where the values lie, if many lie where none did before."""
    old, new = (values[values != MISSING] for values in (old, new))
    if not old.size or not new.size:
        return []
    outside = float(((new < old.min()) | (new > old.max())).mean())
    if outside <= _NOTABLE_SHARE:
        return []
    return [
        f"{old.min():g} to {old.max():g} -> {new.min():g} to {new.max():g}, {outside:.0%} of the rows outside"
    ]
