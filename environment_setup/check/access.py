"""Who may do what, and what resources have to have: roles of least privilege, no passwords, TLS 1.2, soft delete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from environment_setup.check.expand import Deployed

ASSIGNMENT = "Microsoft.Authorization/roleAssignments"
ROLES = {
    "f6c7c914-8db3-469d-8ca1-694a8f32e121": "AzureML Data Scientist",
    "e503ece1-11d0-4e8e-8e2c-7a6c3bf38815": "AzureML Compute Operator",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a": "Storage Queue Data Message Sender",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
    "73c42c96-874c-492b-b04d-ab87d138a893": "Log Analytics Reader",
}
"""Roles that may be assigned. None of them hands out roles, makes resources other than compute, or reads secrets."""

REQUIRED: Mapping[str, Mapping[str, Any]] = {
    "Microsoft.Storage/storageAccounts": {
        "minimumTlsVersion": "TLS1_2",
        "supportsHttpsTrafficOnly": True,
        "allowBlobPublicAccess": False,
        "allowCrossTenantReplication": False,
    },
    "Microsoft.Storage/storageAccounts/blobServices": {
        "deleteRetentionPolicy.enabled": True,
        "containerDeleteRetentionPolicy.enabled": True,
        "isVersioningEnabled": True,
    },
    "Microsoft.Storage/storageAccounts/blobServices/containers": {"publicAccess": "None"},
    "Microsoft.KeyVault/vaults": {
        "enableRbacAuthorization": True,
        "enableSoftDelete": True,
        "enablePurgeProtection": True,
    },
    "Microsoft.ContainerRegistry/registries": {
        "adminUserEnabled": False,
        "anonymousPullEnabled": False,
    },
    "Microsoft.ContainerService/managedClusters": {
        "enableRBAC": True,
        "aadProfile.enableAzureRBAC": True,
    },
}
DIAGNOSED = (
    *("Microsoft.Storage/storageAccounts/blobServices", "Microsoft.KeyVault/vaults"),
    *("Microsoft.ContainerRegistry/registries", "Microsoft.ContainerService/managedClusters"),
    *("Microsoft.MachineLearningServices/workspaces", "Microsoft.DataFactory/factories"),
)
"""Types whose logs have to go to Log Analytics."""
PRIVATE = {
    "Microsoft.Storage/storageAccounts": "blob",
    "Microsoft.KeyVault/vaults": "vault",
    "Microsoft.ContainerRegistry/registries": "registry",
    "Microsoft.MachineLearningServices/workspaces": "amlworkspace",
}
"""Types that are reached through a private endpoint where networking is private, and the endpoint's group."""
_MISSING = object()


def access_problems(resources: Sequence[Deployed], private: bool) -> Iterator[str]:
    """Rules that resources do not keep.

    Args:
        resources: all that are made together.
        private: whether they are to be reached through private endpoints alone.
    """
    diagnosed = {
        item.content.get("scope")
        for item in resources
        if item.kind == "Microsoft.Insights/diagnosticSettings"
    }
    endpoints = {
        (connection["properties"]["privateLinkServiceId"], group)
        for item in resources
        if item.kind == "Microsoft.Network/privateEndpoints"
        for connection in item.content["properties"]["privateLinkServiceConnections"]
        for group in connection["properties"]["groupIds"]
    }
    for item in resources:
        properties = item.content.get("properties", {})
        for path, wanted in REQUIRED.get(item.kind, {}).items():
            if _at(properties, path) != wanted:
                yield f"{item}: {path} has to be {wanted}"
        if item.kind in DIAGNOSED and item.id not in diagnosed:
            yield f"{item}: its logs go nowhere: diagnostic settings are missing"
        if item.kind == ASSIGNMENT:
            yield from _assignment_problems(item)
        if private and item.kind in PRIVATE:
            if properties.get("publicNetworkAccess") != "Disabled":
                yield f"{item}: can be reached from outside"
            if (item.id, PRIVATE[item.kind]) not in endpoints:
                yield f"{item}: has no private endpoint of group {PRIVATE[item.kind]}"


def _assignment_problems(item: Deployed) -> Iterator[str]:
    properties = item.content["properties"]
    role = properties["roleDefinitionId"].rsplit("/", 1)[-1]
    if role not in ROLES:
        yield f"{item}: role {role} is none of those that may be assigned: {', '.join(ROLES.values())}"
    if "/providers/" not in item.content.get("scope", ""):
        yield f"{item}: holds for the whole group: give it one resource as scope"
    if not properties.get("description"):
        yield f"{item}: does not say why"
    if "principalType" not in properties:
        # Without it, a role for an identity that was just made fails now and then.
        yield f"{item}: does not say what kind of principal it is for"


def _at(properties: Any, path: str) -> Any:
    for key in path.split("."):
        properties = properties.get(key, _MISSING) if isinstance(properties, dict) else _MISSING
    return properties
