"""Says what is wrong with a set of Kubernetes resources that belong together.

Their schemas, what refers to what, and what a pod may do. A schema alone says nothing of a Service that selects no pod.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]

from environment_setup.check.kustomize import Resource, containers
from environment_setup.check.route import route_problems

_CUSTOM = {"HTTPRoute"}
"""Kinds that Kubernetes itself has no schema of."""
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_PINNED = re.compile(r"^[^:@]+(:\d+/[^:@]+)?(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$")


def problems(resources: Sequence[Resource]) -> list[str]:
    """What is wrong, ``KIND NAME: MESSAGE``."""
    wrong = list(_schema_problems(resources))
    # What does not keep its schema cannot be looked into any further.
    if not wrong:
        for check in (_reference_problems, _pod_problems, _route_problems, _policy_problems):
            wrong += check(resources)
    return wrong


def of_kind(resources: Sequence[Resource], kind: str) -> list[Resource]:
    """The resources of one kind."""
    return [item for item in resources if item["kind"] == kind]


def title(resource: Resource) -> str:
    """For a person to read."""
    return f"{resource['kind']} {resource['metadata']['name']}"


def _schema_problems(resources: Sequence[Resource]) -> Iterator[str]:
    for item in resources:
        if item.get("kind") not in _CUSTOM:
            if message := _schema_problem(json.dumps(item, sort_keys=True)):
                yield f"{title(item)}: {message}"
    seen: set[tuple[str, str]] = set()
    for item in resources:
        key = item["kind"], item["metadata"]["name"]
        if key in seen:
            yield f"{title(item)}: is there twice"
        seen.add(key)


@functools.cache
def _schema_problem(text: str) -> str | None:
    # Overlays share most of their resources, and reading a schema takes longer than all the rest.
    item = json.loads(text)
    version = kubernetes_validate.latest_version()
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'/'.join(str(part) for part in error.path)}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        return f"Kubernetes {version} has no {item['apiVersion']} {item['kind']}"
    return None


def _reference_problems(resources: Sequence[Resource]) -> Iterator[str]:
    deployments = of_kind(resources, "Deployment")
    for item in deployments:
        if not _matches(item["spec"]["selector"]["matchLabels"], item):
            yield f"{title(item)}: its selector does not match its own pods"
        account = item["spec"]["template"]["spec"].get("serviceAccountName")
        if account not in [
            found["metadata"]["name"] for found in of_kind(resources, "ServiceAccount")
        ]:
            yield f"{title(item)}: service account {account} does not exist"
    for item in of_kind(resources, "Service"):
        yield from _one_deployment(item, item["spec"]["selector"], deployments)
        for port in item["spec"]["ports"]:
            for chosen in _selected(item["spec"]["selector"], deployments):
                if port["targetPort"] not in _ports(chosen):
                    yield f"{title(item)}: port {port['targetPort']} is none of {title(chosen)}"
    for item in of_kind(resources, "PodDisruptionBudget"):
        yield from _one_deployment(item, item["spec"]["selector"]["matchLabels"], deployments)
    for item in of_kind(resources, "HorizontalPodAutoscaler"):
        target = item["spec"]["scaleTargetRef"]["name"]
        if target not in [found["metadata"]["name"] for found in deployments]:
            yield f"{title(item)}: Deployment {target} does not exist"
        if item["spec"].get("minReplicas", 1) > item["spec"]["maxReplicas"]:
            yield f"{title(item)}: minReplicas is above maxReplicas"
    names = {item["metadata"]["name"] for item in of_kind(resources, "Namespace")}
    for item in resources:
        namespace = item["metadata"].get("namespace")
        if item["kind"] != "Namespace" and namespace not in names:
            yield f"{title(item)}: namespace {namespace} is none of these resources"


def _one_deployment(
    item: Resource, selector: Mapping[str, str], deployments: Sequence[Resource]
) -> Iterator[str]:
    chosen = _selected(selector, deployments)
    if len(chosen) != 1:
        found = ", ".join(title(one) for one in chosen) or "nothing"
        yield f"{title(item)}: has to select the pods of one Deployment, and selects those of {found}"


def _selected(selector: Mapping[str, str], deployments: Sequence[Resource]) -> list[Resource]:
    return [item for item in deployments if _matches(selector, item)]


def _matches(selector: Mapping[str, str], deployment: Resource) -> bool:
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return selector.items() <= labels.items()


def _ports(deployment: Resource) -> set[str | int]:
    return {
        value
        for container in deployment["spec"]["template"]["spec"]["containers"]
        for port in container.get("ports", [])
        for value in (port.get("name"), port["containerPort"])
    }


def _pod_problems(resources: Sequence[Resource]) -> Iterator[str]:
    for item in of_kind(resources, "Deployment"):
        pod = item["spec"]["template"]["spec"]
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{title(item)}: automountServiceAccountToken has to be false"
        for container in containers([item]):
            for message in _container_problems(container, pod, _ports(item)):
                yield f"{title(item)}: container {container['name']}: {message}"


def _container_problems(
    container: Mapping[str, Any], pod: Mapping[str, Any], ports: set[str | int]
) -> Iterator[str]:
    context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    wanted = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for key, value in wanted.items():
        if context.get(key) != value:
            yield f"{key} has to be {value}"
    if not _PINNED.match(container["image"]):
        yield f"image {container['image']} is not pinned: name a version, or a digest"
    for probe in _PROBES:
        port = container.get(probe, {}).get("httpGet", {}).get("port")
        if port not in ports:
            yield f"{probe} asks port {port}, which is none of the container's"
    for group in ("requests", "limits"):
        for key in ("cpu", "memory"):
            if key not in container.get("resources", {}).get(group, {}):
                yield f"{group} do not say how much {key}"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"volume {mount['name']} does not exist"


def _route_problems(resources: Sequence[Resource]) -> Iterator[str]:
    services = {
        (item["metadata"]["name"], port["port"])
        for item in of_kind(resources, "Service")
        for port in item["spec"]["ports"]
    }
    for item in of_kind(resources, "HTTPRoute"):
        for message in route_problems(item, services):
            yield f"{title(item)}: {message}"


def _policy_problems(resources: Sequence[Resource]) -> Iterator[str]:
    policies = of_kind(resources, "NetworkPolicy")
    for item in of_kind(resources, "Deployment"):
        closed: set[str] = set()
        for policy in policies:
            if _matches(policy["spec"]["podSelector"].get("matchLabels", {}), item):
                closed.update(policy["spec"].get("policyTypes", []))
        for direction in ("Ingress", "Egress"):
            if direction not in closed:
                yield f"{title(item)}: no NetworkPolicy limits its {direction.lower()}"
    for policy in policies:
        chosen = _selected(
            policy["spec"]["podSelector"].get("matchLabels", {}), of_kind(resources, "Deployment")
        )
        for rule in policy["spec"].get("ingress", []):
            if not rule.get("from"):
                yield f"{title(policy)}: lets everybody in"
            for port in rule.get("ports", []):
                if any(port["port"] not in _ports(item) for item in chosen):
                    yield f"{title(policy)}: port {port['port']} is none of the pods'"
