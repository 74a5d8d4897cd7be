"""Activities of a pipeline: which runs after which, those inside of others included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

_CONDITIONS = {"Completed", "Failed", "Skipped", "Succeeded"}
_LISTS = ("activities", "ifTrueActivities", "ifFalseActivities", "defaultActivities")


@dataclass(frozen=True, slots=True)
class Activity:
    """One activity.

    Attributes:
        name: its name.
        own: its content without the activities inside of it.
        earlier: names of those that have ended when it begins.
    """

    name: str
    own: Mapping[str, Any]
    earlier: frozenset[str]


def activities(
    content: Sequence[Mapping[str, Any]], earlier: frozenset[str] = frozenset()
) -> Iterator[Activity]:
    """Every activity of a list, and those inside of them.

    Args:
        content: of a pipeline, or of an activity that holds others. Without problems of order.
        earlier: names of those that have ended before the list begins.
    """
    needs = _needs(content)
    for item in content:
        name = str(item["name"])
        before = earlier | _upstream(name, needs)
        fields = dict(item.get("typeProperties", {}))
        inner = _inner(fields)
        own = {**item, "typeProperties": fields}
        yield Activity(name, own, before)
        for listed in inner:
            yield from activities(listed, before)


def order_problems(content: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Activities that wait for one that is not in their list, for each other, or for no outcome of one."""
    needs = _needs(content)
    for name, wanted in needs.items():
        for other in sorted(wanted - needs.keys()):
            yield f"activity {name} waits for {other}, which is not beside it"
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        yield f"activities wait for each other: {', '.join(error.args[1])}"
    for item in content:
        for other in item.get("dependsOn", []):
            conditions = other["dependencyConditions"]
            if not conditions or not set(conditions) <= _CONDITIONS:
                yield f"activity {item['name']} waits for {other['activity']} to be {conditions}"
        for listed in _inner(dict(item.get("typeProperties", {}))):
            yield from order_problems(listed)


def _needs(content: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    return {
        str(item["name"]): {str(other["activity"]) for other in item.get("dependsOn", [])}
        for item in content
    }


def _upstream(name: str, needs: Mapping[str, set[str]]) -> frozenset[str]:
    found: set[str] = set()
    new = set(needs[name])
    while new:
        found |= new
        new = {other for one in new for other in needs.get(one, ())} - found
    return frozenset(found)


def _inner(fields: dict[str, Any]) -> list[Sequence[Mapping[str, Any]]]:
    """Take the lists of activities out of an activity's fields."""
    found = [fields.pop(key) for key in _LISTS if key in fields]
    if "cases" in fields:
        found += [case.get("activities", []) for case in fields.pop("cases")]
    return found
