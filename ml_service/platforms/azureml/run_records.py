"""Runs as the run history of Azure Machine Learning tells them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from insurance_claims.files import read_json, write_json
from ml_service.platforms.azureml.definition import read_definition
from ml_service.platforms.azureml.errors import status, translated
from ml_service.platforms.azureml.run_log import log_address, why
from ml_service.platforms.azureml.silence import unlogged
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import PipelineRun, PlatformError, RunStatus, StepRun

ENDED = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
REUSED_RUN = "azureml.reusedrunid"
INTERRUPTED = "mlops.interrupted"
"""Tag of a run that Ctrl-C cancelled, to tell it from one that was cancelled in the portal."""
_KIND = "azureml.PipelineRun"
_PIPELINE = "mlops.pipeline"
_STEPS = "mlops.steps"
_PARAMETER = "mlops.parameter."
_STATES = {
    "Completed": RunStatus.COMPLETED,
    "Finished": RunStatus.COMPLETED,
    "Failed": RunStatus.FAILED,
    "NotResponding": RunStatus.FAILED,
    "Canceled": RunStatus.CANCELLED,
    "NotStarted": RunStatus.WAITING,
    "Queued": RunStatus.WAITING,
    "Preparing": RunStatus.WAITING,
    "Provisioning": RunStatus.WAITING,
    "Starting": RunStatus.WAITING,
}
_UNKNOWN = "unknown"
_LENGTH = 36
"""Of a whole run id."""


def run_tags(
    pipeline: str, steps: Sequence[str], parameters: Mapping[str, str], build: str | None
) -> dict[str, str]:
    """What a run is marked with, so that whoever reads it later needs nothing else."""
    tags = {_PIPELINE: pipeline, _STEPS: ",".join(steps)}
    tags |= {f"{_PARAMETER}{name}": value for name, value in parameters.items()}
    return {**tags, "build_id": build} if build else tags


class RunRecords:
    """Reads runs. What has ended never changes: it is kept in the cache, and read from there.

    Args:
        ws: the workspace.
    """

    def __init__(self, ws: AzureWorkspace) -> None:
        self._ws = ws

    @cached_property
    def experiment(self) -> Any:
        """The SDK's ``Experiment`` that runs belong to."""
        from azureml.core import Experiment

        workspace = self._ws.workspace
        name = self._ws.settings.experiment_name
        with translated(f"opening experiment {name}"):
            return Experiment(workspace, name)

    @cached_property
    def session(self) -> Any:
        """Connections to the storage account, which are used again."""
        import requests

        return requests.Session()

    def all(self) -> list[PipelineRun]:
        """Every run, newest first."""
        return [self.read(run) for run in self._runs()]

    def find(self, run_id: str) -> Any:
        """The SDK's ``Run``, by id, by an unambiguous beginning of it, or ``latest``.

        Raises:
            PlatformError: there is none, or there are several.
        """
        if len(run_id) == _LENGTH and (run := self._by_id(run_id)):
            return run
        runs = self._runs()
        if run_id == "latest" and runs:
            return runs[0]
        found = [run for run in runs if run_id and str(run.id).startswith(run_id)]
        if len(found) != 1:
            problem = "more than one run" if found else "no run"
            raise PlatformError(
                f"{problem} has an id that begins with {run_id!r}: see `mlops runs list`"
            )
        return found[0]

    def read(self, run: Any) -> PipelineRun:
        """What is known of a run.

        Args:
            run: the SDK's ``Run``.
        """
        kept = self._ws.cache / "runs" / f"{run.id}.json"
        if kept.is_file():
            return _load(kept)
        with translated(f"reading run {run.id}"), unlogged():
            details = run.get_details()
            children = {child.name: child for child in self.children(run)}
            tags, properties = dict(run.tags), dict(run.properties)
            pipeline, names = self._shape(tags, properties, children)
            steps = [self._step(name, children.get(name)) for name in names]
        state = state_of(details["status"])
        failed = next((step for step in steps if step.status is RunStatus.FAILED), None)
        made = PipelineRun(
            id=str(run.id),
            pipeline=pipeline,
            # A run whose first step waits for a node runs, too.
            status=state if state in ENDED else RunStatus.RUNNING,
            started=_started(details),
            seconds=seconds_of(details) if state in ENDED else None,
            parameters=_parameters(tags, properties),
            steps=tuple(steps),
            error=_error(state, failed, details, tags),
        )
        if made.status in ENDED and pipeline != _UNKNOWN:
            write_json(kept, dataclasses.asdict(made))
        return made

    def children(self, run: Any) -> list[Any]:
        """The runs of a run's steps, as the SDK's ``Run``."""
        # As plain runs: making StepRuns of them costs two calls each, at every look.
        return list(run.get_children(_rehydrate_runs=False))

    def text(self, step: Any) -> str:
        """What a step printed."""
        address = log_address(step.get_details()["logFiles"])
        if address is None:
            return ""
        answer = self.session.get(address, timeout=60)
        if answer.status_code == 404:
            return ""
        answer.raise_for_status()
        return bytes(answer.content).decode("utf-8", "replace")

    def _runs(self) -> list[Any]:
        from azureml.core import Run

        with translated("listing the runs"), unlogged():
            found: Iterable[Any] = Run.list(self.experiment, type=_KIND, _rehydrate_runs=False)
            return list(found)

    def _by_id(self, run_id: str) -> Any:
        from azureml.core import Run

        with translated(f"reading run {run_id}"), unlogged():
            try:
                return Run(self.experiment, run_id)
            except Exception as error:
                if status(error) != 404:
                    raise
                return None

    def _step(self, name: str, run: Any) -> StepRun:
        if run is None:
            return StepRun(name, RunStatus.WAITING)
        details = run.get_details()
        state = state_of(details["status"])
        if state is RunStatus.COMPLETED and REUSED_RUN in run.properties:
            state = RunStatus.REUSED
        error = why(self.text(run), details.get("error")) if state is RunStatus.FAILED else None
        ended = state in ENDED or state is RunStatus.REUSED
        return StepRun(name, state, seconds_of(details) if ended else None, error)

    def _shape(
        self, tags: Mapping[str, str], properties: Mapping[str, str], children: Mapping[str, Any]
    ) -> tuple[str, list[str]]:
        """A run's pipeline, and its steps in order."""
        if _PIPELINE in tags and _STEPS in tags:
            return tags[_PIPELINE], tags[_STEPS].split(",")
        # Submitted by a schedule or in the portal: what was published says it.
        started = sorted(children)
        published = properties.get("azureml.pipelineid")
        if not published:
            return _UNKNOWN, started
        from azureml.pipeline.core import PublishedPipeline

        found = self._ws.once(
            f"published:{published}", lambda: PublishedPipeline.get(self._ws.workspace, published)
        )
        known = read_definition(found.description)
        return str(found.name), list(known.steps) if known else started


