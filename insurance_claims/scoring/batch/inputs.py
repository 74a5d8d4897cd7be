"""The files to score: found, told apart by their content, and fingerprinted so that a change is noticed."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from insurance_claims.errors import DataError

ENDINGS = (".csv", ".csv.gz", ".parquet")
"""Of the files that are taken from a folder."""

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_END = 1 << 20
"""Bytes at each end of a file that its fingerprint holds the hash of."""


class Format(StrEnum):
    """What a file is, by its first bytes."""

    CSV = "csv"
    GZIP = "csv.gz"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Input:
    """One file to score, as it was when it was found.

    Attributes:
        path: absolute.
        format: of its content.
        size: bytes.
        modified_ns: time of the last change, nanoseconds since 1970, UTC.
        sha256_ends: of the first and the last MiB: the whole of a large file would have to be read once more.
        state: what the file system says, to notice a change while the file is read.
    """

    path: Path
    format: Format
    size: int
    modified_ns: int
    sha256_ends: str
    state: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """What stays the same for as long as the file does."""
        moment = datetime.fromtimestamp(self.modified_ns / 1e9, UTC)
        return {
            "path": str(self.path),
            "format": str(self.format),
            "size": self.size,
            "modified": moment.isoformat(timespec="seconds"),
            "modified_ns": self.modified_ns,
            "sha256_ends": self.sha256_ends,
        }

    def refuse_changes(self) -> None:
        """Make sure that the file is still the one that was found.

        Raises:
            DataError: it was changed, replaced or removed.
        """
        if _state(_status(self.path)) != self.state:
            raise DataError(
                f"{self.path} was changed while it was read: nothing of the rows being read is kept. "
                "Wait until it is complete, then score it into another output folder"
            )


def find_inputs(given: Sequence[str], output: Path) -> list[Path]:
    """The files that names, folders and patterns stand for.

    Args:
        given: files, folders (all files below them that end in ENDINGS; names that begin with a dot or an underscore
            are left out) or patterns with ``*``, ``?`` and ``**``.
        output: where the scores go: it must not lie among the inputs.

    Returns:
        Absolute paths, each once: in the order given, and by name within a folder or a pattern.

    Raises:
        DataError: something does not exist, stands for no file, or holds the output folder.
    """
    found: dict[Path, None] = {}
    for name in given:
        files = list(_files(name, output))
        if not files:
            raise DataError(f"{name} holds no file that ends in {', '.join(ENDINGS)}")
        found.update(dict.fromkeys(files))
    return list(found)


def look_at(path: Path) -> Input:
    """Tell a file's format and take its fingerprint.

    Raises:
        DataError: it cannot be read, is no regular file, is empty, or is of another format.
    """
    status = _status(path)
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is not a regular file: save the data to a file first")
    if status.st_size == 0:
        raise DataError(f"{path} is empty (0 bytes)")
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            head = file.read(_END)
            digest.update(head)
            file.seek(max(len(head), status.st_size - _END))
            digest.update(file.read(_END))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return Input(
        path=path,
        format=_format(path, head),
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        sha256_ends=digest.hexdigest(),
        state=_state(status),
    )


def _files(name: str, output: Path) -> Iterator[Path]:
    path = Path(name)
    if path.is_dir():
        folder, target = path.resolve(), output.resolve()
        if target.is_relative_to(folder):
            raise DataError(
                f"the output folder {output} lies in the input {name}: its files would be scored again. "
                "Choose one outside"
            )
        yield from sorted(file for file in folder.rglob("*") if _is_data(file, folder))
    elif path.exists():
        yield path.resolve()
    elif glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise DataError(f"no file matches {name}")
        for match in matches:
            yield from _files(match, output)
    else:
        raise DataError(f"{name} does not exist")


def _is_data(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    hidden = any(part.startswith((".", "_")) for part in parts)
    return not hidden and file.name.lower().endswith(ENDINGS) and file.is_file()


def _format(path: Path, head: bytes) -> Format:
    name = path.name.lower()
    if head[:4] == _PARQUET:
        return Format.PARQUET
    if head[:2] == _GZIP:
        return Format.GZIP
    if head[:4] == _ZIP:
        raise DataError(f"{path} is a zip archive or a workbook: unpack it or save it as CSV first")
    for ending, kind in ((".parquet", "Parquet"), (".gz", "gzip")):
        if name.endswith(ending):
            raise DataError(
                f"{path} is not {kind}, though its name says so: it begins with {head[:20]!r}"
            )
    return Format.CSV


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist any more") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _state(status: os.stat_result) -> tuple[int, ...]:
    # The time of the inode's change cannot be set back, as the time of the content's change can.
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
