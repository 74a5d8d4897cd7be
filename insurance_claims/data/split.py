"""Which rows are for training, validation and holdout: decided by each row's id alone.

A row stays where it is when rows are added, removed or reordered, so that models trained months apart are judged on
rows that neither has seen.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from insurance_claims.errors import DataError
from insurance_claims.parameters import SplitParameters
from insurance_claims.schema import ID, TARGET

TRAIN: Final = "train"
VALIDATION: Final = "validation"
HOLDOUT: Final = "holdout"
PARTS: Final = (TRAIN, VALIDATION, HOLDOUT)


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
    labels = assign(table[ID].to_numpy(), split)
    parts = {name: table[labels == name] for name in PARTS}
    claims = claims_of(parts)
    if any(not 0 < claims[name] < len(part) for name, part in parts.items()):
        counts = "; ".join(
            f"{name} has {claims[name]} claims in {len(parts[name])} rows" for name in PARTS
        )
        raise DataError(
            f"each part of the split needs rows with and without a claim: {counts}. "
            "Add data, or change the split's shares"
        )
    for part in parts.values():
        part.index = pd.RangeIndex(len(part))
    return parts


def claims_of(parts: dict[str, pd.DataFrame]) -> dict[str, int]:
    """Number of rows with a claim in each part."""
    return {name: int(part[TARGET].sum()) for name, part in parts.items()}
