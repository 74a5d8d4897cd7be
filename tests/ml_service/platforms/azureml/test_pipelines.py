"""Pipelines through the real SDK: order, reuse, failures with their reasons, publishing once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from ml_service.pipeline import Pipeline, PipelineError, load_pipeline
from ml_service.platforms.base import PipelineRun, PlatformError, RunStatus
from ml_service.settings import AzureSettings, Settings
from tests.ml_service.watched import PIPELINE, write_package

if TYPE_CHECKING:
    from ml_service.platforms.azureml.pipelines import AzurePipelines
    from ml_service.platforms.azureml.workspace import AzureWorkspace
    from tests.azureml_emulator.process import EmulatorProcess


DATA_PIPELINE = """
name: rows
parameters: {version: latest}
steps:
  - name: read
    run: python -m watched.read {inputs.raw} {outputs.x}
    inputs: {raw: "data:claims:{parameters.version}"}
    outputs: [x]
    reuse: true
"""

READ = """
import json, os, sys
from pathlib import Path

raw, output = map(Path, sys.argv[1:])
assert sorted(os.listdir(raw)) == ["data.parquet", "manifest.json"]
print(json.loads((raw / "manifest.json").read_text())["version"])
(output / "done").write_text("done")
"""

BuildPipelines: TypeAlias = "Callable[[str], AzurePipelines]"
WritePipeline: TypeAlias = Callable[[str, str], Pipeline]


@pytest.fixture(scope="module")
def workspace(azure: str) -> AzureWorkspace:
    """An empty workspace."""
    from ml_service.platforms.azureml.workspace import AzureWorkspace

    return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate({}))


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with steps small enough to watch."""
    folder = write_package(tmp_path_factory.mktemp("steps"))
    (folder / "read.py").write_text(READ)
    return folder


@pytest.fixture(scope="module")
def build(workspace: AzureWorkspace, steps: Path) -> BuildPipelines:
    """Makes the pipelines of a build with an id."""
    from ml_service.platforms.azureml.data import AzureData
    from ml_service.platforms.azureml.pipelines import AzurePipelines

    def make(build_id: str) -> AzurePipelines:
        lineage = {"BUILD_BUILDID": build_id}
        return AzurePipelines(workspace, AzureData(workspace), lineage, steps, patience=1.0)

    return make


@pytest.fixture(scope="module")
def pipelines(build: BuildPipelines) -> AzurePipelines:
    """Pipelines of one build."""
    return build("0")


@pytest.fixture
def write(tmp_path: Path) -> WritePipeline:
    """Writes the example with one text replaced by another."""

    def make(old: str, new: str) -> Pipeline:
        file = tmp_path / "example.yml"
        assert old in PIPELINE
        file.write_text(PIPELINE.replace(old, new))
        return load_pipeline(file)

    return make


@pytest.fixture
def watched(write: WritePipeline) -> Pipeline:
    """A pipeline whose steps do what its parameters say."""
    return write("", "")


@pytest.fixture(autouse=True)
def no_faults(emulator: EmulatorProcess) -> Iterator[None]:
    """No fault outlives its test."""
    yield
    emulator.clear_faults()


def run(
    pipelines: AzurePipelines, pipeline: Pipeline, force: bool = False, **parameters: str
) -> PipelineRun:
    return pipelines.run(pipeline, parameters, lambda line: None, force)


def statuses(result: PipelineRun) -> list[str]:
    return [str(step.status) for step in result.steps]


def value(pipelines: AzurePipelines, result: PipelineRun, step: str, output: str) -> str:
    return (pipelines.output(result.id, step, output) / "value").read_text()


def test_steps_pass_folders_on(
    pipelines: AzurePipelines, watched: Pipeline, workspace: AzureWorkspace
) -> None:
    lines: list[str] = []
    result = pipelines.run(watched, {"first": "1"}, lines.append)
    assert result.error is None
    assert statuses(result) == ["completed", "completed", "completed"]
    assert value(pipelines, result, "c", "z") == "threetwo1"
    assert result.parameters == {"first": "1", "second": "two"}
    assert f"run {result.id} of example" in lines
    steps = [line for line in lines if line.startswith("[")]
    assert steps == ["[a] doing 1", "[b] doing two", "[c] doing three"]
    assert pipelines.logs(result.id) == "\n".join(steps)
    assert pipelines.logs(result.id, "b") == "doing two"
    assert pipelines.get(result.id) == result
    assert pipelines.get(result.id[:8]) == result
    assert pipelines.get("latest") == result
    assert workspace.mlflow.get_run(result.id).info.status == "FINISHED"


