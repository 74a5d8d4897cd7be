"""The frozen holdout of a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from insurance_claims import schema
from insurance_claims.errors import ClaimsError, DataError
from insurance_claims.evaluate.metrics import Floats
from insurance_claims.files import read_json

HOLDOUT_FILE = "holdout.parquet"


@dataclass(frozen=True)
class Holdout:
    """Rows that no model was trained on.

    Attributes:
        features: shape (n, 57), in the schema's order.
        target: shape (n,), 0 or 1.
        manifest: of the dataset folder.
    """

    features: Floats
    target: Floats
    manifest: dict[str, Any]

    def column(self, name: str) -> Floats:
        """One feature's values, shape (n,)."""
        return self.features[:, schema.FEATURE_NAMES.index(name)]


def read_holdout(folder: Path) -> Holdout:
    """Read and check the holdout of a dataset folder.

    Raises:
        DataError: a file is missing or damaged, was made for another schema, lacks a column, holds
            no row, a null or NaN, or other rows than the manifest says.
    """
    manifest = _manifest(folder)
    path = folder / HOLDOUT_FILE
    wanted = [schema.TARGET, *schema.FEATURE_NAMES]
    try:
        lacking = sorted(set(wanted) - set(pq.read_schema(path).names))
        if lacking:
            raise DataError(f"{path} lacks {', '.join(lacking)}: prepare the dataset again")
        table = pq.read_table(path, columns=wanted)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: --dataset has to be prepare's output") from None
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} cannot be read: {error}: prepare the dataset again") from None
    if table.num_rows != manifest["rows"]["holdout"]:
        raise DataError(
            f"{path} has {table.num_rows:,} rows, the manifest says "
            f"{manifest['rows']['holdout']:,}: prepare the dataset again"
        )
    if table.num_rows == 0:
        raise DataError(f"{path} has no rows: add data, or make a larger holdout (split.holdout)")
    features = np.empty((table.num_rows, len(schema.FEATURE_NAMES)))
    for position, name in enumerate(schema.FEATURE_NAMES):
        features[:, position] = _numbers(path, table, name)
    target = _numbers(path, table, schema.TARGET)
    if not ((target == 0) | (target == 1)).all():
        raise DataError(f"{path}: {schema.TARGET} holds values other than 0 and 1")
    return Holdout(features, target, manifest)


def _numbers(path: Path, table: pa.Table, name: str) -> Floats:
    try:
        values = table.column(name).cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        raise DataError(f"{path}: {name} is no number: prepare the dataset again") from None
    if np.isnan(values).any():
        raise DataError(
            f"{path}: {name} holds nulls or NaN; a missing value is {schema.MISSING}: "
            "prepare the dataset again"
        )
    return np.asarray(values, dtype=np.float64)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest = read_json(path)
    except ClaimsError as error:
        raise DataError(f"{folder} is not a dataset folder: {error}") from None
    try:
        version = manifest["schema_version"]
        wanted = manifest["rows"]["holdout"], manifest["split"], manifest["data"]["sha256"]
    except (KeyError, TypeError):
        raise DataError(f"{path} does not describe a dataset: prepare it again") from None
    if version != schema.SCHEMA_VERSION or None in wanted:
        raise DataError(
            f"{path} was made for schema {version}, this is {schema.SCHEMA_VERSION}: "
            "prepare it again"
        )
    return dict(manifest)
