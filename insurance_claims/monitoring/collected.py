"""Collected rows and labels as Parquet files, in a folder or in a container of Azure Storage.

::

    rows/day=2026-11-21/model_version=3/101500-5f0c2a9be1d47c33.parquet
    rows/day=2026-11-20/model_version=3/merged-0c1d47c33a52bf9e.parquet
    labels/SHA256.parquet

A file is there whole or not at all. pyarrow is imported when something is read or written: it takes a moment, and
whoever does not collect does without.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from insurance_claims import schema
from insurance_claims.errors import ClaimsError
from insurance_claims.files import write_whole
from insurance_claims.ingestion.storage import (
    ContainerAddress,
    StorageError,
    arrow_files,
    container_address,
)

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = "rows"
LABELS = "labels"
TIME, REQUEST_ID, ROW, MODEL_NAME, MODEL_VERSION, SCORE = (
    "time request_id row model_name model_version score".split()
)
"""Columns of collected rows beside the features: when (UTC), which request, which of its rows from 0, the answer."""


class CollectionError(ClaimsError):
    """Scored rows cannot be kept, or read back."""


class Place(Protocol):
    """Where files are kept. Names have slashes between their parts."""

    def write(self, name: str, table: pa.Table) -> None:
        """Keep a file, whole or not at all. The same name again replaces it."""

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder and below, sorted; none where there is no such folder."""

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A file, or some columns of it: those of them that it has."""

    def remove(self, name: str) -> None:
        """Remove a file; a folder that has none any more goes with it."""


def open_place(location: str) -> Place:
    """The folder or container that a location names.

    Raises:
        CollectionError: it cannot be one, or nobody is logged in.
    """
    if "://" not in location:
        return _Folder(Path(location))
    try:
        return _Container(container_address(location))
    except StorageError as error:
        raise CollectionError(str(error)) from None


def partition(day: str, version: int) -> str:
    """The folder of one day's rows (UTC, ISO 8601) that one model version answered."""
    return f"{ROWS}/day={day}/model_version={version}"


def row_schema(omitted: frozenset[str]) -> pa.Schema:
    """Columns of collected rows, without those features that must not be kept."""
    import pyarrow as pa

    features = [
        (column.name, pa.int64() if column.is_integer else pa.float64())
        for column in schema.FEATURES
        if column.name not in omitted
    ]
    return pa.schema(
        [
            (TIME, pa.timestamp("us", "UTC")),
            (REQUEST_ID, pa.string()),
            (ROW, pa.int32()),
            (MODEL_NAME, pa.string()),
            (MODEL_VERSION, pa.int32()),
            (SCORE, pa.float64()),
            *features,
        ]
    )


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def write(self, name: str, table: pa.Table) -> None:
        try:
            write_whole(self._folder / name, packed(table))
        except OSError as error:
            raise CollectionError(f"{self._folder / name}: {error.strerror}") from None

    def names(self, folder: str) -> list[str]:
        found = (self._folder / folder).rglob("[!.]*.parquet")
        return sorted(path.relative_to(self._folder).as_posix() for path in found)

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        return _read(self._folder / name, str(self._folder / name), columns)

    def remove(self, name: str) -> None:
        path = self._folder / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CollectionError(f"{path}: {error.strerror}") from None
        for folder in path.relative_to(self._folder).parents[:-1]:
            # It is not empty, or somebody was faster.
            with suppress(OSError):
                (self._folder / folder).rmdir()


class _Container:
    def __init__(self, address: ContainerAddress) -> None:
        self._name = address.container
        try:
            self._files = arrow_files(address)
        except OSError as error:
            raise self._error(self._name, error) from None

    def write(self, name: str, table: pa.Table) -> None:
        content = packed(table)
        try:
            with self._files.open_output_stream(f"{self._name}/{name}") as stream:
                stream.write(content)
        except OSError as error:
            raise self._error(name, error) from None

    def names(self, folder: str) -> list[str]:
        from pyarrow.fs import FileSelector, FileType

        where = FileSelector(f"{self._name}/{folder}", allow_not_found=True, recursive=True)
        try:
            found = self._files.get_file_info(where)
        except OSError as error:
            raise self._error(folder, error) from None
        # Arrow makes a blob of nothing before it fills it: a writer that was killed leaves that.
        whole = (item.path for item in found if item.type is FileType.File and item.size)
        return sorted(path.removeprefix(f"{self._name}/") for path in whole)

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        try:
            with self._files.open_input_file(f"{self._name}/{name}") as file:
                return _read(file, name, columns)
        except OSError as error:
            raise self._error(name, error) from None

    def remove(self, name: str) -> None:
        try:
            self._files.delete_file(f"{self._name}/{name}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(name, error) from None

    def _error(self, name: str, error: OSError) -> CollectionError:
        # What follows may hold the address with its shared access signature.
        reason = str(error).partition("http")[0].strip() or type(error).__name__
        return CollectionError(f"{name} in container {self._name}: {reason}")


def packed(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _read(source: Any, name: str, columns: list[str] | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # A table of a path would have columns for the names of its folders.
        with pq.ParquetFile(source) as file:
            there = file.schema_arrow.names
            chosen = None if columns is None else [name for name in columns if name in there]
            return file.read(columns=chosen)
    except FileNotFoundError:
        raise CollectionError(f"{name} is gone") from None
    except (pa.ArrowException, OSError) as error:
        raise CollectionError(f"{name} cannot be read: {error}") from None
