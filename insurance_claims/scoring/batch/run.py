"""Score files of any number of rows, in the memory of a few chunks; go on where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from insurance_claims.errors import DataError
from insurance_claims.files import write_json
from insurance_claims.registry import now
from insurance_claims.scoring.batch.checks import Checked, check_rows, total
from insurance_claims.scoring.batch.chunks import Chunk
from insurance_claims.scoring.batch.csv_lines import csv_ignored
from insurance_claims.scoring.batch.csv_reader import csv_chunks
from insurance_claims.scoring.batch.inputs import Format, Input, find_inputs, look_at
from insurance_claims.scoring.batch.job import BatchModel, Engine, Job, Options, score_chunk
from insurance_claims.scoring.batch.parquet_reader import parquet_chunks, parquet_ignored
from insurance_claims.scoring.batch.parts import unwritable
from insurance_claims.scoring.batch.plan import SCORES_FILE, make_plan, plan_sha256, planned
from insurance_claims.scoring.batch.progress import Watch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Report:
    """How a batch ended; the content of scores.json.

    Attributes:
        finished: UTC, ISO 8601.
        model: name, version and sha256.
        rows: of all inputs.
        scored: rows with a score.
        quarantined: rows and lines without one.
        reasons: how often each column is to blame for that.
        max_bad: the largest share of these that was allowed.
        parts: files of scores.
        inputs: each with its fingerprint, its counts and the columns that were not looked at.
    """

    finished: str
    model: dict[str, Any]
    rows: int
    scored: int
    quarantined: int
    reasons: dict[str, int]
    max_bad: float
    parts: int
    inputs: list[dict[str, Any]]

    @property
    def too_many_bad(self) -> bool:
        """Whether more rows are in quarantine than were allowed."""
        return self.quarantined > self.max_bad * self.rows

    def describe(self) -> str:
        """In one line."""
        line = f"scored {self.scored:,} of {self.rows:,} rows with version {self.model['version']}"
        if not self.quarantined:
            return line
        blamed = ", ".join(f"{name} {times:,}" for name, times in list(self.reasons.items())[:5])
        share = self.quarantined / self.rows
        return f"{line}; {self.quarantined:,} rows ({share:.2%}) are in quarantine: {blamed}"


def score_here(job: Job) -> None:
    """Score in this process: one thread reads and checks a chunk while LightGBM's predict the one before."""
    for number, item in enumerate(job.inputs):
        first = job.first_missing(number)
        if first is not None:
            for chunk, checked in _ahead(_read(item, first, job.options)):
                job.keep(number, score_chunk(chunk, checked, job.model, job.options.threads))


def score_files(
    given: Sequence[str],
    output: Path,
    model: BatchModel,
    options: Options,
    watch: Watch,
    engine: Engine = score_here,
) -> Report:
    """Score every row of every file.

    Args:
        given: files, folders, patterns or addresses of blobs: CSV, gzipped CSV or Parquet.
        output: folder to write or to go on with: ``scores/`` and ``quarantine/`` with a Parquet file a part,
            ``plan.json``, and at the end ``scores.json``.
        model: that scores.
        options: how.
        watch: is told of every part.
        engine: where the work is done. What comes out does not depend on it.

    Returns:
        How it ended. Whether too many rows are bad is for the caller to judge.

    Raises:
        ClaimsError: an input cannot be read, was changed, or holds no rows; the output folder was begun with other
            inputs or another model, or cannot be written. What is whole by then stays.
    """
    inputs = [look_at(source) for source in find_inputs(given, output)]
    ignored = [_ignored(item) for item in inputs]
    plan = make_plan(inputs, model.identity, options.headroom, options.chunk_rows)
    with planned(output, plan):
        job = Job(inputs, output, model, options, plan_sha256(plan), watch)
        engine(job)
        report = _report(given, job, ignored)
        content = {name: getattr(report, name) for name in report.__dataclass_fields__}
        try:
            write_json(output / SCORES_FILE, content)
        except OSError as error:
            raise unwritable(output / SCORES_FILE, error) from None
    return report


def _report(given: Sequence[str], job: Job, ignored: Sequence[list[str]]) -> Report:
    parts = [job.parts(number) for number in range(len(job.inputs))]
    everything = [part for of_input in parts for part in of_input]
    scored = sum(part.scored for part in everything)
    quarantined = sum(part.quarantined for part in everything)
    if not scored + quarantined:
        raise DataError(f"{', '.join(given)}: column names, but not one row to score")
    return Report(
        finished=now(),
        model=job.model.identity,
        rows=scored + quarantined,
        scored=scored,
        quarantined=quarantined,
        reasons=total([part.reasons for part in everything]),
        max_bad=job.options.max_bad,
        parts=len(everything),
        inputs=[
            {
                **item.to_json(),
                "ignored_columns": columns,
                "scored": sum(part.scored for part in of_input),
                "quarantined": sum(part.quarantined for part in of_input),
            }
            for item, columns, of_input in zip(job.inputs, ignored, parts, strict=True)
        ],
    )


def _ignored(item: Input) -> list[str]:
    if item.format is Format.PARQUET:
        return parquet_ignored(item.source)
    return csv_ignored(item.source, item.format)


def _read(item: Input, first: int, options: Options) -> Iterator[tuple[Chunk, Checked]]:
    try:
        for chunk in _chunks(item, first, options.chunk_rows):
            # What was read before this moment is of the file that the plan names.
            item.refuse_changes()
            yield chunk, check_rows(chunk, options.headroom)
    except DataError:
        # A file that is being replaced may look damaged: that it changed is the better reason.
        item.refuse_changes()
        raise


def _chunks(item: Input, first: int, rows: int) -> Iterator[Chunk]:
    if item.format is Format.PARQUET:
        return parquet_chunks(item.source, first, rows)
    return csv_chunks(item.source, item.format, first, rows)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, of which the next is made while the caller works on one."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
