"""What ingestion knows, for people: every file, what waits, the last training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml_service.ingestion.landing import landing_key, open_landing
from ml_service.ingestion.ledger import FOLDER, Book, Ledger, Status, ledgers
from ml_service.ingestion.runs import OUTPUT, STEP
from ml_service.ingestion.training import Training, read_training
from ml_service.platforms.base import Documents, Platform


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One file and what became of it.

    Attributes:
        name: below the landing.
        landing: address of it.
        status: of ``Status``, or ``waiting``.
        severity: ``error``: a person has to look at it.
        reason: in words.
        rows: that it holds.
        bad: of these, in quarantine.
        data_version: that holds its rows.
        batch: id.
        run: of the ingestion pipeline.
        time: of the outcome, UTC, ISO 8601.
    """

    name: str
    landing: str
    status: str
    severity: str
    reason: str
    rows: int
    bad: int
    data_version: int | None
    batch: str
    run: str | None
    time: str


@dataclass(frozen=True, slots=True)
class IngestionStatus:
    """Everything together.

    Attributes:
        files: newest outcome first; what waits before all of them.
        training: the last one that ingestion invoked.
        torn: number of lines of the ledger that a crash tore.
    """

    files: tuple[FileStatus, ...]
    training: Training | None
    torn: int

    def training_line(self) -> str:
        """The last training in words."""
        last = self.training
        if last is None:
            return "no training yet"
        what = f"training with data version {last.version}"
        if last.run is not None:
            return f"{what}: completed, run {last.run[:8]}"
        return (
            f"{what}: failed {last.attempts} times: {last.error}"
            if last.error
            else f"{what}: begun"
        )


def read_status(documents: Documents, data: str, landing: str | None) -> IngestionStatus:
    """Read the ledgers.

    Args:
        documents: of the platform.
        data: name of the data set whose training is looked up.
        landing: address of the only landing to look at, and into; None: all that have a ledger, not into them.
    """
    waiting: list[FileStatus] = []
    if landing is None:
        books = [ledger.read() for _, ledger in ledgers(documents)]
    else:
        place = open_landing(landing)
        ledger = Ledger(documents, landing_key(place.address))
        books = [ledger.read()]
        waiting = [
            _waiting(file.name, place.address, file.modified)
            for file in place.list()
            if books[0].entry(file.name, file.etag) is None
        ]
    files = sorted((item for book in books for item in _files(book)), key=lambda item: item.time)
    training = read_training(documents, f"{FOLDER}/training-{data}.json")
    return IngestionStatus(
        (*waiting, *reversed(files)), training, sum(len(book.torn) for book in books)
    )


def evidence(platform: Platform, file: FileStatus) -> Path | None:
    """The folder that the run of a file's batch left: executed notebook, report, quarantine.

    Args:
        platform: that it ran on.
        file: with its outcome.

    Returns:
        None where there was no such run, or it failed.
    """
    if file.run is None or platform.pipelines.get(file.run).error is not None:
        return None
    return platform.pipelines.output(file.run, STEP, OUTPUT)


def _waiting(name: str, landing: str, time: str) -> FileStatus:
    return FileStatus(name, landing, "waiting", "info", "", 0, 0, None, "", None, time)


def _files(book: Book) -> list[FileStatus]:
    newest: dict[tuple[str, str], FileStatus] = {}
    for record in book.records:
        for entry in record.files:
            held = record.data_version if entry.status is Status.ACCEPTED else None
            newest[entry.name, entry.etag] = FileStatus(
                entry.name,
                record.landing,
                entry.status,
                entry.severity,
                entry.reason,
                entry.rows,
                entry.bad,
                held,
                record.batch,
                record.run,
                record.time.isoformat(timespec="microseconds"),
            )
    return list(newest.values())
