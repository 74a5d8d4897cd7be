"""Runs of pipelines: submit, watch, cancel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.azureml_emulator import runs
from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.execution import executor
from tests.azureml_emulator.routing import Answer, Call, Refused, Routes
from tests.azureml_emulator.services import artifacts, published
from tests.azureml_emulator.services.datastores import container_of

routes = Routes()
_BASE = "/pipelines/v1.0{ws}/PipelineRuns"
_ID = "{id:[0-9a-f-]+}"
_RUN_CODES = {"Completed": "Finished", "CancelRequested": "Running"}


@routes.add("POST", _BASE + "/PipelineSubmit/" + _ID)
async def submit_published(call: Call) -> dict[str, Any]:
    """Run a published pipeline."""
    return await submit(call.context, call.workspace, call.match["id"], call.json)


@routes.add("POST", _BASE + "/PipelineEndpointSubmit/Id/" + _ID)
async def submit_endpoint(call: Call) -> dict[str, Any]:
    """Run the default version of an endpoint, or the one that is asked for."""
    endpoint = published.endpoint(call.workspace, call.match["id"])
    wanted = call.query.get("pipelineVersion") or endpoint["DefaultVersion"]
    for version in endpoint["PipelineVersionList"]:
        if version["Version"] == wanted:
            return await submit(call.context, call.workspace, version["PipelineId"], call.json)
    raise Refused(404, "UserError", f"{endpoint['Name']} has no version {wanted}.")


@routes.add("POST", _BASE + "/Unsubmitted/CreationInfoWithGraph")
async def create_unsubmitted(call: Call) -> dict[str, Any]:
    """Make a run of a graph that is not published; it begins when it is submitted."""
    content = call.json
    creation = content["CreationInfo"]
    graph = published.keep_graph(call.workspace, content["Graph"], content.get("GraphInterface"))
    creation["ExperimentName"] = (
        creation.get("RunHistoryExperimentName") or call.query["experimentName"]
    )
    given = published.defaults(content.get("GraphInterface"))
    return await _create(call.context, call.workspace, graph, given, creation)


@routes.add("POST", _BASE + "/Submit/" + _ID)
async def submit_saved(call: Call) -> Answer:
    """Begin with a run that was made before."""
    document = _document(call)
    graph = published.graph(call.workspace, document["GraphId"])["graph"]
    executor.start(call.context, call.workspace, document["Id"], graph)
    return Answer(200)


@routes.add("GET", _BASE + "/" + _ID)
async def get_run(call: Call) -> dict[str, Any]:
    """One run."""
    return _shown(call.workspace, _document(call))


@routes.add("GET", _BASE + "/Pipeline/" + _ID)
async def runs_of_pipeline(call: Call) -> list[dict[str, Any]]:
    """The runs of a published pipeline, newest first."""
    return _where(call, "PipelineId")


@routes.add("GET", _BASE + "/Schedule/" + _ID)
async def runs_of_schedule(call: Call) -> list[dict[str, Any]]:
    """The runs that a schedule submitted, newest first."""
    return _where(call, "ScheduleId")


@routes.add("GET", _BASE + "/Schedule/" + _ID + "/Last")
async def last_run_of_schedule(call: Call) -> Answer:
    """The newest of them."""
    found = _where(call, "ScheduleId")
    return Answer(200, found[0]) if found else Answer(204)


@routes.add("DELETE", _BASE + "/" + _ID + "/Execution")
async def cancel(call: Call) -> Answer:
    """Cancel a run."""
    executor.cancel(_document(call)["Id"])
    return Answer(200)


@routes.add("POST", _BASE + "/" + _ID + "/Graph/Node/StatusCode")
async def node_status_code(call: Call) -> str:
    """Where a step is."""
    return str(_status(call.workspace, _document(call), call.json[0])["StatusCode"])


@routes.add("POST", _BASE + "/" + _ID + "/Graph/Node/Status")
async def node_status(call: Call) -> dict[str, Any]:
    """Where a step is, and its run."""
    return _status(call.workspace, _document(call), call.json[0])


@routes.add("POST", _BASE + "/" + _ID + "/Graph/AllNodes/Status")
async def all_statuses(call: Call) -> dict[str, Any]:
    """Where each step is."""
    document = _document(call)
    graph = published.graph(call.workspace, document["GraphId"])["graph"]
    return {
        node["Id"]: _status(call.workspace, document, node["Id"]) for node in graph["ModuleNodes"]
    }


@routes.add("POST", _BASE + "/" + _ID + "/Outputs")
async def outputs(call: Call) -> dict[str, Any]:
    """Where a step's outputs are."""
    node = _document(call)["nodes"].get(call.json[0])
    if node is None:
        raise Refused(404, "NotFound", f"Step {call.json[0]} has not run.")
    return {
        name: _node_output(call.workspace, datastore, path)
        for name, (datastore, path) in node["outputs"].items()
    }


@routes.add("POST", _BASE + "/" + _ID + "/Graph/Shareable/JobLog")
async def job_log(call: Call) -> str:
    """An address of what a step printed."""
    node = _document(call)["nodes"].get(call.json[0])
    if node is None:
        raise Refused(404, "NotFound", f"Step {call.json[0]} has not run.")
    key = f"ExperimentRun/dcid.{node['made_by']}/{executor.LOG}"
    return call.context.blob_url(call.workspace, artifacts.CONTAINER, key)


