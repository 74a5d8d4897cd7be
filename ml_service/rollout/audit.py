"""The audit log: one JSON object a line, only ever appended to.

A crash may tear the last line. It is kept as it is, the next line begins on its own, and reading says that it was torn.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from ml_service.platforms.base import Documents

AUDIT_LOG = "audit.jsonl"


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
    """A document that only grows."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def append(self, record: AuditRecord) -> bool:
        """Write a record durably, unless one with its key is there; say whether it was written.

        Raises:
            PlatformError: the log cannot be read or written.
        """
        with self._documents.lock(AUDIT_LOG):
            if any(known.key == record.key for known in self.read().records):
                return False
            content = asdict(record) | {"time": record.time.isoformat()}
            line = json.dumps(content, ensure_ascii=False)
            self._documents.append(AUDIT_LOG, line.encode())
        return True

    def read(self) -> AuditTrail:
        """Everything that was written.

        Raises:
            PlatformError: the log cannot be read.
        """
        records, torn = [], []
        lines = (self._documents.read(AUDIT_LOG) or b"").split(b"\n")
        # The last one ends the line before it.
        for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
            try:
                records.append(_ADAPTER.validate_json(line))
            except ValidationError:
                torn.append(number)
        return AuditTrail(tuple(records), tuple(torn))
