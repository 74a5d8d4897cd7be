"""A repository in a folder whose name has a space, and the commands run in it."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from azure_pipelines_local.cli import app


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    exit_code: int
    output: str
    folder: Path | None

    @property
    def summary(self) -> dict[str, Any]:
        """Of the run that the command made."""
        assert self.folder is not None, self.output
        content: dict[str, Any] = json.loads((self.folder / "run.json").read_text("utf-8"))
        return content

    @property
    def stages(self) -> dict[str, str]:
        """Results by stage."""
        return {stage["name"]: stage["result"] for stage in self.summary["stages"]}

    @property
    def jobs(self) -> dict[str, str]:
        """Results by job."""
        return {
            job["name"]: job["result"] for stage in self.summary["stages"] for job in stage["jobs"]
        }

    @property
    def steps(self) -> dict[str, str]:
        """Results by the shown name of a step, without checkouts."""
        return {
            step["display_name"]: step["result"]
            for stage in self.summary["stages"]
            for job in stage["jobs"]
            for step in job["steps"]
            if step["task"] != "Checkout@1"
        }

    def lines(self) -> list[str]:
        """What steps printed, and everything else, without the indentation."""
        return [line.strip() for line in self.output.splitlines()]


class Project:
    """A folder with pipelines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder.parent / "kept runs"

    def write(self, name: str, text: str) -> Path:
        """Write a file; the text may be indented."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def command(self, *arguments: str, input: str | None = None) -> Outcome:
        """Run a command in the folder."""
        runs = self.work / "runs"
        before = set(runs.iterdir()) if runs.is_dir() else set()
        result = CliRunner().invoke(app, list(arguments), input=input)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        after = set(runs.iterdir()) if runs.is_dir() else set()
        made = after - before
        return Outcome(result.exit_code, result.output, made.pop() if made else None)

    def run(self, text: str, *options: str, file: str = "pipeline.yml") -> Outcome:
        """Write a pipeline and run it."""
        path = self.write(file, text)
        root, work = str(self.folder), str(self.work)
        return self.command("run", str(path), "--root", root, "--work", work, *options)

    def check(self, text: str, *options: str) -> Outcome:
        """Write a pipeline and check it."""
        path = self.write("pipeline.yml", text)
        return self.command("check", str(path), "--root", str(self.folder), *options)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project; the working directory is its folder."""
    folder = tmp_path / "a project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Project(folder)
