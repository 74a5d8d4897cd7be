"""Renders the few features of Kustomize that our overlays use, where no kubectl is at hand.

``resources``, ``namespace``, ``nameSuffix``, ``labels`` with selectors, ``images``, and ``patches`` as lists of JSON
patch operations (RFC 6902). Anything else is refused. A test compares the outcome with ``kubectl kustomize``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from insurance_claims.errors import ClaimsError

Resource: TypeAlias = dict[str, Any]
FILE = "kustomization.yaml"

_KEYS = {
    *("apiVersion", "kind", "resources", "namespace", "nameSuffix", "labels", "images", "patches"),
}
_CLUSTER_WIDE = {"Namespace"}


class KustomizeError(ClaimsError):
    """A kustomization cannot be rendered."""


def render(folder: Path) -> list[Resource]:
    """The resources of a kustomization.

    Args:
        folder: holds ``kustomization.yaml``.

    Raises:
        KustomizeError: a file is missing or broken, a key is not known here, a patch does not fit.
    """
    file = folder / FILE
    content = _documents(file)[0]
    if unknown := content.keys() - _KEYS:
        raise KustomizeError(f"{file}: {min(unknown)} is not known here")
    resources = [found for name in content.get("resources", []) for found in _load(folder / name)]
    for patch in content.get("patches", []):
        _patch(resources, patch, file)
    _suffix(resources, content.get("nameSuffix", ""))
    for labels in content.get("labels", []):
        if labels.get("includeSelectors") is not True:
            raise KustomizeError(f"{file}: labels without includeSelectors are not known here")
        for resource in resources:
            _label(resource, labels["pairs"])
    for image in content.get("images", []):
        for container in containers(resources):
            if container["image"].partition(":")[0].partition("@")[0] == image["name"]:
                container["image"] = _image(image, container["image"])
    if namespace := content.get("namespace"):
        for resource in resources:
            if resource["kind"] not in _CLUSTER_WIDE:
                resource["metadata"]["namespace"] = namespace
    return resources


def containers(resources: list[Resource]) -> Iterator[dict[str, Any]]:
    """Every container of every Deployment."""
    for resource in resources:
        if resource["kind"] == "Deployment":
            pod = resource["spec"]["template"]["spec"]
            yield from (*pod.get("initContainers", []), *pod["containers"])


def _load(path: Path) -> list[Resource]:
    return render(path) if path.is_dir() else _documents(path)


def _documents(file: Path) -> list[Resource]:
    try:
        found = [item for item in yaml.safe_load_all(file.read_text(encoding="utf-8")) if item]
    except (OSError, yaml.YAMLError) as error:
        raise KustomizeError(f"{file} cannot be read: {error}") from None
    if not found or not all(isinstance(item, dict) for item in found):
        raise KustomizeError(f"{file} has to hold YAML mappings")
    return found


def _image(change: Mapping[str, str], image: str) -> str:
    name = change.get("newName", change["name"])
    if digest := change.get("digest"):
        return f"{name}@{digest}"
    tag = change.get("newTag") or image.partition(":")[2]
    return f"{name}:{tag}" if tag else name


def _suffix(resources: list[Resource], suffix: str) -> None:
    renamed = {(item["kind"], item["metadata"]["name"]) for item in resources}
    for resource in resources:
        resource["metadata"]["name"] += suffix
        target = resource["spec"].get("scaleTargetRef", {}) if "spec" in resource else {}
        if (target.get("kind"), target.get("name")) in renamed:
            target["name"] += suffix


def _label(resource: Resource, pairs: Mapping[str, str]) -> None:
    kind, spec = resource["kind"], resource.get("spec", {})
    resource["metadata"].setdefault("labels", {}).update(pairs)
    if kind == "Service":
        spec["selector"].update(pairs)
    if kind in ("Deployment", "PodDisruptionBudget"):
        spec["selector"]["matchLabels"].update(pairs)
    if kind == "Deployment":
        spec["template"]["metadata"]["labels"].update(pairs)
        for constraint in spec["template"]["spec"].get("topologySpreadConstraints", []):
            constraint["labelSelector"]["matchLabels"].update(pairs)


def _patch(resources: list[Resource], patch: Mapping[str, Any], file: Path) -> None:
    wanted = patch["target"]
    targets = [
        item
        for item in resources
        if (item["kind"], item["metadata"]["name"]) == (wanted["kind"], wanted["name"])
    ]
    if not targets:
        raise KustomizeError(
            f"{file}: a patch is for {wanted['kind']} {wanted['name']}, which is not there"
        )
    for operation in yaml.safe_load(patch["patch"]):
        for target in targets:
            try:
                apply(target, operation)
            except (KeyError, IndexError, ValueError, TypeError):
                raise KustomizeError(
                    f"{file}: {operation['op']} {operation['path']} does not fit "
                    f"{wanted['kind']} {wanted['name']}"
                ) from None


def apply(document: Any, operation: Mapping[str, Any]) -> None:
    """Apply one operation of a JSON patch in place: add, replace or remove.

    Raises:
        KeyError, IndexError, ValueError: the path is not there, or the operation is another.
    """
    *parents, last = str(operation["path"]).lstrip("/").split("/")
    for key in parents:
        document = document[int(key) if isinstance(document, list) else key]
    place = int(last) if isinstance(document, list) and last != "-" else last
    if operation["op"] == "remove":
        del document[place]
        return
    if operation["op"] not in ("add", "replace"):
        raise ValueError(operation["op"])
    value = copy.deepcopy(operation["value"])
    if operation["op"] == "replace":
        _ = document[place]
        document[place] = value
    elif isinstance(document, list):
        document.insert(len(document) if place == "-" else int(place), value)
    else:
        document[place] = value
