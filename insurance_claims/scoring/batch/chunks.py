"""What readers hand on: some rows of a file, as they stand in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError

NEEDED = (schema.ID, *schema.FEATURE_NAMES)
"""The columns that are read, in the order in which they are handed on."""

_LISTED = 5


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line of a CSV file that is no row.

    Attributes:
        row: its number; the header of a file is line 1.
        text: all of it.
        reason: why it is none.
    """

    row: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of a file, which become one part of the output.

    Attributes:
        number: 0, 1, ... within the file.
        table: the columns NEEDED, each of numbers or of text.
        rows: shape (n,): each row's line in a CSV file, where the header is line 1; in Parquet its number from 1.
        broken: lines that are no rows.
        size: bytes of the file that it took, as they are stored: those of all chunks are the file's.
        last: whether the file ends here.
    """

    number: int
    table: pa.Table
    rows: NDArray[np.int64]
    broken: tuple[BrokenLine, ...]
    size: int
    last: bool


def ignored_columns(path: str, names: Sequence[str], hint: str = "") -> list[str]:
    """Make sure that a file has every column that is needed, once; list those that are not looked at.

    Args:
        path: of the file, for messages.
        names: of its columns.
        hint: completes the message on columns that are missing.

    Returns:
        Names of columns that the schema does not know. The target is known.

    Raises:
        DataError: a column is missing, or there twice.
    """
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(
            f"{path} names {len(twice)} columns more than once: {_listed(twice)}. Each needs its own name"
        )
    lacking = [name for name in NEEDED if name not in names]
    if lacking:
        raise DataError(
            f"{path} lacks {len(lacking)} of the {len(NEEDED)} columns that scoring needs: {_listed(lacking)}{hint}"
        )
    return [name for name in names if name not in NEEDED and name != schema.TARGET]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
