"""MLflow as a job on Azure sees it: through azureml-mlflow, in a process of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from insurance_claims import schema
from insurance_claims.model import save_model
from tests.azureml_emulator import runs, tracking
from tests.azureml_emulator.in_process import Site
from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.services.mlflow_api import NOT_ANSWERED

LOGS = """
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from insurance_claims.tracking import tracker

Path("plots/deep").mkdir(parents=True)
Path("plots/a.txt").write_text("a")
Path("plots/deep/b.txt").write_text("b")
with tracker() as log:
    log.log_params({"depth": 3})
    log.log_metrics({"gini": 0.28})
    log.log_curve("loss", [1 / step for step in range(1, 1501)])
    log.log_files(Path("plots"), "evaluation")
with mlflow.start_run() as run:
    mlflow.log_metric("later", 1.0, synchronous=False).wait()
    mlflow.set_tag("team", "pricing")
    with mlflow.start_run(nested=True, run_name="fold"):
        mlflow.log_metric("fold", 2.0)
client = MlflowClient()
print(len(client.get_metric_history(run.info.run_id, "loss")))
print(sorted(item.path for item in client.list_artifacts(run.info.run_id)))
folder = mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/evaluation", dst_path=".")
print(sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*.txt")))
"""

CHAMPION = """
from insurance_claims.evaluate.champion import load_champion

found = load_champion(None, "claims")
print(found.name, found.model.metadata["parameters"])
"""

REFUSED = """
import sys

import mlflow
from mlflow import MlflowClient

client = MlflowClient()
client.create_registered_model("m")
run = client.get_run(sys.argv[1])
client.create_model_version("m", run.info.artifact_uri + "/model", run.info.run_id)
for call in (
    lambda: client.set_registered_model_alias("m", "champion", "1"),
    lambda: client.get_model_version_by_alias("m", "champion"),
    lambda: client.search_logged_models(experiment_ids=[run.info.experiment_id]),
    lambda: client.log_inputs(run.info.run_id, models=[mlflow.entities.LoggedModelInput("x")]),
):
    try:
        call()
    except mlflow.exceptions.MlflowException as error:
        print(error)
    else:
        print("answered")
"""


@pytest.fixture(scope="module")
def workspace(site: Site) -> Workspace:
    """A workspace for this module."""
    return site.workspace("tracking")


def test_a_job_logs_to_its_own_run_and_does_not_end_it(
    site: Site, workspace: Workspace, tmp_path: Path
) -> None:
    pipeline = site.job(workspace, "training", run_type="azureml.PipelineRun", tags={"build": "7"})
    step = site.job(workspace, "train", parent=pipeline)
    site.context.calls.clear()
    done = site.execute(workspace, step, ["-c", LOGS], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == [
        *("1500", "['evaluation']"),
        "['a.txt', 'deep/b.txt']",
    ]

    history = site.history(workspace, step)
    assert (history["status"], history["parentRunId"]) == ("Running", pipeline)
    assert history["tags"] == {"team": "pricing"}
    run = site.run(tracking.in_store(site.context, workspace, lambda store: store.get_run(step)))
    assert run.info.status == "RUNNING"
    assert run.data.metrics == {"gini": 0.28, "loss": 1 / 1500, "later": 1.0}
    assert run.data.params == {"depth": "3"}
    assert run.data.tags["mlflow.parentRunId"] == pipeline
    documents = site.ask(lambda: list(workspace.table(runs.TABLE).values()))
    (fold,) = [document for document in documents if document["parentRunId"] == step]
    assert (fold["displayName"], fold["status"]) == ("fold", "Completed")
    assert fold["rootRunId"] == pipeline
    calls = {call["route"]: call["status"] for call in site.context.calls}
    assert NOT_ANSWERED not in calls
    assert 501 not in calls.values()

    site.run(runs.end_run(site.context, workspace, step, "Failed", {"error": {"code": "x"}}))
    run = site.run(tracking.in_store(site.context, workspace, lambda store: store.get_run(step)))
    assert run.info.status == "FAILED"
    assert site.history(workspace, step)["endTimeUtc"]


def test_calls_that_azure_lacks_are_refused_and_seen(
    site: Site, workspace: Workspace, tmp_path: Path
) -> None:
    run_id = site.job(workspace, "refused")
    site.context.calls.clear()
    done = site.execute(workspace, run_id, ["-c", REFUSED, run_id], tmp_path)
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    assert all("failed with error code 404" in line for line in lines), lines
    refused = [call for call in site.context.calls if call["route"] == NOT_ANSWERED]
    assert len(refused) == 4
    assert {call["status"] for call in refused} == {404}


def folders(where: Path, seed: int, champion: int | None) -> dict[str, Path]:
    """The outputs of the steps before registration, with a real if tiny model."""
    made = {name: where / name for name in ("dataset", "model", "evaluation")}
    for folder in made.values():
        folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    rows = draw.random((300, len(schema.FEATURE_NAMES)))
    data = lgb.Dataset(rows, draw.integers(0, 2, 300))
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    booster = lgb.train(settings, data, 2)
    metadata = {"parameters": {"seed": seed}, "data": {"name": "claims", "version": 1}}
    save_model(made["model"], booster.model_to_string(), metadata)
    manifest = {
        "data": {"name": "claims", "version": 1, "sha256": "d"},
        "schema_version": "1",
        "split": {"salt": "s"},
    }
    decision = {
        "decision": "promote",
        "reasons": ["because."],
        "challenger": {"metrics": {"gini": {"value": 0.28}}},
        "champion": champion and {"version": champion},
    }
    (made["dataset"] / "manifest.json").write_text(json.dumps(manifest))
    (made["evaluation"] / "decision.json").write_text(json.dumps(decision))
    (made["evaluation"] / "model_card.md").write_text("# card")
    (made["evaluation"] / "plots").mkdir()
    return made


def register(site: Site, workspace: Workspace, where: Path, made: Mapping[str, Path]) -> Any:
    """Run the registration step as a job."""
    pipeline = site.job(workspace, "training", run_type="azureml.PipelineRun")
    step = site.job(workspace, "register", parent=pipeline)
    words = ["-m", "insurance_claims.register.register_model", "--model-name=claims"]
    words += [f"--{name}={folder}" for name, folder in made.items()]
    done = site.execute(workspace, step, [*words, f"--output={where / 'out'}"], where)
    return pipeline, done


def test_the_registration_step_registers_what_azureml_core_can_see(
    site: Site, workspace: Workspace, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    made = folders(first, 1, None)
    site.context.calls.clear()
    pipeline, done = register(site, workspace, first, made)
    assert done.returncode == 0, done.stderr
    assert "registered claims version 1: it is the champion now" in done.stdout
    (model,) = [
        item for item in site.run(tracking.registered_models(workspace)) if item.name == "claims"
    ]
    assert model.version == 1
    assert model.tags["pipeline_run_id"] == pipeline
    assert model.tags["champion_reason"] == "because."
    files = site.run(tracking.model_files(workspace, "claims", 1))
    assert {"model.txt", "model.json", "golden.json", "lineage.json"} < set(files)
    assert files["model.txt"].read_bytes() == (made["model"] / "model.txt").read_bytes()
    assert site.run(tracking.model_files(workspace, "claims", 2)) == {}

    step = site.job(workspace, "evaluate", parent=pipeline)
    done = site.execute(workspace, step, ["-c", CHAMPION], tmp_path)
    assert done.stdout.splitlines()[-1:] == ["champion, version 1 {'seed': 1}"], done.stderr

    late = tmp_path / "late"
    _, done = register(site, workspace, late, folders(late, 2, None))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: version 1 became champion of claims")
    assert not (late / "out").exists()
    assert all(call["route"] != NOT_ANSWERED for call in site.context.calls)


def test_a_registration_whose_upload_fails_says_so_and_registers_nothing(
    site: Site, tmp_path: Path
) -> None:
    empty = site.workspace("upload-fails")
    site.context.faults.add({"method": "PUT", "path": "/blob/", "status": 403, "times": 99})
    try:
        _, done = register(site, empty, tmp_path, folders(tmp_path, 1, None))
    finally:
        site.context.faults.clear()
    assert done.returncode == 1
    assert "error: uploading the files of claims: MLflow at azureml://" in done.stderr
    assert "Traceback" not in done.stderr
    assert site.run(tracking.registered_models(empty)) == []


def test_workspaces_do_not_see_each_other(site: Site, workspace: Workspace) -> None:
    other = site.workspace("other")
    run_id = site.job(workspace, "mine")
    known = site.run(
        tracking.in_store(site.context, other, lambda store: store.search_experiments())
    )
    assert [experiment.name for experiment in known] == ["Default"]
    assert "/workspaces/other/" in known[0].artifact_location
    with pytest.raises(Exception, match="not found"):
        site.run(tracking.in_store(site.context, other, lambda store: store.get_run(run_id)))
    assert site.run(tracking.registered_models(site.workspace("untouched"))) == []


def test_runs_survive_the_emulator(site: Site, workspace: Workspace, tmp_path: Path) -> None:
    run_id = site.job(workspace, "long")
    # The same files in another place: nothing that a process remembers of the first can help.
    copied = tmp_path / "copied"
    shutil.copytree(site.folder, copied)
    again = Site(copied)
    try:
        found = again.workspace("tracking")
        assert again.history(found, run_id)["displayName"] == "long"
        run = again.run(
            tracking.in_store(again.context, found, lambda store: store.get_run(run_id))
        )
        assert run.info.run_name == "long"
    finally:
        again.stop()
