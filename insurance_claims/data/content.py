"""Versions of the data: named by the hash of their content, and checked by it when they are read.

The hash is of what the rows say, not of the bytes of a file: the same rows are the same version whether they came as
CSV, gzipped or as Parquet, and whatever release of a library wrote them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from insurance_claims.data.validate import canonical
from insurance_claims.errors import ClaimsError, DataError
from insurance_claims.files import read_json, write_json
from insurance_claims.schema import COLUMNS, SCHEMA_VERSION, TARGET, is_whole

DATA_FILE = "data.parquet"
MANIFEST_FILE = "manifest.json"
_FORMAT = "data content 1"
_MANIFEST_KEYS = frozenset(
    "name version sha256 rows claim_rate created source schema_version".split()
)


def content_sha256(table: pd.DataFrame) -> str:
    """The SHA-256 of a table's content, as 64 hexadecimal digits.

    Hashed are a line of JSON with the format's name, the number of rows and each column's name and type; then column
    by column the values as little-endian 8-byte numbers, or for text each value's length in bytes (-1 for none)
    followed by all values in UTF-8.

    Args:
        table: valid; it is brought into its canonical form first.
    """
    return _digest(canonical(table))


def _digest(table: pd.DataFrame) -> str:
    columns = [[str(name), _kind(table[name])] for name in table.columns]
    header = {"format": _FORMAT, "rows": len(table), "columns": columns}
    digest = hashlib.sha256(json.dumps(header).encode() + b"\n")
    for name in table.columns:
        for block in _blocks(table[name]):
            digest.update(block)
    return digest.hexdigest()


def write_version(
    table: pd.DataFrame, folder: Path, *, name: str, version: int, created: str, source: str
) -> dict[str, Any]:
    """Write ``data.parquet`` and ``manifest.json`` into an existing folder.

    Args:
        table: valid, with the target.
        folder: where to write; give a folder of ``whole_folder`` so that the version appears whole.
        name: of the data set.
        version: 1, 2, ...
        created: UTC, ISO 8601.
        source: the file's name that it came from.

    Returns:
        The manifest.
    """
    table = canonical(table)
    manifest = {
        "name": name,
        "version": version,
        "sha256": content_sha256(table),
        "rows": len(table),
        "claim_rate": float((table[TARGET] > 0).mean()),
        "created": created,
        "source": source,
        "schema_version": SCHEMA_VERSION,
    }
    write_parquet(table, folder / DATA_FILE)
    with (folder / DATA_FILE).open("rb") as file:
        # Unlike a dataset, a version cannot be made again when power fails.
        os.fsync(file.fileno())
    write_json(folder / MANIFEST_FILE, manifest)
    return manifest


def read_version(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a version and make sure that it is what was written.

    Returns:
        The table in its canonical form, and the manifest.

    Raises:
        DataError: the folder is no version, is damaged or was changed, or is of another schema.
    """
    try:
        manifest = read_json(folder / MANIFEST_FILE)
    except (ClaimsError, OSError) as error:
        raise DataError(f"{folder} is not a data version: {error}") from None
    if not isinstance(manifest, dict) or not manifest.keys() >= _MANIFEST_KEYS:
        raise DataError(f"{folder / MANIFEST_FILE} does not describe a data version")
    if manifest["schema_version"] != SCHEMA_VERSION:
        raise DataError(
            f"{folder} was made for schema {manifest['schema_version']}, this is {SCHEMA_VERSION}: add the data again"
        )
    path = folder / DATA_FILE
    try:
        table = pq.read_table(path).to_pandas(ignore_metadata=True, split_blocks=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    # As it was stored: the canonical form of a schema that has changed since is another one.
    if _digest(table) != manifest["sha256"]:
        raise DataError(
            f"{path} was changed after it was written: its content is not that of {MANIFEST_FILE}"
        )
    _refuse_other_columns(folder, table)
    return table, manifest


def _refuse_other_columns(folder: Path, table: pd.DataFrame) -> None:
    stored = [(name, _kind(table[name])) for name in table.columns[: len(COLUMNS)]]
    expected = [(name, "int64" if is_whole(name) else "float64") for name in COLUMNS]
    if stored != expected:
        changed = sorted({name for name, _ in set(stored) ^ set(expected)})
        raise DataError(
            f"{folder} was written for other columns than schema.py names now "
            f"({', '.join(changed) or 'in another order'}): raise SCHEMA_VERSION, and add the data again"
        )


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table to a file, without its index."""
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path, compression="zstd")


def _kind(series: pd.Series[Any]) -> str:
    return {"i": "int64", "f": "float64"}.get(series.dtype.kind, "text")


def _blocks(series: pd.Series[Any]) -> Iterator[bytes | memoryview]:
    if series.dtype.kind == "i":
        yield np.ascontiguousarray(series.to_numpy(), dtype="<i8").data.cast("B")
        return
    if series.dtype.kind == "f":
        values = series.to_numpy()
        # NaN has many bit patterns and one meaning.
        values = np.where(np.isnan(values), np.nan, values)
        yield np.ascontiguousarray(values, dtype="<f8").data.cast("B")
        return
    texts = [None if text is None else str(text).encode() for text in series]
    lengths = [-1 if text is None else len(text) for text in texts]
    yield np.array(lengths, dtype="<i8").tobytes()
    yield b"".join(text for text in texts if text)
