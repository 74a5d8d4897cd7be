"""Calls of Azure's REST API that the SDK does not make."""

from __future__ import annotations

from typing import Any

from ml_service.platforms.azureml.errors import retried, translated
from ml_service.platforms.azureml.workspace import AzureWorkspace

_SECONDS = 60


def get_json(ws: AzureWorkspace, url: str, what: str) -> Any:
    """Read a resource with the login of the workspace.

    Args:
        ws: the workspace.
        url: of the resource.
        what: is being read, for messages.

    Raises:
        PlatformError: there is none, this login may not see it, or Azure does not answer.
    """
    import requests

    def ask() -> Any:
        headers = ws.authentication.get_authentication_header()
        answer = requests.get(url, headers=headers, timeout=_SECONDS)
        answer.raise_for_status()
        return answer.json()

    with translated(what):
        return retried(ask)


def get_resource(ws: AzureWorkspace, resource_id: str, version: str, what: str) -> Any:
    """The properties of a resource, from Azure Resource Manager.

    Args:
        ws: the workspace.
        resource_id: ``/subscriptions/...``.
        version: of its API.
        what: is being read, for messages.

    Raises:
        PlatformError: as ``get_json``.
    """
    manager = str(ws.cloud.resource_manager).rstrip("/")
    return get_json(ws, f"{manager}{resource_id}?api-version={version}", what)["properties"]
