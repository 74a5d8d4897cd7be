"""Blobs of Azure Storage, or of an emulator of it: found by address, folder or pattern. Read through Arrow.

Who logs in is said by the environment of the process that reads, never by an address:
AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or else the identity of the machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from insurance_claims.errors import DataError
from insurance_claims.ingestion.storage import (
    ContainerAddress,
    StorageError,
    arrow_files,
    container_address,
)
from insurance_claims.scoring.batch.sources import Look, is_data, reason

_HEAD = 64
"""First bytes that are read to tell a format."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob.

    Attributes:
        container: that it is in.
        path: its name there.
    """

    container: ContainerAddress
    path: str
    remote = True

    @property
    def name(self) -> str:
        """Its address."""
        return f"{self.container.account_url}/{self.container.container}/{self.path}"

    def look(self) -> Look:
        """Look at it. The service gives every content an ETag of its own."""
        with self.open() as file, _explained(self.name):
            metadata = file.metadata()
            head = file.read(_HEAD)
            size = file.size()
        if size == 0:
            raise DataError(f"{self.name} is empty (0 bytes)")
        etag = _etag(metadata)
        identity = {"modified": _moment(metadata), "etag": etag}
        return Look(head, size, identity, etag)

    def state(self) -> object:
        """Its ETag now."""
        with self.open() as file, _explained(self.name):
            return _etag(file.metadata())

    def open(self) -> Any:
        """An Arrow file to read from: each read is a request."""
        try:
            with _explained(self.name):
                return _files(self.container).open_input_file(_path(self.container, self.path))
        except FileNotFoundError:
            raise DataError(f"{self.name} does not exist any more") from None


def find_blobs(address: str) -> Iterator[Blob]:
    """The blobs that an address stands for, by name.

    Args:
        address: of a blob, of a folder of blobs or of a container (all blobs below it that look like data, as in a
            folder of files), or of blobs whose path matches: ``*`` stands for any part of a name, ``**`` for folders.

    Raises:
        DataError: there is none, or it cannot be looked for.
    """
    container, path = _taken_apart(address)
    if "*" in path:
        matches = _pattern(path).fullmatch
        names = [name for name in _below(container, _fixed(path), address) if matches(name)]
        if not names:
            raise DataError(f"no blob matches {address}")
        yield from (Blob(container, name) for name in names)
        return
    if path and not path.endswith("/"):
        try:
            with _explained(address):
                _files(container).open_input_file(_path(container, path)).close()
        except FileNotFoundError:
            pass
        else:
            yield Blob(container, path)
            return
    folder = f"{path.rstrip('/')}/" if path else ""
    for name in _below(container, folder, address):
        if is_data(tuple(name[len(folder) :].split("/"))):
            yield Blob(container, name)


def _taken_apart(address: str) -> tuple[ContainerAddress, str]:
    """The container, and the path of the blob in it."""
    parts = urlsplit(address)
    names = parts.path.split("/")
    # Of an emulator, the account comes first.
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    depth = 3 if local else 2
    query = f"?{parts.query}" if parts.query else ""
    container = f"{parts.scheme}://{parts.netloc}{'/'.join(names[:depth])}{query}"
    return container_address(container), unquote("/".join(names[depth:]))


@cache
def _files(container: ContainerAddress) -> Any:
    """Of this process alone: another one logs in by itself."""
    try:
        return arrow_files(container)
    except StorageError as error:
        raise DataError(str(error)) from None


def _below(container: ContainerAddress, folder: str, address: str) -> list[str]:
    """Names of all blobs below a folder, sorted."""
    from pyarrow.fs import FileSelector, FileType

    where = _path(container, folder).rstrip("/")
    try:
        with _explained(address):
            found = _files(container).get_file_info(FileSelector(where, recursive=True))
    except FileNotFoundError:
        raise DataError(f"{address} does not exist") from None
    start = len(container.container) + 1
    return sorted(item.path[start:] for item in found if item.type is FileType.File)


def _path(container: ContainerAddress, path: str) -> str:
    return f"{container.container}/{path}"


def _fixed(pattern: str) -> str:
    """The folder that every match lies below."""
    return pattern[: pattern.index("*")].rpartition("/")[0]


def _pattern(pattern: str) -> re.Pattern[str]:
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    parts = re.split(r"(\*\*/|\*\*|\*)", pattern)
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts), re.DOTALL)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """One reason for what Arrow raises; that something does not exist passes through."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        text = str(error)
        if any(word in text for word in (" 401 ", " 403 ", "Credential", "authentication")):
            logged = "key or token" if os.environ.keys() & _LOGINS else "identity of this machine"
            raise DataError(
                f"{name} may not be read: the service refuses the {logged} ({_code(text)}). Set "
                "AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN with the right to read "
                "and list, or give the identity the role Storage Blob Data Reader"
            ) from None
        raise DataError(f"{name} cannot be read: {reason(error)}") from None


_LOGINS = {"AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"}


def _code(text: str) -> str:
    found = re.search(r"\[(\w+)\] (\d{3})", text)
    return f"{found[2]} {found[1]}" if found else "no login"


def _etag(metadata: Any) -> str:
    return str(metadata["ETag"].decode()).strip('"')


def _moment(metadata: Any) -> str:
    text = metadata["Last-Modified"].decode()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    return moment.astimezone(UTC).isoformat(timespec="seconds")
