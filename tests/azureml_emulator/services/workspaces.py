"""Azure Resource Manager's part: the cloud's addresses, workspaces, and where a workspace's services are."""

from __future__ import annotations

from typing import Any

from tests.azureml_emulator.context import GROUP, SUBSCRIPTION, TENANT
from tests.azureml_emulator.routing import Call, Routes

SERVICES = (
    *("api", "experimentation", "history", "hyperdrive", "modelmanagement", "studio", "onnx"),
    *("pipelines", "inferencing", "datastore", "mlflow", "notebook", "catalog"),
)

routes = Routes()


@routes.add("GET", "/clouds.json", "/metadata/endpoints", anonymous=True)
async def clouds(call: Call) -> list[dict[str, Any]]:
    """The description of a cloud whose every address is the emulator's."""
    base = call.context.base_url
    return [
        {
            "name": "AzureCloud",
            "portal": f"{base}/portal",
            "authentication": {
                "loginEndpoint": base,
                "audiences": [f"{base}/arm", "https://management.azure.com/"],
                "tenant": "common",
                "identityProvider": "AAD",
            },
            "media": f"{base}/media",
            "graphAudience": f"{base}/graph",
            "graph": f"{base}/graph",
            "suffixes": {
                "acrLoginServer": "azurecr.localhost",
                "sqlServerHostname": "db.localhost",
                "keyVaultDns": "vault.localhost",
                "storage": call.context.storage_suffix,
                "azureDataLakeStoreFileSystem": "adl.localhost",
                "azureDataLakeAnalyticsCatalogAndJob": "adla.localhost",
            },
            "batch": f"{base}/batch",
            "resourceManager": base,
            "logAnalyticsResourceId": base,
            "vmImageAliasDoc": f"{base}/alias",
            "sqlManagement": f"{base}/sql",
            "gallery": f"{base}/gallery",
            "activeDirectoryDataLake": f"{base}/adl",
        }
    ]


@routes.add("GET", "{ws}")
async def workspace(call: Call) -> dict[str, Any]:
    """One workspace."""
    found = call.workspace
    providers = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
    account = call.context.account(found)
    return {
        "id": found.path,
        "name": found.name,
        "type": "Microsoft.MachineLearningServices/workspaces",
        "location": "local",
        "tags": {},
        "identity": {"type": "SystemAssigned", "principalId": found.id, "tenantId": TENANT},
        "sku": {"name": "Basic", "tier": "Basic"},
        "properties": {
            "friendlyName": found.name,
            "workspaceId": found.id,
            "discoveryUrl": f"{call.context.base_url}/discovery",
            "provisioningState": "Succeeded",
            "storageAccount": f"{providers}/Microsoft.Storage/storageAccounts/{account}",
            "keyVault": f"{providers}/Microsoft.Keyvault/vaults/emulator",
            "containerRegistry": f"{providers}/Microsoft.ContainerRegistry/registries/emulator",
            "applicationInsights": f"{providers}/Microsoft.Insights/components/{found.name}",
            "creationTime": call.context.clock.text(),
            "hbiWorkspace": False,
        },
    }


@routes.add("GET", "/discovery", "/discovery/{rest:path}", anonymous=True)
async def discovery(call: Call) -> dict[str, str]:
    """The addresses of a workspace's services."""
    return dict.fromkeys(SERVICES, call.context.base_url)