async def submit(
    context: Context, workspace: Workspace, pipeline: str, info: Mapping[str, Any]
) -> dict[str, Any]:
    """Run a published pipeline.

    Args:
        context: the emulator.
        workspace: of the pipeline.
        pipeline: its id.
        info: experiment, parameters and data sets.

    Raises:
        Refused: there is no such pipeline, or it is disabled.
    """
    entity = published.published(workspace, pipeline)
    if entity["EntityStatus"] != "Active":
        message = f"Pipeline {pipeline} is {entity['EntityStatus']} and cannot be submitted."
        raise Refused(400, "UserError", message)
    datasets = entity.get("DataSetDefinitionValueAssignments") or {}
    made = await _create(
        context,
        workspace,
        entity["GraphId"],
        entity["ParameterAssignments"],
        {**info, "PipelineId": pipeline},
        datasets,
    )
    graph = published.graph(workspace, entity["GraphId"])["graph"]
    executor.start(context, workspace, made["Id"], graph)
    return made


async def _create(
    context: Context,
    workspace: Workspace,
    graph: str,
    defaults: Mapping[str, str],
    info: Mapping[str, Any],
    datasets: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    parameters = {**defaults, **(info.get("ParameterAssignments") or {})}
    experiment = info["ExperimentName"]
    properties = {
        "azureml.pipelineid": info.get("PipelineId") or "",
        "azureml.parameters": json.dumps(parameters),
        "runSource": info.get("RunSource") or "Unavailable",
        "runType": info.get("RunType") or "HTTP",
    }
    tags = {key: str(value) for key, value in (info.get("tags") or {}).items()}
    run_id = await runs.create_run(
        context,
        workspace,
        experiment,
        info.get("Description") or experiment,
        run_type="azureml.PipelineRun",
        tags=tags,
        properties=properties,
    )
    document = {
        "Id": run_id,
        "Description": info.get("Description"),
        "GraphId": graph,
        "IsSubmitted": True,
        "ParameterAssignments": parameters,
        "RunHistoryExperimentName": experiment,
        "PipelineId": info.get("PipelineId"),
        "ScheduleId": info.get("ScheduleId"),
        "RunSource": info.get("RunSource"),
        "RunType": info.get("RunType"),
        "EntityStatus": "Active",
        "CreatedDate": context.clock.text(),
        "tags": tags,
        "datasets": {
            **(datasets or {}),
            **(info.get("DataSetDefinitionValueAssignments") or {}),
        },
        "nodes": {},
    }
    workspace.table(executor.TABLE)[run_id] = document
    return _shown(workspace, document)


def _document(call: Call) -> dict[str, Any]:
    found: dict[str, Any] | None = call.workspace.table(executor.TABLE).get(call.match["id"])
    if found is None:
        raise Refused(404, "NotFound", f"PipelineRun {call.match['id']} was not found.")
    return found


def _shown(workspace: Workspace, document: Mapping[str, Any]) -> dict[str, Any]:
    run = runs.get(workspace, document["Id"])
    shown = {key: value for key, value in document.items() if key not in ("datasets", "nodes")}
    status = {
        "StatusCode": _RUN_CODES.get(run["status"], run["status"]),
        "StatusDetail": None,
        "CreationTime": run["createdUtc"],
        "EndTime": run["endTimeUtc"],
    }
    return {
        **shown,
        "Status": status,
        "DataSetDefinitionValueAssignments": document["datasets"],
        "TotalRunSteps": len(
            published.graph(workspace, document["GraphId"])["graph"]["ModuleNodes"]
        ),
    }


def _where(call: Call, key: str) -> list[dict[str, Any]]:
    table = call.workspace.table(executor.TABLE)
    documents = [table[run_id] for run_id in reversed(list(table))]
    return [
        _shown(call.workspace, document)
        for document in documents
        if document[key] == call.match["id"]
    ]


def _status(workspace: Workspace, document: Mapping[str, Any], node: str) -> dict[str, Any]:
    found = document["nodes"].get(node)
    if found is None:
        return {"StatusCode": "NotStarted", "RunId": None}
    run = runs.get(workspace, found["run"])
    return {
        "StatusCode": _RUN_CODES.get(run["status"], run["status"]),
        "RunId": found["run"],
        "CreationTime": run["createdUtc"],
        "StartTime": run["startTimeUtc"],
        "EndTime": run["endTimeUtc"],
        "ReuseInfo": None if found["made_by"] == found["run"] else {"RunId": found["made_by"]},
    }


def _node_output(workspace: Workspace, datastore: str, path: str) -> dict[str, Any]:
    reference = {
        "AmlDataStoreName": datastore,
        "Container": container_of(workspace, datastore),
        "RelativePath": path,
    }
    return {
        "DataTypeId": "AnyDirectory",
        "DataLocation": {
            "StorageType": "AzureBlob",
            "DataReference": {"Type": "AzureBlob", "AzureBlobReference": reference},
        },
    }
