"""The audit log: one JSON object a line, only ever appended to.

A crash may tear the last line. It is kept as it is, the next line begins on its own, and reading says that it was torn.

Each line holds the SHA-256 of the line before it, so that reading says where a line was changed, taken out or put in.
Who takes away lines at the end, or writes every line anew, is not noticed by this.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from ml_service.platforms.base import Documents

AUDIT_LOG = "audit.jsonl"
_LINK = "line_before_sha256"


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
    """What the log holds.

    Attributes:
        records: oldest first.
        torn_lines: numbers of lines that a crash tore.
        unlinked_lines: numbers of lines before which something is not as it was when they were written.
    """

    records: tuple[AuditRecord, ...]
    torn_lines: tuple[int, ...]
    unlinked_lines: tuple[int, ...]


_ADAPTER = TypeAdapter(AuditRecord)


class AuditLog:
    """A document that only grows."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def append(self, record: AuditRecord) -> bool:
        """Write a record durably, unless one with its key is there; say whether it was written.

        Raises:
            PlatformError: the log cannot be read or written.
        """
        with self._documents.lock(AUDIT_LOG):
            lines = self._lines()
            if any(known.key == record.key for known in _trail(lines).records):
                return False
            before = lines[-1] if lines else b""
            content = asdict(record) | {"time": record.time.isoformat(), _LINK: _sha256(before)}
            line = json.dumps(content, ensure_ascii=False)
            self._documents.append(AUDIT_LOG, line.encode())
        return True

    def read(self) -> AuditTrail:
        """Everything that was written.

        Raises:
            PlatformError: the log cannot be read.
        """
        return _trail(self._lines())

    def _lines(self) -> list[bytes]:
        lines = (self._documents.read(AUDIT_LOG) or b"").split(b"\n")
        # The last one ends the line before it.
        return lines if lines[-1] else lines[:-1]


def _trail(lines: Sequence[bytes]) -> AuditTrail:
    records, torn, unlinked = [], [], []
    before, linked = b"", False
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_ADAPTER.validate_json(line))
        except ValidationError:
            torn.append(number)
        else:
            link = json.loads(line).get(_LINK)
            # Lines from before there were links come first.
            linked = linked or link is not None
            if linked and link != _sha256(before):
                unlinked.append(number)
        before = line
    return AuditTrail(tuple(records), tuple(torn), tuple(unlinked))


def _sha256(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
