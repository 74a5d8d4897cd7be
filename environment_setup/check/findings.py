"""Runs checkov over images, manifests and templates, and holds its findings against the reviewed list of exceptions.

Usage: ``python -m environment_setup.check.findings CHECKOV``, the program. It is given what is deployed, not how that
is written: templates with every expression worked out, manifests as they are rendered.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from environment_setup.bundle import ARM, DEPLOYMENT, MAIN, bundle, load
from environment_setup.check.arm import deployed, longest
from environment_setup.check.kustomize import render
from insurance_claims.errors import ClaimsError

SETUP = ARM.parent
EXCEPTIONS = SETUP / "checkov.yml"
_FRAMEWORKS = ("arm", "dockerfile", "kubernetes")


class FindingsError(ClaimsError):
    """checkov cannot be run, or the list of exceptions is not what it has to be."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A check that we do not follow.

    Attributes:
        check: its id.
        resource: a part of the names of the resources that need not keep it.
        why: for whoever reviews the list.
    """

    check: str
    resource: str
    why: str


def exceptions(file: Path = EXCEPTIONS) -> list[Allowed]:
    """The reviewed list.

    Raises:
        FindingsError: an entry lacks its check, resource or reason, or has something else.
    """
    try:
        found = [Allowed(**entry) for entry in yaml.safe_load(file.read_text(encoding="utf-8"))]
    except (OSError, TypeError, yaml.YAMLError) as error:
        raise FindingsError(f"{file} is no list of check, resource and why: {error}") from None
    for entry in found:
        if not (entry.check and entry.resource and entry.why):
            raise FindingsError(f"{file}: {entry.check or entry} needs a resource and a reason")
    return found


def lay_out(folder: Path, setup: Path = SETUP) -> None:
    """Write what checkov is to read: production with all that is optional, the images, and every overlay.

    Args:
        folder: empty.
        setup: has ``arm/``, ``images/`` and ``kubernetes/``.
    """
    template = bundle(setup / "arm" / MAIN)
    parameters = load(setup / "arm" / "parameters" / "prod.json")["parameters"]
    given = {name: item["value"] for name, item in parameters.items()}
    resources = [
        item.content
        for item in deployed(template, longest(template, given))
        if item.kind != DEPLOYMENT
    ]
    expanded = {"$schema": template["$schema"], "contentVersion": "1.0.0.0", "resources": resources}
    (folder / "azure.json").write_text(json.dumps(expanded, indent=2), encoding="utf-8")
    for file in sorted((setup / "images").glob("*.Dockerfile")):
        place = folder / file.stem
        place.mkdir()
        (place / "Dockerfile").write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    for overlay in sorted((setup / "kubernetes" / "overlays").iterdir()):
        (folder / f"{overlay.name}.yaml").write_text(
            yaml.safe_dump_all(render(overlay)), encoding="utf-8"
        )


def findings(program: Path, folder: Path) -> list[Mapping[str, Any]]:
    """What checkov finds wrong in a folder. It is told to ask nobody.

    Raises:
        FindingsError: it did not run, or read nothing.
    """
    command = [str(program), "--directory", str(folder), "--skip-download", "--output", "json"]
    try:
        result = subprocess.run(
            [*command, "--framework", *_FRAMEWORKS], capture_output=True, text=True, check=False
        )
        content = json.loads(result.stdout)
    except (OSError, ValueError) as error:
        raise FindingsError(f"{program} did not run: {error}") from None
    reports = content if isinstance(content, list) else [content]
    read = {report["check_type"] for report in reports if report["summary"]["passed"]}
    if missing := set(_FRAMEWORKS) - read:
        raise FindingsError(f"{program} found nothing to check of {', '.join(sorted(missing))}")
    return [found for report in reports for found in report["results"]["failed_checks"]]


def problems(found: Sequence[Mapping[str, Any]], allowed: Sequence[Allowed]) -> Iterator[str]:
    """Findings without an exception, and exceptions that nothing needs."""
    needed = set()
    for item in found:
        matching = {
            entry
            for entry in allowed
            if entry.check == item["check_id"] and entry.resource in item["resource"]
        }
        needed |= matching
        if not matching:
            yield f"{item['check_id']}: {item['resource']}: {item['check_name']}"
    for entry in allowed:
        if entry not in needed:
            yield f"{entry.check}: {entry.resource} is among the exceptions, and nothing needs it"


def main(arguments: list[str]) -> int:
    """Print every problem."""
    if len(arguments) != 1:
        print("usage: python -m environment_setup.check.findings CHECKOV", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder))
            wrong = list(problems(findings(Path(arguments[0]), Path(folder)), exceptions()))
    except ClaimsError as error:
        wrong = [str(error)]
    for problem in wrong:
        print(problem)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
