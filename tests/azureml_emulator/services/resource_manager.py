"""Azure Resource Manager beside Azure Machine Learning: subscription, resource group, providers, permissions, quota.

Faults: ``subscription`` (its state is the message), ``provider`` (the one that is not registered), ``role`` (those
that the login lacks, with | between them), ``cores`` (what the quota is), ``deleted-vault`` (the name of one).
"""

from __future__ import annotations

from typing import Any

from tests.azureml_emulator.context import GROUP, SUBSCRIPTION, TENANT
from tests.azureml_emulator.routing import Call, Refused, Routes

_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}"
_ML = "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices"
_REGISTERED = (
    *("MachineLearningServices", "Storage", "KeyVault", "ContainerRegistry", "ContainerInstance"),
    *("ContainerService", "Insights", "OperationalInsights", "ManagedIdentity", "Network"),
    *("DataFactory", "EventGrid", "Consumption", "Authorization", "Resources"),
)
_PAGE = 8
_WORKSPACES = "Microsoft.MachineLearningServices/workspaces"
_ROLES: dict[str, tuple[str, dict[str, list[str]]]] = {
    "AzureML Data Scientist": (
        "machinelearningservices",
        {
            "actions": [
                f"{_WORKSPACES}/*/{kind}" for kind in ("read", "action", "delete", "write")
            ],
            "notActions": [
                f"{_WORKSPACES}/{name}"
                for name in (
                    "delete",
                    "write",
                    "computes/*/write",
                    "computes/*/delete",
                    "listKeys/action",
                )
            ],
        },
    ),
    "AzureML Compute Operator": (
        "machinelearningservices",
        {"actions": [f"{_WORKSPACES}/computes/*"], "notActions": []},
    ),
    "Storage Blob Data Contributor": (
        "microsoft.storage",
        {
            "actions": ["Microsoft.Storage/storageAccounts/blobServices/containers/read"],
            "dataActions": [
                f"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/{kind}"
                for kind in ("read", "write", "delete", "move/action", "add/action")
            ],
        },
    ),
    "Reader": ("microsoft.insights", {"actions": ["*/read"]}),
    "Log Analytics Reader": (
        "operationalinsights",
        {"actions": ["*/read", "Microsoft.OperationalInsights/workspaces/analytics/query/action"]},
    ),
}
"""Of each role that the login has: a part of the resources' ids that it has it on, and what it allows."""

routes = Routes()


@routes.add("GET", "/subscriptions/{subscription}")
async def subscription(call: Call) -> dict[str, Any]:
    """One subscription."""
    _check(call)
    fault = call.context.faults.take("subscription")
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}",
        "subscriptionId": SUBSCRIPTION,
        "displayName": "emulator",
        "state": fault.message if fault else "Enabled",
        "tenantId": TENANT,
    }


@routes.add("GET", "/subscriptions/{subscription}/providers")
async def providers(call: Call) -> dict[str, Any]:
    """Resource providers, on several pages."""
    _check(call)
    first, _, unregistered = call.query.get("$skiptoken", "0").partition(",")
    if first == "0" and (fault := call.context.faults.take("provider")):
        unregistered = fault.message
    place = int(first)
    names = [f"Microsoft.{name}" for name in _REGISTERED]
    shown = [
        {
            "namespace": name,
            "registrationState": "NotRegistered" if name == unregistered else "Registered",
        }
        for name in names[place : place + _PAGE]
    ]
    page: dict[str, Any] = {"value": shown}
    if place + _PAGE < len(names):
        token = f"{place + _PAGE},{unregistered}"
        page["nextLink"] = f"{call.context.base_url}{call.path}?$skiptoken={token}"
    return page


@routes.add("GET", _GROUP)
async def resource_group(call: Call) -> dict[str, Any]:
    """One resource group."""
    _check(call)
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}",
        "name": GROUP,
        "location": "local",
        "properties": {"provisioningState": "Succeeded"},
    }


@routes.add("GET", _GROUP + "/providers/Microsoft.Storage/storageAccounts/{name}")
@routes.add("GET", _GROUP + "/providers/Microsoft.KeyVault/vaults/{name}")
@routes.add("GET", _GROUP + "/providers/Microsoft.ContainerRegistry/registries/{name}")
async def resource(call: Call) -> dict[str, Any]:
    """What a workspace is linked to."""
    _check(call)
    return {
        "id": call.path,
        "name": call.match["name"],
        "location": "local",
        "properties": {"provisioningState": "Succeeded"},
    }


@routes.add("GET", "/subscriptions/{subscription}/providers/Microsoft.KeyVault/deletedVaults")
async def deleted_vaults(call: Call) -> dict[str, Any]:
    """Vaults that were deleted softly; one of them belonged to another resource group."""
    _check(call)
    fault = call.context.faults.take("deleted-vault")
    places = [("other", "another")] + ([(GROUP, fault.message)] if fault else [])
    return {
        "value": [
            {
                "name": name,
                "properties": {
                    "vaultId": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}"
                    f"/providers/Microsoft.KeyVault/vaults/{name}"
                },
            }
            for group, name in places
        ]
    }


@routes.add("GET", "{scope:path}/providers/Microsoft.Authorization/permissions")
async def permissions(call: Call) -> dict[str, Any]:
    """What the login may do with a resource: an item for each of its roles."""
    scope = call.match["scope"].lower()
    fault = call.context.faults.take("role")
    return {
        "value": [
            allowed
            for name, (part, allowed) in _ROLES.items()
            if part in scope and not (fault and name in fault.message.split("|"))
        ]
    }


@routes.add("GET", _ML + "/locations/{region}/vmSizes")
async def sizes(call: Call) -> dict[str, Any]:
    """Machine sizes that the region offers."""
    _check(call)
    return {
        "value": [
            {"name": "Standard_DS3_v2", "family": "standardDSv2Family", "vCPUs": 4, "gpus": 0},
            {"name": "Standard_D4s_v5", "family": "standardDSv5Family", "vCPUs": 4, "gpus": 0},
        ]
    }


@routes.add("GET", _ML + "/locations/{region}/usages")
async def usages(call: Call) -> dict[str, Any]:
    """Quota: dedicated cores by family and in all, cheaper ones in all."""
    _check(call)
    fault = call.context.faults.take("cores")
    cores = int(fault.message) if fault else 100
    kind = "Microsoft.MachineLearningServices"
    quotas = [
        ("TotalDedicatedCores", f"{kind}/totalDedicatedCores/usages", 100),
        ("TotalLowPriorityCores", f"{kind}/lowPriorityCores/usages", cores),
        ("standardDSv2Family", f"{kind}/vmFamily/dedicatedCores/usages", cores),
        ("standardDSv2Family", f"{kind}/vmFamily/lowPriorityCores/usages", -1),
        ("standardDSv5Family", f"{kind}/vmFamily/dedicatedCores/usages", 0),
    ]
    return {
        "value": [
            {
                "name": {"value": name},
                "type": usage,
                "limit": limit,
                "currentValue": None,
                "unit": "Count",
            }
            for name, usage, limit in quotas
        ]
    }


def _check(call: Call) -> None:
    """Refuse what is in another subscription or group."""
    if (named := call.match["subscription"]) != SUBSCRIPTION:
        raise Refused(
            404, "SubscriptionNotFound", f"The subscription '{named}' could not be found."
        )
    group = call.match.get("group", GROUP)
    if group.lower() != GROUP:
        raise Refused(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
