"""Training, invoked once for many files: with the version that holds all of them, when nothing more arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from ml_service.ingestion.current import read_current
from ml_service.ingestion.ledger import FOLDER, utc_now
from ml_service.ingestion.runs import earlier_run
from ml_service.pipeline import find_pipeline, load_pipeline
from ml_service.platforms.base import (
    Documents,
    Log,
    PipelineRun,
    Platform,
    PlatformError,
    RunStatus,
)

_PIPELINE = "training"


@dataclass(frozen=True, slots=True)
class Training:
    """The newest training that ingestion invoked.

    Attributes:
        version: of the data.
        time: of its begin or end, UTC.
        run: its id; None while it is under way.
        error: why it failed.
        attempts: how often it failed with this version.
    """

    version: int
    time: datetime
    run: str | None = None
    error: str | None = None
    attempts: int = 0


_TRAINING = TypeAdapter(Training)


def read_training(documents: Documents, name: str) -> Training | None:
    """The newest training; None where there was none.

    Raises:
        PlatformError: the document is damaged.
    """
    content = documents.read(name)
    if content is None:
        return None
    try:
        return _TRAINING.validate_json(content)
    except ValidationError:
        raise PlatformError(f"document {name} is damaged: remove it") from None


class Trigger:
    """Invokes training.

    Args:
        platform: to train on.
        data: name of the data set.
        model: name of the model; None for the pipeline's own.
        tries: with one version.
        wait: before the second try; each further one waits twice as long.
        log: takes lines on progress.
        clock: this moment, UTC.
    """

    def __init__(
        self,
        platform: Platform,
        data: str,
        model: str | None,
        log: Log,
        tries: int = 3,
        wait: timedelta = timedelta(minutes=1),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._platform = platform
        self._data = data
        self._model = model
        self._tries = tries
        self._wait = wait
        self._log = log
        self._clock = clock
        self._document = f"{FOLDER}/training-{data}.json"

    def last(self) -> Training | None:
        """The newest training; None where there was none."""
        return read_training(self._platform.documents, self._document)

    def due(self) -> int | None:
        """The version to train with now; None where there is nothing to do."""
        current = read_current(self._platform.documents, self._data)
        last = self.last()
        if current is None or last is None or current.version != last.version:
            return None if current is None else current.version
        if last.run is not None or last.attempts >= self._tries:
            return None
        waited = self._clock() - last.time
        wait = self._wait * 2 ** (last.attempts - 1) if last.attempts else timedelta(0)
        # A clock that was set back must not put it off for longer than that.
        return None if timedelta(0) <= waited < wait else current.version

    def train(self) -> PipelineRun | None:
        """Train where that is due, and return the run.

        Raises:
            ClaimsError: the platform does not answer. Nothing is lost; call it again.
        """
        with self._platform.documents.lock(f"{FOLDER}/training-{self._data}"):
            version = self.due()
            if version is None:
                return None
            last = self.last()
            begun_before = last is not None and last.version == version
            attempts = last.attempts if last is not None and begun_before else 0
            self._keep(Training(version, self._clock(), attempts=attempts))
            run = self._run(version, begun_before)
            if run.status is RunStatus.CANCELLED:
                raise KeyboardInterrupt
            if run.error is None:
                self._keep(Training(version, self._clock(), run.id))
            else:
                failed = Training(version, self._clock(), None, run.error, attempts + 1)
                self._keep(failed)
            return run

    def _run(self, version: int, begun_before: bool) -> PipelineRun:
        pipeline = load_pipeline(find_pipeline(_PIPELINE))
        parameters = {"data": self._data, "data_version": str(version)}
        if begun_before:
            earlier = earlier_run(self._platform, pipeline.name, parameters)
            if earlier is not None:
                return earlier
        if self._model is not None:
            parameters["model_name"] = self._model
        self._log(f"training with {self._data} version {version}")
        return self._platform.pipelines.run(pipeline, parameters, self._log)

    def _keep(self, training: Training) -> None:
        self._platform.documents.write(self._document, _TRAINING.dump_json(training))
