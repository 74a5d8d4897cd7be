"""Published pipelines, their graphs, and pipeline endpoints: a stable name for the newest of them."""

from __future__ import annotations

import uuid
from typing import Any

from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.routing import Answer, Call, Refused, Routes

routes = Routes()
_BASE = "/pipelines/v1.0{ws}"
_ID = "{id:[0-9a-f-]+}"
_STATES = {"0": "Active", "1": "Deprecated", "2": "Disabled"}


@routes.add("POST", _BASE + "/Pipelines/Create")
async def publish(call: Call) -> dict[str, Any]:
    """Publish a pipeline. Name and version need not be unique, as on Azure."""
    content = call.json
    graph = keep_graph(call.workspace, content["Graph"], content.get("GraphInterface"))
    made = str(uuid.uuid4())
    path = f"/pipelines/v1.0{call.workspace.path}/PipelineRuns/PipelineSubmit/{made}"
    entity = {
        "Id": made,
        "Name": content.get("Name"),
        "Description": content.get("Description"),
        "Version": content.get("Version"),
        "GraphId": graph,
        "TotalRunSteps": len(content["Graph"].get("ModuleNodes") or []),
        "ParameterAssignments": defaults(content.get("GraphInterface")),
        "DataSetDefinitionValueAssignments": content.get("DataSetDefinitionValueAssignments"),
        "ContinueRunOnStepFailure": content.get("ContinueRunOnStepFailure"),
        "EnableNotification": content.get("EnableNotification"),
        "Properties": content.get("Properties") or {},
        "Url": call.context.base_url + path,
        **_dates(call.context),
    }
    call.workspace.table("published")[made] = entity
    return entity


@routes.add("GET", _BASE + "/Pipelines")
async def list_published(call: Call) -> list[dict[str, Any]]:
    """Published pipelines, newest first."""
    return _listed(call, "published")


@routes.add("GET", _BASE + "/Pipelines/" + _ID)
async def get_published(call: Call) -> dict[str, Any]:
    """One published pipeline."""
    return published(call.workspace, call.match["id"])


@routes.add("PUT", _BASE + "/Pipelines/" + _ID + "/status")
async def set_status(call: Call) -> Answer:
    """Disable a published pipeline, or enable it again."""
    entity = published(call.workspace, call.match["id"])
    entity["EntityStatus"] = _STATES.get(str(call.json), str(call.json))
    call.workspace.table("published")[entity["Id"]] = entity
    return Answer(200)


@routes.add("GET", _BASE + "/Graphs/" + _ID)
async def get_graph(call: Call) -> Any:
    """A graph."""
    return graph(call.workspace, call.match["id"])["graph"]


@routes.add("GET", _BASE + "/Graphs/" + _ID + "/Interface")
async def get_interface(call: Call) -> Any:
    """A graph's parameters."""
    return graph(call.workspace, call.match["id"])["interface"]


@routes.add("POST", _BASE + "/PipelineEndpoints/Create")
async def create_endpoint(call: Call) -> dict[str, Any]:
    """Make an endpoint with a first pipeline. Its name is unique."""
    content = call.json
    table = call.workspace.table("pipeline endpoints")
    if any(table[key]["Name"] == content["Name"] for key in table):
        message = f"A PipelineEndpoint with name {content['Name']} already exists."
        raise Refused(409, "UserError", message)
    made = str(uuid.uuid4())
    path = f"/pipelines/v1.0{call.workspace.path}/PipelineRuns/PipelineEndpointSubmit/Id/{made}"
    table[made] = {
        "Id": made,
        "Name": content["Name"],
        "Description": content.get("Description"),
        "DefaultVersion": "0",
        "PipelineVersionList": [{"PipelineId": content["PipelineId"], "Version": "0"}],
        "Url": call.context.base_url + path,
        "SwaggerUrl": None,
        "Properties": content.get("Properties") or {},
        "tags": {},
        **_dates(call.context),
    }
    return dict(table[made])