def test_a_person_sees_the_steps_and_nothing_that_the_sdk_prints(
    pipelines: AzurePipelines, watched: Pipeline, capfd: pytest.CaptureFixture[str]
) -> None:
    pipelines.publish(watched, "printed", print)
    result = pipelines.run(watched, {"first": "print"}, print)
    printed = capfd.readouterr()
    prepared = ("environment ", "compute ")
    lines = [line for line in printed.out.splitlines() if not line.startswith(prepared)]
    assert [line.partition(": http")[0].partition(" in ")[0] for line in lines] == [
        *(
            "published example version printed",
            "pipeline endpoint example leads to version printed",
        ),
        *(f"run {result.id} of example", "in Azure ML studio"),
        *("[a] doing print", "a: completed", "[b] doing two", "b: completed"),
        *("[c] doing three", "c: completed"),
    ]
    assert printed.err == ""


def test_what_has_ended_is_read_once(
    pipelines: AzurePipelines, watched: Pipeline, emulator: EmulatorProcess
) -> None:
    result = run(pipelines, watched)
    emulator.calls()
    assert result in pipelines.list()
    calls, _ = emulator.calls()
    paths = [call["path"] for call in calls if not call["path"].startswith("/emulator/")]
    assert [path.rpartition("/")[2] for path in paths] == ["runs:query"]


def test_reuse_is_by_command_inputs_and_parameters(
    pipelines: AzurePipelines, watched: Pipeline
) -> None:
    first = run(pipelines, watched, first="r")
    lines: list[str] = []
    again = pipelines.run(watched, {"first": "r"}, lines.append)
    assert statuses(again) == ["reused", "reused", "completed"]
    assert any(line.startswith("a: reused, same command") for line in lines)
    assert value(pipelines, again, "a", "x") == value(pipelines, first, "a", "x") == "r"
    assert pipelines.logs(again.id, "a") == "doing r"
    assert statuses(run(pipelines, watched, first="r", second="2")) == [
        "reused",
        "completed",
        "completed",
    ]
    forced = run(pipelines, watched, force=True, first="r")
    assert statuses(forced) == ["completed", "completed", "completed"]


def test_another_build_reuses_steps_and_its_own_lineage_reaches_those_that_run(
    build: BuildPipelines, watched: Pipeline
) -> None:
    run(build("1"), watched, first="lineage")
    result = run(build("2"), watched, first="lineage")
    assert statuses(result) == ["reused", "reused", "completed"]
    folder = build("2").output(result.id, "c", "z")
    assert (folder / "build").read_text() == "2"
    assert (folder / "run").read_text() == result.id


def test_every_step_sends_its_telemetry_to_the_workspaces_application_insights(
    build: BuildPipelines, watched: Pipeline, workspace: AzureWorkspace
) -> None:
    from ml_service.platforms.azureml.observing import Observing

    pipelines = build("1")
    result = run(pipelines, watched, first="lineage")
    expected = Observing(workspace).connection_string
    for step, output in (("a", "x"), ("b", "y"), ("c", "z")):
        assert (pipelines.output(result.id, step, output) / "sends").read_text() == expected


