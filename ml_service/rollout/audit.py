"""The audit log: one JSON object a line, only ever appended to.

A crash may tear the last line. It is kept as it is, the next line begins on its own, and reading says that it was torn.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from ml_service.rollout.errors import RolloutError


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One thing that was done.

    Attributes:
        key: the same for the same event, so that it is written once.
        time: when, UTC.
        who: a person or a service.
        what: was done.
        why: in words.
        environment: where.
        before: version that answered before, if one did.
        after: version that answers after, if one does.
    """

    key: str
    time: datetime
    who: str
    what: str
    why: str
    environment: str
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """What the log holds: records, oldest first, and the numbers of lines that a crash tore."""

    records: tuple[AuditRecord, ...]
    torn_lines: tuple[int, ...]


_ADAPTER = TypeAdapter(AuditRecord)


class AuditLog:
    """An append-only file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, record: AuditRecord) -> bool:
        """Write a record and flush it to disk, unless one with its key is there; say whether it was written.

        Raises:
            RolloutError: the file cannot be read or written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_suffix(".lock")):
                if any(known.key == record.key for known in self.read().records):
                    return False
                self._write(record)
        except OSError as error:
            raise RolloutError(
                f"audit log {self._path} cannot be written: {error.strerror}; free space or put its rights right"
            ) from None
        return True

    def read(self) -> AuditTrail:
        """Everything that was written.

        Raises:
            RolloutError: the file cannot be read.
        """
        try:
            lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        except OSError as error:
            raise RolloutError(f"audit log {self._path} cannot be read: {error.strerror}") from None
        records, torn = [], []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(_ADAPTER.validate_json(line))
            except ValidationError:
                torn.append(number)
        return AuditTrail(tuple(records), tuple(torn))

    def _write(self, record: AuditRecord) -> None:
        content = asdict(record) | {"time": record.time.isoformat()}
        line = json.dumps(content, ensure_ascii=False).encode() + b"\n"
        with self._path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                # What a crash left unfinished must not swallow the next record.
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
