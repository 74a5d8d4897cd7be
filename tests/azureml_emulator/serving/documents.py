"""Web services as documents: what a request makes of them, and what the SDK reads.

A service of type ACI or AKS is one deployment; one of type AKSENDPOINT has several, its versions, and splits traffic
between them. A deployment's ``container`` is the one that serves, ``failed`` one that was tried after it and failed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.routing import Refused
from tests.azureml_emulator.services.models import apply_patch, find

ENDPOINT = "AKSENDPOINT"
KINDS = ("ACI", "AKS", ENDPOINT)
_PRIVATE = ("container", "failed", "operation")
_VERSION_DEFAULTS: Mapping[str, Any] = {
    "isDefault": False,
    "trafficPercentile": 0,
    "type": "Treatment",
}

Deployment = dict[str, Any]


async def create(
    context: Context, workspace: Workspace, content: Mapping[str, Any]
) -> dict[str, Any]:
    """A service as a request to create it describes it.

    Raises:
        Refused: a model or compute target does not exist, or the traffic does not fit.
    """
    kind = content.get("computeType")
    if kind not in KINDS:
        raise Refused(400, "BadRequest", f"The compute type {kind} is not supported.")
    url = f"{context.serving_url}/{workspace.name}/api/v1/service/{content['name']}"
    service = _deployment(context, content, f"{url}/score")
    if kind == ENDPOINT:
        service["environmentImageRequest"] = None
        service["versions"] = {}
        for number, (name, version) in enumerate((content.get("versions") or {}).items()):
            add_version(context, service, name, {**version, "isDefault": number == 0})
    await check(workspace, service)
    return service


def add_version(
    context: Context, service: dict[str, Any], name: str, content: Mapping[str, Any]
) -> None:
    """Add a version to an endpoint, as a request describes it."""
    url = f"{str(service['scoringUri']).removesuffix('/score')}/versions/{name}/score"
    version = _deployment(context, {**content, "name": name, "computeType": "AKS"}, url)
    version |= {key: content.get(key, value) for key, value in _VERSION_DEFAULTS.items()}
    service["versions"][name] = version


async def patched(
    context: Context, workspace: Workspace, service: Mapping[str, Any], changes: Any
) -> dict[str, Any]:
    """A service as it is after a JSON patch.

    Raises:
        Refused: the patch does not fit.
    """
    after = copy.deepcopy(dict(service))
    versions = after.get("versions", {})
    for change in changes:
        path = [part for part in str(change.get("path", "")).split("/") if part]
        if len(path) == 2 and path[0] == "versions":
            if change["op"] == "remove":
                _remove_version(after, path[1])
                continue
            if path[1] in versions:
                message = f"Version {path[1]} exists already in endpoint {service['name']}."
                raise Refused(409, "Conflict", message)
            add_version(context, after, path[1], change["value"])
            continue
        if path[0] == "versions" and path[1] not in versions:
            raise Refused(404, "VersionNotFound", f"There is no version {path[1]}.")
        if path[0] == "versions" and path[2] == "tags":
            # The SDK's name for a version's tags in this one request.
            change = {**change, "path": f"/versions/{path[1]}/kvTags"}
        apply_patch(after, change)
    after["updatedTime"] = context.clock.text()
    await check(workspace, after)
    return after


async def check(workspace: Workspace, service: dict[str, Any]) -> None:
    """Refuse a service that cannot be, and note the models that it names.

    Raises:
        Refused: says why.
    """
    for version, deployment in deployments(service):
        ids = (deployment["environmentImageRequest"] or {}).get("modelIds") or []
        named = [await find(workspace, model) for model in ids]
        put_deployment(service, version, {**deployment, "models": named})
    versions = service.get("versions", {})
    if service["computeType"] != ENDPOINT:
        return
    shares = [int(version["trafficPercentile"] or 0) for version in versions.values()]
    if any(not 0 <= share <= 100 for share in shares) or sum(shares) > 100:
        message = "The traffic percentiles of an endpoint's versions have to be 0 to 100, and their sum at most 100."
        raise Refused(400, "BadRequest", message)
    if sum(bool(version["isDefault"]) for version in versions.values()) > 1:
        raise Refused(400, "BadRequest", "An endpoint has one default version.")


def deployments(service: Mapping[str, Any]) -> Iterator[tuple[str, Deployment]]:
    """Each deployment by its version's name; an empty name where the service is one deployment."""
    if service["computeType"] == ENDPOINT:
        yield from list(service["versions"].items())
    else:
        yield "", dict(service)


