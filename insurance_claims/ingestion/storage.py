"""Where files are dropped, as the step sees it: a folder, or a container of Azure Storage. Read only.

Azure is reached through Arrow. Who logs in is said by the environment, never by an address:
AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, or else the machine's managed identity.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from insurance_claims.errors import ClaimsError

_PIECE = 4 << 20
_ADDRESS = re.compile(r"'?https?://\S+")
"""What Arrow tells of an address holds the shared access signature too."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class StorageError(ClaimsError):
    """A place for files cannot be read."""


class ChangedError(ClaimsError):
    """A file is no longer the one that was claimed."""


@dataclass(frozen=True, slots=True)
class ContainerAddress:
    """A container of Azure Storage, or of an emulator of it.

    Attributes:
        scheme: https, or http on this machine.
        authority: host, and port where one is given.
        account: name of the storage account.
        container: its name.
    """

    scheme: str
    authority: str
    account: str
    container: str

    @property
    def account_url(self) -> str:
        """Address of the account."""
        path = f"/{self.account}" if self.authority.split(".")[0] != self.account else ""
        return f"{self.scheme}://{self.authority}{path}"


@dataclass(frozen=True, slots=True)
class StorageLogin:
    """Who logs in. Where both are None, the identity of the machine does.

    Attributes:
        key: of the account.
        sas: shared access signature.
    """

    key: str | None = field(repr=False)
    sas: str | None = field(repr=False)


class Store(Protocol):
    """What a step does with the files that were dropped."""

    def read(self, name: str) -> bytes:
        """A small file."""

    def fetch(self, name: str, etag: str, target: Path) -> str:
        """Copy a file, if it is the one with this ETag, and return its SHA-256."""


def open_store(landing: str) -> Store:
    """The place that an address or the path of a folder names.

    Raises:
        StorageError: it is neither.
    """
    if "://" in landing:
        return _Container(container_address(landing))
    folder = Path(landing)
    if not folder.is_dir():
        raise StorageError(f"{landing} is not a folder: make it, or name another")
    return _Folder(folder.resolve())


def container_address(url: str) -> ContainerAddress:
    """Take the address of a container apart.

    Raises:
        StorageError: it is none, carries a secret, or would send one over the network in the clear.
    """
    parts = urlsplit(url)
    if parts.query or parts.username:
        raise StorageError(
            "an address of a container carries no secret: put what follows the question mark into "
            "AZURE_STORAGE_SAS_TOKEN"
        )
    names = [name for name in parts.path.split("/") if name]
    local = parts.hostname in _LOOPBACK
    wanted = 2 if local else 1
    if parts.scheme not in ("https", "http") or not parts.hostname or len(names) != wanted:
        raise StorageError(
            f"{url} is no address of a container: https://ACCOUNT.blob.core.windows.net/CONTAINER, or of an emulator "
            "http://127.0.0.1:PORT/ACCOUNT/CONTAINER"
        )
    if parts.scheme == "http" and not local:
        raise StorageError(f"{url} has to begin with https: the login would be readable on its way")
    account = names[0] if local else parts.hostname.split(".")[0]
    return ContainerAddress(parts.scheme, parts.netloc, account, names[-1])


def storage_login() -> StorageLogin:
    """Who the environment says logs in."""
    settings = dict(
        re.findall(r"(\w+)=([^;]*)", os.environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    )
    key = settings.get("AccountKey") or os.environ.get("AZURE_STORAGE_KEY") or None
    sas = settings.get("SharedAccessSignature") or os.environ.get("AZURE_STORAGE_SAS_TOKEN") or None
    return StorageLogin(key, None if key or sas is None else sas.removeprefix("?"))


def arrow_files(container: ContainerAddress) -> Any:
    """Arrow's file system for the account that a container is in.

    Raises:
        StorageError: Arrow was built without it.
        OSError: nobody is logged in.
    """
    try:
        from pyarrow.fs import AzureFileSystem
    except ImportError:
        raise StorageError(
            "this build of pyarrow reads no blobs: install the one of PyPI, or copy the blobs into a folder"
        ) from None
    login = storage_login()
    # Arrow puts the token behind addresses as it is.
    known = {"account_key": login.key, "sas_token": f"?{login.sas}" if login.sas else None}
    # Listing asks the account's other endpoint whether it has folders; an emulator has one for both.
    authority = container.authority.replace(".blob.", ".dfs.", 1)
    files = AzureFileSystem(
        container.account,
        blob_storage_authority=arrow_domain(container, container.authority),
        blob_storage_scheme=container.scheme,
        dfs_storage_authority=arrow_domain(container, authority),
        dfs_storage_scheme=container.scheme,
        **{name: value for name, value in known.items() if value},
    )
    if not any(known.values()):
        # Opening a file ends the process where nobody is logged in; this says so instead.
        files.get_file_info(f"{container.container}/.")
    return files


def arrow_domain(container: ContainerAddress, authority: str) -> str:
    """An authority as Arrow takes it: it puts the account before one that begins with a dot, else after it."""
    own = authority.startswith(f"{container.account}.")
    return authority.removeprefix(container.account) if own else authority


def folder_etag(status: os.stat_result) -> str:
    """What tells the states of a file in a folder apart, as an ETag does in Azure Storage."""
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"


def checked_name(name: str) -> str:
    """A file's name below the landing.

    Raises:
        StorageError: it leads elsewhere.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise StorageError(f"{name!r} is no name of a file in the landing")
    return name


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes:
        try:
            return (self._folder / checked_name(name)).read_bytes()
        except OSError as error:
            raise StorageError(f"{self._folder / name} cannot be read: {error.strerror}") from None

    def fetch(self, name: str, etag: str, target: Path) -> str:
        path = self._folder / checked_name(name)
        try:
            with path.open("rb") as source, target.open("wb") as copy:
                _refuse_change(name, etag, folder_etag(os.fstat(source.fileno())))
                digest = _copy(source, copy)
                _refuse_change(name, etag, folder_etag(path.stat()))
        except FileNotFoundError:
            raise ChangedError(f"{name} is gone") from None
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from None
        return digest


class _Container:
    def __init__(self, address: ContainerAddress) -> None:
        self._container = address.container
        try:
            self._files = arrow_files(address)
        except OSError as error:
            raise self._error("anything", error) from None

    def read(self, name: str) -> bytes:
        try:
            content: bytes = self._open(name).read()
        except OSError as error:
            raise self._error(name, error) from None
        return content

    def fetch(self, name: str, etag: str, target: Path) -> str:
        try:
            with self._open(name) as source, target.open("wb") as copy:
                _refuse_change(name, etag, _etag(source))
                digest = _copy(source, copy)
            # An ETag is never used twice: what was read in between is of this one.
            _refuse_change(name, etag, _etag(self._open(name)))
        except FileNotFoundError:
            raise ChangedError(f"{name} is gone") from None
        except OSError as error:
            raise self._error(name, error) from None
        return digest

    def _open(self, name: str) -> Any:
        return self._files.open_input_file(f"{self._container}/{checked_name(name)}")

    def _error(self, name: str, error: OSError) -> StorageError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = _ADDRESS.sub("(address)", reason)
        return StorageError(f"{name} in container {self._container} cannot be read: {reason}")


def _etag(source: Any) -> str:
    return str(source.metadata()["ETag"].decode()).strip('"')


def _refuse_change(name: str, etag: str, found: str) -> None:
    if found != etag:
        raise ChangedError(f"{name} was changed")


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := source.read(_PIECE):
        digest.update(piece)
        target.write(piece)
    return digest.hexdigest()
