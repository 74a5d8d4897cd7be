"""Some rows of a dataset folder, for a worker that need not hold all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from insurance_claims import schema
from insurance_claims.errors import DataError
from insurance_claims.training.recipe import Matrix


def share(total: int, number: int, parts: int) -> tuple[int, int]:
    """First row of one of several equal parts, and the row after its last."""
    return total * number // parts, total * (number + 1) // parts


def read_block(folder: Path, split: str, start: int, stop: int) -> tuple[Matrix, Matrix]:
    """Read rows of a split, and no row group that holds none of them.

    Args:
        folder: of the dataset.
        split: ``train`` or ``validation``.
        start: number of the first row, from 0.
        stop: number of the row after the last.

    Returns:
        Features, shape (n, 57), in the schema's order; target, shape (n,).

    Raises:
        DataError: the file is not there, or does not hold these rows.
    """
    path = folder / f"{split}.parquet"
    try:
        table = _rows(path, start, stop)
        numbers = [
            table.column(name).cast(pa.float64()).to_numpy()
            for name in (*schema.FEATURE_NAMES, schema.TARGET)
        ]
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} cannot be read: {reason}. Every worker has to find the dataset under the same path; prepare it "
            "again where it is damaged"
        ) from None
    features = np.empty((table.num_rows, len(schema.FEATURE_NAMES)))
    for position, values in enumerate(numbers[:-1]):
        features[:, position] = values
    target = np.asarray(numbers[-1])
    facts = schema.PROBLEM.facts
    if len(target) != stop - start or np.isnan(features).any() or not facts.fits(target).all():
        raise DataError(
            f"{path} holds nulls, a target that is {facts.wrong}, or fewer rows than its manifest says: prepare the "
            "dataset again"
        )
    return features, target


def _rows(path: Path, start: int, stop: int) -> pa.Table:
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        ends = np.cumsum(sizes, dtype=np.int64)
        begins = ends - sizes
        groups = np.flatnonzero((ends > start) & (begins < stop)).tolist()
        table = file.read_row_groups(groups, columns=[*schema.FEATURE_NAMES, schema.TARGET])
        before = int(begins[groups[0]]) if groups else 0
        return table.slice(start - before, stop - start)
