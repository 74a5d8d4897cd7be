"""Schedules: pipelines that run by the clock, or when blobs of a folder are new or changed."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.execution.recurrence import next_run
from tests.azureml_emulator.routing import Call, Refused, Routes
from tests.azureml_emulator.services.datastores import container_of
from tests.azureml_emulator.services.pipeline_runs import submit
from tests.azureml_emulator.services.published import endpoint, published

routes = Routes()
_BASE = "/pipelines/v1.0{ws}/Schedules"
_ID = "{id:[0-9a-f-]+}"
_RECURRENCE = ("0", "Recurrence")
_MINUTES = 5
"""Between two looks at a folder, where the schedule does not say."""


@routes.add("POST", _BASE + "/Create")
async def create(call: Call) -> dict[str, Any]:
    """Make a schedule."""
    content = call.json
    if content.get("PipelineId"):
        published(call.workspace, content["PipelineId"])
    moment = call.context.clock.text()
    made = {
        **content,
        "Id": str(uuid.uuid4()),
        "EntityStatus": "Active",
        "ProvisioningStatus": "Completed",
        "CreatedDate": moment,
        "LastModifiedDate": moment,
    }
    zone = (content.get("Recurrence") or {}).get("TimeZone")
    if zone not in (None, "UTC"):
        raise Refused(400, "UserError", f"The emulator knows the time zone UTC alone, not {zone}.")
    _plan(call.context, call.workspace, made, new=True)
    return made


@routes.add("GET", _BASE)
async def list_schedules(call: Call) -> list[dict[str, Any]]:
    """Schedules, newest first."""
    active_only = call.query.get("activeOnly", "true").lower() == "true"
    return [
        item for item in _all(call.workspace) if item["EntityStatus"] == "Active" or not active_only
    ]


@routes.add("GET", _BASE + "/" + _ID)
async def get(call: Call) -> dict[str, Any]:
    """One schedule."""
    return _one(call)


@routes.add("GET", _BASE + "/Pipeline/" + _ID)
async def of_pipeline(call: Call) -> list[dict[str, Any]]:
    """The schedules of a pipeline."""
    return [item for item in _all(call.workspace) if item.get("PipelineId") == call.match["id"]]


@routes.add("GET", _BASE + "/PipelineEndpoint/" + _ID)
async def of_endpoint(call: Call) -> list[dict[str, Any]]:
    """The schedules of a pipeline endpoint."""
    return [
        item for item in _all(call.workspace) if item.get("PipelineEndpointId") == call.match["id"]
    ]


@routes.add("PUT", _BASE + "/" + _ID)
async def update(call: Call) -> dict[str, Any]:
    """Change a schedule, or disable it."""
    changed = {**_one(call), **call.json, "LastModifiedDate": call.context.clock.text()}
    _plan(call.context, call.workspace, changed, new=False)
    return changed


async def run_due(context: Context) -> None:
    """Submit what is due now. What was missed while time passed at once is not caught up."""
    for name in list(context.store.table("", "workspaces")):
        workspace = context.workspace(name)
        assert workspace is not None
        for schedule in _all(workspace):
            if schedule["EntityStatus"] == "Active":
                await _run_if_due(context, workspace, schedule)


async def _run_if_due(context: Context, workspace: Workspace, schedule: dict[str, Any]) -> None:
    plan = workspace.table("schedule plans")[schedule["Id"]]
    if _now(context) < datetime.fromisoformat(plan["due"]):
        return
    is_due = True
    if trigger := schedule.get("DataStoreTriggerInfo"):
        is_due = bool(set(_blobs(workspace, trigger)) - set(plan["seen"]))
    _plan(context, workspace, schedule, new=False)
    if is_due:
        info = {**schedule["PipelineSubmissionInfo"], "ScheduleId": schedule["Id"]}
        await submit(context, workspace, _pipeline(workspace, schedule), info)


def _plan(context: Context, workspace: Workspace, schedule: dict[str, Any], new: bool) -> None:
    """Keep a schedule, and when it is looked at next."""
    workspace.table("schedules")[schedule["Id"]] = schedule
    now = _now(context)
    seen: list[str] = []
    if str(schedule["ScheduleType"]) in _RECURRENCE:
        created = datetime.fromisoformat(schedule["CreatedDate"])
        after = created - timedelta(seconds=1) if new else now
        due = next_run(schedule["Recurrence"], created, after)
    else:
        trigger = schedule["DataStoreTriggerInfo"]
        due = now + timedelta(minutes=trigger.get("PollingInterval") or _MINUTES)
        seen = _blobs(workspace, trigger)
    workspace.table("schedule plans")[schedule["Id"]] = {"due": due.isoformat(), "seen": seen}


def _blobs(workspace: Workspace, trigger: dict[str, Any]) -> list[str]:
    """The blobs of a folder itself, each with its time: below its subfolders nobody looks."""
    container = container_of(workspace, trigger["DataStoreName"])
    folder = workspace.blob_file(container, trigger.get("PathOnDataStore") or ".")
    files = [file for file in folder.glob("*") if file.is_file() and file.suffix != ".part"]
    return sorted(f"{file.name}@{file.stat().st_mtime_ns}" for file in files)


def _pipeline(workspace: Workspace, schedule: dict[str, Any]) -> str:
    if schedule.get("PipelineId"):
        return str(schedule["PipelineId"])
    found = endpoint(workspace, schedule["PipelineEndpointId"])
    versions = {item["Version"]: item["PipelineId"] for item in found["PipelineVersionList"]}
    return str(versions[found["DefaultVersion"]])


def _all(workspace: Workspace) -> list[dict[str, Any]]:
    table = workspace.table("schedules")
    return [table[key] for key in reversed(list(table))]


def _one(call: Call) -> dict[str, Any]:
    found: dict[str, Any] | None = call.workspace.table("schedules").get(call.match["id"])
    if found is None:
        raise Refused(404, "NotFound", f"Schedule {call.match['id']} was not found.")
    return found


def _now(context: Context) -> datetime:
    return datetime.fromtimestamp(context.clock.seconds(), UTC)
