"""Checks resources against Azure's own JSON schemas, in a folder laid out like https://schema.management.azure.com."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from environment_setup.bundle import DEPLOYMENT
from environment_setup.check.expand import Deployed
from environment_setup.check.expressions import TemplateError

_ADDRESS = "https://schema.management.azure.com/"
_KINDS = ("allOf", "anyOf", "oneOf")
WITHOUT = {
    *("Microsoft.Insights/diagnosticSettings", "Microsoft.Network/networkSecurityGroups"),
    *("Microsoft.Network/privateDnsZones", "Microsoft.Network/privateDnsZones/virtualNetworkLinks"),
    *("Microsoft.Network/privateEndpoints", "Microsoft.Network/virtualNetworks"),
    *("Microsoft.Network/privateEndpoints/privateDnsZoneGroups", DEPLOYMENT),
}
"""Types whose schemas the folder need not have."""


class Schemas:
    """Azure's schemas.

    Args:
        folder: holds ``schemas/API VERSION/PROVIDER.json``.

    Raises:
        TemplateError: it does not.
    """

    def __init__(self, folder: Path) -> None:
        self._definitions: dict[tuple[str, str], list[str]] = {}
        self._checked: dict[str, str | None] = {}
        found = []
        for file in sorted(folder.glob("schemas/*/*.json")):
            content = json.loads(file.read_text(encoding="utf-8"))
            address = _ADDRESS + file.relative_to(folder).as_posix()
            self._index(content, address, file.parent.name)
            found.append(
                (address, Resource.from_contents(_closed(content), default_specification=DRAFT4))
            )
        if not self._definitions:
            raise TemplateError(f"{folder} holds no schemas/*/*.json of Azure")
        self._registry: Registry[Any] = Registry().with_resources(found).crawl()

    def problems(self, resources: Sequence[Deployed]) -> Iterator[str]:
        """What does not keep the schema of its type and API version, and what has none."""
        for item in resources:
            version = str(item.content["apiVersion"])
            addresses = self._definitions.get((item.kind.lower(), version))
            if addresses:
                # Some schemas speak of a child's own name, others of its parents' too: names are checked elsewhere.
                content = {**item.content, "name": "[parent/name]"}
                content.pop("scope", None)
                if message := self._problem(content, addresses):
                    yield f"{item}: {message}"
            elif item.kind not in WITHOUT:
                yield f"{item}: there is no schema of API version {version}"

    def _problem(self, content: Mapping[str, Any], addresses: Sequence[str]) -> str | None:
        key = json.dumps(content, sort_keys=True)
        if key not in self._checked:
            errors = [
                best_match(
                    Draft4Validator({"$ref": address}, registry=self._registry).iter_errors(content)
                )
                for address in addresses
            ]
            first = errors[0]
            self._checked[key] = (
                f"{first.json_path}: {first.message[:200]}"
                if first is not None and None not in errors
                else None
            )
        return self._checked[key]

    def _index(self, content: Mapping[str, Any], address: str, version: str) -> None:
        for section in content:
            if not section.lower().endswith("resourcedefinitions"):
                continue
            for name, definition in content[section].items():
                for kind in definition["properties"].get("type", {}).get("enum", []):
                    places = self._definitions.setdefault((kind.lower(), version), [])
                    places.append(f"{address}#/{section}/{name}")


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose objects take no keys but those that it names: Azure's takes any, and so any mistyped one."""
    definitions = schema.get("definitions", {})
    open_ones = {"expression"}
    for name, definition in definitions.items():
        kinds = {word: definition[word] for word in _KINDS if word in definition}
        if kinds:
            # Kinds of one thing: the keys that they share stand elsewhere than those of each.
            open_ones.add(name)
            open_ones.update(re.findall(r'"#/definitions/([\w.]+)"', json.dumps(kinds)))
            for part in (definition, *definition.get("allOf", [])):
                # Azure closes the shared ones, and so refuses every kind that has keys of its own.
                part.pop("additionalProperties", None)
    for name, definition in definitions.items():
        if "properties" in definition and name not in open_ones:
            definition.setdefault("additionalProperties", False)
    return schema
