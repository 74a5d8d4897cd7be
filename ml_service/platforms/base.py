"""The Platform protocol: what a place that runs pipelines and serves models can do.

Commands, rollout and ingestion are written against this file alone; tests/contract holds the suite that every platform
passes. Whatever fails raises PlatformError (or another ClaimsError) with what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from insurance_claims.errors import ClaimsError
from insurance_claims.registry import ModelVersion
from ml_service.pipeline import Pipeline


class PlatformError(ClaimsError):
    """A platform cannot do what was asked."""


@dataclass(frozen=True, slots=True)
class DataVersion:
    """One immutable version of a named data set.

    Attributes:
        name: of the data set.
        version: 1, 2, ... in the order of arrival.
        sha256: of the content (not of the file): the same rows are the same version, in whatever format they came.
        rows: number of rows.
        claim_rate: share of rows with a claim.
        created: when it was added, UTC, ISO 8601.
        source: the file's name when it was added.
    """

    name: str
    version: int
    sha256: str
    rows: int
    claim_rate: float
    created: str
    source: str


class RunStatus(StrEnum):
    """Where a run or a step is."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    REUSED = "reused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """Its process is gone and it never said how it ended: killed, or the machine went down."""


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step of a run."""

    name: str
    status: RunStatus
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """One run of a pipeline."""

    id: str
    pipeline: str
    status: RunStatus
    started: str
    seconds: float | None
    parameters: Mapping[str, str]
    steps: Sequence[StepRun]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PublishedPipeline:
    """A pipeline that can be run by name and version."""

    name: str
    version: str
    id: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an environment answers.

    Attributes:
        environment: its name in settings.
        url: scoring address, ``http://host:port/score``.
        traffic: model version to share of requests in percent; sums to 100.
        state: ``healthy`` answers, ``starting`` not yet, ``unhealthy`` should but does not.
        models: model version to its own state.
        key: bearer key. Kept out of the repr.
        reason: why it is not healthy.
    """

    environment: str
    url: str
    traffic: Mapping[int, int]
    state: Literal["healthy", "starting", "unhealthy"]
    models: Mapping[int, str]
    key: str = field(repr=False)
    reason: str | None = None


Log = Callable[[str], None]
"""Takes one line for a person to read."""


class Data(Protocol):
    """Versions of data sets."""

    def add(self, name: str, file: Path, log: Log) -> tuple[DataVersion, bool]:
        """Validate a file and make a version of it; say whether it is new."""

    def get(self, name: str, version: str = "latest") -> DataVersion:
        """A version by number, or the newest."""

    def list(self, name: str | None = None) -> Sequence[DataVersion]:
        """All versions, newest first, of one data set or of all."""

    def fetch(self, version: DataVersion) -> Path:
        """A local folder that holds the version: ``data.parquet`` and ``manifest.json``. Read only."""


class Pipelines(Protocol):
    """Pipelines and their runs."""

    def publish(self, pipeline: Pipeline, version: str, log: Log) -> PublishedPipeline:
        """Make a pipeline runnable by name and version (the build id). The same again changes nothing."""

    def published(self, name: str, version: str) -> PublishedPipeline:
        """What was published under this name and version."""

    def run(
        self,
        pipeline: Pipeline | PublishedPipeline,
        parameters: Mapping[str, str],
        log: Log,
        force: bool = False,
    ) -> PipelineRun:
        """Run to the end, streaming the steps' logs. A failed run is returned, not raised."""

    def list(self) -> Sequence[PipelineRun]:
        """All runs, newest first."""

    def get(self, run_id: str) -> PipelineRun:
        """One run, by id or by an unambiguous beginning of it."""

    def logs(self, run_id: str, step: str | None = None) -> str:
        """What the steps printed."""

    def output(self, run_id: str, step: str, name: str) -> Path:
        """A local folder with an output of a completed step. Read only."""


class Models(Protocol):
    """The model registry."""

    def list(self) -> Sequence[ModelVersion]:
        """All versions, newest first."""

    def get(self, version: int | Literal["champion", "latest"]) -> ModelVersion:
        """One version."""

    def champion(self) -> ModelVersion | None:
        """The version that challengers are compared with, if there is one."""

    def promote(self, version: int, reason: str) -> ModelVersion:
        """Make a version the champion."""

    def fetch(self, version: int) -> Path:
        """A local copy of the model folder, checked against its checksum. Read only."""


class Endpoints(Protocol):
    """Where models answer requests."""

    def deploy(self, environment: str, version: int, log: Log) -> Endpoint:
        """Serve a version with all traffic, and take the one that served before away once the new one answers."""

    def get(self, environment: str) -> Endpoint | None:
        """The endpoint as it is now; None where nothing is deployed."""

    def list(self) -> Sequence[Endpoint]:
        """All endpoints."""

    def set_traffic(self, environment: str, traffic: Mapping[int, int]) -> Endpoint:
        """Split requests between deployed versions, in percent that sum to 100, without dropping one."""

    def logs(self, environment: str, lines: int = 100) -> str:
        """The last lines that its processes printed."""

    def remove(self, environment: str, log: Log) -> None:
        """Stop it and free what it used. Nothing happens where nothing is deployed."""


class Platform(Protocol):
    """Everything together."""

    @property
    def name(self) -> str:
        """What MLOPS_PLATFORM calls it."""

    @property
    def data(self) -> Data:
        """Its data versions."""

    @property
    def pipelines(self) -> Pipelines:
        """Its pipelines and runs."""

    @property
    def models(self) -> Models:
        """Its model registry."""

    @property
    def endpoints(self) -> Endpoints:
        """Its endpoints."""

    def describe(self) -> Mapping[str, str]:
        """What a person wants to know of it: where its state is, which tracking address it uses."""
