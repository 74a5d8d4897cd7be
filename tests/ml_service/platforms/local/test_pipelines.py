"""The local pipeline runner: order, reuse, failures that leave nothing half done."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ml_service.pipeline import PipelineError, load_pipeline
from ml_service.platforms.base import PipelineRun, PlatformError, RunStatus
from ml_service.platforms.local.platform import LocalPlatform


def run(local: LocalPlatform, file: Path, force: bool = False, **parameters: str) -> PipelineRun:
    return local.pipelines.run(load_pipeline(file), parameters, lambda line: None, force)


def statuses(result: PipelineRun) -> list[str]:
    return [str(step.status) for step in result.steps]


def value(local: LocalPlatform, result: PipelineRun, step: str, output: str) -> str:
    return (local.pipelines.output(result.id, step, output) / "value").read_text()


def mlflow_status(local: LocalPlatform, run_id: str) -> str:
    return str(local.state.mlflow.get_run(run_id).info.status)


def test_steps_pass_folders_on(local: LocalPlatform, watched: Path) -> None:
    result = run(local, watched)
    assert statuses(result) == ["completed", "completed", "completed"]
    assert value(local, result, "c", "z") == "threetwoone"
    assert local.pipelines.logs(result.id) == "[a] doing one\n[b] doing two\n[c] doing three"
    assert mlflow_status(local, result.id) == "FINISHED"
    nested = local.state.mlflow.search_runs(
        [local.state.mlflow.get_run(result.id).info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{result.id}'",
    )
    assert sorted(child.info.run_name for child in nested) == ["a", "b", "c"]


def test_reuse_is_by_command_inputs_and_parameters(local: LocalPlatform, watched: Path) -> None:
    run(local, watched)
    assert statuses(run(local, watched)) == ["reused", "reused", "completed"]
    assert statuses(run(local, watched, second="2")) == ["reused", "completed", "completed"]
    changed = run(local, watched, first="1")
    assert statuses(changed) == ["completed", "completed", "completed"]
    assert value(local, changed, "c", "z") == "threetwo1"
    assert statuses(run(local, watched, force=True)) == ["completed", "completed", "completed"]


def test_reuse_ends_when_the_source_changes(
    local: LocalPlatform, watched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(local, watched)
    monkeypatch.setattr(
        "ml_service.platforms.local.execution.source_sha256", lambda: "another source"
    )
    assert statuses(run(local, watched)) == ["completed", "completed", "completed"]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("fail", "step b failed: the reason\nand what to do"),
        ("crash", "step b failed: exit code 1: RuntimeError: a bug"),
        ("die", "step b failed: ended by SIGKILL: the machine may have run out of memory"),
        ("nothing", "step b failed: it did not write its output y"),
    ],
)
def test_a_failed_step_ends_the_run_with_its_reason(
    local: LocalPlatform, watched: Path, what: str, reason: str
) -> None:
    result = run(local, watched, second=what)
    assert result.status is RunStatus.FAILED
    assert result.error == reason
    assert statuses(result) == ["completed", "failed", "waiting"]
    assert local.pipelines.get(result.id) == result
    assert mlflow_status(local, result.id) == "FAILED"
    with pytest.raises(PlatformError, match=r"no output b\.y"):
        local.pipelines.output(result.id, "b", "y")
    assert [path for path in local.state.steps.iterdir() if path.name.startswith(".")] == []
    assert statuses(run(local, watched)) == ["reused", "completed", "completed"]


def test_an_unknown_parameter_starts_nothing(local: LocalPlatform, watched: Path) -> None:
    with pytest.raises(PipelineError, match="no parameter third"):
        run(local, watched, third="3")
    assert list(local.pipelines.list()) == []


def start(watched: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ml_service", "run", str(watched), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} never came: {''.join(seen)}")


def hanging(local: LocalPlatform) -> psutil.Process | None:
    """The process of the step that hangs, while it lives."""
    try:
        process = psutil.Process(int((local.state.home / "hanging.pid").read_text()))
    except psutil.NoSuchProcess:
        return None
    return None if process.status() == psutil.STATUS_ZOMBIE else process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_its_step_and_says_so(
    local: LocalPlatform, watched: Path, number: signal.Signals
) -> None:
    process = start(watched, "--set", "second=hang")
    wait_for(process, "[b] hanging")
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: interrupted" in output
    assert hanging(local) is None
    (result,) = local.pipelines.list()
    assert statuses(result) == ["completed", "cancelled", "waiting"]
    assert mlflow_status(local, result.id) == "KILLED"
    assert [path for path in local.state.steps.iterdir() if path.name.startswith(".")] == []


def test_a_killed_runner_is_noticed_and_cleared_by_the_next(
    local: LocalPlatform, watched: Path
) -> None:
    process = start(watched, "--set", "second=hang")
    wait_for(process, "[b] hanging")
    process.kill()
    process.communicate(timeout=20)
    assert hanging(local) is None
    (killed,) = local.pipelines.list()
    assert killed.status is RunStatus.INTERRUPTED
    assert statuses(killed) == ["completed", "interrupted", "waiting"]
    assert statuses(run(local, watched)) == ["reused", "completed", "completed"]
    assert mlflow_status(local, killed.id) == "KILLED"
    assert [path for path in local.state.steps.iterdir() if path.name.startswith(".")] == []


def test_two_runs_at_once_both_complete(local: LocalPlatform, watched: Path) -> None:
    first, second = start(watched), start(watched)
    for process in (first, second):
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    results = local.pipelines.list()
    assert len(results) == 2
    for result in results:
        assert value(local, result, "c", "z") == "threetwoone"


def test_runs_are_found_by_the_beginning_of_their_id(local: LocalPlatform, watched: Path) -> None:
    result = run(local, watched)
    assert local.pipelines.get(result.id[:8]).id == result.id
    assert local.pipelines.get("latest").id == result.id
    for wrong in ("", "zzz"):
        with pytest.raises(PlatformError, match="mlops runs list"):
            local.pipelines.get(wrong)
    with pytest.raises(PlatformError, match="has no step d; it has: a, b, c".replace("d;", "'d';")):
        local.pipelines.logs(result.id, "d")


def test_a_published_version_keeps_its_content(local: LocalPlatform, watched: Path) -> None:
    published = local.pipelines.publish(load_pipeline(watched), "42", print)
    assert published.id == "example:42"
    assert local.pipelines.publish(load_pipeline(watched), "42", print) == published
    watched.write_text(watched.read_text().replace("first: one", "first: uno"))
    with pytest.raises(PlatformError, match="published as version 42 already"):
        local.pipelines.publish(load_pipeline(watched), "42", print)
    assert local.pipelines.published("example", "42") == published
    with pytest.raises(PlatformError, match="no pipeline example was published as version 43"):
        local.pipelines.published("example", "43")
    result = local.pipelines.run(published, {}, print)
    assert result.error is None
    assert result.parameters["first"] == "one"