def state_of(azure: str) -> RunStatus:
    """Azure's word for a state as one of ours."""
    return _STATES.get(azure, RunStatus.RUNNING)


def _error(
    state: RunStatus,
    failed: StepRun | None,
    details: Mapping[str, Any],
    tags: Mapping[str, str],
) -> str | None:
    if state is RunStatus.CANCELLED:
        if INTERRUPTED in tags:
            return "interrupted"
        return (
            "the run was cancelled in Azure ML studio, or by another login: run the pipeline again"
        )
    if state is not RunStatus.FAILED:
        return None
    if failed is not None:
        return f"step {failed.name} failed: {failed.error}"
    return f"the run failed: {why('', details.get('error'))}"


def _parameters(tags: Mapping[str, str], properties: Mapping[str, str]) -> dict[str, str]:
    if _PIPELINE not in tags:
        given: dict[str, str] = json.loads(properties.get("azureml.parameters") or "{}")
        return given
    return {
        name.removeprefix(_PARAMETER): value
        for name, value in sorted(tags.items())
        if name.startswith(_PARAMETER)
    }


def _started(details: Mapping[str, Any]) -> str:
    return _moment(details["startTimeUtc"]).isoformat() if details.get("startTimeUtc") else ""


def seconds_of(details: Mapping[str, Any]) -> float | None:
    """How long a run took, by its details; None where it did not start or end."""
    start, end = details.get("startTimeUtc"), details.get("endTimeUtc")
    if not start or not end:
        return None
    return round((_moment(end) - _moment(start)).total_seconds(), 3)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _load(file: Path) -> PipelineRun:
    content = read_json(file)
    steps = tuple(
        StepRun(**{**step, "status": RunStatus(step["status"])}) for step in content["steps"]
    )
    return PipelineRun(**{**content, "status": RunStatus(content["status"]), "steps": steps})
