"""From files in the landing to a data version and their outcomes in the ledger.

Files are claimed as a batch, which is written down before anything is done with it. The pipeline processes the batch;
its good rows are merged with the newest data version; the result is added as a version; then the outcomes are appended
to the ledger in one line, and only then the batch is closed. Each of these may be done twice and changes nothing the
second time. So a batch that was cut off, wherever that was, is taken up again and comes to the same end.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from insurance_claims.data.content import DATA_FILE
from insurance_claims.errors import DataError
from insurance_claims.ingestion.batch import (
    Batch,
    Claimed,
    FileResult,
    batch_from_json,
    batch_to_json,
    control_file,
    read_report,
)
from insurance_claims.ingestion.engines import require_cluster
from insurance_claims.ingestion.merge import merge
from insurance_claims.ingestion.process import CURATED
from ml_service.ingestion.current import base_version, write_current
from ml_service.ingestion.landing import Arrival, Landing, landing_key
from ml_service.ingestion.ledger import (
    FOLDER,
    Book,
    Entry,
    Ledger,
    OpenBatch,
    Record,
    Status,
    due,
    failed,
    utc_now,
)
from ml_service.ingestion.lineage import SOURCE_PREFIX
from ml_service.ingestion.options import Limits
from ml_service.ingestion.runs import OUTPUT, STEP, earlier_run
from ml_service.pipeline import find_pipeline, load_pipeline
from ml_service.platforms.base import Log, PipelineRun, Platform, PlatformError, RunStatus

_PIPELINE = "ingestion"
_ABANDONED = timedelta(minutes=10)
"""After it nobody else is about to run the pipeline on files that were claimed."""
_LOOK_UPS = 20
"""For more names than this, one look at the whole landing is cheaper."""


class Ingestor:
    """Takes files in.

    Args:
        platform: that processes them and keeps the versions.
        landing: that they are dropped into.
        data: name of the data set.
        limits: how it behaves.
        log: takes lines on progress.
        clock: this moment, UTC.
    """

    def __init__(
        self,
        platform: Platform,
        landing: Landing,
        data: str,
        limits: Limits,
        log: Log,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.landing = landing
        self.key = landing_key(landing.address)
        self.ledger = Ledger(platform.documents, self.key)
        self._platform = platform
        self._data = data
        self._limits = limits
        self._log = log
        self._clock = clock

    def pending(self, arrivals: Sequence[Arrival], book: Book) -> list[Arrival]:
        """The files that are to be processed now."""
        now = self._clock()
        longest = self._limits.longest_wait
        return [file for file in arrivals if due(book.entry(file.name, file.etag), now, longest)]

    def handle(self, names: Sequence[str]) -> list[Record]:
        """Take in the files that events told of, and what a crash left half done.

        Args:
            names: below the landing. What is known already, or gone, is passed over.

        Returns:
            One record a batch that came to its end.

        Raises:
            ClaimsError: the landing or the platform does not answer. Nothing is lost; call it again.
        """
        done = []
        with self._alone():
            left = self.ledger.open_batch()
            if left is not None:
                self._log(f"taking up batch {left.batch.id}, which was cut off")
                done += self._carry_out(left, again=True)
            taken, theirs = self._begun_elsewhere()
            for begun in taken:
                self._log(f"taking up batch {begun.id}, which another service began")
                done += self._carry_out(OpenBatch(begun), again=True)
            found = self._found([name for name in names if name not in theirs])
            while batch := self._next_batch(found):
                ended = self._carry_out(OpenBatch(batch), again=False)
                done += ended
                if not ended:
                    # Somebody else holds all that is left.
                    break
        return done

    def retry(self, names: Sequence[str]) -> list[str]:
        """Have files tried again that are dead or quarantined.

        Args:
            names: which; none: all that are dead.

        Returns:
            Their names.

        Raises:
            PlatformError: a name is not in the ledger as one of these.
        """
        with self._alone():
            newest = self.ledger.read().newest()
            bad = {n: e for n, e in newest.items() if e.status in (Status.DEAD, Status.QUARANTINED)}
            if unknown := [name for name in names if name not in bad]:
                raise PlatformError(f"{unknown[0]} is neither dead nor quarantined in the ledger")
            chosen = list(names) or [n for n, e in bad.items() if e.status is Status.DEAD]
            if chosen:
                entries = tuple(
                    replace(bad[name], status=Status.RETRY, severity="info", reason="", attempts=0)
                    for name in chosen
                )
                self.ledger.append(self._record(f"retry-{self._new_id()}", None, None, entries))
        return chosen

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time works on a landing, and one on a data set: a version builds upon the one before."""
        lock = self._platform.documents.lock
        with lock(f"{FOLDER}/landing-{self.key}"), lock(f"{FOLDER}/data-{self._data}"):
            yield

    def _found(self, names: Sequence[str]) -> list[Arrival]:
        if len(names) <= _LOOK_UPS:
            looked_up = map(self.landing.find, names)
            return [file for file in looked_up if file is not None]
        wanted = set(names)
        return [file for file in self.landing.list() if file.name in wanted]

    def _begun_elsewhere(self) -> tuple[list[Batch], set[str]]:
        """Batches whose lists are in the landing because a service such as Data Factory claimed the files.

        A run that it began is waited for. Where it began none, it is left alone for a while: it may be about to.

        Returns:
            What can be taken up now, and the names of the files of what cannot yet.
        """
        taken: list[Batch] = []
        theirs: set[str] = set()
        name = load_pipeline(find_pipeline(_PIPELINE)).name
        for control in self.landing.batch_lists():
            try:
                batch = batch_from_json(control.content, control.name)
            except DataError as problem:
                self._log(f"warning: {problem}; it is left where it is")
                continue
            waited = self._clock() - control.modified > _ABANDONED
            if waited or earlier_run(self._platform, name, {"batch": batch.id}) is not None:
                taken.append(batch)
            else:
                theirs |= {file.name for file in batch.files}
        return taken, theirs

    def _next_batch(self, found: Sequence[Arrival]) -> Batch | None:
        book = self.ledger.read()
        pending = self.pending(found, book)
        if not pending:
            return None
        first = _attempts(book, pending[0])
        alike = [file for file in pending if _attempts(book, file) == first]
        chosen = alike[: max(1, self._limits.max_files // 10**first)]
        day = self._clock().date().isoformat()
        return Batch(self._new_id(), day, tuple(file.claim for file in chosen))

    def _new_id(self) -> str:
        return f"{self._clock():%Y%m%dt%H%M%S}-{secrets.token_hex(4)}"

    def _carry_out(self, work: OpenBatch, again: bool) -> list[Record]:
        """Bring a batch to its end; none where not one of its files could be claimed."""
        batch = work.batch
        self.ledger.keep_open(work)
        record = next((r for r in self.ledger.read().records if r.batch == batch.id), None)
        # Claimed even where all is done: leases that a crash left are let go with it.
        with self.landing.claim(batch.id, batch.files) as held:
            # What a run has processed is in its output, whatever became of the file since.
            if work.run is None:
                batch = replace(batch, files=tuple(held))
                work = OpenBatch(batch)
            if record is None and batch.files:
                record = self._process(work, again)
                self.ledger.append(record)
        if record is not None and self._limits.remove:
            for entry in record.files:
                if entry.final:
                    self.landing.remove(Claimed(entry.name, entry.etag, entry.size))
        self.landing.remove_control(control_file(batch.id))
        self.ledger.keep_open(None)
        return [] if record is None else [record]

    def _process(self, work: OpenBatch, again: bool) -> Record:
        batch = work.batch
        run = self._finished_run(work, again)
        if run.error is not None:
            # If the landing or the cluster is out of reach it raises, and no file is blamed for that.
            self.landing.list()
            require_cluster(self._limits.engine)
            return self._failed(batch, run.id, batch.files, run.error)
        self.ledger.keep_open(OpenBatch(batch, run.id))
        output = self._platform.pipelines.output(run.id, STEP, OUTPUT)
        book = self.ledger.read()
        entries = _entries(read_report(output), book)
        parts = [output / CURATED / entry.part for entry in entries if entry.part]
        try:
            version = self._add(batch, parts) if parts else None
        except DataError as error:
            accepted = [Claimed(e.name, e.etag, e.size) for e in entries if e.part]
            return self._failed(batch, run.id, accepted, str(error), entries)
        return self._record(batch.id, run.id, version, tuple(entries))

    def _finished_run(self, work: OpenBatch, again: bool) -> PipelineRun:
        if work.run is not None:
            return self._platform.pipelines.get(work.run)
        batch = work.batch
        pipeline = load_pipeline(find_pipeline(_PIPELINE))
        if again:
            earlier = earlier_run(self._platform, pipeline.name, {"batch": batch.id})
            if earlier is not None:
                return earlier
        self._log(f"batch {batch.id}: {len(batch.files):,} files")
        self.landing.write_control(control_file(batch.id), batch_to_json(batch))
        parameters = {
            "landing": self.landing.address,
            "batch": batch.id,
            "max_bad": str(self._limits.max_bad),
            "engine": self._limits.engine,
        }
        run = self._platform.pipelines.run(pipeline, parameters, self._log)
        if run.status is RunStatus.CANCELLED:
            raise KeyboardInterrupt
        return run

    def _add(self, batch: Batch, parts: Sequence[Path]) -> int:
        base = base_version(self._platform, self._data)
        before = None if base is None else self._platform.data.fetch(base) / DATA_FILE
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / f"{SOURCE_PREFIX}{batch.id}.parquet"
            merged = merge(before, parts, file)
            version, new = self._platform.data.add(self._data, file, self._log)
        write_current(self._platform, version)
        what = "is" if new else "holds all of it already:"
        self._log(
            f"{version.name} version {version.version} {what} {version.rows:,} rows "
            f"({merged.added:,} new, {merged.replaced:,} arrived again)"
        )
        return version.version

    def _failed(
        self,
        batch: Batch,
        run: str,
        files: Sequence[Claimed],
        reason: str,
        others: Sequence[Entry] = (),
    ) -> Record:
        book = self.ledger.read()
        blamed = {file.name for file in files}
        entries = [entry for entry in others if entry.name not in blamed]
        for file in files:
            before = book.entry(file.name, file.etag)
            now, limits = self._clock(), self._limits
            entries.append(failed(file, before, reason, limits.tries, now, limits.wait))
        return self._record(batch.id, run, None, tuple(entries))

    def _record(
        self, batch_id: str, run: str | None, version: int | None, entries: tuple[Entry, ...]
    ) -> Record:
        address = self.landing.address
        return Record(batch_id, self._clock(), address, run, self._data, version, entries)


def _attempts(book: Book, file: Arrival) -> int:
    entry = book.entry(file.name, file.etag)
    return entry.attempts if entry is not None else 0


def _entries(results: Sequence[FileResult], book: Book) -> list[Entry]:
    """Outcomes of the files of a batch; those that were changed meanwhile have none yet."""
    entries: list[Entry] = []
    seen: dict[str, str] = {}
    for result in results:
        file, outcome, sha256 = result.file, result.outcome, result.sha256
        if outcome is None or sha256 is None:
            continue
        entry = Entry(
            file.name,
            file.etag,
            file.size,
            Status(outcome.status),
            outcome.severity,
            outcome.reason,
            sha256=sha256,
            rows=outcome.rows,
            bad=outcome.bad,
            added=outcome.added,
            part=outcome.part,
        )
        first = book.same_content(sha256) or seen.get(sha256)
        if outcome.part is not None and first is not None:
            reason = f"the content was accepted before, as {first}"
            entry = replace(
                entry, status=Status.DUPLICATE, severity="info", reason=reason, part=None
            )
        elif outcome.part is not None:
            seen[sha256] = file.name
        entries.append(entry)
    return entries
