"""Evidence of real runs: of a killed step, of a bug, of a refusal, with telemetry and without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from insurance_claims.errors import ClaimsError
from ml_service.cli.app import app
from ml_service.monitoring.connection import folder_of
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Kind
from ml_service.pipeline import load_pipeline
from ml_service.platforms.base import PipelineRun, RunStatus
from ml_service.platforms.local.platform import LocalPlatform
from ml_service.settings import Settings, settings
from ml_service.why.evidence import gather, last_good
from ml_service.why.rules import verdict
from tests.ml_service.watched import PIPELINE, write_package


@dataclass(frozen=True)
class Ran:
    """A platform and its runs, by what their second step was told."""

    local: LocalPlatform
    runs: Mapping[str, PipelineRun]


@pytest.fixture(scope="module")
def ran(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """One good run, then others that are not."""
    home = tmp_path_factory.mktemp("state")
    shutil.copy(database, home)
    file = tmp_path_factory.mktemp("pipeline") / "example.yml"
    file.write_text(PIPELINE)
    with pytest.MonkeyPatch.context() as patch:
        package = write_package(tmp_path_factory.mktemp("modules"))
        patch.setenv("PYTHONPATH", str(package.parent))
        patch.setenv("MLOPS_HOME", str(home))
        settings.cache_clear()
        local = LocalPlatform(Settings.model_validate({"MLOPS_HOME": home}))
        pipeline = load_pipeline(file)
        runs = {
            second: local.pipelines.run(pipeline, {"second": second}, lambda line: None)
            for second in ("two", "die", "crash", "fail")
        }
        yield Ran(local, runs)
    settings.cache_clear()


def test_a_killed_step(ran: Ran) -> None:
    good = ran.runs["two"]
    found = gather(ran.local, None, ran.runs["die"].id[:8])
    assert found.good == good
    assert found.failure is not None and found.failure.signal == "SIGKILL"
    assert found.resources is not None and (found.resources.peak_memory_mb or 0) > 1
    assert found.resources.good_seconds == good.steps[1].seconds
    assert found.log == ("doing die",)
    assert [change.describe() for change in found.changes.parameters] == [
        "pipeline.second: two -> die"
    ]
    said = verdict(found) or ""
    assert said.startswith("step b was killed (signal 9), probably out of memory: peak ")
    assert "MB in the last good run. Since the last good run changed: pipeline.second" in said


def test_a_bug_is_read_from_the_log(ran: Ran) -> None:
    found = gather(ran.local, None, ran.runs["crash"].id)
    assert found.failure is not None
    assert (found.failure.kind, found.failure.message) == ("RuntimeError", "a bug")
    assert found.failure.places[-1].endswith("step.py:13 in <module>")
    assert (verdict(found) or "").startswith(
        "RuntimeError: a bug. Since the last good run changed: pipeline.second: two -> crash"
    )


def test_telemetry_adds_the_exception_the_warnings_and_the_memory(ran: Ran, tmp_path: Path) -> None:
    store = Store(folder_of(tmp_path))
    now = datetime.now(UTC)
    for second, peak in (("two", 100.0), ("fail", 300.0)):
        ids = {"pipeline_run_id": ran.runs[second].id}
        step = {**ids, "step": "watched.step"}
        store.add(
            [
                Event(Kind.EVENT, now, "step_started", step),
                Event(Kind.EVENT, now, "step_ended", step, {"peak_memory_mb": peak}),
                Event(Kind.MESSAGE, now, "warning", {**ids, "message": f"{second} is odd"}),
            ]
        )
    sent = {"message": "the reason\nand what to do", "traceback": "a:1 in f"}
    failed = {"pipeline_run_id": ran.runs["fail"].id, **sent}
    store.add([Event(Kind.EXCEPTION, now, "DataError", failed)])
    store.close()
    found = gather(ran.local, store, "latest")
    assert found.failure is not None
    assert (found.failure.kind, found.failure.places) == ("DataError", ("a:1 in f",))
    assert found.warnings == ("fail is odd",)
    assert found.resources is not None
    assert (found.resources.peak_memory_mb or 0) >= 300
    assert found.resources.good_peak_memory_mb == 100


def test_telemetry_that_cannot_be_read_is_said(ran: Ran, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.path.write_text("no database")
    found = gather(ran.local, store, "latest")
    assert found.failure is not None and found.failure.message == "the reason\nand what to do"
    [unknown] = found.unknown
    assert unknown.startswith("telemetry: ") and "cannot be read" in unknown


def test_the_first_run_has_nothing_to_be_compared_with(ran: Ran) -> None:
    found = gather(ran.local, None, ran.runs["two"].id)
    assert found.good is None
    assert found.unknown == ("what changed: no run of this pipeline completed before it",)


def runs_of(*runs: PipelineRun) -> Any:
    """Stands in for a platform with these runs, newest first."""
    newest, *_ = runs
    pipelines = SimpleNamespace(list=lambda: runs, get=lambda run_id: newest)
    return SimpleNamespace(pipelines=pipelines)


def test_the_last_good_run_is_of_the_same_pipeline_and_before() -> None:
    first = PipelineRun("1", "p", RunStatus.COMPLETED, "2026-11-20T10:00:00", 9.0, {}, ())
    failed = replace(first, id="2", status=RunStatus.FAILED)
    other = replace(first, id="3", pipeline="q")
    bad = replace(failed, id="4")
    later = replace(first, id="5")
    platform = runs_of(later, bad, other, failed, first)
    assert [last_good(platform, run) for run in (failed, bad, later)] == [first] * 3
    assert last_good(platform, first) is None


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.WAITING])
def test_a_run_that_has_not_ended_is_not_explained(status: RunStatus) -> None:
    run = PipelineRun("1", "p", status, "2026-11-20T10:00:00", None, {}, ())
    with pytest.raises(ClaimsError, match="has not ended: `mlops runs logs 1` shows it"):
        gather(runs_of(run), None, "1")


def test_the_command_says_it_for_people_and_for_scripts(ran: Ran) -> None:
    said = CliRunner().invoke(app, ["runs", "why", ran.runs["fail"].id[:8]])
    assert said.exit_code == 0, said.output
    assert "most likely: the reason" in said.output
    assert "parameters   pipeline.second: two -> fail" in said.output
    answer = json.loads(CliRunner().invoke(app, ["runs", "why", "latest", "--json"]).output)
    assert answer["most_likely"].startswith("the reason")
    assert answer["evidence"]["failure"]["step"] == "b"
    assert answer["evidence"]["good"]["status"] == "completed"


def test_the_command_refuses_a_run_that_is_not_there(ran: Ran) -> None:
    result = CliRunner().invoke(app, ["runs", "why", "zzz"])
    assert isinstance(result.exception, ClaimsError)
    assert "no run has an id that begins with 'zzz'" in str(result.exception)
