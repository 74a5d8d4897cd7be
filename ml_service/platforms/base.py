"""The Platform protocol: what a place that runs pipelines and serves models can do.

Commands, rollout and ingestion are written against this file alone; tests/contract holds the suite that every platform
passes. Whatever fails raises PlatformError (or another ClaimsError) with what is wrong, where, and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring.observations import Window
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
    """One step of a run.

    Attributes:
        name: of the step.
        status: where it is.
        seconds: that it took; of a reused step, when it ran.
        error: why it failed.
        peak_memory_mb: the most memory that its process held, where the platform sees that.
    """

    name: str
    status: RunStatus
    seconds: float | None = None
    error: str | None = None
    peak_memory_mb: float | None = None


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


Health = Literal["healthy", "starting", "unhealthy"]
"""``healthy`` answers, ``starting`` does not yet, ``unhealthy`` should but does not."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Which version answers which requests.

    Attributes:
        traffic: version to percent of requests that it answers; sums to 100.
        mirror: version to percent of requests that are copied to it; its answers reach nobody.
        sticky_header: requests with the same value of this header are answered by the same version.

    Raises:
        PlatformError: shares that cannot be.
    """

    traffic: Mapping[int, int]
    mirror: Mapping[int, int] = field(default_factory=dict)
    sticky_header: str | None = None

    def __post_init__(self) -> None:
        shares = [*self.traffic.values(), *self.mirror.values()]
        if not all(type(share) is int and 0 <= share <= 100 for share in shares):
            raise PlatformError(f"shares are whole numbers from 0 to 100, not {self.describe()}")
        if sum(self.traffic.values()) != 100:
            raise PlatformError(f"shares have to sum to 100, not {self.describe() or 'nothing'}")
        if both := self.traffic.keys() & self.mirror.keys():
            raise PlatformError(f"version {min(both)} cannot answer requests and get copies too")

    def describe(self) -> str:
        """For a person to read."""
        parts = [f"version {version} {share}%" for version, share in self.traffic.items()]
        parts += [f"version {version} copies of {share}%" for version, share in self.mirror.items()]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an environment answers.

    Attributes:
        environment: its name in settings.
        url: scoring address, ``http://host:port/score``.
        traffic: model version to share of requests in percent; sums to 100.
        state: of all its versions together.
        models: model version to its own state.
        key: bearer key. Kept out of the repr.
        reason: why it is not healthy.
    """

    environment: str
    url: str
    traffic: Mapping[int, int]
    state: Health
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

    def start_version(self, environment: str, version: int) -> None:
        """Serve a version beside those that answer, without traffic. Returns before it answers; may be called twice."""

    def stop_version(self, environment: str, version: int) -> None:
        """Stop serving a version that has no traffic. Nothing happens where it is not served."""

    def traffic(self, environment: str) -> Mapping[int, int]:
        """Version to percent of requests that it answers now, none of them 0; empty where nothing is deployed."""

    def health(self, environment: str, version: int) -> tuple[Health, str | None]:
        """How one version is now, and why it is not healthy.

        ``starting`` only until its processes answer for the first time or after they died, not while routing changes.
        """

    def check_routing(self, environment: str, routing: Routing) -> None:
        """Refuse what the front end cannot do, whatever is deployed: copies and pinning, on Azure."""

    def set_routing(self, environment: str, routing: Routing) -> None:
        """Split, copy and pin requests between served versions without dropping one. Others go on running without."""

    def observed(self, environment: str, since: datetime) -> Window:
        """What each version did from a moment until now, and nothing from before that moment."""

    def logs(self, environment: str, lines: int = 100) -> str:
        """The last lines that its processes printed."""

    def remove(self, environment: str, log: Log) -> None:
        """Stop it and free what it used. Nothing happens where nothing is deployed."""


class Documents(Protocol):
    """Small texts that outlive a command and that every machine of a platform sees: state, and logs that only grow.

    A name is a path: ``rollouts/production/ID.json``.
    """

    def read(self, name: str) -> bytes | None:
        """The newest content; None where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Keep a document, whole or not at all."""

    def append(self, name: str, line: bytes) -> None:
        """Add one line, which holds no line break, durably. A crash tears the last line at most, and no other."""

    def names(self, folder: str) -> Sequence[str]:
        """Names of the documents in a folder and below, sorted; empty where there is none."""

    def lock(self, name: str) -> AbstractContextManager[object]:
        """Held by one process at a time, and let go when that dies. Reentrant within one ``Documents``."""


_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""No part begins with a dot: a platform keeps files of its own there."""


def checked_document_name(name: str) -> str:
    """The name of a document, or of a folder of documents.

    Raises:
        PlatformError: it could lead elsewhere.
    """
    if not all(_PART.fullmatch(part) for part in name.split("/")):
        raise PlatformError(
            f"{name!r} is no name of a document: parts of letters, digits, dots, hyphens and _, with / between"
        )
    return name


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

    @property
    def documents(self) -> Documents:
        """What it remembers between commands."""

    def describe(self) -> Mapping[str, str]:
        """What a person wants to know of it: where its state is, which tracking address it uses."""
