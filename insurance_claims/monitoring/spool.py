"""What a worker was asked and answered, in a file of its own until it is Parquet: it outlives the worker.

::

    .spool/101500-5f0c2a9be1d47c33.spool

A file is a sequence of records with a checksum each; the first says what the others are of. Nothing is synced: what
was appended is the system's, and outlives the process, not a power cut. Who writes a file holds a lock on it, which the
system takes back when the process ends: a file that can be locked has no writer any more.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import ClaimsError
from insurance_claims.scoring.request import Rows, Scores

SUFFIX = ".spool"

Seen = tuple[float, str, bytes, bytes]
"""Seconds since 1970, request id, rows and scores, as ``to_bytes`` gives them."""

_SUM = struct.Struct("<I")
"""Checksum of the rest of the record."""
_HEAD = struct.Struct("<dIII")
"""Seconds since 1970, lengths of request id, rows and scores, which follow."""

NUMBER = np.dtype("<f8")
"""Of a row, and a score."""


class SpoolError(ClaimsError):
    """A file of requests cannot be used."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the requests of a file were sent to.

    Attributes:
        model_name: of the model that answered.
        model_version: its version.
        omitted: features that are not kept; their values are not in the file either.
        schema_version: of the features.
    """

    model_name: str
    model_version: int
    omitted: tuple[str, ...]
    schema_version: str = schema.SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Spooled:
    """What a file holds.

    Attributes:
        origin: of the requests; None where not even that can be read.
        seen: requests and their answers.
        torn: whether something follows that is no whole record.
    """

    origin: Origin | None
    seen: Sequence[Seen]
    torn: bool


class Spool:
    """A file that this process writes.

    Args:
        folder: made where there is none, for this user alone.
        origin: of the requests.

    Attributes:
        size: bytes that were appended.

    Raises:
        SpoolError: the folder is somebody else's.
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, origin: Origin) -> None:
        _make_private(folder)
        name = f"{datetime.now(UTC):%H%M%S}-{secrets.token_hex(8)}{SUFFIX}"
        aside = folder / f".{name}"
        self.size = 0
        self._file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            # Locked before it has its name: nobody else finds it unlocked.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.append([(time.time(), "", orjson.dumps(asdict(origin)), b"")])
            aside.rename(folder / name)
        except BaseException:
            self.release()
            aside.unlink(missing_ok=True)
            raise

    def append(self, seen: Sequence[Seen]) -> None:
        """Add requests: all of them or none.

        Raises:
            OSError: the disk is full, or gone.
        """
        content = b"".join(part for one in seen for part in _parts(one))
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        self.size += len(content)

    def release(self) -> None:
        """Write no more: it is anybody's now. In a forked process it stays the parent's."""
        # Also where it says that something went wrong, it is closed.
        with suppress(OSError):
            os.close(self._file)


def to_bytes(values: Rows | Scores) -> bytes:
    """Numbers as a record holds them: 8 bytes each, row by row."""
    return np.asarray(values, dtype=NUMBER).tobytes()


def from_bytes(content: bytes) -> NDArray[np.float64]:
    """What ``to_bytes`` was given, without its shape.

    Raises:
        ValueError: these are no such bytes.
    """
    return np.frombuffer(content, dtype=NUMBER)


def spools(folder: Path) -> list[Path]:
    """Files of a folder, oldest first; some may still be written."""
    found = sorted((status.st_mtime_ns, path) for path, status in _files(folder))
    return [path for _, path in found]


def bytes_of(folder: Path) -> int:
    """What the files of a folder take."""
    return sum(status.st_size for _, status in _files(folder))


@contextmanager
def claimed(path: Path) -> Iterator[Spooled | None]:
    """What a file holds, which nobody else touches until the block ends; None where it is written, claimed or gone.

    Raises:
        SpoolError: it is of another version of the schema.
        OSError: it cannot be read.
    """
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        yield _read(path) if _lock(file) else None
    finally:
        os.close(file)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.glob(f"[!.]*{SUFFIX}"):
        # Another process may have removed it.
        with suppress(FileNotFoundError):
            yield path, path.stat()


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Whoever had it before may have removed it.
    return os.fstat(file).st_nlink > 0


def _read(path: Path) -> Spooled:
    content = memoryview(path.read_bytes())
    seen: list[Seen] = []
    place = 0
    while (found := _record_at(content, place)) is not None:
        record, place = found
        seen.append(record)
    torn = place < len(content)
    if not seen:
        return Spooled(None, (), torn)
    said = orjson.loads(seen[0][2])
    origin = Origin(
        *(said["model_name"], said["model_version"]),
        *(tuple(said["omitted"]), said["schema_version"]),
    )
    if origin.schema_version != schema.SCHEMA_VERSION:
        raise SpoolError(
            f"its rows are of version {origin.schema_version} of the schema, this is {schema.SCHEMA_VERSION}: start a "
            "server of that version again, or remove the file"
        )
    return Spooled(origin, seen[1:], torn)


def _parts(seen: Seen) -> tuple[bytes, ...]:
    """What a record is made of."""
    moment, request_id, rows, scores = seen
    # Half of a surrogate pair is no text of a file.
    name = request_id.encode("utf-8", "replace")
    head = _HEAD.pack(moment, len(name), len(rows), len(scores))
    checksum = zlib.crc32(scores, zlib.crc32(rows, zlib.crc32(name, zlib.crc32(head))))
    return _SUM.pack(checksum), head, name, rows, scores


def _record_at(content: memoryview, place: int) -> tuple[Seen, int] | None:
    """A record and where the next one begins; None where there is no whole one."""
    begin = place + _SUM.size
    name = begin + _HEAD.size
    if name > len(content):
        return None
    [checksum] = _SUM.unpack_from(content, place)
    moment, named, asked, told = _HEAD.unpack_from(content, begin)
    rows = name + named
    scores = rows + asked
    end = scores + told
    if end > len(content) or zlib.crc32(content[begin:end]) != checksum:
        return None
    record = (
        moment,
        bytes(content[name:rows]).decode(),
        bytes(content[rows:scores]),
        bytes(content[scores:end]),
    )
    return record, end


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Below the folder for temporary files anybody may have made it before.
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise SpoolError(f"{folder} is no folder that this user alone can write to: remove it")
