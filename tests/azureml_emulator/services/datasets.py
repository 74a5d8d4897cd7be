"""Datasets: names with versions, each of which is a saved definition."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.routing import Call, Refused, Routes

routes = Routes()


@routes.add("POST", "/dataset/v1.0{ws}/saveddatasets")
async def save(call: Call) -> dict[str, Any]:
    """Keep a definition without a name; the same again is the same."""
    content = call.json
    return _save(
        call.workspace, content["datasetType"], content["dataflowJson"], content.get("properties")
    )


@routes.add("GET", "/dataset/v1.0{ws}/saveddatasets/{id}")
async def saved(call: Call) -> dict[str, Any]:
    """A definition without a name."""
    found: dict[str, Any] | None = call.workspace.table("saved-datasets").get(call.match["id"])
    if found is None:
        raise Refused(404, "UserError", f"Could not find saved dataset {call.match['id']}")
    return found


@routes.add("POST", "/dataset/v1.0{ws}/datasets")
async def register(call: Call) -> dict[str, Any]:
    """Register a dataset, or a new version of one.

    Raises:
        Refused: the name is taken and no new version was asked for.
    """
    content = call.json
    name = content["name"]
    table = call.workspace.table("datasets")
    document = table.get(name) or {"id": str(uuid.uuid4()), "versions": []}
    if document["versions"] and call.query.get("ifExistsOk", "true").lower() != "true":
        raise Refused(409, "UserError", f"Dataset {name} is registered already")
    latest = content["latest"]
    kept = _save(
        call.workspace, content["datasetType"], latest["dataflow"], latest.get("properties")
    )
    document["versions"].append(
        {
            "saved": kept["id"],
            "type": content["datasetType"],
            "properties": latest.get("properties") or {},
            "description": content.get("description"),
            "tags": content.get("tags") or {},
            "created": call.context.clock.text(),
        }
    )
    table[name] = document
    return _shown(call.workspace, name, document, len(document["versions"]))


@routes.add("GET", "/dataset/v1.0{ws}/datasets")
async def list_datasets(call: Call) -> dict[str, Any]:
    """The latest version of every dataset."""
    table = call.workspace.table("datasets")
    documents = [(name, table[name]) for name in table]
    return {
        "value": [
            _shown(call.workspace, name, document, len(document["versions"]))
            for name, document in documents
        ]
    }


@routes.add("GET", "/dataset/v1.0{ws}/datasets/query/name={name}")
async def by_name(call: Call) -> dict[str, Any]:
    """A version of a dataset, or its latest."""
    name = call.match["name"]
    document = call.workspace.table("datasets").get(name)
    number = int(call.query.get("versionId") or (len(document["versions"]) if document else 0))
    if document is None or not 1 <= number <= len(document["versions"]):
        raise Refused(404, "UserError", f"Could not find dataset {name} version {number}")
    return _shown(call.workspace, name, document, number)


@routes.add("GET", "/dataset/v1.0{ws}/datasets/query/savedDatasetId={id}")
async def by_saved(call: Call) -> dict[str, Any]:
    """The registered versions of a definition."""
    table = call.workspace.table("datasets")
    found = [
        _shown(call.workspace, name, table[name], number)
        for name in table
        for number, version in enumerate(table[name]["versions"], start=1)
        if version["saved"] == call.match["id"]
    ]
    return {"value": found}


@routes.add("GET", "/dataset/v1.0{ws}/datasets/{id}")
async def by_id(call: Call) -> dict[str, Any]:
    """The latest version of the dataset with this id."""
    table = call.workspace.table("datasets")
    for name in table:
        document = table[name]
        if document["id"] == call.match["id"]:
            return _shown(call.workspace, name, document, len(document["versions"]))
    raise Refused(404, "UserError", f"Could not find dataset {call.match['id']}")


@routes.add("GET", "/data/v1.0{ws}/dataversion/{name}/versions/{version}")
async def data_version(call: Call) -> dict[str, Any]:
    """The definition behind a version in the form that the client works with."""
    name = call.match["name"]
    kind, _, id = name.partition("unregistered-")
    found = None if kind else call.workspace.table("saved-datasets").get(id)
    if found is None:
        raise Refused(404, "UserError", f"Could not find data version {name}")
    return {"legacyDataflow": _definition(found)}


def dataset_path(workspace: Workspace, saved_id: str) -> str:
    """The address that a saved dataset's definition begins with: ``azureml://.../datastores/NAME/paths/...``.

    Raises:
        Refused: there is no such dataset.
    """
    found = workspace.table("saved-datasets").get(saved_id)
    if found is None:
        raise Refused(404, "UserError", f"Could not find saved dataset {saved_id}")
    for line in _definition(found).splitlines():
        key, _, value = line.strip().removeprefix("- ").partition(": ")
        if key in ("pattern", "file", "folder"):
            return value.strip("\"'")
    raise Refused(400, "UserError", f"saved dataset {saved_id} has no path")


def _definition(saved_dataset: dict[str, Any]) -> str:
    return str(json.loads(saved_dataset["dataflowJson"])["meta"]["RsDataflow"])


def _save(workspace: Workspace, kind: str, dataflow: str, properties: Any) -> dict[str, Any]:
    table = workspace.table("saved-datasets")
    document = {"datasetType": kind, "dataflowJson": dataflow, "properties": properties or {}}
    id = str(uuid.uuid5(uuid.UUID(workspace.id), json.dumps(document, sort_keys=True)))
    table[id] = {"id": id, **document, "dataChanged": False}
    kept: dict[str, Any] = table[id]
    return kept


def _shown(
    workspace: Workspace, name: str, document: dict[str, Any], number: int
) -> dict[str, Any]:
    """A version as the service shows it: in the place of the latest."""
    version = document["versions"][number - 1]
    kept = workspace.table("saved-datasets")[version["saved"]]
    return {
        "datasetId": document["id"],
        "name": name,
        "datasetType": version["type"],
        "isVisible": True,
        "description": version["description"],
        "tags": version["tags"],
        "datasetState": {"state": "Active"},
        "createdTime": document["versions"][0]["created"],
        "modifiedTime": document["versions"][-1]["created"],
        "latest": {
            "datasetId": document["id"],
            "versionId": str(number),
            "savedDatasetId": version["saved"],
            "dataflow": kept["dataflowJson"],
            "properties": version["properties"],
            "datasetDefinitionState": {"state": "Active"},
            "createdTime": version["created"],
            "modifiedTime": version["created"],
        },
    }