def put_deployment(service: dict[str, Any], version: str, deployment: Deployment) -> None:
    """Put a changed deployment in its place."""
    if version:
        service["versions"][version] = deployment
    else:
        service.update(deployment)


def traffic(service: Mapping[str, Any]) -> dict[str, int]:
    """Share of requests by version, in percent. What the versions do not take goes to the default one."""
    versions: Mapping[str, Deployment] = service["versions"]
    shares = {name: int(item["trafficPercentile"] or 0) for name, item in versions.items()}
    for name, item in versions.items():
        if item["isDefault"]:
            shares[name] += 100 - sum(shares.values())
    return shares


def public(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """A service, or one of its versions, without what the SDK does not read."""
    return {key: value for key, value in deployment.items() if key not in _PRIVATE}


def _remove_version(service: dict[str, Any], name: str) -> None:
    version = service["versions"].get(name)
    if version is None:
        raise Refused(404, "VersionNotFound", f"There is no version {name}.")
    if version["isDefault"] or version["trafficPercentile"]:
        message = (
            f"Version {name} is the default version or has traffic: move it to another one first."
        )
        raise Refused(400, "BadRequest", message)
    del service["versions"][name]


def _deployment(context: Context, content: Mapping[str, Any], url: str) -> Deployment:
    now = context.clock.text()
    scaler = content.get("autoScaler") or {}
    resources = content.get("containerResourceRequirements") or {}
    collection = content.get("dataCollection") or {}
    return {
        "id": content["name"],
        "name": content["name"],
        "description": content.get("description"),
        "kvTags": content.get("kvTags") or {},
        "properties": content.get("properties") or {},
        "state": "Transitioning",
        "error": None,
        "createdTime": now,
        "updatedTime": now,
        "computeType": content["computeType"],
        "computeName": content.get("computeName"),
        "deploymentType": "Http",
        "appInsightsEnabled": bool(content.get("appInsightsEnabled")),
        # Keys are the rule on Kubernetes, and have to be asked for in container instances.
        "authEnabled": bool(content.get("authEnabled", content["computeType"] != "ACI")),
        "aadAuthEnabled": bool(content.get("aadAuthEnabled")),
        "cname": content.get("cname"),
        "location": "local",
        "publicIp": "127.0.0.1",
        "publicFqdn": "127.0.0.1",
        "scoringUri": url,
        "swaggerUri": f"{url.removesuffix('score')}swagger.json",
        "sslCertificate": None,
        "sslEnabled": False,
        "sslKey": None,
        "encryptionProperties": None,
        "vnetConfiguration": None,
        "containerResourceRequirements": {
            name: resources.get(name)
            for name in ("cpu", "cpuLimit", "memoryInGB", "memoryInGBLimit", "gpu", "fpga")
        },
        "environmentImageRequest": content.get("environmentImageRequest"),
        "models": [],
        "modelConfigMap": {},
        "numReplicas": content.get("numReplicas"),
        "autoScaler": {
            name: scaler.get(name)
            for name in (
                *("autoscaleEnabled", "minReplicas", "maxReplicas"),
                *("targetUtilization", "refreshPeriodInSeconds"),
            )
        },
        "dataCollection": {
            name: bool(collection.get(name)) for name in ("storageEnabled", "eventHubEnabled")
        },
        "livenessProbeRequirements": content.get("livenessProbeRequirements"),
        "maxConcurrentRequestsPerContainer": content.get("maxConcurrentRequestsPerContainer"),
        "maxQueueWaitMs": content.get("maxQueueWaitMs"),
        "scoringTimeoutMs": content.get("scoringTimeoutMs"),
        "namespace": content.get("namespace"),
        "deploymentStatus": None,
        "container": None,
        "failed": None,
    }
