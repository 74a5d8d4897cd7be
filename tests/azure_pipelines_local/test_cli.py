"""The commands: their options, exit codes and messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.azure_pipelines_local.conftest import Project

ROOT = Path(__file__).resolve().parents[2]


def test_importing_the_commands_is_light_and_needs_no_other_package_of_ours() -> None:
    code = (
        "import sys; import azure_pipelines_local.cli\n"
        "bad = {'yaml', 'insurance_claims', 'ml_service', 'azure_pipelines_local.engine'} & set(sys.modules)\n"
        "import azure_pipelines_local.engine\n"
        "bad |= {'insurance_claims', 'ml_service', 'pandas', 'mlflow'} & set(sys.modules)\n"
        "sys.exit(f'imported: {sorted(bad)}' if bad else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_it_runs_as_a_module(project: Project) -> None:
    file = project.write("p.yml", "steps:\n- bash: echo hello\n")
    command = [sys.executable, "-m", "azure_pipelines_local"]
    shown = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert {"run", "expand", "check"} <= set(shown.stdout.split())
    done = subprocess.run([*command, "run", str(file)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "novalue"), "--set takes NAME=VALUE"),
        (("--parameter", "=x"), "--parameter takes NAME=VALUE"),
        (("--nonsense",), "No such option"),
        (("--root", "nowhere"), "there is no folder"),
        (("--resource", "a=1"), "there is no pipeline resource 'a'; there is: none"),
        (("--variables", "none.yml"), "cannot be read"),
    ],
)
def test_wrong_use_ends_with_2_and_keeps_nothing(
    project: Project, options: tuple[str, ...], message: str
) -> None:
    project.write("p.yml", "steps:\n- bash: 'true'\n")
    outcome = project.command("run", "p.yml", "--work", str(project.work), *options)
    assert outcome.exit_code == 2
    assert message in outcome.output
    assert not list((project.work / "runs").glob("*"))


def test_expand_prints_yaml_that_expands_to_itself(project: Project) -> None:
    project.write("t.yml", "steps:\n- bash: |\n    two\n    lines\n- script: 'yes'\n")
    project.write("p.yml", "variables: {a: '010'}\nsteps:\n- template: t.yml\n")
    first = project.command("expand", "p.yml")
    assert first.exit_code == 0
    assert yaml.safe_load(first.output) == {
        "variables": {"a": "010"},
        "steps": [{"bash": "two\nlines\n"}, {"script": "yes"}],
    }
    project.write("again.yml", first.output)
    assert project.command("expand", "again.yml").output == first.output


def test_the_environment_says_where_runs_are_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_PIPELINES_LOCAL_WORK", str(project.folder / "elsewhere"))
    project.write("p.yml", "steps:\n- bash: 'true'\n")
    assert project.command("run", "p.yml").exit_code == 0
    assert (project.folder / "elsewhere" / "runs" / "1" / "run.json").is_file()


def test_the_tree_at_the_end_shows_everything(project: Project) -> None:
    outcome = project.run(
        """
        stages:
        - stage: A
          jobs:
          - job: one
            steps:
            - checkout: none
            - {bash: exit 1, displayName: fails}
        - stage: B
          jobs: [{job: two, steps: [{bash: 'true'}]}]
        """
    )
    tree = outcome.output[outcome.output.index("├── A") :]
    assert "fails: FAILED" in tree
    assert "exit code 1" in tree
    assert "B: skipped - not everything before it succeeded (a: Failed)" in tree
