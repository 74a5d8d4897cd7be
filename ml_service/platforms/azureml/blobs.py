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
_RETRIES: dict[str, Any] = {
    "retry_total": 4,
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
}
"""The library's own waits are of 15 s and more: too long for whoever looks at a command."""


def container_client(datastore: Any) -> Any:
    """The ``ContainerClient`` of a datastore, with the datastore's own credentials.

    Args:
        datastore: of the SDK.

    Raises:
        PlatformError: it is not a blob container.
    """
    from azure.storage.blob import ContainerClient

    if getattr(datastore, "blob_service", None) is None:
        raise PlatformError(
            f"datastore {datastore.name} is of type {datastore.datastore_type}: set DATASTORE_NAME to one that is "
            "an Azure blob container"
        )
    key = {"account_name": datastore.account_name, "account_key": datastore.account_key}
    return ContainerClient(
        f"https://{datastore.account_name}.blob.{datastore.endpoint}",
        datastore.container_name,
        credential=datastore.sas_token or (key if datastore.account_key else None),
        **_RETRIES,
    )


class Blobs:
    """The files of a datastore.

    ``Datastore.upload_files`` does the same, without telling how far it is within a file.

    Args:
        datastore: of the SDK.

    Raises:
        PlatformError: it is not a blob container.
    """

    def __init__(self, datastore: Any) -> None:
        self.datastore = str(datastore.name)
        self._container = container_client(datastore)

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
