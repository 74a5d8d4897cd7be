"""Says what is wrong with the ARM templates of an environment, as far as that shows without Azure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from environment_setup.bundle import MAIN, bundle, load
from environment_setup.check.access import access_problems
from environment_setup.check.evaluate import Scope
from environment_setup.check.expand import Deployed, bind, expand
from environment_setup.check.expressions import TemplateError
from environment_setup.check.names import name_problems
from environment_setup.check.references import id_problems, template_problems
from environment_setup.check.schemas import Schemas

OPTIONAL = {
    "kubernetes": True,
    "privateNetworking": True,
    "devopsIssuer": "https://vstoken.dev.azure.com/0",
    "devopsSubject": "sc://organisation/project/connection",
    "githubRepository": "owner/name",
    "scientistsGroupId": "00000000-0000-0000-0000-000000000002",
}
"""Values with which every resource is made."""


def arm_problems(folder: Path, schemas: Schemas | None) -> list[str]:
    """What is wrong with ``main.json``, its modules and its parameter files.

    Each parameter file is gone through twice: as it stands, and with all that is optional and the longest name allowed.

    Args:
        folder: holds ``main.json``, ``modules/`` and ``parameters/``.
        schemas: Azure's; None where they are not at hand.
    """
    try:
        template = bundle(folder / MAIN)
    except TemplateError as error:
        return [str(error)]
    wrong = list(template_problems(template))
    if wrong:
        return wrong
    files = sorted((folder / "parameters").glob("*.json"))
    if not files:
        return [f"{folder / 'parameters'} holds no parameter file"]
    # The same once: resources of several environments differ little.
    found: dict[str, None] = {}
    for file in files:
        for message in _file_problems(template, file, schemas):
            found.setdefault(message)
    return list(found)


def deployed(template: Mapping[str, Any], given: Mapping[str, Any]) -> list[Deployed]:
    """The resources that a bundled template makes with these parameters.

    Raises:
        TemplateError: they do not fit.
    """
    return list(expand(template, given))


def longest(template: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with all that is optional, and the longest base name that the template allows."""
    base = "x" * template["parameters"]["baseName"]["maxLength"]
    return {**given, **OPTIONAL, "baseName": base}


def _file_problems(
    template: Mapping[str, Any], file: Path, schemas: Schemas | None
) -> Iterator[str]:
    try:
        given = {name: item["value"] for name, item in load(file)["parameters"].items()}
        _, wrong = bind(template["parameters"], given, Scope({}, template.get("variables", {})))
        if wrong:
            yield from (f"{file.name}: {message}" for message in wrong)
            return
        if given["environment"] != file.stem:
            yield f"{file.name}: environment is {given['environment']}"
        for values in (given, longest(template, given)):
            resources = deployed(template, values)
            yield from id_problems(resources)
            yield from name_problems(resources)
            yield from access_problems(resources, bool(values.get("privateNetworking")))
            if schemas is not None:
                yield from schemas.problems(resources)
    except TemplateError as error:
        yield str(error)