@routes.add("GET", _BASE + "/PipelineEndpoints")
async def list_endpoints(call: Call) -> list[dict[str, Any]]:
    """Endpoints, newest first."""
    return _listed(call, "pipeline endpoints")


@routes.add("GET", _BASE + "/PipelineEndpoints/Name")
async def find_endpoint(call: Call) -> dict[str, Any]:
    """An endpoint by name."""
    name = {key.lower(): value for key, value in call.query.items()}["name"]
    table = call.workspace.table("pipeline endpoints")
    for key in table:
        if table[key]["Name"] == name:
            return dict(table[key])
    raise Refused(404, "UserError", f"PipelineEndpoint with name {name} was not found.")


@routes.add("GET", _BASE + "/PipelineEndpoints/Id/" + _ID)
async def get_endpoint(call: Call) -> dict[str, Any]:
    """An endpoint by id."""
    return endpoint(call.workspace, call.match["id"])


@routes.add("PUT", _BASE + "/PipelineEndpoints/" + _ID)
async def update_endpoint(call: Call) -> dict[str, Any]:
    """Add versions to an endpoint, or choose its default."""
    changed = {**endpoint(call.workspace, call.match["id"]), **call.json}
    versions = [item["Version"] for item in changed["PipelineVersionList"]]
    if changed["DefaultVersion"] not in versions:
        message = f"Version {changed['DefaultVersion']} does not exist."
        raise Refused(400, "UserError", message)
    changed["LastModifiedDate"] = call.context.clock.text()
    call.workspace.table("pipeline endpoints")[call.match["id"]] = changed
    return changed


@routes.add("GET", _BASE + "/PipelineEndpoints/" + _ID + "/pipelines")
async def pipelines_of_endpoint(call: Call) -> list[dict[str, Any]]:
    """The pipelines of an endpoint."""
    found = endpoint(call.workspace, call.match["id"])["PipelineVersionList"]
    return [published(call.workspace, item["PipelineId"]) for item in found]


def published(workspace: Workspace, pipeline: str) -> dict[str, Any]:
    """A published pipeline.

    Raises:
        Refused: there is none with this id.
    """
    return _one(workspace, "published", pipeline)


def endpoint(workspace: Workspace, identifier: str) -> dict[str, Any]:
    """A pipeline endpoint.

    Raises:
        Refused: there is none with this id.
    """
    return _one(workspace, "pipeline endpoints", identifier)


def graph(workspace: Workspace, identifier: str) -> dict[str, Any]:
    """``graph`` and its ``interface``.

    Raises:
        Refused: there is none with this id.
    """
    return _one(workspace, "graphs", identifier)


def keep_graph(workspace: Workspace, content: dict[str, Any], interface: Any) -> str:
    """Keep a graph; its id."""
    made = str(uuid.uuid4())
    workspace.table("graphs")[made] = {"graph": {**content, "Id": made}, "interface": interface}
    return made


def defaults(interface: dict[str, Any] | None) -> dict[str, str]:
    """Default values of a graph's parameters."""
    parameters = (interface or {}).get("Parameters") or []
    return {item["Name"]: str(item.get("DefaultValue")) for item in parameters}


def _one(workspace: Workspace, kind: str, identifier: str) -> dict[str, Any]:
    found: dict[str, Any] | None = workspace.table(kind).get(identifier)
    if found is None:
        raise Refused(404, "NotFound", f"{identifier} was not found among the {kind}.")
    return found


def _listed(call: Call, kind: str) -> list[dict[str, Any]]:
    table = call.workspace.table(kind)
    active_only = call.query.get("activeOnly", "true").lower() == "true"
    entities = [table[key] for key in reversed(list(table))]
    return [item for item in entities if item["EntityStatus"] == "Active" or not active_only]


def _dates(context: Context) -> dict[str, str]:
    moment = context.clock.text()
    return {"EntityStatus": "Active", "CreatedDate": moment, "LastModifiedDate": moment}
