"""All findings, in the order in which they are best put right."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping

from ml_service.findings import Finding
from ml_service.platforms.azureml.doctor import names, resources
from ml_service.platforms.azureml.doctor.asking import Asking
from ml_service.platforms.azureml.doctor.identity import logged_in
from ml_service.platforms.azureml.doctor.permissions import permission_findings
from ml_service.platforms.azureml.doctor.quota import quota
from ml_service.platforms.azureml.doctor.variables import pipeline_variables
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.settings import AzureSettings, SettingsError, azure_settings, settings

_SECONDS = 20.0


def examine(
    environ: Mapping[str, str] = os.environ, seconds: float = _SECONDS
) -> Iterator[Finding]:
    """Look at everything, and go on where one look fails.

    Args:
        environ: variables of this process.
        seconds: that Azure may take for an answer.
    """
    if importlib.util.find_spec("azureml") is None:
        yield Finding("Azure ML's SDK", False, "not installed", "`make azure`")
        return
    try:
        azure = azure_settings()
    except SettingsError as error:
        detail = " ".join(str(error).split())
        yield Finding("settings of azureml", False, detail, "set them in .env: see .env.example")
        yield pipeline_variables(environ)
        return
    yield Finding("settings of azureml", True, f"workspace {azure.workspace_name}")
    yield from _of_azure(azure, environ, seconds)
    yield pipeline_variables(environ)


def _of_azure(
    azure: AzureSettings, environ: Mapping[str, str], seconds: float
) -> Iterator[Finding]:
    ask = Asking(AzureWorkspace(settings(), azure), seconds)
    login, identity = logged_in(ask, environ)
    yield login
    if identity is None:
        yield Finding("everything in Azure", None, "not looked at without a login")
        return
    yield resources.subscription(ask)
    yield resources.providers(ask)
    yield resources.resource_group(ask)
    yield resources.workspace(ask, identity)
    properties = resources.links(ask)
    if properties is None:
        yield resources.deleted_vaults(ask)
    place = resources.region(ask)
    if place is None:
        yield Finding("compute quota", None, "not looked at: the region is not known")
    else:
        yield quota(ask, place, identity)
    if properties is None:
        what = "permissions, compute targets, services, storage, key vault and registry"
        yield Finding(what, None, "not looked at without a workspace")
        return
    yield from permission_findings(ask, resources.scopes(ask, properties), identity)
    yield from resources.linked(ask, properties)
    yield resources.storage(ask, str(properties.get("storageAccount", "")).rsplit("/", 1)[-1])
    yield from names.name_findings(ask)
