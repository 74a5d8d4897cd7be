"""The dataset folder, read: what prepare wrote and training and evaluation read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import ClaimsError, DataError
from insurance_claims.files import read_json

_AGAIN = "prepare the dataset again"


@dataclass(frozen=True)
class Rows:
    """Rows of one or more parts, in this order.

    Attributes:
        features: shape (n, 57), in the schema's order, column by column in memory.
        target: shape (n,), as the schema's problem has it.
        counts: number of rows of each part.
    """

    features: NDArray[np.float64]
    target: NDArray[np.float64]
    counts: tuple[int, ...]


def read_dataset_manifest(folder: Path) -> dict[str, Any]:
    """Read and check a dataset folder's manifest.json.

    Raises:
        DataError: it is missing, does not describe a dataset, or is of another schema.
    """
    path = folder / "manifest.json"
    try:
        manifest = read_json(path)
    except ClaimsError as error:
        raise DataError(f"{folder} is not a dataset folder: {error}") from None
    try:
        version = manifest["schema_version"]
        lacking = {"name", "version", "sha256", "rows"} - manifest["data"].keys()
        lacking |= {"split", "rows", "claims"} - manifest.keys()
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{path} does not describe a dataset: {_AGAIN}") from None
    if lacking:
        raise DataError(f"{path} lacks {', '.join(sorted(lacking))}: {_AGAIN}")
    if version != schema.SCHEMA_VERSION:
        raise DataError(
            f"{path} was made for schema {version}, this is {schema.SCHEMA_VERSION}: {_AGAIN}"
        )
    return dict(manifest)


def read_parts(folder: Path, manifest: dict[str, Any], parts: Sequence[str]) -> Rows:
    """Read and check parts of a dataset folder.

    Args:
        folder: written by prepare.
        manifest: of the folder.
        parts: ``train``, ``validation`` or ``holdout``.

    Raises:
        DataError: a file is missing or damaged, lacks a column, holds no rows, a null or NaN, or another number of
            rows than the manifest says.
    """
    tables = [_read(folder / f"{part}.parquet", manifest["rows"].get(part, 0)) for part in parts]
    table = pa.concat_tables(tables)
    # Column by column into Fortran order: no second copy, and the layout that LightGBM bins fastest.
    features = np.empty((table.num_rows, len(schema.FEATURE_NAMES)), order="F")
    for position, name in enumerate(schema.FEATURE_NAMES):
        features[:, position] = _numbers(folder, table, name)
    target = _numbers(folder, table, schema.TARGET)
    facts = schema.PROBLEM.facts
    if not facts.fits(target).all():
        raise DataError(
            f"{folder}: {schema.TARGET} holds values other than {facts.values}: {_AGAIN}"
        )
    return Rows(features, target, tuple(part.num_rows for part in tables))


def _read(path: Path, expected: int) -> pa.Table:
    columns = [schema.TARGET, *schema.FEATURE_NAMES]
    try:
        lacking = sorted(set(columns) - set(pq.read_schema(path).names))
        if lacking:
            raise DataError(f"{path} lacks {', '.join(lacking)}: {_AGAIN}")
        table = pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: --dataset has to be prepare's output") from None
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} cannot be read: {error}: {_AGAIN}") from None
    if table.num_rows != expected:
        raise DataError(
            f"{path} has {table.num_rows:,} rows, the manifest says {expected:,}: {_AGAIN}"
        )
    if table.num_rows == 0:
        raise DataError(f"{path} has no rows: add data, or change the shares of the split")
    return table


def _numbers(folder: Path, table: pa.Table, name: str) -> NDArray[np.float64]:
    try:
        values = table.column(name).cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        raise DataError(f"{folder}: {name} is no number: {_AGAIN}") from None
    if np.isnan(values).any():
        raise DataError(
            f"{folder}: {name} holds nulls or NaN; a missing value is {schema.MISSING}: {_AGAIN}"
        )
    return np.asarray(values, dtype=np.float64)
