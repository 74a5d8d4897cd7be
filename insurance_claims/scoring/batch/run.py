"""Score files of any number of rows, in the memory of a few chunks; go on where an earlier run stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from insurance_claims.errors import DataError, ModelError
from insurance_claims.files import write_json
from insurance_claims.model import Model
from insurance_claims.registry import now
from insurance_claims.scoring.batch.checks import Checked, check_rows, total
from insurance_claims.scoring.batch.chunks import Chunk
from insurance_claims.scoring.batch.csv_reader import csv_chunks, csv_ignored
from insurance_claims.scoring.batch.inputs import Format, Input, find_inputs, look_at
from insurance_claims.scoring.batch.parquet_reader import parquet_chunks, parquet_ignored
from insurance_claims.scoring.batch.parts import (
    Part,
    part_name,
    read_part,
    score_columns,
    unwritable,
    write_part,
)
from insurance_claims.scoring.batch.plan import SCORES_FILE, make_plan, plan_sha256, planned
from insurance_claims.scoring.batch.progress import Progress, Watch

CHUNK_ROWS = 100_000
MAX_BAD = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchModel:
    """The model that scores.

    Attributes:
        model: itself.
        name: in the registry.
        version: in the registry.
    """

    model: Model
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Options:
    """How to score.

    Attributes:
        headroom: ordinal and continuous values may be up to this many times the schema's largest.
        chunk_rows: rows of a part.
        threads: of LightGBM. The scores do not depend on it.
        max_bad: share of rows in quarantine above which the batch counts as failed.
    """

    headroom: float
    chunk_rows: int = CHUNK_ROWS
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    max_bad: float = MAX_BAD


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


def score_files(
    given: Sequence[str], output: Path, model: BatchModel, options: Options, watch: Watch
) -> Report:
    """Score every row of every file.

    Args:
        given: files, folders or patterns of CSV, gzipped CSV or Parquet files.
        output: folder to write or to go on with: ``scores/`` and ``quarantine/`` with a Parquet file a part,
            ``plan.json``, and at the end ``scores.json``.
        model: that scores.
        options: how.
        watch: is told of every part.

    Returns:
        How it ended. Whether too many rows are bad is for the caller to judge.

    Raises:
        ClaimsError: an input cannot be read, was changed, or holds no rows; the output folder was begun with other
            inputs or another model, or cannot be written. What is whole by then stays.
    """
    inputs = [look_at(path) for path in find_inputs(given, output)]
    ignored = [_ignored(item) for item in inputs]
    identity = {
        "name": model.name,
        "version": model.version,
        "sha256": model.model.metadata["sha256"],
    }
    plan = make_plan(inputs, identity, options.headroom, options.chunk_rows)
    with planned(output, plan):
        batch = _Batch(inputs, output, model, options, plan_sha256(plan), watch)
        parts = [batch.score(number) for number in range(len(inputs))]
        everything = [part for of_input in parts for part in of_input]
        scored = sum(part.scored for part in everything)
        quarantined = sum(part.quarantined for part in everything)
        if not scored + quarantined:
            raise DataError(f"{', '.join(given)}: column names, but not one row to score")
        report = Report(
            finished=now(),
            model=identity,
            rows=scored + quarantined,
            scored=scored,
            quarantined=quarantined,
            reasons=total([part.reasons for part in everything]),
            max_bad=options.max_bad,
            parts=len(everything),
            inputs=[
                {
                    **item.to_json(),
                    "ignored_columns": columns,
                    "scored": sum(part.scored for part in of_input),
                    "quarantined": sum(part.quarantined for part in of_input),
                }
                for item, columns, of_input in zip(inputs, ignored, parts, strict=True)
            ],
        )
        _write_report(output / SCORES_FILE, report)
    return report


def _write_report(path: Path, report: Report) -> None:
    content = {name: getattr(report, name) for name in report.__dataclass_fields__}
    try:
        write_json(path, content)
    except OSError as error:
        raise unwritable(path, error) from None


class _Batch:
    """One run over the inputs of a plan."""

    def __init__(
        self,
        inputs: Sequence[Input],
        output: Path,
        model: BatchModel,
        options: Options,
        plan: str,
        watch: Watch,
    ) -> None:
        self._inputs = inputs
        self._output = output
        self._model = model
        self._options = options
        self._plan = plan
        self._watch = watch
        self._started = time.monotonic()
        self._rows = 0
        self._rows_now = 0
        self._quarantined = 0
        self._bytes = 0

    def score(self, number: int) -> list[Part]:
        """Score what is not scored yet of one input, and give all of its parts."""
        item = self._inputs[number]
        parts = self._finished(number)
        if not parts or not parts[-1].last:
            for chunk, checked in _ahead(self._read(item, len(parts))):
                part = self._score(number, chunk, checked)
                parts.append(part)
                self._count(part, item, chunk.read, now=True)
        self._bytes += item.size
        return parts

    def _finished(self, number: int) -> list[Part]:
        """The parts that are there already, up to the first that is not."""
        parts: list[Part] = []
        while not parts or not parts[-1].last:
            part = read_part(self._output, part_name(number, len(parts)), self._plan)
            if part is None:
                break
            parts.append(part)
            self._count(part, self._inputs[number], 0.0, now=False)
        return parts

    def _read(self, item: Input, first: int) -> Iterator[tuple[Chunk, Checked]]:
        for chunk in _chunks(item, first, self._options.chunk_rows):
            # What was read before this moment is of the file that the plan names.
            item.refuse_changes()
            yield chunk, check_rows(chunk, self._options.headroom)

    def _score(self, number: int, chunk: Chunk, checked: Checked) -> Part:
        model = self._model
        scores = np.empty(0)
        if len(checked.ids):
            scores = model.model.predict(checked.features, self._options.threads)
        if not np.isfinite(scores).all():
            raise ModelError(
                f"model {model.name} version {model.version} gave a score that is no number"
            )
        bad = checked.bad
        if bad is not None:
            source = pa.array([str(self._inputs[number].path)] * bad.num_rows, pa.string())
            bad = bad.add_column(0, "input", source)
        part = Part(
            plan=self._plan,
            scored=len(scores),
            quarantined=0 if bad is None else bad.num_rows,
            reasons=checked.reasons,
            last=chunk.last,
        )
        columns = score_columns(checked.ids, scores, model.version)
        write_part(self._output, part_name(number, chunk.number), part, columns, bad)
        return part

    def _count(self, part: Part, item: Input, read: float, now: bool) -> None:
        rows = part.scored + part.quarantined
        self._rows += rows
        self._quarantined += part.quarantined
        if not now:
            return
        self._rows_now += rows
        everything = sum(each.size for each in self._inputs)
        self._watch(
            Progress(
                rows=self._rows,
                quarantined=self._quarantined,
                done=(self._bytes + read * item.size) / everything,
                rows_per_second=self._rows_now / max(time.monotonic() - self._started, 1e-9),
            )
        )


def _ignored(item: Input) -> list[str]:
    if item.format is Format.PARQUET:
        return parquet_ignored(item.path)
    return csv_ignored(item.path, item.format)


def _chunks(item: Input, first: int, rows: int) -> Iterator[Chunk]:
    if item.format is Format.PARQUET:
        return parquet_chunks(item.path, first, rows)
    return csv_chunks(item.path, item.format, first, rows)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, of which the next is made while the caller works on one."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
