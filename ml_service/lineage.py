"""Lineage of two models side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_NOISE = {
    *("champion_since", "champion_reason", "parameters", "parameters_sha256", "pipeline_run_id"),
    # Of the whole folder, the card with its dates among it: never the same.
    "files_sha256",
}


def difference(old: Mapping[str, str], new: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """What two models' lineage says differently.

    Returns:
        Name, old value, new value; parameters one by one; an empty value where one of them says nothing.
    """
    left, right = _flat(old), _flat(new)
    return [
        (name, left.get(name, ""), right.get(name, ""))
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]


def _flat(tags: Mapping[str, str]) -> dict[str, str]:
    flat = {name: value for name, value in tags.items() if name not in _NOISE}
    flat.update(leaves("parameters", json.loads(tags.get("parameters", "{}"))))
    return flat


def leaves(name: str, value: Any) -> dict[str, str]:
    """The values of a nested dictionary by their paths, as JSON.

    Args:
        name: what paths begin with; may be empty.
        value: the dictionary, or a value of one.
    """
    if not isinstance(value, dict):
        return {name: json.dumps(value)}
    found: dict[str, str] = {}
    for key, item in value.items():
        found.update(leaves(f"{name}.{key}" if name else str(key), item))
    return found
