"""The ledger: what became of every file, one line a batch, only ever appended to; and the batch that is under way.

A file is known by its name and its ETag, its content by the SHA-256 of its bytes. Both documents are the platform's, so
that every machine sees the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from insurance_claims.ingestion.batch import Batch, Claimed
from ml_service.platforms.base import Documents, PlatformError

FOLDER = "ingestion"


class Status(StrEnum):
    """What became of a file."""

    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    """Its content was accepted before, under this name or another."""
    FAILED = "failed"
    """Not the file's fault, as far as is known: it is tried again."""
    DEAD = "dead"
    """It failed too often. Only ``mlops ingest retry`` tries it again."""
    RETRY = "retry"
    """A person wants it to be tried again."""


_FINAL = frozenset((Status.ACCEPTED, Status.QUARANTINED, Status.DUPLICATE, Status.DEAD))


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in one batch.

    Attributes:
        name: below the landing.
        etag: of the state that was processed.
        size: bytes.
        status: what became of it.
        severity: ``error`` is an alert.
        reason: in words.
        sha256: of its bytes, where it was read.
        rows: that it holds.
        bad: of these, the ones in quarantine.
        added: columns that the schema does not know.
        part: of the curated data.
        attempts: how often it failed.
        not_before: when it is tried again, UTC.
    """

    name: str
    etag: str
    size: int
    status: Status
    severity: str = "info"
    reason: str = ""
    sha256: str | None = None
    rows: int = 0
    bad: int = 0
    added: tuple[str, ...] = ()
    part: str | None = None
    attempts: int = 0
    not_before: datetime | None = None

    @property
    def final(self) -> bool:
        """Whether it is not looked at again by itself."""
        return self.status in _FINAL


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the ledger.

    Attributes:
        batch: id of the batch; of a retry, of nothing else.
        time: when it was written, UTC.
        landing: address of the landing.
        run: of the ingestion pipeline; None where none came to its end.
        data_name: data set that the rows went into.
        data_version: version that holds the accepted rows; None where none were accepted.
        files: with their outcomes.
    """

    batch: str
    time: datetime
    landing: str
    run: str | None
    data_name: str
    data_version: int | None
    files: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """The batch that is under way.

    Attributes:
        batch: what was claimed.
        run: run of the pipeline, once it has come to its end.
    """

    batch: Batch
    run: str | None = None


@dataclass(frozen=True)
class Book:
    """The ledger, read.

    Attributes:
        records: oldest first.
        torn: numbers of lines that a crash tore.
    """

    records: tuple[Record, ...]
    torn: tuple[int, ...]
    _files: dict[tuple[str, str], Entry] = field(init=False, default_factory=dict)
    _contents: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for record in self.records:
            for entry in record.files:
                self._files[entry.name, entry.etag] = entry
                if entry.status is Status.ACCEPTED and entry.sha256:
                    self._contents.setdefault(entry.sha256, entry.name)

    def entry(self, name: str, etag: str) -> Entry | None:
        """The newest outcome of a file in this state."""
        return self._files.get((name, etag))

    def same_content(self, sha256: str) -> str | None:
        """The name under which this content was accepted first."""
        return self._contents.get(sha256)

    def batches(self) -> frozenset[str]:
        """Ids of all batches that have come to their end."""
        return frozenset(record.batch for record in self.records)

    def newest(self) -> Mapping[str, Entry]:
        """The newest outcome of every name."""
        return {entry.name: entry for record in self.records for entry in record.files}


def due(entry: Entry | None, now: datetime, longest: timedelta) -> bool:
    """Whether a file is to be processed now.

    Args:
        entry: its newest outcome; None where there is none.
        now: UTC.
        longest: that anything is ever put off: a clock that was set back must not put off for years.
    """
    if entry is None or entry.status is Status.RETRY:
        return True
    if entry.final or entry.not_before is None:
        return not entry.final
    return not now < entry.not_before <= now + longest


_RECORD = TypeAdapter(Record)
_OPEN = TypeAdapter(OpenBatch)


class Ledger:
    """The ledger of one landing.

    Args:
        documents: of the platform.
        key: what the landing is called there.
    """

    def __init__(self, documents: Documents, key: str) -> None:
        self._documents = documents
        self._lines = f"{FOLDER}/{key}/ledger.jsonl"
        self._open = f"{FOLDER}/{key}/open.json"

    def read(self) -> Book:
        """Everything that was written."""
        records, torn = [], []
        content = self._documents.read(self._lines) or b""
        for number, line in enumerate(content.split(b"\n"), start=1):
            if not line:
                continue
            try:
                records.append(_RECORD.validate_json(line))
            except ValidationError:
                torn.append(number)
        return Book(tuple(records), tuple(torn))

    def append(self, record: Record) -> None:
        """Write a line, unless the batch has one already."""
        if record.batch not in self.read().batches():
            self._documents.append(self._lines, _RECORD.dump_json(record))

    def open_batch(self) -> OpenBatch | None:
        """The batch that is under way, or that a crash left.

        Raises:
            PlatformError: its document is damaged.
        """
        content = self._documents.read(self._open)
        if content is None or content == b"null":
            return None
        try:
            return _OPEN.validate_json(content)
        except ValidationError as error:
            raise PlatformError(
                f"document {self._open} is damaged ({error.error_count()} problems): remove it; its files are "
                "processed again"
            ) from None

    def keep_open(self, batch: OpenBatch | None) -> None:
        """Say which batch is under way; None: none is."""
        content = b"null" if batch is None else json.dumps(asdict(batch)).encode()
        self._documents.write(self._open, content)


def failed(
    file: Claimed, before: Entry | None, reason: str, tries: int, now: datetime, wait: timedelta
) -> Entry:
    """The outcome of a file whose batch failed.

    Args:
        file: it.
        before: its newest outcome.
        reason: why.
        tries: after so many it is dead.
        now: UTC.
        wait: before the second try; each further one waits twice as long.
    """
    attempts = (before.attempts if before and before.status is Status.FAILED else 0) + 1
    entry = Entry(file.name, file.etag, file.size, Status.FAILED, "warning", reason)
    if attempts >= tries:
        gives_up = f"given up after {attempts} tries: {reason}"
        return replace(
            entry, status=Status.DEAD, severity="error", reason=gives_up, attempts=attempts
        )
    return replace(entry, attempts=attempts, not_before=now + wait * 2 ** (attempts - 1))


def ledgers(documents: Documents) -> Iterator[tuple[str, Ledger]]:
    """Every ledger of a platform, with what its landing is called."""
    for name in documents.names(FOLDER):
        folder, key, *rest = name.split("/")
        if folder == FOLDER and rest == ["ledger.jsonl"]:
            yield key, Ledger(documents, key)


def alerts(records: Sequence[Record]) -> list[Entry]:
    """Outcomes that a person has to look at."""
    return [entry for record in records for entry in record.files if entry.severity == "error"]


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)
