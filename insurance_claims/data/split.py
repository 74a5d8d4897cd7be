"""Which rows are for training, validation and holdout: decided by each row's id alone, or by its period.

By its id a row stays where it is when rows are added, removed or reordered, so that models trained months apart are
judged on rows that neither has seen. Where later periods are forecast, the newest are the holdout and those before them
for validation: nothing is judged on a time that the model has seen.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError
from insurance_claims.parameters import SplitParameters
from insurance_claims.problem import Problem
from insurance_claims.schema import ID, TARGET

TRAIN: Final = "train"
VALIDATION: Final = "validation"
HOLDOUT: Final = "holdout"
PARTS: Final = (TRAIN, VALIDATION, HOLDOUT)

LEAST_PERIODS = 3
"""One at least to learn from, to validate on and to judge on."""


def assign(ids: NDArray[np.int64], split: SplitParameters) -> NDArray[np.str_]:
    """The part that each row belongs to.

    Holdout takes the bottom of the hash's range and validation the top, so that changing the share of one moves no row
    of the other.

    Args:
        ids: shape (n,).
        split: shares of holdout and validation, and the salt: another salt is another split.

    Returns:
        Shape (n,), of ``PARTS``.
    """
    place = uniform(ids, split.salt)
    labels = np.full(len(ids), TRAIN, dtype=f"<U{max(map(len, PARTS))}")
    labels[place < split.holdout] = HOLDOUT
    labels[place >= 1 - split.validation] = VALIDATION
    return labels


def assign_periods(periods: NDArray[np.int64], split: SplitParameters) -> NDArray[np.str_]:
    """The part that each row belongs to, by time.

    Args:
        periods: of each row, shape (n,), larger for later ones.
        split: shares of rows; whole periods come as close to them as they can.

    Returns:
        Shape (n,), of ``PARTS``.

    Raises:
        DataError: there are fewer than three periods.
    """
    known, rows = np.unique(periods, return_counts=True)
    if known.size < LEAST_PERIODS:
        raise DataError(
            f"the data has {known.size} period{'s' if known.size > 1 else ''} ({', '.join(map(str, known))}), and a "
            f"forecast takes {LEAST_PERIODS} at least: to learn from, to choose the rounds on, and to be judged on"
        )
    # Share of the rows in the newest so many periods.
    newest = np.cumsum(rows[::-1]) / rows.sum()
    held_out = int(np.abs(newest[:-2] - split.holdout).argmin()) + 1
    before = newest[held_out:-1] - newest[held_out - 1]
    validated = int(np.abs(before - split.validation).argmin()) + 1
    labels = np.full(len(periods), TRAIN, dtype=f"<U{max(map(len, PARTS))}")
    labels[periods >= known[-held_out - validated]] = VALIDATION
    labels[periods >= known[-held_out]] = HOLDOUT
    return labels


def parts_of(table: pd.DataFrame, split: SplitParameters) -> NDArray[np.str_]:
    """The part that each row of a table belongs to: by its period where the schema names one, else by its id.

    Args:
        table: canonical.
        split: as for ``assign``.

    Raises:
        DataError: as for ``assign_periods``, or the schema names no period for a forecast.
    """
    if schema.PROBLEM is Problem.FORECASTING and schema.PERIOD is None:
        raise DataError(
            "schema.py names no PERIOD, the feature that says when a row is from: name it"
        )
    if schema.PERIOD is not None:
        return assign_periods(table[schema.PERIOD].to_numpy(), split)
    return assign(table[ID].to_numpy(), split)


def uniform(ids: NDArray[np.int64], salt: str) -> NDArray[np.float64]:
    """A number in [0, 1) for each id, as good as random and always the same.

    The id, mixed with the SHA-256 of the salt, is the state of one step of SplitMix64: Steele, Lea and Flood, "Fast
    Splittable Pseudorandom Number Generators", OOPSLA 2014; constants as in Vigna's public-domain splitmix64.c.

    Args:
        ids: shape (n,).
        salt: any text.

    Returns:
        Shape (n,), multiples of 2**-53.
    """
    key = np.uint64(int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "little"))
    z = (np.atleast_1d(ids).astype(np.uint64) ^ key) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    # The upper 53 bits are what a float64 holds exactly.
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def split_table(table: pd.DataFrame, split: SplitParameters) -> dict[str, pd.DataFrame]:
    """The rows of each part, in the table's order.

    Args:
        table: canonical, with the target.
        split: as for ``assign``.

    Raises:
        DataError: a part would be empty or hold one class only, so that nothing could be trained or judged on it.
    """
    facts = schema.PROBLEM.facts
    labels = parts_of(table, split)
    parts = {name: table[labels == name] for name in PARTS}
    claims = claims_of(parts)
    if not all(facts.tells_apart(claims[name], len(part)) for name, part in parts.items()):
        counts = "; ".join(
            f"{name} has {claims[name]} claims in {len(parts[name])} rows" for name in PARTS
        )
        raise DataError(
            f"each part of the split needs {facts.needed}: {counts}. "
            "Add data, or change the split's shares"
        )
    for part in parts.values():
        part.index = pd.RangeIndex(len(part))
    return parts


def claims_of(parts: dict[str, pd.DataFrame]) -> dict[str, int]:
    """Number of rows with a claim in each part."""
    return {name: int((part[TARGET] > 0).sum()) for name, part in parts.items()}


def periods_of(parts: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """What the dataset's manifest says of time; empty where the schema names no period.

    Returns:
        ``periods``: the first and the last of each part, and ``naive``: the mean target of the newest that a model may
        learn from, which is what somebody without a model would forecast.
    """
    if schema.PERIOD is None:
        return {}
    newest = parts[VALIDATION]
    last = newest[schema.PERIOD].max()
    naive = float(newest.loc[newest[schema.PERIOD] == last, TARGET].mean())
    ends = {
        name: [int(part[schema.PERIOD].min()), int(part[schema.PERIOD].max())]
        for name, part in parts.items()
    }
    return {"periods": {**ends, "naive": naive}}