def test_without_application_insights_a_pipeline_runs_and_says_so(
    build: BuildPipelines, watched: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_service.platforms.azureml.observing import Observing

    def missing(observing: Observing) -> str:
        raise PlatformError("the workspace has no Application Insights")

    monkeypatch.setattr(Observing, "connection_string", property(missing))
    lines: list[str] = []
    result = build("1").run(watched, {"first": "silent"}, lines.append)
    assert statuses(result) == ["completed", "completed", "completed"]
    assert "the workspace has no Application Insights; the steps will send no telemetry" in lines


def test_reuse_ends_when_the_source_changes(
    pipelines: AzurePipelines, build: BuildPipelines, watched: Pipeline, steps: Path
) -> None:
    run(pipelines, watched, first="source")
    (steps / "more.py").write_text("")
    try:
        changed = run(build("3"), watched, first="source")
    finally:
        (steps / "more.py").unlink()
    assert statuses(changed) == ["completed", "completed", "completed"]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("fail", "step b failed: the reason\nand what to do"),
        ("crash", "step b failed: RuntimeError: a bug"),
        ("die", "step b failed: ended by SIGKILL: the node may have run out of memory"),
    ],
)
def test_a_failed_step_ends_the_run_with_its_reason(
    pipelines: AzurePipelines, watched: Pipeline, workspace: AzureWorkspace, what: str, reason: str
) -> None:
    result = run(pipelines, watched, second=what)
    assert result.status is RunStatus.FAILED
    assert result.error is not None and result.error.startswith(reason)
    assert statuses(result)[1:] == ["failed", "waiting"]
    assert pipelines.get(result.id) == result
    assert workspace.mlflow.get_run(result.id).info.status == "FAILED"
    for step, output in (("b", "y"), ("c", "z"), ("a", "nothing")):
        with pytest.raises(PlatformError, match=f"has no output {step}.{output}"):
            pipelines.output(result.id, step, output)


def test_a_run_cancelled_in_the_portal_says_so(
    pipelines: AzurePipelines, watched: Pipeline, emulator: EmulatorProcess
) -> None:
    emulator.fault(kind="cancel")
    result = run(pipelines, watched, first="cancelled")
    assert result.status is RunStatus.CANCELLED
    assert result.error is not None and "cancelled in Azure ML studio" in result.error
    assert statuses(result) == ["cancelled", "waiting", "waiting"]
    assert pipelines.get(result.id) == result


def test_ctrl_c_cancels_the_run(pipelines: AzurePipelines, watched: Pipeline) -> None:
    def interrupt(line: str) -> None:
        if line == "[b] hanging":
            os.kill(os.getpid(), signal.SIGINT)

    result = pipelines.run(watched, {"second": "hang"}, interrupt)
    assert (result.status, result.error) == (RunStatus.CANCELLED, "interrupted")
    assert statuses(result)[1:] == ["cancelled", "waiting"]


def test_a_network_cut_while_waiting_passes(
    pipelines: AzurePipelines, watched: Pipeline, emulator: EmulatorProcess
) -> None:
    lines: list[str] = []

    def cut(line: str) -> None:
        lines.append(line)
        if line == "[a] doing cut":
            emulator.fault(path="/children", status=400, times=3, message="cut")

    result = pipelines.run(watched, {"first": "cut"}, cut)
    assert result.error is None
    # It may be cut off at the last look, too.
    [said] = [line for line in lines if line.endswith("trying again")]
    assert said.endswith("run: cut; trying again") or f"{result.id}: cut" in said


def test_a_long_silence_ends_the_wait_but_not_the_run(
    pipelines: AzurePipelines, watched: Pipeline, emulator: EmulatorProcess
) -> None:
    emulator.fault(path="/children", status=400, times=1000, message="gone")
    with pytest.raises(PlatformError, match=r"lost sight of run .*`mlops runs show"):
        run(pipelines, watched, first="silent")


