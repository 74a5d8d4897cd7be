"""What has to be there: subscription, resource providers, resource group, workspace and what belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from insurance_claims.errors import ClaimsError
from ml_service.findings import Finding
from ml_service.platforms.azureml.blobs import container_client
from ml_service.platforms.azureml.doctor.asking import Asking, looked, missing
from ml_service.platforms.azureml.doctor.permissions import On, assignment
from ml_service.platforms.azureml.errors import status, translated

PROVIDERS = tuple(
    f"Microsoft.{name}"
    for name in (
        *(
            "MachineLearningServices",
            "Storage",
            "KeyVault",
            "ContainerRegistry",
            "ContainerInstance",
        ),
        *("ContainerService", "Insights", "OperationalInsights", "ManagedIdentity", "Network"),
        *("DataFactory", "EventGrid", "Consumption"),
    )
)
"""Resource providers of what environment_setup/arm makes, and of the services that Azure ML makes itself."""

_RESOURCES = "2021-04-01"
_SUBSCRIPTIONS = "2022-12-01"
_WORKSPACES = "2024-04-01"
_VAULTS = "2023-07-01"
_LINKED: tuple[tuple[str, str, str, str], ...] = (
    (
        "storage account",
        "storageAccount",
        "2023-01-01",
        "an administrator can restore it for 14 days",
    ),
    ("key vault", "keyVault", _VAULTS, "`az keyvault recover --name {name}`"),
    (
        "container registry",
        "containerRegistry",
        "2023-07-01",
        "`az ml workspace update` names another",
    ),
    (
        "Application Insights",
        "applicationInsights",
        "2020-02-02",
        "`az ml workspace update` names another",
    ),
)
"""What a workspace is linked to: name, its property, version of the API, and how it is brought back."""
_MADE_WITH_THE_FIRST_IMAGE = "container registry"


def subscription(ask: Asking) -> Finding:
    """Is the subscription there, and may something be made in it?"""
    what = "subscription"
    known = "`az account list --output table` shows those of this login; set SUBSCRIPTION_ID to one of them"

    def look() -> Finding:
        try:
            found = ask.get(ask.subscription, _SUBSCRIPTIONS)
        except ClaimsError as error:
            if status(error) not in (401, 403, 404):
                raise
            return Finding(what, False, f"this login sees no {ask.azure.subscription_id}", known)
        if found["state"] != "Enabled":
            advice = "its owner enables it again: Azure portal, Subscriptions, the subscription's overview"
            return Finding(what, False, f"{found['displayName']} is {found['state']}", advice)
        return Finding(what, True, str(found["displayName"]))

    return looked(what, look)


def providers(ask: Asking) -> Finding:
    """Is each resource provider registered?"""
    what = "resource providers"

    def look() -> Finding:
        listed = ask.items(f"{ask.subscription}/providers", _RESOURCES)
        states = {
            str(item["namespace"]).lower(): str(item.get("registrationState")) for item in listed
        }
        wrong = [name for name in PROVIDERS if states.get(name.lower()) != "Registered"]
        if wrong:
            commands = "; ".join(
                f"az provider register --wait --namespace {name}" for name in wrong
            )
            return Finding(what, False, f"not registered: {', '.join(wrong)}", f"`{commands}`")
        return Finding(what, True, f"all {len(PROVIDERS)} are registered")

    return looked(what, look)


def resource_group(ask: Asking) -> Finding:
    """Is the resource group there?"""
    what = "resource group"
    name = ask.azure.resource_group

    def look() -> Finding:
        try:
            found = ask.get(ask.group, _RESOURCES)
        except ClaimsError as error:
            if not missing(error):
                raise
            return Finding(
                what,
                False,
                f"there is no {name}",
                f"`az group create --name {name} --location westeurope`, or set RESOURCE_GROUP to one of "
                "`az group list --output table`",
            )
        return Finding(what, True, f"{name} in {found['location']}")

    return looked(what, look)


def workspace(ask: Asking, identity: str) -> Finding:
    """Is the workspace there, and is it whole?

    Args:
        ask: asks Azure.
        identity: object id of who logged in.
    """
    what = "workspace"
    name = ask.azure.workspace_name

    def look() -> Finding:
        try:
            found = ask.get(ask.workspace_id, _WORKSPACES)
        except ClaimsError as error:
            if status(error) not in (403, 404):
                raise
            role = assignment("AzureML Data Scientist", ask.workspace_id, identity)
            return Finding(
                what,
                False,
                f"there is no {name} in {ask.azure.resource_group}, or this login may not see it",
                "make it with `.pipelines/iac-create.yml`, set WORKSPACE_NAME to one of `az resource list -o table"
                f" --resource-type Microsoft.MachineLearningServices/workspaces`, or give this login a role: {role}",
            )
        state = found["properties"].get("provisioningState", "Succeeded")
        if state != "Succeeded":
            advice = "run `.pipelines/iac-create.yml` again; what went wrong is in the group's deployments"
            return Finding(what, False, f"{name} is {state}", advice)
        return Finding(what, True, f"{name} in {found['location']}")

    return looked(what, look)


def region(ask: Asking) -> str | None:
    """Where the workspace is, or is going to be; None where that cannot be seen."""
    for path, version in ((ask.workspace_id, _WORKSPACES), (ask.group, _RESOURCES)):
        try:
            return str(ask.get(path, version)["location"])
        except ClaimsError:
            continue
    return None


def links(ask: Asking) -> dict[str, Any] | None:
    """The properties of the workspace; None where it cannot be seen."""
    try:
        properties: dict[str, Any] = ask.get(ask.workspace_id, _WORKSPACES)["properties"]
    except ClaimsError:
        return None
    return properties


def scopes(ask: Asking, properties: dict[str, Any]) -> dict[On, str]:
    """Resource ids of what permissions are needed on."""
    found: dict[On, str] = {"workspace": ask.workspace_id}
    if account := properties.get("storageAccount"):
        found["storage account"] = account
    if component := properties.get("applicationInsights"):
        found["Application Insights"] = component
        try:
            logs = ask.get(component, "2020-02-02")["properties"].get("WorkspaceResourceId")
        except ClaimsError:
            logs = None
        if logs:
            found["Log Analytics"] = logs
    return found


def deleted_vaults(ask: Asking) -> Finding:
    """Would a vault of the same name, deleted softly, keep the environment from being made again?"""
    what = "name of the key vault"

    def look() -> Finding:
        path = f"{ask.subscription}/providers/Microsoft.KeyVault/deletedVaults"
        names = [
            str(item["name"])
            for item in ask.items(path, _VAULTS)
            if str(item["properties"]["vaultId"]).lower().startswith(f"{ask.group}/".lower())
        ]
        if names:
            commands = "; ".join(f"az keyvault recover --name {name}" for name in names)
            detail = f"held by what was deleted from this group: {', '.join(names)}"
            return Finding(
                what, False, detail, f"`{commands}` before the environment is made again"
            )
        return Finding(what, True, "no deleted vault of this group holds it")

    return looked(what, look)


def linked(ask: Asking, properties: dict[str, Any]) -> Iterator[Finding]:
    """Is what the workspace is linked to still there?"""
    for what, name, version, cure in _LINKED:
        yield _linked(ask, what, properties.get(name), version, cure)


def _linked(ask: Asking, what: str, path: str | None, version: str, cure: str) -> Finding:
    if not path:
        if what == _MADE_WITH_THE_FIRST_IMAGE:
            return Finding(what, True, "none yet: Azure makes one with the first image")
        return Finding(what, False, "the workspace has none", "`az ml workspace update` adds one")
    name = path.rsplit("/", 1)[-1]

    def look() -> Finding:
        try:
            ask.get(path, version)
        except ClaimsError as error:
            if not missing(error):
                raise
            detail = f"{name}, which the workspace is linked to, is not there any more"
            return Finding(what, False, detail, cure.format(name=name))
        return Finding(what, True, name)

    return looked(what, look)


def storage(ask: Asking, account: str) -> Finding:
    """Can blobs be listed the way that every command does it?

    Args:
        ask: asks Azure.
        account: name of the storage account.
    """
    what = "storage"

    def list_one() -> None:
        with translated("listing blobs"):
            client = container_client(ask.workspace.default_datastore)
            next(iter(client.list_blobs(results_per_page=1)), None)

    try:
        ask.once(what, "listing blobs of the workspace's datastore", list_one)
    except ClaimsError as error:
        return Finding(
            what,
            False,
            str(error),
            f"`az storage account show --name {account} --query "
            '"{keys: allowSharedKeyAccess, public: publicNetworkAccess, rule: networkRuleSet.defaultAction}"` says '
            "whether keys are off (SDK v1 needs them) or the network is closed to this machine",
        )
    return Finding(what, True, f"blobs of {account} can be listed")
