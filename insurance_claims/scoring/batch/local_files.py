"""Files of a file system: found by name, folder or pattern, and fingerprinted."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from insurance_claims.errors import DataError
from insurance_claims.scoring.batch.sources import HEAD, Look, is_data


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file.

    Attributes:
        path: absolute.
    """

    path: Path
    remote = False

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def look(self) -> Look:
        """Look at it. The whole of a large file would have to be read once more: both ends stand for it."""
        status = self._status()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{self.path} is not a regular file: save the data to a file first")
        if status.st_size == 0:
            raise DataError(f"{self.path} is empty (0 bytes)")
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                head = file.read(HEAD)
                digest.update(head)
                file.seek(max(len(head), status.st_size - HEAD))
                digest.update(file.read(HEAD))
        except OSError as error:
            raise self._unreadable(error) from None
        moment = datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC)
        identity = {
            "modified": moment.isoformat(timespec="seconds"),
            "modified_ns": status.st_mtime_ns,
            "sha256_ends": digest.hexdigest(),
        }
        return Look(head, status.st_size, identity, _state(status))

    def state(self) -> object:
        """What the file system says of it."""
        return _state(self._status())

    def open(self) -> Any:
        """An Arrow file to read from."""
        try:
            return pa.OSFile(str(self.path))
        except OSError as error:
            raise self._unreadable(error) from None

    def _status(self) -> os.stat_result:
        try:
            return self.path.stat()
        except FileNotFoundError:
            raise DataError(f"{self.path} does not exist any more") from None
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: OSError) -> DataError:
        return DataError(f"{self.path} cannot be read: {error.strerror or error}")


def find_files(name: str, output: Path) -> Iterator[LocalFile]:
    """The files that a name, a folder or a pattern stands for, by name.

    Raises:
        DataError: there is none, or the folder holds the output folder.
    """
    path = Path(name)
    if path.is_dir():
        folder, target = path.resolve(), output.resolve()
        if target.is_relative_to(folder):
            raise DataError(
                f"the output folder {output} lies in the input {name}: its files would be scored again. "
                "Choose one outside"
            )
        for file in sorted(folder.rglob("*")):
            if is_data(file.relative_to(folder).parts) and file.is_file():
                yield LocalFile(file)
    elif path.exists():
        yield LocalFile(path.resolve())
    elif glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise DataError(f"no file matches {name}")
        for match in matches:
            yield from find_files(match, output)
    else:
        raise DataError(f"{name} does not exist")


def _state(status: os.stat_result) -> tuple[int, ...]:
    # The time of the inode's change cannot be set back, as the time of the content's change can.
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
