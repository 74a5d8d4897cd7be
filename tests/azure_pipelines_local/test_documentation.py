"""The page about this package says what is so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import typer.main

from azure_pipelines_local.cli import app
from azure_pipelines_local.functions import FUNCTIONS
from azure_pipelines_local.reader import STATUS_FUNCTIONS
from azure_pipelines_local.tasks.registry import TASKS
from tests.azure_pipelines_local.conftest import Project

PAGE = Path(__file__).resolve().parents[2] / "docs" / "azure-pipelines-local.md"
TEXT = PAGE.read_text("utf-8")


def section(start: str, end: str) -> str:
    return TEXT[TEXT.index(start) : TEXT.index(end, TEXT.index(start))]


def test_the_example_runs_and_prints_what_is_shown(project: Project) -> None:
    example = re.search(r"```yaml\n(# pipelines/ci.yml\n.*?)```", TEXT, re.DOTALL)
    shown = re.search(r"```text\n\$ python [^\n]*\n(.*?)```", TEXT, re.DOTALL)
    assert example and shown
    project.write("pipelines/ci.yml", example[1])
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=project.folder, check=True)
    outcome = project.command("run", "pipelines/ci.yml", "--approve")
    assert outcome.exit_code == 0
    printed = outcome.output.replace(str(project.folder), "/home/me/project")
    assert unified(printed) == unified(shown[1])


def unified(text: str) -> str:
    """Without what differs from run to run."""
    return re.sub(r"\d{8}\.1", "DATE.1", re.sub(r"\d+\.\d s", "T s", text))


def test_all_functions_and_tasks_are_listed() -> None:
    listed = section("Functions: ", "Types are converted")
    missing = [
        name for name in {*FUNCTIONS, *STATUS_FUNCTIONS} if not re.search(rf"\b{name}\b", listed)
    ]
    assert missing == []
    tasks = section("- **Tasks**:", "- **Resources**")
    names = {task.name for task in TASKS.values() if task.public}
    bases = {name.split("@")[0] for name in names}
    assert {base for base in bases if base not in tasks} == set()
    assert set(re.findall(r"\b\w+@\d", tasks)) <= names


def test_all_options_of_run_are_listed() -> None:
    command = typer.main.get_command(app)
    run = command.commands["run"]  # type: ignore[attr-defined]
    options = {name for parameter in run.params for name in parameter.opts if name.startswith("--")}
    listed = set(re.findall(r"`(--[a-z-]+)", section("| option of", "Exit code 0")))
    listed |= set(re.findall(r", `(--[a-z-]+)", TEXT))
    assert options <= listed | {"--help"}
    assert listed - options == set()
