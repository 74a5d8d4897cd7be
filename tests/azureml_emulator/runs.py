"""Runs: one id in the run history and in MLflow, and what a job sees of its own run."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tests.azureml_emulator import tracking
from tests.azureml_emulator.context import GROUP, SUBSCRIPTION, Context, Workspace
from tests.azureml_emulator.routing import Refused
from tests.azureml_emulator.server import sign

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

TABLE = "runs"
ENDED = ("Completed", "Failed", "Canceled")
_TOKEN_SECONDS = 24 * 3600
_TO_MLFLOW = {
    "NotStarted": "SCHEDULED",
    "Running": "RUNNING",
    "CancelRequested": "RUNNING",
    "Completed": "FINISHED",
    "Failed": "FAILED",
    "Canceled": "KILLED",
}
_FROM_MLFLOW = {there: here for here, there in _TO_MLFLOW.items() if here != "CancelRequested"}
_MERGED = ("tags", "properties", "logFiles")


async def experiment(context: Context, workspace: Workspace, name: str) -> Experiment:
    """The experiment of this name, made where there is none."""
    root = tracking.artifact_root(context, workspace, name)

    def find_or_make(store: SqlAlchemyStore) -> Experiment:
        found: Experiment | None = store.get_experiment_by_name(name)
        return found or store.get_experiment(store.create_experiment(name, root))

    return await tracking.in_store(context, workspace, find_or_make)


async def create_run(
    context: Context,
    workspace: Workspace,
    experiment_name: str,
    name: str,
    *,
    run_type: str,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> str:
    """Make a run, in the history and in MLflow. It has not started yet.

    Args:
        context: the emulator.
        workspace: to make it in.
        experiment_name: made where there is none.
        name: shown to people.
        run_type: ``azureml.PipelineRun``, ``azureml.StepRun``, ...
        parent: the run that it is a part of.
        tags: of the run.
        properties: of the run.
        run_id: its id; a new one where none is given.

    Returns:
        The run's id.
    """
    made = run_id or str(uuid.uuid4())
    found = await experiment(context, workspace, experiment_name)
    given = dict(tags or {})
    root = get(workspace, parent)["rootRunId"] if parent else made
    mlflow_tags = dict(given)
    if parent:
        mlflow_tags |= {"mlflow.parentRunId": parent, "mlflow.rootRunId": root}
    milliseconds = int(context.clock.seconds() * 1000)

    def add(store: SqlAlchemyStore) -> None:
        _add(store, found, made, name, mlflow_tags, milliseconds)

    await tracking.in_store(context, workspace, add)
    _remember(
        context,
        workspace,
        made,
        experimentName=experiment_name,
        experimentId=found.experiment_id,
        parentRunId=parent,
        rootRunId=root,
        name=name,
        displayName=name,
        runType=run_type,
        tags=given,
        properties={"azureml.runsource": run_type, **(properties or {})},
    )
    return made


async def update_run(
    context: Context, workspace: Workspace, run_id: str, **changes: Any
) -> dict[str, Any]:
    """Change what the history says of a run, and with it MLflow.

    Args:
        context: the emulator.
        workspace: of the run.
        run_id: of the run.
        changes: fields of the run's document; ``tags``, ``properties`` and ``logFiles`` are added to those it has.

    Returns:
        The run's document.
    """
    document = get(workspace, run_id)
    for key, value in changes.items():
        document[key] = {**document[key], **value} if key in _MERGED else value
    status = changes.get("status")
    if status == "Running" and document["startTimeUtc"] is None:
        document["startTimeUtc"] = context.clock.text()
    if status in ENDED and document["endTimeUtc"] is None:
        document["endTimeUtc"] = context.clock.text()
    workspace.table(TABLE)[run_id] = document
    tags: Mapping[str, str] = changes.get("tags") or {}
    if status or tags:
        ended = int(context.clock.seconds() * 1000) if status in ENDED else None

        def follow(store: SqlAlchemyStore) -> None:
            _follow(store, run_id, status, ended, tags)

        await tracking.in_store(context, workspace, follow)
    return document


async def end_run(
    context: Context,
    workspace: Workspace,
    run_id: str,
    status: Literal["Completed", "Failed", "Canceled"],
    error: Mapping[str, Any] | None = None,
) -> None:
    """Close a run.

    Args:
        context: the emulator.
        workspace: of the run.
        run_id: of the run.
        status: how it ended.
        error: ``{"error": {"code": ..., "message": ...}}``.
    """
    await update_run(context, workspace, run_id, status=status, error=error)


async def adopt(context: Context, workspace: Workspace, run_id: str, *, state: bool) -> None:
    """Let the history say what MLflow was told of a run, which may be new to it.

    Args:
        context: the emulator.
        workspace: of the run.
        run_id: of the run.
        state: whether its state and name count, or its tags alone.
    """
    run = await tracking.in_store(context, workspace, lambda store: store.get_run(run_id))
    if run_id not in workspace.table(TABLE):
        await _adopt_new(context, workspace, run)
    document = get(workspace, run_id)
    document["tags"] = {
        key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")
    }
    if state:
        status = _FROM_MLFLOW[run.info.status]
        document["status"] = status
        document["endTimeUtc"] = context.clock.text() if status in ENDED else None
        document["displayName"] = run.info.run_name
    workspace.table(TABLE)[run_id] = document


async def step_environment(context: Context, workspace: Workspace, run_id: str) -> dict[str, str]:
    """The variables by which a job knows its run, its workspace and MLflow."""
    document = get(workspace, run_id)
    host = context.base_url.partition("://")[2]
    claims = {"tid": workspace.id, "oid": workspace.id, "runid": run_id}
    token = sign(context, claims, _TOKEN_SECONDS)
    name = document["experimentName"]
    return {
        **context.environment,
        "MLFLOW_TRACKING_URI": f"azureml://{host}/mlflow/v1.0{workspace.path}",
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_RUN_ID": run_id,
        "MLFLOW_EXPERIMENT_ID": document["experimentId"],
        "MLFLOW_EXPERIMENT_NAME": name,
        "AZUREML_RUN_ID": run_id,
        "AZUREML_ROOT_RUN_ID": document["rootRunId"],
        "AZUREML_RUN_TOKEN": token,
        "AZUREML_RUN_TOKEN_EXPIRY": str(int(context.clock.seconds()) + _TOKEN_SECONDS),
        "AZUREML_ARM_SUBSCRIPTION": SUBSCRIPTION,
        "AZUREML_ARM_RESOURCEGROUP": GROUP,
        "AZUREML_ARM_WORKSPACE_NAME": workspace.name,
        "AZUREML_ARM_PROJECT_NAME": name,
        "AZUREML_EXPERIMENT_ID": document["experimentId"],
        "AZUREML_WORKSPACE_ID": workspace.id,
        "AZUREML_SERVICE_ENDPOINT": context.base_url,
        "AZUREML_DISCOVERY_SERVICE_ENDPOINT": f"{context.base_url}/discovery",
    }


def get(workspace: Workspace, run_id: str) -> dict[str, Any]:
    """What the history says of a run.

    Raises:
        Refused: there is no such run.
    """
    document: dict[str, Any] | None = workspace.table(TABLE).get(run_id)
    if document is None:
        raise Refused(404, "UserError", f"Run {run_id} was not found.")
    return document


async def _adopt_new(context: Context, workspace: Workspace, run: Run) -> None:
    found = await tracking.in_store(
        context, workspace, lambda store: store.get_experiment(run.info.experiment_id)
    )
    parent = run.data.tags.get("mlflow.parentRunId")
    known = workspace.table(TABLE).get(parent) if parent else None
    _remember(
        context,
        workspace,
        run.info.run_id,
        experimentName=found.name,
        experimentId=found.experiment_id,
        parentRunId=parent,
        rootRunId=known["rootRunId"] if known else parent or run.info.run_id,
        name=run.info.run_name,
        displayName=run.info.run_name,
        properties={"mlflow.artifact.uri": run.info.artifact_uri},
        startTimeUtc=context.clock.text(),
    )


def _remember(context: Context, workspace: Workspace, run_id: str, **fields: Any) -> None:
    table = workspace.table(TABLE)
    table[run_id] = {
        "runNumber": len(table) + 1,
        "runId": run_id,
        "runUuid": str(uuid.uuid4()),
        "dataContainerId": tracking.container(run_id),
        "createdUtc": context.clock.text(),
        "status": "NotStarted",
        "startTimeUtc": None,
        "endTimeUtc": None,
        "error": None,
        "hidden": False,
        "runType": None,
        "runTypeV2": None,
        "target": None,
        "scriptName": None,
        "description": None,
        "tags": {},
        "logFiles": {},
        **fields,
    }


def _add(
    store: SqlAlchemyStore,
    experiment: Experiment,
    run_id: str,
    name: str,
    tags: Mapping[str, str],
    milliseconds: int,
) -> None:
    """Make a run under an id of our choice, which MLflow's own call cannot."""
    from mlflow.entities import LifecycleStage, SourceType
    from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag

    with store.ManagedSessionMaker(read_only=False) as session:
        run = SqlRun(
            name=name,
            artifact_uri=f"{experiment.artifact_location}/{run_id}/artifacts",
            run_uuid=run_id,
            experiment_id=int(experiment.experiment_id),
            source_type=SourceType.to_string(SourceType.UNKNOWN),
            source_name="",
            entry_point_name="",
            user_id="",
            status="SCHEDULED",
            start_time=milliseconds,
            source_version="",
            lifecycle_stage=LifecycleStage.ACTIVE,
        )
        run.tags = [
            SqlTag(key=key, value=value) for key, value in {"mlflow.runName": name, **tags}.items()
        ]
        session.add(run)


def _follow(
    store: SqlAlchemyStore,
    run_id: str,
    status: str | None,
    ended: int | None,
    tags: Mapping[str, str],
) -> None:
    from mlflow.entities import RunStatus, RunTag

    if status:
        known = RunStatus.from_string(_TO_MLFLOW.get(status, "SCHEDULED"))
        store.update_run_info(run_id, known, ended, None)
    for key, value in tags.items():
        store.set_tag(run_id, RunTag(key, str(value)))
