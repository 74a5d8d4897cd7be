"""Datastores: named containers of storage accounts. The workspace has one of its own."""

from __future__ import annotations

from typing import Any

from tests.azureml_emulator.context import GROUP, SUBSCRIPTION, Context, Workspace
from tests.azureml_emulator.routing import Call, Refused, Routes

DEFAULT = "workspaceblobstore"
CONTAINER = "azureml-blobstore"

routes = Routes()


@routes.add("GET", "/datastore/v1.0{ws}/datastores")
async def list_datastores(call: Call) -> dict[str, Any]:
    """All datastores."""
    others = [
        call.workspace.table("datastores")[name] for name in call.workspace.table("datastores")
    ]
    return {"value": [_default(call.context, call.workspace), *others]}


@routes.add("GET", "/datastore/v1.0{ws}/default")
async def default_datastore(call: Call) -> dict[str, Any]:
    """The workspace's own."""
    return _default(call.context, call.workspace)


@routes.add("GET", "/datastore/v1.0{ws}/datastores/{name}")
async def get_datastore(call: Call) -> dict[str, Any]:
    """One datastore."""
    name = call.match["name"]
    if name == DEFAULT:
        return _default(call.context, call.workspace)
    found: dict[str, Any] | None = call.workspace.table("datastores").get(name)
    if found is None:
        raise Refused(404, "NotFound", f"Could not find datastore: {name}")
    return found


@routes.add("POST", "/datastore/v1.0{ws}/datastores")
async def register_datastore(call: Call) -> dict[str, Any]:
    """Register a blob container."""
    content = call.json
    section = content.get("azureStorageSection") or {}
    section["accountKey"] = section.get("credential")
    section["isSas"] = section.get("credentialType") == "Sas"
    call.workspace.table("datastores")[content["name"]] = content
    return {}


def container_of(workspace: Workspace, datastore: str) -> str:
    """The container that a datastore stands for.

    Raises:
        Refused: there is no such datastore.
    """
    if datastore == DEFAULT:
        return CONTAINER
    found = workspace.table("datastores").get(datastore)
    if found is None:
        raise Refused(404, "NotFound", f"Could not find datastore: {datastore}")
    return str(found["azureStorageSection"]["containerName"])


def _default(context: Context, workspace: Workspace) -> dict[str, Any]:
    key = context.secrets["account_key"]
    return {
        "name": DEFAULT,
        "dataStoreType": "AzureBlob",
        "hasBeenValidated": True,
        "tags": {},
        "azureStorageSection": {
            "accountName": context.account(workspace),
            "containerName": CONTAINER,
            "endpoint": context.storage_suffix,
            "protocol": "https",
            "credentialType": "AccountKey",
            "credential": key,
            # The client reads this one.
            "accountKey": key,
            "isSas": False,
            "subscriptionId": SUBSCRIPTION,
            "resourceGroup": GROUP,
        },
    }
