"""A batch: files that were claimed together, and what became of each."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from insurance_claims.errors import DataError
from insurance_claims.files import read_json, write_json
from insurance_claims.ingestion.process import CURATED, Outcome, process_file
from insurance_claims.ingestion.storage import ChangedError, Store, open_store

CONTROL = "_ingestion"
"""Folder of the landing for what is said between those who watch it and the step. It holds no data."""
REPORT_FILE = "report.json"
NOTEBOOK_FILE = "notebook.ipynb"


@dataclass(frozen=True, slots=True)
class Claimed:
    """One file of a batch.

    Attributes:
        name: below the landing.
        etag: of the state that was claimed.
        size: bytes.
    """

    name: str
    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that are processed together.

    Attributes:
        id: sorts by time.
        arrival: day of the partition, UTC, ISO 8601.
        files: in the order of their arrival.
    """

    id: str
    arrival: str
    files: tuple[Claimed, ...]


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file of a batch.

    Attributes:
        file: it.
        sha256: of its bytes; None where it is no longer the one that was claimed.
        outcome: None in that case too.
    """

    file: Claimed
    sha256: str | None
    outcome: Outcome | None

    def describe(self) -> str:
        """For a person to read."""
        if self.outcome is None:
            return (
                f"{self.file.name}: changed or gone since it was claimed, left for the next batch"
            )
        taken = self.outcome.rows - self.outcome.bad
        what = f"{taken:,} rows" if self.outcome.part else "quarantined"
        return f"{self.file.name}: {what}" + (
            f"; {self.outcome.reason}" if self.outcome.reason else ""
        )


Engine = Callable[[str, Batch, Path, float], Iterator[FileResult]]
"""Processes a batch: takes the landing's address, the batch, the output and the largest share of bad rows."""


def control_file(batch_id: str) -> str:
    """The name of a batch's list of files, below the landing."""
    return f"{CONTROL}/{batch_id}.json"


def batch_to_json(batch: Batch) -> bytes:
    """A batch's list of files."""
    return json.dumps(asdict(batch), indent=1, ensure_ascii=False).encode()


def batch_from_json(content: bytes, where: str) -> Batch:
    """Read a batch's list of files.

    Raises:
        DataError: it is none.
    """
    try:
        found = json.loads(content)
        files = tuple(
            Claimed(str(item["name"]), str(item["etag"]), int(item["size"]))
            for item in found["files"]
        )
        return Batch(str(found["id"]), str(found["arrival"]), files)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{where} is no list of a batch's files: {error!r}") from None


def open_batch(landing: str, batch_id: str) -> tuple[Store, Batch]:
    """The landing, and the batch that was claimed in it.

    Raises:
        ClaimsError: one of them cannot be read.
    """
    store = open_store(landing)
    name = control_file(batch_id)
    return store, batch_from_json(store.read(name), name)


def process_batch(store: Store, batch: Batch, output: Path, max_bad: float) -> Iterator[FileResult]:
    """Process a batch file by file.

    Args:
        store: the landing.
        batch: claimed in it.
        output: folder that gets ``curated/`` and ``quarantine/``.
        max_bad: with a larger share of bad rows, nothing of a file is taken.

    Raises:
        StorageError: the landing cannot be read. Nothing is wrong with the files then.
    """
    for number, file in enumerate(batch.files):
        yield process_claimed(store, file, part_name(batch, number), output, max_bad)


def part_name(batch: Batch, number: int) -> str:
    """The part of the curated data, and of the quarantine, that a file of a batch becomes."""
    return f"arrival={batch.arrival}/{batch.id}-{number:05d}.parquet"


def process_claimed(
    store: Store, file: Claimed, part: str, output: Path, max_bad: float
) -> FileResult:
    """Process one file of a batch. It is copied first, so that nobody changes it meanwhile.

    Args:
        store: the landing.
        file: claimed in it.
        part: what ``part_name`` says.
        output: folder that gets ``curated/`` and ``quarantine/``.
        max_bad: with a larger share of bad rows, nothing of the file is taken.

    Raises:
        StorageError: the landing cannot be read. Nothing is wrong with the file then.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / PurePosixPath(file.name).name
        try:
            sha256 = store.fetch(file.name, file.etag, copy)
        except ChangedError:
            return FileResult(file, None, None)
        return FileResult(file, sha256, process_file(copy, output, part, max_bad))


def write_report(output: Path, batch: Batch, results: Sequence[FileResult]) -> None:
    """Write ``report.json``: every file of the batch with its outcome.

    Raises:
        DataError: a file of the batch has no result, or a part is missing.
    """
    if [result.file for result in results] != list(batch.files):
        raise DataError(
            f"batch {batch.id} has {len(batch.files)} files, {len(results)} have a result"
        )
    for result in results:
        part = result.outcome.part if result.outcome else None
        if part is not None and not (output / CURATED / part).is_file():
            raise DataError(f"batch {batch.id}: part {part} of {result.file.name} is missing")
    files = [asdict(result) for result in results]
    write_json(output / REPORT_FILE, {"batch": batch.id, "arrival": batch.arrival, "files": files})


def read_report(output: Path) -> list[FileResult]:
    """What became of each file of a batch, from the step's output folder.

    Raises:
        ClaimsError: there is no report, or it is not one.
    """
    path = output / REPORT_FILE
    content = read_json(path)
    try:
        return [
            FileResult(Claimed(**item["file"]), item["sha256"], _outcome(item["outcome"]))
            for item in content["files"]
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is no report of a batch: {error!r}") from None


def _outcome(content: Any) -> Outcome | None:
    return None if content is None else Outcome(**{**content, "added": tuple(content["added"])})
