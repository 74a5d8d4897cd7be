"""Schedules through the real SDK, with a clock that is moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ml_service.pipeline import PipelineError, load_pipeline
from ml_service.platforms.base import PipelineRun, PlatformError, PublishedPipeline, RunStatus
from ml_service.settings import AzureSettings, Settings

if TYPE_CHECKING:
    from ml_service.platforms.azureml.pipelines import AzurePipelines
    from ml_service.platforms.azureml.schedules import AzureSchedules
    from ml_service.platforms.azureml.workspace import AzureWorkspace
    from tests.azureml_emulator.process import EmulatorProcess

STEP = "import sys\nfrom pathlib import Path\nPath(sys.argv[1], 'word').write_text(sys.argv[2])\n"

PIPELINE = """
name: scheduled
parameters: {word: one}
steps:
  - {name: a, run: "python -m timed.step {outputs.x} {parameters.word}", outputs: [x]}
"""

MINUTES = 60.0
"""The clock is moved little: a login lasts an hour by the service's clock, which the client does not see move."""


@pytest.fixture(scope="module")
def workspace(azure: str) -> AzureWorkspace:
    """An empty workspace."""
    from ml_service.platforms.azureml.workspace import AzureWorkspace

    return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate({}))


@pytest.fixture(scope="module")
def pipelines(
    workspace: AzureWorkspace, tmp_path_factory: pytest.TempPathFactory
) -> AzurePipelines:
    """Pipelines whose step writes a word."""
    from ml_service.platforms.azureml.data import AzureData
    from ml_service.platforms.azureml.pipelines import AzurePipelines

    package = tmp_path_factory.mktemp("package") / "timed"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "step.py").write_text(STEP)
    return AzurePipelines(workspace, AzureData(workspace), {}, package)


@pytest.fixture(scope="module")
def published(
    pipelines: AzurePipelines, tmp_path_factory: pytest.TempPathFactory
) -> PublishedPipeline:
    """A published pipeline."""
    file = tmp_path_factory.mktemp("pipeline") / "scheduled.yml"
    file.write_text(PIPELINE)
    return pipelines.publish(load_pipeline(file), "1", print)


@pytest.fixture
def pass_time(emulator: EmulatorProcess) -> Iterator[Callable[[float], None]]:
    """Lets seconds pass at once; they are taken back, for other modules' logins go by the same clock."""
    passed: list[float] = []

    def move(seconds: float) -> None:
        passed.append(seconds)
        emulator.move_clock(seconds)

    yield move
    emulator.move_clock(-sum(passed))


@pytest.fixture
def schedules(workspace: AzureWorkspace, pipelines: AzurePipelines) -> AzureSchedules:
    """The workspace's schedules; what earlier tests made is disabled."""
    from ml_service.platforms.azureml.schedules import AzureSchedules

    found = AzureSchedules(workspace, pipelines)
    for schedule in found.list():
        if schedule.active:
            found.disable(schedule.id, print)
    return found


def runs(pipelines: AzurePipelines, at_least: int) -> list[PipelineRun]:
    """The ended runs, once there are as many."""
    for _ in range(100):
        found = [run for run in pipelines.list() if run.status is not RunStatus.RUNNING]
        if len(found) >= at_least:
            return found
        time.sleep(0.1)
    raise AssertionError(f"there are not {at_least} runs")


def test_a_pipeline_runs_by_the_clock(
    pipelines: AzurePipelines,
    schedules: AzureSchedules,
    published: PublishedPipeline,
    pass_time: Callable[[float], None],
) -> None:
    before = len(pipelines.list())
    made = schedules.schedule(published, print, cron="*/5 * * * *", parameters={"word": "two"})
    assert (
        schedules.schedule(published, print, cron="*/5 * * * *", parameters={"word": "two"}) == made
    )
    assert made in schedules.list()
    pass_time(5 * MINUTES)
    (run, *_) = runs(pipelines, before + 1)
    assert (run.pipeline, run.parameters, run.error) == ("scheduled", {"word": "two"}, None)
    assert (pipelines.output(run.id, "a", "x") / "word").read_text() == "two"
    assert pipelines.get(run.id) == run
    schedules.disable(made.id, print)
    pass_time(10 * MINUTES)
    time.sleep(0.5)
    assert len(pipelines.list()) == before + 1
    assert [item.active for item in schedules.list() if item.id == made.id] == [False]


def test_new_data_start_a_run(
    pipelines: AzurePipelines,
    schedules: AzureSchedules,
    published: PublishedPipeline,
    workspace: AzureWorkspace,
    pass_time: Callable[[float], None],
    tmp_path: Path,
) -> None:
    from ml_service.platforms.azureml.blobs import Blobs

    file = tmp_path / "rows.csv"
    file.write_text("rows")
    blobs = Blobs(workspace.datastore)
    blobs.upload(file, "landing/known.csv")
    before = len(pipelines.list())
    schedules.schedule(published, print, on_new_data="landing")
    pass_time(6 * MINUTES)
    time.sleep(0.5)
    assert len(pipelines.list()) == before
    blobs.upload(file, "landing/new.csv")
    pass_time(6 * MINUTES)
    assert runs(pipelines, before + 1)[0].parameters == {"word": "one"}


def test_what_cannot_be_scheduled_is_refused(
    schedules: AzureSchedules, published: PublishedPipeline
) -> None:
    before = schedules.list()
    for cron, folder in ((None, None), ("5 * * * *", "landing")):
        with pytest.raises(PlatformError, match="either a cron expression or a folder"):
            schedules.schedule(published, print, cron=cron, on_new_data=folder)
    with pytest.raises(PlatformError, match="days of the month"):
        schedules.schedule(published, print, cron="0 6 1 * *")
    with pytest.raises(PipelineError, match="no parameter other"):
        schedules.schedule(published, print, cron="0 6 * * *", parameters={"other": "1"})
    with pytest.raises(PlatformError, match="disabling schedule 0000"):
        schedules.disable("00000000-0000-0000-0000-000000000000", print)
    assert schedules.list() == before
