"""Says what is wrong with a data factory's files, as far as that shows without Azure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from environment_setup import bundle
from environment_setup.check.arm import deployed
from environment_setup.check.expressions import TemplateError
from environment_setup.check.references import id_problems, template_problems
from environment_setup.check.schemas import Schemas
from environment_setup.data_factory.export import parameters, template
from environment_setup.data_factory.files import FOLDER, Factory, load_factory
from environment_setup.data_factory.models import model_problems, models_installed
from environment_setup.data_factory.references import reference_problems

_STAND_IN = re.compile(r"\b(ACCOUNT|GROUP|VAULT|WORKSPACE)\b|00000000-0000-0000")
"""What stands in the files for what is another in each environment."""
_ANY_ID = "11111111-1111-1111-1111-111111111111"


def factory_problems(schemas: Schemas | None, folder: Path = FOLDER) -> list[str]:
    """What is wrong with a data factory.

    Three layers: what the files say of each other, the models of Azure's client (where it is installed), and Azure's
    schemas of the exported template, together with what the template says of the environment that it is deployed to.

    Args:
        schemas: Azure's; None where they are not at hand.
        folder: of the files.
    """
    try:
        factory = load_factory(folder)
        main = bundle.load(bundle.ARM / bundle.MAIN)
        wrong = list(model_problems(factory)) if models_installed() else []
        try:
            wrong += reference_problems(factory, main["variables"]["containers"])
            if not wrong:
                wrong += _template_problems(factory, schemas)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # The models have said where, if they are here.
            wrong.append(f"the files do not have the shape of a data factory: {error!r}")
    except TemplateError as error:
        return [str(error)]
    return list(dict.fromkeys(wrong))


def _template_problems(factory: Factory, schemas: Schemas | None) -> Iterator[str]:
    parameter_files = {file.stem for file in (bundle.ARM / "parameters").glob("*.json")}
    if parameter_files != set(factory.environments):
        yield f"factory/ has to have a file for each of {', '.join(sorted(parameter_files))}"
        return
    infrastructure = bundle.bundle()
    for environment in factory.environments:
        exported = template(factory, environment)
        yield from template_problems(exported)
        for text in _literals(exported["resources"]):
            if _STAND_IN.search(text):
                yield f"{text} would be deployed as it stands: give its place an expression in expressions.json"
        resources = deployed(exported, _given(parameters(factory, environment, _ANY_ID)))
        setup = bundle.load(bundle.ARM / "parameters" / f"{environment}.json")
        yield from id_problems([*deployed(infrastructure, _given(setup)), *resources])
        if schemas is not None:
            yield from schemas.problems(resources)


def _given(file: dict[str, Any]) -> dict[str, Any]:
    return {name: item["value"] for name, item in file["parameters"].items()}


def _literals(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _literals(item)
    elif isinstance(value, str) and not value.startswith("["):
        yield value