def test_runs_are_found_by_the_beginning_of_their_id(pipelines: AzurePipelines) -> None:
    for wrong in ("", "zzz", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(PlatformError, match="mlops runs list"):
            pipelines.get(wrong)


def test_an_unknown_parameter_starts_nothing(pipelines: AzurePipelines, watched: Pipeline) -> None:
    before = len(pipelines.list())
    with pytest.raises(PipelineError, match="no parameter third"):
        run(pipelines, watched, third="3")
    assert len(pipelines.list()) == before


def test_a_placeholder_is_a_whole_word(pipelines: AzurePipelines, write: WritePipeline) -> None:
    pipeline = write("{parameters.first}", "--what={parameters.first}")
    with pytest.raises(PlatformError, match="a placeholder is a whole word"):
        run(pipelines, pipeline)


def test_a_published_version_keeps_its_content(
    pipelines: AzurePipelines, watched: Pipeline, write: WritePipeline, emulator: EmulatorProcess
) -> None:
    with pytest.raises(PlatformError, match="no pipeline example was published as version 42"):
        pipelines.published("example", "42")
    published = pipelines.publish(watched, "42", print)
    assert pipelines.publish(watched, "42", print) == published
    assert pipelines.published("example", "42") == published
    with pytest.raises(PlatformError, match="published as version 42 already"):
        pipelines.publish(write("first: one", "first: uno"), "42", print)
    result = pipelines.run(published, {"second": "2"}, print)
    assert result.error is None
    assert result.parameters == {"first": "one", "second": "2"}
    assert value(pipelines, result, "c", "z") == "three2one"
    with pytest.raises(PipelineError, match="no parameter third"):
        pipelines.run(published, {"third": "3"}, print)
    with pytest.raises(PlatformError, match="with --force"):
        pipelines.run(published, {}, print, force=True)


def test_the_endpoint_leads_to_the_newest(
    pipelines: AzurePipelines, watched: Pipeline, workspace: AzureWorkspace
) -> None:
    from azureml.pipeline.core import PipelineEndpoint

    for version in ("50", "51"):
        newest = pipelines.publish(watched, version, print)
    pipelines.publish(watched, "50", print)
    endpoint = PipelineEndpoint.get(workspace.workspace, name="example")
    assert endpoint.get_pipeline().id == newest.id


def test_two_builds_at_once_leave_one(
    pipelines: AzurePipelines, watched: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azureml.pipeline.core import Pipeline as AzurePipeline

    original = AzurePipeline.publish
    lines: list[str] = []

    def publish_twice(self: AzurePipeline, name: str, description: str, version: str) -> object:
        # Between this build's look and its publishing, another one does the same.
        original(self, name, description, version)
        return original(self, name, description, version)

    monkeypatch.setattr(AzurePipeline, "publish", publish_twice)
    published = pipelines.publish(watched, "60", lines.append)
    assert pipelines.published("example", "60") == published
    assert "another build published example version 60 first: that one is kept" in lines


def test_two_published_by_hand_are_refused(
    pipelines: AzurePipelines, watched: Pipeline, workspace: AzureWorkspace
) -> None:
    from azureml.pipeline.core import PublishedPipeline

    made = pipelines.publish(watched, "70", print)
    PublishedPipeline.get(workspace.workspace, made.id).disable()
    pipelines.publish(watched, "70", print)
    PublishedPipeline.get(workspace.workspace, made.id).enable()
    with pytest.raises(PlatformError, match="2 pipelines are published as example version 70"):
        pipelines.published("example", "70")
    with pytest.raises(PlatformError, match="2 pipelines are published as example version 70"):
        pipelines.publish(watched, "70", print)


def test_a_data_input_is_the_version_that_is_asked_for(
    workspace: AzureWorkspace, steps: Path, tmp_path: Path, root: Path
) -> None:
    from ml_service.platforms.azureml.data import AzureData
    from ml_service.platforms.azureml.pipelines import AzurePipelines

    data = AzureData(workspace)
    lines = (root / "data" / "sample.csv").read_text().splitlines(keepends=True)
    for rows in (300, 400):
        file = tmp_path / f"{rows}.csv"
        file.write_text("".join(lines[: rows + 1]))
        data.add("claims", file, print)
    file = tmp_path / "rows.yml"
    file.write_text(DATA_PIPELINE)
    pipelines = AzurePipelines(workspace, data, {}, steps)
    published = pipelines.publish(load_pipeline(file), "1", print)
    for pipeline in (load_pipeline(file), published):
        for version, number in (("1", "1"), ("latest", "2")):
            result = pipelines.run(pipeline, {"version": version}, print)
            assert result.error is None
            assert pipelines.logs(result.id, "read") == number
    again = pipelines.run(published, {"version": "2"}, print)
    assert statuses(again) == ["reused"]
    with pytest.raises(PlatformError, match="has no version '3'; it has: 2, 1"):
        pipelines.run(published, {"version": "3"}, print)
