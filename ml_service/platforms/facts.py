"""What a run was made of, kept when it is submitted: code, parameters, packages, data.

Kept among the platform's documents, so that any machine can compare two runs, whichever machine submitted them.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import yaml
from pydantic import TypeAdapter, ValidationError

from insurance_claims.parameters import PARAMETERS_FILE
from insurance_claims.typed_yaml import PlainLoader, read_yaml_text
from ml_service.lineage import leaves
from ml_service.platforms.base import DataVersion, Documents
from ml_service.source import git_commit, locked_packages, uncommitted

_DIRTY = "-dirty"
_INSTALLED = re.compile(r"(.+?)-(\d[^-]*)\.dist-info")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run was made of.

    Attributes:
        commit: of the code; ``unknown`` outside a checkout.
        uncommitted: files that differed from the commit, with the number of lines, one a text.
        parameters: parameters.yml, one leaf a name, values as JSON.
        packages: versions that the steps ran with, by normalized name.
        data: number of the version of each data set that was read.
    """

    commit: str
    uncommitted: tuple[str, ...]
    parameters: Mapping[str, str]
    packages: Mapping[str, str]
    data: Mapping[str, int]


_ADAPTER = TypeAdapter(RunFacts)


def gather_facts(data: Iterable[DataVersion], installed: bool) -> RunFacts:
    """What a run that is submitted now is made of.

    Args:
        data: versions that it reads.
        installed: steps run in this process's environment, whose packages may be others than the lock's.
    """
    commit = git_commit()
    packages = locked_packages()
    if installed:
        there = _installed_packages()
        packages = {name: there.get(name, version) for name, version in packages.items()}
    return RunFacts(
        commit=commit.removesuffix(_DIRTY),
        uncommitted=uncommitted() if commit.endswith(_DIRTY) else (),
        parameters=_parameters(),
        packages=packages,
        data={version.name: version.version for version in data},
    )


def keep_facts(documents: Documents, run_id: str, facts: RunFacts) -> None:
    """Keep what a run is made of.

    Args:
        documents: of the platform.
        run_id: of the run.
        facts: of the run.

    Raises:
        PlatformError: they cannot be written.
    """
    documents.write(_name(run_id), json.dumps(asdict(facts), indent=2).encode())


def read_facts(documents: Documents, run_id: str) -> RunFacts | None:
    """What a run was made of; None where nothing was kept, or another version of this code kept it otherwise.

    Raises:
        PlatformError: documents cannot be read.
    """
    content = documents.read(_name(run_id))
    if content is None:
        return None
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError:
        return None


def _name(run_id: str) -> str:
    return f"runs/{run_id}/facts.json"


def _parameters() -> dict[str, str]:
    try:
        content = yaml.load(read_yaml_text(PARAMETERS_FILE), Loader=PlainLoader)
    except (OSError, ValueError, yaml.YAMLError):
        # The step that reads it says what is wrong with it.
        return {}
    return leaves("", content) if isinstance(content, dict) else {}


def _installed_packages() -> dict[str, str]:
    """Versions by normalized name, by the names of folders: reading all their metadata takes a second."""
    found: dict[str, str] = {}
    for folder in sys.path:
        for name in os.listdir(folder or ".") if os.path.isdir(folder or ".") else []:
            if match := _INSTALLED.fullmatch(name):
                found.setdefault(re.sub(r"[-_.]+", "-", match[1]).lower(), match[2])
    return found
