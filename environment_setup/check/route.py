"""Says what is wrong with a route of the Gateway API, for which Kubernetes brings no schema.

Source of the fields: Gateway API, HTTPRoute, version v1 (the standard channel). Fields that our routes do not use are
refused, so that a mistyped one cannot pass for one that is merely not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

_API = "gateway.networking.k8s.io/v1"
_DURATION = re.compile(r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")
_SPEC = {"parentRefs", "hostnames", "rules"}
_RULE = {"matches", "filters", "backendRefs", "timeouts"}
_BACKEND = {"name", "port", "weight"}


def route_problems(route: Mapping[str, Any], services: Set[tuple[str, int]]) -> Iterator[str]:
    """What is wrong with an HTTPRoute.

    Args:
        route: the resource.
        services: name and port of every Service that it may send requests to.
    """
    if route.get("apiVersion") != _API:
        yield f"apiVersion has to be {_API}"
    spec = route.get("spec", {})
    yield from _unknown(spec, _SPEC, "spec")
    if not all("name" in parent for parent in spec.get("parentRefs", [{}])):
        yield "parentRefs do not name a gateway"
    if not spec.get("rules"):
        yield "there are no rules"
    for rule in spec.get("rules", []):
        yield from _rule_problems(rule, services)


def weights(route: Mapping[str, Any]) -> dict[str, int]:
    """Percent of requests that each Service answers, by the first rule."""
    return {item["name"]: item["weight"] for item in route["spec"]["rules"][0]["backendRefs"]}


def _rule_problems(rule: Mapping[str, Any], services: Set[tuple[str, int]]) -> Iterator[str]:
    yield from _unknown(rule, _RULE, "a rule")
    for match in rule.get("matches", []):
        yield from _unknown(match, {"path"}, "a match")
        path = match.get("path", {})
        if path.get("type") not in ("Exact", "PathPrefix") or not path.get("value", "").startswith(
            "/"
        ):
            yield f"{path} is no path"
    for value in rule.get("timeouts", {}).values():
        if not _DURATION.match(str(value)):
            yield f"{value!r} is no duration"
    backends = rule.get("backendRefs", [])
    for backend in backends:
        yield from _backend_problems(backend, services)
        if type(backend.get("weight")) is not int or backend["weight"] < 0:
            yield f"backend {backend.get('name')} needs a weight that is a whole number"
    total = sum(item["weight"] for item in backends if type(item.get("weight")) is int)
    if total != 100:
        yield f"weights have to sum to 100, not {total}"
    answering = {backend.get("name") for backend in backends}
    for item in rule.get("filters", []):
        if item.get("type") != "RequestMirror":
            yield f"filter {item.get('type')} is not known here"
            continue
        mirror = item.get("requestMirror", {}).get("backendRef", {})
        yield from _backend_problems(mirror, services)
        if mirror.get("name") in answering:
            yield f"{mirror.get('name')} cannot answer requests and get copies too"


def _backend_problems(backend: Mapping[str, Any], services: Set[tuple[str, int]]) -> Iterator[str]:
    yield from _unknown(backend, _BACKEND, "a backend")
    if (backend.get("name"), backend.get("port")) not in services:
        yield f"there is no Service {backend.get('name')} with port {backend.get('port')}"


def _unknown(content: Mapping[str, Any], known: Set[str], what: str) -> Iterator[str]:
    for key in sorted(content.keys() - known):
        yield f"{what} has no {key}"
