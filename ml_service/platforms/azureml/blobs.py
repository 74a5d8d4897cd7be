"""Files on a blob datastore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_service.platforms.base import Log, PlatformError

_STEP = 10
"""Progress is told each time so many percent more are done."""
_TOLD_FROM = 10_000_000
"""Bytes: smaller files are there before anybody reads a line."""
_AT_ONCE = 4


class Blobs:
    """The files of a datastore, through the client that the SDK opened with the datastore's own credentials.

    ``Datastore.upload_files`` does the same, without telling how far it is within a file.

    Args:
        datastore: of the SDK.

    Raises:
        PlatformError: it is not a blob container.
    """

    def __init__(self, datastore: Any) -> None:
        self.datastore = str(datastore.name)
        service = getattr(datastore, "blob_service", None)
        if service is None:
            raise PlatformError(
                f"datastore {self.datastore} is of type {datastore.datastore_type}: set DATASTORE_NAME to one that is "
                "an Azure blob container"
            )
        self._container = service.get_container_client(datastore.container_name)

    def upload(self, file: Path, name: str, log: Log | None = None) -> None:
        """Write a blob from a file, whatever was there before; it appears whole.

        Args:
            file: what to upload.
            name: of the blob.
            log: gets the progress of a large file.
        """
        size = file.stat().st_size
        tell = _progress(file.name, size, log) if log and size >= _TOLD_FROM else None
        with file.open("rb") as content:
            self._container.upload_blob(
                name, content, overwrite=True, max_concurrency=_AT_ONCE, progress_hook=tell
            )

    def download(self, name: str, file: Path) -> None:
        """Write a file from a blob."""
        with file.open("wb") as target:
            self._container.download_blob(name, max_concurrency=_AT_ONCE).readinto(target)

    def read(self, name: str) -> bytes:
        """The content of a small blob."""
        content: bytes = self._container.download_blob(name).readall()
        return content


def _progress(name: str, size: int, log: Log) -> Callable[[int, int | None], None]:
    told = 0

    def tell(done: int, _total: int | None) -> None:
        nonlocal told
        percent = done * 100 // size
        if percent >= told + _STEP or (done == size and told < 100):
            told = percent
            log(f"{name}: {percent}% of {size / 1e6:,.0f} MB")

    return tell
