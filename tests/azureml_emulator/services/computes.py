"""Compute targets: clusters that run jobs, and an AKS cluster that a workspace begins with.

The fault ``quota`` makes a creation fail as Azure does: at once where it has a status, else while it is provisioned.
"""

from __future__ import annotations

import uuid
from typing import Any

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.routing import Answer, Call, Refused, Routes

AKS = "aks"
"""Name of the cluster that every workspace begins with."""
_POLLS = 2
"""How often a new cluster is seen being made before it is there."""

routes = Routes()


@routes.add("GET", "{ws}/computes", "/rp/workspaces{ws}/computes")
async def list_computes(call: Call) -> dict[str, Any]:
    """All compute targets."""
    table = computes(call.workspace)
    return {"value": [_shown(call, table[name]) for name in table]}


@routes.add("GET", "{ws}/computes/{name}", "/rp/workspaces{ws}/computes/{name}")
async def get_compute(call: Call) -> dict[str, Any]:
    """One compute target. Each look brings what is being made closer to its end."""
    table = computes(call.workspace)
    document = table.get(call.match["name"])
    if document is None:
        raise _missing(call.match["name"])
    if document["polls"] > 0:
        document["polls"] -= 1
        table[document["name"]] = document
    return _shown(call, document)


@routes.add("PUT", "{ws}/computes/{name}")
async def put_compute(call: Call) -> Answer:
    """Make a compute target, or change its settings."""
    name = call.match["name"]
    wanted = call.json["properties"]
    inner = wanted.get("properties") or {}
    table = computes(call.workspace)
    fault = call.context.faults.take("quota")
    family = inner.get("vmSize") or "STANDARD_DS3_V2"
    refused = (
        f"Operation results in exceeding quota limits of {family}. Maximum allowed: 0, Current in use: 0, "
        f"Additional requested: 1. ({fault.message})"
        if fault
        else ""
    )
    if fault and fault.status:
        raise Refused(fault.status, "QuotaExceeded", refused)
    document = {
        "name": name,
        "type": wanted["computeType"],
        "settings": inner,
        "created": call.context.clock.text(),
        "polls": _POLLS,
        "error": refused,
        "operation": str(uuid.uuid4()),
    }
    table[name] = document
    operation = (
        f"{call.context.base_url}{call.workspace.path}/computeOperationsStatus/"
        f"{document['operation']}?api-version=2020-02-02"
    )
    return Answer(201, _shown(call, document), {"Azure-AsyncOperation": operation})


@routes.add("GET", "{ws}/computeOperationsStatus/{operation}")
async def operation_status(call: Call) -> dict[str, Any]:
    """How far a creation is."""
    table = computes(call.workspace)
    for name in table:
        document = table[name]
        if document["operation"] == call.match["operation"]:
            state = _state(document)
            answer: dict[str, Any] = {
                "name": document["operation"],
                "status": "InProgress" if state == "Creating" else state,
            }
            if state == "Failed":
                answer["error"] = _error(document)
            return answer
    raise Refused(404, "NotFound", f"Operation {call.match['operation']} was not found.")


@routes.add("DELETE", "{ws}/computes/{name}")
async def delete_compute(call: Call) -> Answer:
    """Remove a compute target."""
    name = call.match["name"]
    table = computes(call.workspace)
    if name not in table:
        raise _missing(name)
    operation = table[name]["operation"]
    del table[name]
    url = (
        f"{call.context.base_url}{call.workspace.path}/computeOperationsStatus/deleted-{operation}"
    )
    return Answer(202, {}, {"Azure-AsyncOperation": url})


def computes(workspace: Workspace) -> Any:
    """The table of a workspace's compute targets, which begins with an AKS cluster."""
    table = workspace.table("computes")
    begun = workspace.table("computes-begun")
    if "begun" not in begun:
        begun["begun"] = True
        table[AKS] = {
            "name": AKS,
            "type": "AKS",
            "settings": {"agentCount": 3, "agentVmSize": "STANDARD_D3_V2"},
            "created": None,
            "polls": 0,
            "error": "",
            "operation": "begun",
        }
    return table


def _state(document: dict[str, Any]) -> str:
    if document["polls"] > 0:
        return "Creating"
    return "Failed" if document["error"] else "Succeeded"


def _error(document: dict[str, Any]) -> dict[str, str]:
    return {"code": "ClusterCoreQuotaReached", "message": document["error"]}


def _shown(call: Call, document: dict[str, Any]) -> dict[str, Any]:
    """A compute target as Azure Resource Manager shows it."""
    state = _state(document)
    created = document["created"] or call.context.clock.text()
    inner = (
        _aks(document["settings"])
        if document["type"] == "AKS"
        else _cluster(document["settings"], created)
    )
    return {
        "id": f"{call.workspace.path}/computes/{document['name']}",
        "name": document["name"],
        "location": "local",
        "tags": None,
        "type": "Microsoft.MachineLearningServices/workspaces/computes",
        "properties": {
            "computeType": document["type"],
            "computeLocation": "local",
            "description": None,
            "createdOn": created,
            "modifiedOn": created,
            "disableLocalAuth": False,
            "provisioningState": state,
            "provisioningErrors": [{"error": _error(document)}] if state == "Failed" else None,
            "resourceId": None,
            "isAttachedCompute": False,
            "properties": None if state == "Failed" else inner,
        },
    }


def _cluster(settings: dict[str, Any], created: str) -> dict[str, Any]:
    scale = {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT120S"}
    scale.update({k: v for k, v in (settings.get("scaleSettings") or {}).items() if v is not None})
    counts = ("preparing", "running", "idle", "unusable", "leaving", "preempted")
    return {
        "subnet": None,
        "remoteLoginPortPublicAccess": "NotSpecified",
        "enableNodePublicIp": True,
        "isolatedNetwork": False,
        "virtualMachineImage": None,
        "osType": "Linux",
        "vmPriority": str(settings.get("vmPriority") or "Dedicated").capitalize(),
        "vmSize": settings.get("vmSize"),
        "scaleSettings": scale,
        "allocationState": "Steady",
        "allocationStateTransitionTime": created,
        "currentNodeCount": scale["minNodeCount"],
        "targetNodeCount": scale["minNodeCount"],
        "errors": None,
        "nodeStateCounts": {f"{name}NodeCount": 0 for name in counts},
        "provisioningState": "Succeeded",
        "provisioningStateTransitionTime": None,
        "creationTime": created,
        "modifiedTime": created,
    }


def _aks(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "clusterFqdn": "aks.localhost",
        "systemServices": [],
        "agentCount": settings.get("agentCount"),
        "agentVmSize": settings.get("agentVmSize"),
        "sslConfiguration": None,
        "aksNetworkingConfiguration": None,
        "loadBalancerType": "PublicIp",
        "loadBalancerSubnet": None,
        "clusterPurpose": "DevTest",
    }


def _missing(name: str) -> Refused:
    return Refused(404, "ComputeNotFound", f"Compute with name '{name}' was not found.")
