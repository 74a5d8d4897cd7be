"""Projects made of this repository, once for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SHORT = "fig"
LONG = "a_name_with_as_many_letters_as_there_may"
OPTIONS = ("--description", 'Our "first" one', "--problem", "regression", "--without-example")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def git_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which git knows who commits, and nothing of this machine's settings."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\n\tname = Someone\n\temail = someone@example.com\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {**kept, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as the next commit has it, in a folder as a downloaded archive gives it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    folder = tmp_path_factory.mktemp("template") / "archive"
    for path in filter(None, listed.split("\0")):
        if os.path.lexists(ROOT / path):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, folder / path, follow_symlinks=False)
    return folder


@pytest.fixture(scope="session")
def bootstrap(template: Path, git_environment: dict[str, str]) -> Run:
    """Runs the command as a person does."""

    def run(
        *arguments: str, of: Path = template, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(of / "bootstrap" / "bootstrap.py"), *arguments],
            env={**git_environment, **environment},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def made(bootstrap: Run, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A project of a name, made when it is first asked for. Read only."""
    folders: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in folders:
            folder = tmp_path_factory.mktemp(name) / "project"
            # One as a newcomer makes it, the other with every option.
            options = OPTIONS if name == LONG else ()
            result = bootstrap("--name", name, "--directory", str(folder), *options)
            assert result.returncode == 0, result.stderr
            folders[name] = folder
        return folders[name]

    return make


def inside(project: Path, **more: str) -> dict[str, str]:
    """The environment for running a project's own code with what is installed here."""
    return {
        **os.environ,
        "PYTHONPATH": str(project),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        **more,
    }
