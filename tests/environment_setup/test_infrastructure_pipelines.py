"""The pipelines that make and remove an environment: it is shown first, and removed under the typed name alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

import azure_pipelines_local.cli

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = ROOT / ".pipelines"
CREATE = PIPELINES / "iac-create.yml"
REMOVE = PIPELINES / "iac-remove.yml"


def remove(tmp_path: Path, *parameters: str) -> Result:
    """Run the removal on this machine, where az is simulated."""
    connection = tmp_path / "connection"
    connection.touch()
    options = [
        *("--work", str(tmp_path / "work"), "--approve"),
        *("--variables", str(ROOT / "tests" / "pipelines" / "group.yml")),
        *("--connection", f"subscription={connection}"),
    ]
    given = [word for value in parameters for word in ("--parameter", value)]
    return CliRunner().invoke(azure_pipelines_local.cli.app, ["run", str(REMOVE), *options, *given])


@pytest.mark.parametrize("name", ["", "grou", "group2", "x; az group delete"])
def test_nothing_is_removed_under_another_name(tmp_path: Path, name: str) -> None:
    result = remove(tmp_path, f"name={name}")
    assert result.exit_code == 1, result.output
    assert "nothing is removed" in result.output
    assert "az group delete did" not in result.output


def test_the_group_whose_name_was_typed_is_removed(tmp_path: Path) -> None:
    result = remove(tmp_path, "name=group")
    assert result.exit_code == 0, result.output
    assert "az group delete did" in result.output


@pytest.mark.parametrize(
    ("file", "shows", "does"),
    [
        (CREATE, "az deployment group what-if", "az deployment group create"),
        (REMOVE, "az resource list", "az group delete"),
    ],
)
def test_it_is_shown_and_then_waits_for_an_approval(file: Path, shows: str, does: str) -> None:
    first, second = yaml.safe_load(file.read_text())["stages"]
    assert shows in str(first)
    assert does not in str(first)
    assert second["dependsOn"] == first["stage"]
    [job] = second["jobs"]
    # Approvals belong to environments.
    assert job["environment"] == "infrastructure-${{ parameters.environment }}"
    assert does in str(job)


def test_both_know_the_same_environments() -> None:
    files = {path.stem for path in (ROOT / "environment_setup/arm/parameters").glob("*.json")}
    for file in (CREATE, REMOVE):
        parameters: list[dict[str, Any]] = yaml.safe_load(file.read_text())["parameters"]
        assert set(parameters[0]["values"]) == files
