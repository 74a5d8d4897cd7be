"""One batch: what there is to score, with what, and the parts that are done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from insurance_claims.errors import ModelError
from insurance_claims.model import Model
from insurance_claims.scoring.batch.checks import Checked
from insurance_claims.scoring.batch.chunks import Chunk
from insurance_claims.scoring.batch.inputs import Input
from insurance_claims.scoring.batch.parts import (
    Part,
    part_name,
    read_part,
    score_columns,
    write_part,
)
from insurance_claims.scoring.batch.progress import Progress, Watch

CHUNK_ROWS = 100_000
MAX_BAD = 0.05


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

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version and sha256, as JSON."""
        sha256 = self.model.metadata["sha256"]
        return {"name": self.name, "version": self.version, "sha256": sha256}


@dataclass(frozen=True, slots=True)
class Options:
    """How to score.

    Attributes:
        headroom: ordinal and continuous values may be up to this many times the schema's largest.
        chunk_rows: rows of a part.
        threads: of LightGBM, or workers of a cluster on this machine. The scores do not depend on it.
        max_bad: share of rows in quarantine above which the batch counts as failed.
    """

    headroom: float
    chunk_rows: int = CHUNK_ROWS
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    max_bad: float = MAX_BAD


@dataclass(frozen=True, slots=True)
class Scored:
    """A chunk with its scores.

    Attributes:
        number: of the chunk.
        ids: shape (n,), of the rows with a score.
        scores: shape (n,).
        bad: the other rows, as ``Checked`` has them.
        reasons: how often each column is to blame for these.
        size: bytes of the input that it took.
        last: whether the input ends with it.
    """

    number: int
    ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    bad: pa.Table | None
    reasons: Mapping[str, int]
    size: int
    last: bool


def score_chunk(chunk: Chunk, checked: Checked, model: BatchModel, threads: int) -> Scored:
    """Score the rows of a chunk that can be scored.

    Raises:
        ModelError: a score is no number.
    """
    scores = np.empty(0)
    if len(checked.ids):
        scores = model.model.predict(checked.features, threads)
    if not np.isfinite(scores).all():
        raise ModelError(
            f"model {model.name} version {model.version} gave a score that is no number"
        )
    return Scored(
        number=chunk.number,
        ids=checked.ids,
        scores=scores,
        bad=checked.bad,
        reasons=checked.reasons,
        size=chunk.size,
        last=chunk.last,
    )


class Job:
    """A batch on its way. Engines score what is not done yet and hand each chunk to ``keep``, in any order.

    Args:
        inputs: in the order of their numbers.
        output: folder, reserved for the plan.
        model: that scores.
        options: how.
        plan: sha256 of the plan.
        watch: is told of every part.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        output: Path,
        model: BatchModel,
        options: Options,
        plan: str,
        watch: Watch,
    ) -> None:
        self.inputs = inputs
        self.model = model
        self.options = options
        self._output = output
        self._plan = plan
        self._watch = watch
        self._started = time.monotonic()
        self._parts: list[dict[int, Part]] = [{} for _ in inputs]
        self._size = sum(item.size for item in inputs)
        self._taken = self._rows = self._quarantined = self._rows_now = 0

    def done(self, number: int, chunk: int) -> bool:
        """Whether a chunk of an input has its part, from this run or an earlier one."""
        parts = self._parts[number]
        if chunk not in parts:
            part = read_part(self._output, part_name(number, chunk), self._plan)
            if part is None:
                return False
            self._count(number, chunk, part)
        return True

    def first_missing(self, number: int) -> int | None:
        """The first chunk of an input that has no part; None where the input is done."""
        chunk = 0
        while self.done(number, chunk):
            if self._parts[number][chunk].last:
                return None
            chunk += 1
        return chunk

    def keep(self, number: int, scored: Scored) -> None:
        """Write the part of a chunk.

        Args:
            number: of the input.
            scored: the chunk. What was read of the input is known to be of the content that the plan names.

        Raises:
            DataError: it cannot be written.
        """
        bad = scored.bad
        if bad is not None:
            source = pa.array([self.inputs[number].name] * bad.num_rows, pa.string())
            bad = bad.add_column(0, "input", source)
        part = Part(
            plan=self._plan,
            scored=len(scored.scores),
            quarantined=0 if bad is None else bad.num_rows,
            reasons=scored.reasons,
            size=scored.size,
            last=scored.last,
        )
        columns = score_columns(scored.ids, scored.scores, self.model.version)
        write_part(self._output, part_name(number, scored.number), part, columns, bad)
        self._count(number, scored.number, part)
        self._rows_now += part.scored + part.quarantined
        self._watch(
            Progress(
                rows=self._rows,
                quarantined=self._quarantined,
                done=self._taken / self._size,
                rows_per_second=self._rows_now / max(time.monotonic() - self._started, 1e-9),
            )
        )

    def parts(self, number: int) -> list[Part]:
        """The parts of an input that are done, in order."""
        return [part for _, part in sorted(self._parts[number].items())]

    def _count(self, number: int, chunk: int, part: Part) -> None:
        self._parts[number][chunk] = part
        self._taken += part.size
        self._rows += part.scored + part.quarantined
        self._quarantined += part.quarantined


Engine: TypeAlias = Callable[[Job], None]
"""Scores every chunk of a job that is not done."""
