"""A platform that processes batches at once and remembers its runs, and ways to kill what uses it."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from insurance_claims.ingestion.batch import open_batch, process_batch, write_report
from ml_service.ingestion.ingestor import Ingestor
from ml_service.ingestion.landing import open_landing
from ml_service.ingestion.ledger import Entry, Ledger
from ml_service.ingestion.options import Limits
from ml_service.ingestion.training import Trigger
from ml_service.pipeline import Pipeline
from ml_service.platforms.base import PipelineRun, RunStatus
from ml_service.platforms.local.data import LocalData
from ml_service.platforms.local.documents import LocalDocuments
from ml_service.platforms.local.state import State

DATA = "claims"
QUICK = Limits(wait=timedelta(0))


def quiet(line: str) -> None:
    """A log that nobody reads."""


class Pipelines:
    """Runs: ingestion without a notebook, training not at all.

    Args:
        home: keeps outputs and what ran.
        before: called before every run; may raise.
    """

    def __init__(self, home: Path, before: Callable[[], None] = lambda: None) -> None:
        self.home = home
        self.before = before
        self.error: Callable[[Sequence[str]], str | None] = lambda names: None

    def run(
        self, pipeline: Pipeline, parameters: Mapping[str, str], log: Any, force: bool = False
    ) -> PipelineRun:
        self.before()
        runs = self.home / "runs"
        runs.mkdir(exist_ok=True)
        number = f"{len(list(runs.iterdir())):04d}"
        error = None
        if "ingestion" in pipeline.name:
            store, batch = open_batch(parameters["landing"], parameters["batch"])
            output = self.output(number, "process", "ingested")
            output.mkdir(parents=True)
            error = self.error([file.name for file in batch.files])
            if error is None:
                found = list(process_batch(store, batch, output, float(parameters["max_bad"])))
                write_report(output, batch, found)
        status = RunStatus.FAILED if error else RunStatus.COMPLETED
        run = PipelineRun(
            number, pipeline.name, status, "2026", 1.0, {**pipeline.resolve(parameters)}, (), error
        )
        (runs / number).write_text(json.dumps(dataclasses.asdict(run)))
        return run

    def list(self) -> Sequence[PipelineRun]:
        files = sorted((self.home / "runs").glob("*"), reverse=True)
        return [self._read(file) for file in files]

    def get(self, run_id: str) -> PipelineRun:
        return self._read(self.home / "runs" / run_id)

    def output(self, run_id: str, step: str, name: str) -> Path:
        return self.home / "outputs" / run_id

    def of(self, kind: str) -> Sequence[PipelineRun]:
        """Runs of a pipeline, newest first."""
        return [run for run in self.list() if kind in run.pipeline]

    @staticmethod
    def _read(file: Path) -> PipelineRun:
        content = json.loads(file.read_text())
        return PipelineRun(**{**content, "status": RunStatus(content["status"])})


class StandIn:
    """The parts of a platform that ingestion uses: data and documents as the local platform has them."""

    def __init__(self, home: Path) -> None:
        home.mkdir(exist_ok=True)
        self.documents: Any = LocalDocuments(home / "documents")
        self.data: Any = LocalData(State(home))
        self.pipelines: Any = Pipelines(home)


class Killing:
    """Something whose calls may be the last of this process.

    Args:
        inner: what is called.
        names: of the calls that count, once before and once after they are done.
        count: takes one more of these moments.
    """

    def __init__(self, inner: Any, names: Sequence[str], count: Callable[[], None]) -> None:
        self._inner = inner
        self._names = names
        self._count = count

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name not in self._names:
            return value

        def counted(*arguments: Any) -> Any:
            self._count()
            result = value(*arguments)
            self._count()
            return result

        return counted


def killed_at(moment: int) -> Callable[[], None]:
    """Counts, and kills this process as ``kill -9`` does when it is at so many."""
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def in_child(work: Callable[[], object]) -> int:
    """Do something in a process of its own, and return its exit code; -9 where it was killed."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


def ingestor(
    platform: Any,
    landing: str,
    limits: Limits = QUICK,
    clock: Callable[[], datetime] | None = None,
) -> Ingestor:
    """An ingestor of a landing."""
    place = open_landing(landing)
    if clock is None:
        return Ingestor(platform, place, DATA, limits, quiet)
    return Ingestor(platform, place, DATA, limits, quiet, clock)


def trigger(platform: Any, **options: Any) -> Trigger:
    """The trigger of training on the data of these tests."""
    return Trigger(platform, DATA, None, quiet, **options)


def everything(made: Ingestor) -> list[str]:
    """Names of all files in the landing."""
    return [file.name for file in made.landing.list()]


def outcomes(platform: Any, made: Ingestor) -> dict[str, list[Entry]]:
    """Every outcome that was written, by name."""
    found: dict[str, list[Entry]] = {}
    for record in Ledger(platform.documents, made.key).read().records:
        for entry in record.files:
            found.setdefault(entry.name, []).append(entry)
    return found


def statuses(platform: Any, made: Ingestor) -> dict[str, list[str]]:
    """Their statuses alone."""
    found = outcomes(platform, made)
    return {name: [str(entry.status) for entry in entries] for name, entries in found.items()}
