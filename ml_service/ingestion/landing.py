"""Where files are dropped: found, claimed and, if that is wanted, removed once their outcome is written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from insurance_claims.files import write_whole
from insurance_claims.ingestion.batch import CONTROL, Claimed
from insurance_claims.ingestion.storage import checked_name, folder_etag
from ml_service.platforms.base import PlatformError

_UNFINISHED = (".part", ".tmp", ".temp", ".crdownload", ".filepart", ".partial")
"""Endings that programs give to what they are still writing."""


class LandingRefusedError(PlatformError):
    """Trying again does not help: a wrong address, or a login without the rights."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file in the landing.

    Attributes:
        name: below the landing, with ``/`` between its parts.
        etag: another one after every change.
        size: bytes.
        modified: UTC, ISO 8601.
        whole: whether the storage itself promises that nobody is still writing it.
    """

    name: str
    etag: str
    size: int
    modified: str
    whole: bool

    @property
    def claim(self) -> Claimed:
        """What a batch says of it."""
        return Claimed(self.name, self.etag, self.size)


@dataclass(frozen=True, slots=True)
class Control:
    """A file that says something to the step.

    Attributes:
        name: below the landing.
        content: of it.
        modified: UTC.
    """

    name: str
    content: bytes
    modified: datetime


class Landing(Protocol):
    """A place that files are dropped into."""

    @property
    def address(self) -> str:
        """A container's URL or a folder's absolute path."""

    def list(self) -> Sequence[Arrival]:
        """Every file, in the order of arrival. Hidden and unfinished ones, and the control folder, are left out."""

    def find(self, name: str) -> Arrival | None:
        """One file as it is now."""

    def claim(
        self, batch_id: str, files: Sequence[Claimed]
    ) -> AbstractContextManager[Sequence[Claimed]]:
        """Keep files from changing while the block runs, as far as the storage can.

        The same batch may claim its files again. Gives those that are still what they were and that nobody else holds.
        """

    def write_control(self, name: str, content: bytes) -> None:
        """Write a file that says something to the step."""

    def remove_control(self, name: str) -> None:
        """Remove it. Nothing happens where it is gone."""

    def batch_lists(self) -> Sequence[Control]:
        """The lists of batches that are there, by name."""

    def remove(self, file: Claimed) -> None:
        """Remove a file, unless it was changed."""


def landing_key(address: str) -> str:
    """What a landing is called in documents."""
    return hashlib.sha256(address.encode()).hexdigest()[:16]


def is_data(name: str) -> bool:
    """Whether a name is that of a finished file with data."""
    hidden = any(part.startswith((".", "_")) for part in name.split("/"))
    return not hidden and not name.lower().endswith(_UNFINISHED)


def open_landing(address: str) -> Landing:
    """The landing that an address or the path of a folder names.

    Raises:
        ClaimsError: it is neither, or a package is missing.
    """
    if "://" in address:
        from ml_service.ingestion.blobs import BlobLanding

        return BlobLanding(address)
    return FolderLanding(Path(address))


class FolderLanding:
    """A folder and those below it. Symbolic links are not followed.

    Raises:
        LandingRefusedError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise LandingRefusedError(f"{folder} is not a folder: make it, or name another")
        self._folder = folder.resolve()

    @property
    def address(self) -> str:
        """Its absolute path."""
        return str(self._folder)

    def list(self) -> Sequence[Arrival]:
        """Every file, in the order of arrival."""
        if not self._folder.is_dir():
            raise PlatformError(f"{self._folder} is gone: is the disk mounted?")
        found = []
        for folder, folders, names in os.walk(self._folder):
            folders[:] = [name for name in folders if not name.startswith((".", "_"))]
            for name in names:
                path = Path(folder, name)
                arrival = self.find(path.relative_to(self._folder).as_posix())
                found += [arrival] if arrival else []
        return sorted(found, key=lambda item: (item.modified, item.name))

    def find(self, name: str) -> Arrival | None:
        """One file as it is now."""
        path = self._folder / checked_name(name)
        try:
            status = path.lstat()
        except OSError:
            return None
        if not path.is_file() or path.is_symlink() or not is_data(name):
            return None
        moment = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="microseconds")
        return Arrival(name, folder_etag(status), status.st_size, moment, whole=False)

    @contextmanager
    def claim(self, batch_id: str, files: Sequence[Claimed]) -> Iterator[Sequence[Claimed]]:
        """Keep other watchers of the folder away. Who writes into it cannot be stopped: the step notices a change."""
        control = self._folder / CONTROL
        control.mkdir(exist_ok=True)
        lock = FileLock(control / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise PlatformError(f"another watcher is at work in {self._folder}") from None
        try:
            now = ((file, self.find(file.name)) for file in files)
            yield [file for file, found in now if found is not None and found.etag == file.etag]
        finally:
            lock.release()

    def write_control(self, name: str, content: bytes) -> None:
        """Write a file that says something to the step."""
        try:
            write_whole(self._folder / name, content)
        except OSError as error:
            raise PlatformError(f"{self._folder} cannot be written to: {error.strerror}") from None

    def remove_control(self, name: str) -> None:
        """Remove it. Nothing happens where it is gone."""
        (self._folder / name).unlink(missing_ok=True)

    def batch_lists(self) -> Sequence[Control]:
        """The lists of batches that are there, by name."""
        found = []
        for path in sorted((self._folder / CONTROL).glob("*.json")):
            with suppress(FileNotFoundError):
                modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                found.append(Control(f"{CONTROL}/{path.name}", path.read_bytes(), modified))
        return found

    def remove(self, file: Claimed) -> None:
        """Remove a file, unless it was changed."""
        found = self.find(file.name)
        if found is not None and found.etag == file.etag:
            (self._folder / file.name).unlink(missing_ok=True)
