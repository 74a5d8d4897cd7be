"""Run history and metrics, through the SDK's own Experiment and Run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ml_service.platforms.azureml.errors import translated
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import PlatformError
from ml_service.settings import AzureSettings, Settings
from tests.azureml_emulator.odata import condition
from tests.azureml_emulator.routing import Refused

if TYPE_CHECKING:
    from azureml.core import Experiment


@pytest.fixture(scope="module")
def workspace(azure: str) -> AzureWorkspace:
    """An empty workspace."""
    return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate({}))


@pytest.fixture(scope="module")
def experiment(workspace: AzureWorkspace) -> Experiment:
    """An empty experiment."""
    from azureml.core import Experiment

    return Experiment(workspace.workspace, "history")


def test_what_a_run_logs_is_read_back_and_is_in_mlflow(
    workspace: AzureWorkspace, experiment: Any
) -> None:
    run = experiment.start_logging(snapshot_directory=None)
    run.log("gini", 0.28)
    for loss in (0.5, 0.25):
        run.log("loss", loss)
    run.log_list("edges", [1, 2, 3])
    run.tag("team", "pricing")
    run.flush()
    assert run.get_metrics() == {"gini": 0.28, "loss": [0.5, 0.25], "edges": [1, 2, 3]}
    seen = workspace.mlflow.get_run(run.id)
    assert seen.data.metrics == {"gini": 0.28, "loss": 0.25}
    assert seen.data.tags["team"] == "pricing"
    assert seen.info.status == "RUNNING"
    run.complete()
    assert run.get_status() == "Completed"
    assert workspace.mlflow.get_run(run.id).info.status == "FINISHED"
    assert workspace.workspace.get_run(run.id).get_details()["status"] == "Completed"


def test_what_mlflow_logs_is_read_back(workspace: AzureWorkspace) -> None:
    made = workspace.mlflow.create_run(
        workspace.mlflow.create_experiment("by-mlflow"), run_name="r"
    )
    workspace.mlflow.log_metric(made.info.run_id, "auc", 0.6, step=1)
    workspace.mlflow.log_metric(made.info.run_id, "auc", 0.7, step=2)
    workspace.mlflow.set_tag(made.info.run_id, "team", "pricing")
    run = workspace.workspace.get_run(made.info.run_id)
    assert (run.experiment.name, run.display_name) == ("by-mlflow", "r")
    assert run.get_metrics() == {"auc": [0.6, 0.7]}
    assert run.get_tags() == {"team": "pricing"}
    workspace.mlflow.set_terminated(made.info.run_id, "FAILED")
    assert run.get_status() == "Failed"


def test_runs_are_found_by_their_tags_and_parents(experiment: Any) -> None:
    parent = experiment.start_logging(snapshot_directory=None)
    parent.tag("build", "77")
    child = parent.child_run("fold")
    child.complete()
    parent.complete()
    assert [run.id for run in parent.get_children()] == [child.id]
    assert [run.id for run in experiment.get_runs(tags={"build": "77"})] == [parent.id]
    assert list(experiment.get_runs(tags={"build": "78"})) == []
    assert list(experiment.get_runs(type="azureml.PipelineRun")) == []
    alone = {run.id for run in experiment.get_runs()}
    every = {run.id for run in experiment.get_runs(include_children=True)}
    assert every - alone == {child.id}


def test_a_run_that_is_not_there_is_refused(workspace: AzureWorkspace) -> None:
    with pytest.raises(PlatformError, match="Run nothing was not found"), translated("looking"):
        workspace.workspace.get_run("nothing")


RUN = {
    "runType": "azureml.PipelineRun",
    "parentRunId": None,
    "tags": {"build": "7", "empty": None},
    "createdUtc": "2026-01-02T00:00:00+00:00",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("(ParentRunId eq null)", True),
        ("(RunType eq x or Properties/azureml.runsource eq azureml.PipelineRun)", False),
        ("(RunType eq azureml.PipelineRun or Properties/azureml.runsource eq x)", True),
        ('(Tags/build eq "7") and (ParentRunId eq null)', True),
        ('(Tags/build eq "8") and (ParentRunId eq null)', False),
        ("(Tags/build ne null or Tags/build eq null)", True),
        ("(Tags/other ne null or Tags/other eq null)", False),
        ("(Tags/empty eq null)", True),
        ("(CreatedUtc ge 2026-01-01 00:00:00)", True),
        ("(CreatedUtc gt 2026-01-03 00:00:00)", False),
    ],
)
def test_filters(text: str, expected: bool) -> None:
    assert condition(text)(RUN) is expected


@pytest.mark.parametrize("text", ["(a eq b", "a eq b) and", "a like b", "and a eq b", "()"])
def test_a_filter_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        condition(text)
