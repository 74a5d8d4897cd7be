"""What all jobs of a run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from azure_pipelines_local import artifacts
from azure_pipelines_local.groups import Groups
from azure_pipelines_local.masking import Masker
from azure_pipelines_local.predefined import RunFacts
from azure_pipelines_local.process import Cancellation
from azure_pipelines_local.records import RunRecord
from azure_pipelines_local.report import Report
from azure_pipelines_local.repository import Repository
from azure_pipelines_local.state import SUMMARY, KeptRun, State, write_json
from azure_pipelines_local.variables import Entry, Variables


@dataclass(slots=True)
class Session:
    """One run while it is under way.

    Attributes:
        folder: of this run.
        resources: runs of other pipelines whose artifacts are used, by alias.
        base: an earlier run of the same pipeline that stands in for stages which this one leaves out.
        approve: asked with an environment's name whether to deploy to it.
        variables: predefined and queue-time variables.
        keep: the jobs' folders.
        self_hosted: the jobs of a pipeline share one folder from run to run.
        connections: what a step that uses a service connection finds in its environment, by the connection's name.
    """

    facts: RunFacts
    state: State
    folder: Path
    groups: Groups
    group_names: frozenset[str]
    masker: Masker
    report: Report
    cancellation: Cancellation
    approve: Callable[[str], bool]
    resources: dict[str, KeptRun]
    base: KeptRun | None
    variables: Variables
    record: RunRecord
    keep: bool
    self_hosted: bool
    connections: Mapping[str, tuple[Entry, ...]]
    counters: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def repository(self) -> Repository:
        """The working tree."""
        return self.facts.repository

    @property
    def start(self) -> datetime:
        """When the run began."""
        return self.facts.start

    @property
    def artifacts(self) -> Path:
        """Where this run keeps its artifacts."""
        return self.folder / "artifacts"

    @property
    def artifact_stores(self) -> list[Path]:
        """Where artifacts of ``current`` are looked for: here, then in the run that stands in."""
        return [self.artifacts, *([self.base.artifacts] if self.base else [])]

    def count(self, prefix: str, seed: int) -> int:
        """The value of a counter in this run; the same however often it is asked for."""
        key = (prefix, seed)
        if key not in self.counters:
            self.counters[key] = self.state.count(self.facts.pipeline, prefix, seed)
        return self.counters[key]

    def save(self) -> None:
        """Write the summary, without secrets."""
        self.record.artifacts = artifacts.names(self.artifacts)
        write_json(self.folder / SUMMARY, self.masker.mask_all(self.record.to_json()))
