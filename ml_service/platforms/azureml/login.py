"""Logging in to Azure: by service principal, workload identity federation, managed identity or ``az login``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any, Literal

from ml_service.platforms.azureml.errors import translated
from ml_service.settings import AzureSettings, SettingsError

_Way = Literal["service-principal", "managed-identity", "federated", "cli"]
_AUDIENCE = "api://AzureADTokenExchange"
_GITHUB = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
_DEVOPS = ("SYSTEM_OIDCREQUESTURI", "SYSTEM_ACCESSTOKEN")
_TOKEN_FILE = "AZURE_FEDERATED_TOKEN_FILE"
# Azure DevOps' own tasks set these from their service connection, and so does AKS with workload identity.
_TENANTS = ("AZURESUBSCRIPTION_TENANT_ID", "AZURE_TENANT_ID")
_CLIENTS = ("AZURESUBSCRIPTION_CLIENT_ID", "AZURE_CLIENT_ID")
_CONNECTION = "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"
_SECONDS = 30


def authentication(azure: AzureSettings, environ: Mapping[str, str] = os.environ) -> Any:
    """The SDK's authentication object. Nothing is asked of Azure yet.

    Args:
        azure: says how to log in, or ``auto`` for whichever way the environment has.
        environ: variables of the build agent or of Azure's own machines.

    Raises:
        SettingsError: lists what the way of logging in needs and does not have.
    """
    way = chosen_way(azure, environ)
    if way == "service-principal":
        return _service_principal(azure)
    # The SDK is slow to import.
    from ml_service.platforms.azureml.credential_authentication import CredentialAuthentication

    if way == "federated":
        return CredentialAuthentication(lambda authority: _federated(azure, environ, authority))
    if way == "managed-identity":
        from azure.identity import ManagedIdentityCredential

        client = azure.client_id or environ.get("AZURE_CLIENT_ID")
        return CredentialAuthentication(lambda _: ManagedIdentityCredential(client_id=client))
    if shutil.which("az", path=environ.get("PATH")) is None:
        raise SettingsError(
            "nothing to log in to Azure with: set TENANT_ID, SP_APP_ID and SP_APP_SECRET (environment or .env), "
            "or install the Azure CLI and run `az login`; docs/azureml.md has the other ways"
        )
    from azure.identity import AzureCliCredential

    tenant = azure.tenant_id or ""
    return CredentialAuthentication(lambda _: AzureCliCredential(tenant_id=tenant))


def credential(azure: AzureSettings, authenticated: Any) -> Any:
    """The same login as a credential of azure-identity, for services beside Azure Machine Learning.

    Args:
        azure: says how to log in.
        authenticated: what ``authentication`` gave.
    """
    own = getattr(authenticated, "credential", None)
    if own is not None:
        return own
    from azure.identity import ClientSecretCredential

    assert azure.tenant_id and azure.client_id and azure.client_secret, "authentication() checks it"
    return ClientSecretCredential(
        azure.tenant_id,
        azure.client_id,
        azure.client_secret.get_secret_value(),
        authority=authenticated._cloud_type.endpoints.active_directory,
    )


def chosen_way(azure: AzureSettings, environ: Mapping[str, str]) -> _Way:
    """How to log in: what MLOPS_AZURE_LOGIN says, or else the first way that the environment has."""
    if azure.login != "auto":
        return azure.login
    if azure.client_secret is not None:
        return "service-principal"
    client = azure.client_id or _first(environ, _CLIENTS)
    if client and (_TOKEN_FILE in environ or _has(environ, _GITHUB) or _has(environ, _DEVOPS)):
        return "federated"
    if "IDENTITY_ENDPOINT" in environ or "MSI_ENDPOINT" in environ:
        return "managed-identity"
    return "cli"


def _service_principal(azure: AzureSettings) -> Any:
    _require(
        "service-principal",
        {
            "TENANT_ID": azure.tenant_id,
            "SP_APP_ID": azure.client_id,
            "SP_APP_SECRET": azure.client_secret,
        },
    )
    from azureml.core.authentication import ServicePrincipalAuthentication

    assert azure.client_secret is not None
    return ServicePrincipalAuthentication(
        azure.tenant_id, azure.client_id, azure.client_secret.get_secret_value()
    )


def _federated(azure: AzureSettings, environ: Mapping[str, str], authority: str) -> Any:
    """A credential that shows Entra ID the token that another issuer gave this machine."""
    from azure.identity import (
        AzurePipelinesCredential,
        ClientAssertionCredential,
        WorkloadIdentityCredential,
    )

    tenant = azure.tenant_id or _first(environ, _TENANTS)
    client = azure.client_id or _first(environ, _CLIENTS)
    parts = {"TENANT_ID": tenant, "SP_APP_ID": client}
    identity: dict[str, Any] = {"tenant_id": tenant, "client_id": client, "authority": authority}
    if _TOKEN_FILE in environ:
        _require("federated", parts)
        return WorkloadIdentityCredential(token_file_path=environ[_TOKEN_FILE], **identity)
    if _has(environ, _GITHUB):
        _require("federated", parts)
        return ClientAssertionCredential(func=lambda: _github_token(environ), **identity)
    if any(name in environ for name in _DEVOPS):
        _require(
            "federated",
            {**parts, **{name: environ.get(name) for name in (*_DEVOPS, _CONNECTION)}},
        )
        return AzurePipelinesCredential(
            service_connection_id=environ[_CONNECTION],
            system_access_token=environ["SYSTEM_ACCESSTOKEN"],
            **identity,
        )
    _require("federated", {**parts, f"{_TOKEN_FILE}, or a token of the build agent": None})
    raise AssertionError("one of them is missing")


def _github_token(environ: Mapping[str, str]) -> str:
    import requests

    with translated("asking GitHub for an identity token"):
        answer = requests.get(
            environ[_GITHUB[0]],
            params={"audience": _AUDIENCE},
            headers={"Authorization": f"Bearer {environ[_GITHUB[1]]}"},
            timeout=_SECONDS,
        )
        answer.raise_for_status()
        return str(answer.json()["value"])


def _require(way: str, parts: Mapping[str, object]) -> None:
    missing = [f"  {name}: not set" for name, value in parts.items() if not value]
    if missing:
        title = f"logging in to Azure by {way} needs these settings (environment or .env):"
        raise SettingsError("\n".join([title, *missing]))


def _has(environ: Mapping[str, str], names: tuple[str, ...]) -> bool:
    return all(environ.get(name) for name in names)


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)
