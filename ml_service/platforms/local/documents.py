"""Documents of the local platform: files in one folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from insurance_claims.files import write_whole
from ml_service.platforms.base import PlatformError, checked_document_name

_WAIT_SECONDS = 180
"""How long a command waits for another one that holds a lock."""


class LocalDocuments:
    """Files below a folder, named by their path in it.

    Args:
        folder: made when the first document is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._locks: dict[str, FileLock] = {}

    def read(self, name: str) -> bytes | None:
        """The newest content; None where there is none.

        Raises:
            PlatformError: it cannot be read.
        """
        path = self._path(name)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PlatformError(f"{path} cannot be read: {error.strerror}") from None

    def write(self, name: str, content: bytes) -> None:
        """Keep a document, whole or not at all.

        Raises:
            PlatformError: it cannot be written.
        """
        path = self._path(name)
        try:
            write_whole(path, content)
        except OSError as error:
            raise _not_written(path, error) from None

    def append(self, name: str, line: bytes) -> None:
        """Add one line and flush it to disk. It begins on its own, whatever a crash left before it.

        Raises:
            PlatformError: it cannot be written, or is more than one line.
        """
        if b"\n" in line:
            raise PlatformError(f"a line of {name} cannot hold a line break")
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab+") as file:
                torn = False
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    torn = file.read(1) != b"\n"
                file.write((b"\n" if torn else b"") + line + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _not_written(path, error) from None

    def names(self, folder: str) -> Sequence[str]:
        """Names of the documents in a folder and below, sorted; empty where there is none."""
        found = (
            path.relative_to(self._folder)
            for path in self._path(folder).rglob("*")
            if path.is_file()
        )
        return sorted(
            path.as_posix()
            for path in found
            if not any(part.startswith(".") for part in path.parts)
        )

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held by one process at a time, and let go by the system when that dies. Reentrant.

        Raises:
            PlatformError: another command holds it for minutes.
        """
        path = self._folder / ".locks" / f"{self._path(name).relative_to(self._folder)}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._locks.setdefault(name, FileLock(path))
            lock.acquire(timeout=_WAIT_SECONDS)
        except Timeout:
            raise PlatformError(
                f"another command is still busy with {name} after {_WAIT_SECONDS} s: try again later"
            ) from None
        except OSError as error:
            raise _not_written(path, error) from None
        try:
            yield
        finally:
            lock.release()

    def _path(self, name: str) -> Path:
        return self._folder.joinpath(*checked_document_name(name).split("/"))


def _not_written(path: Path, error: OSError) -> PlatformError:
    return PlatformError(
        f"{path} cannot be written: {error.strerror}; free space, or put its rights right"
    )
