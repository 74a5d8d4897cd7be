"""The page for an empty subscription names what the templates and the doctor need, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from environment_setup.check.access import ROLES
from ml_service.platforms.azureml.doctor.permissions import NEEDS
from ml_service.platforms.azureml.doctor.resources import PROVIDERS
from ml_service.platforms.azureml.doctor.variables import GROUP, VARIABLES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "getting-started-azure.md"
GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def test_every_role_is_named() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("## Who needs which permission")[2].partition("\n## ")[0]
    for role in {*ROLES.values(), *(need.role for need in NEEDS)}:
        assert f"*{role}*" in table, role


def test_the_condition_allows_the_roles_of_the_templates_alone() -> None:
    found = re.findall(GUID, PAGE.read_text(encoding="utf-8"))
    assert sorted(found) == sorted([*ROLES, *ROLES])


def test_every_resource_provider_is_registered() -> None:
    loop = re.search(r"for provider in (.*?); do", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert loop is not None
    names = [f"Microsoft.{name}" for name in loop[1].replace("\\", " ").split()]
    assert sorted(names) == sorted(PROVIDERS)


def test_every_variable_of_the_group_is_set() -> None:
    text = PAGE.read_text(encoding="utf-8")
    command = text.partition(f"az pipelines variable-group create --name {GROUP}")[2]
    given = re.findall(r"\b([A-Z_]+)=", command.partition("\n```")[0])
    assert sorted(given) == sorted(VARIABLES)
