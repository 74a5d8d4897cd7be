"""Holds a data factory's files against the models of azure-mgmt-datafactory.

A file is read into its model and written again. What the model keeps aside as unknown, loses or changes is a mistake:
Azure would not see it, or would refuse it.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from environment_setup.data_factory.files import ENVIRONMENTS, Content, Factory

PACKAGE = "azure.mgmt.datafactory"
_MODELS = {
    "linkedService": "LinkedServiceResource",
    "dataset": "DatasetResource",
    "pipeline": "PipelineResource",
    "trigger": "TriggerResource",
    ENVIRONMENTS: "Factory",
}


def models_installed() -> bool:
    """Whether the package of the models is there: it is for development alone."""
    try:
        return importlib.util.find_spec(PACKAGE) is not None
    except ModuleNotFoundError:
        return False


def model_problems(factory: Factory) -> Iterator[str]:
    """What a model does not take as it stands, ``KIND/NAME: MESSAGE``."""
    for kind, name, content in factory.all():
        for problem in _problems(_MODELS[kind], content):
            yield f"{kind}/{name}: {problem}"
    for name, content in factory.environments.items():
        for problem in _problems(_MODELS[ENVIRONMENTS], content):
            yield f"{ENVIRONMENTS}/{name}: {problem}"


def _problems(model: str, content: Content) -> Iterator[str]:
    # Typed as nothing: its fifty thousand lines would take mypy a minute.
    models: Any = importlib.import_module(f"{PACKAGE}.models")
    errors: Any = importlib.import_module("azure.core.exceptions")
    given = {key: value for key, value in content.items() if key != "name"}
    try:
        found = getattr(models, model).deserialize(copy.deepcopy(given))
        again = found.serialize(keep_readonly=True)
    except (
        *(errors.DeserializationError, errors.SerializationError),
        *(ValueError, AttributeError, TypeError),
    ) as error:
        yield f"does not fit {model}: {error}"
        return
    wrong = list(_misfits(found))
    yield from wrong or _changed(given, again, "")


def _misfits(found: Any) -> Iterator[str]:
    """What models keep aside, and what they need and do not have."""
    if isinstance(found, (list, dict)):
        for item in found.values() if isinstance(found, dict) else found:
            yield from _misfits(item)
    elif hasattr(found, "_attribute_map"):
        name = getattr(found, "name", None)
        where = f"{name}: {type(found).__name__}" if name else type(found).__name__
        for key in getattr(found, "additional_properties", None) or ():
            yield f"{where} has no {key}"
        for attribute, rule in found._attribute_map.items():
            value = getattr(found, attribute, None)
            if value is None and found._validation.get(attribute, {}).get("required"):
                yield f"{where} lacks {rule['key']}"
            if attribute != "additional_properties":
                yield from _misfits(value)


def _changed(before: Any, after: Any, place: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            here = f"{place}.{key}".lstrip(".")
            if key not in after:
                yield f"{here} is not known"
            else:
                yield from _changed(value, after[key], here)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changed(old, new, f"{place}[{number}]")
    elif before != after or type(before) is not type(after):
        yield f"{place}: {before!r} would become {after!r}"
