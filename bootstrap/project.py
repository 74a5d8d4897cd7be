"""A new project: checked, then made beside its folder, then moved there whole."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bootstrap.answers import Answers, check_answers
from bootstrap.errors import BootstrapError, UsageError
from bootstrap.formatting import allow_longest_line, format_code
from bootstrap.git import commit, git, stage, why_no_commit
from bootstrap.names import TEMPLATE, check_name, taken_names
from bootstrap.patches import remake_patches
from bootstrap.render import render
from bootstrap.template import ROOT, File, commit_of, read_template, write_files

TEMPLATE_BRANCH = "template"


@dataclass(frozen=True)
class Made:
    """A project that was made.

    Attributes:
        folder: where it is.
        files: how many it has.
        commit: of the template.
        formatted: whether its code is formatted.
        no_commit: why it has no first commit, and what to do; None where it has.
    """

    folder: Path
    files: int
    commit: str
    formatted: bool
    no_commit: str | None


def make_project(answers: Answers, directory: Path) -> Made:
    """Make a project in an empty or a new folder. The folder has all of it at the end, or is as it was.

    Raises:
        UsageError: the answers or the folder cannot be; nothing was written.
        BootstrapError: something failed on the way.
    """
    folder = _checked(directory)
    check_answers(answers)
    files = read_template()
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    check_name(answers.name, taken_names((file.path for file in files), requirements))
    made = render(files, answers, commit_of())
    executable = [file.path for file in made if file.executable]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
            project = Path(beside) / "project"
            project.mkdir()
            write_files(made, project)
            formatted = tidy(files, answers, project)
            no_commit = _first_commit(project, executable, answers.name)
            if folder.exists():
                folder.rmdir()
            project.rename(folder)
    except OSError as error:
        raise BootstrapError(f"{folder} cannot be written: {error}") from None
    return Made(folder, len(made), commit_of(), formatted, no_commit)


def tidy(files: list[File], answers: Answers, project: Path) -> bool:
    """Wrap anew the lines that renaming made longer or shorter.

    Args:
        files: of the template.
        answers: how the project was made.
        project: its folder.

    Returns:
        Whether the code is formatted: there may be no ruff.
    """
    if len(answers.name) == len(TEMPLATE):
        return True
    formatted = format_code(project, ROOT)
    if len(answers.name) > len(TEMPLATE):
        allow_longest_line(project, answers.name)
    if formatted:
        remake_patches(files, answers, project)
    return formatted


def _checked(directory: Path) -> Path:
    folder = directory.expanduser().resolve()
    if folder == ROOT or ROOT in folder.parents:
        raise UsageError(f"{folder} is inside the template: give --directory another place")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give --directory a new or an empty folder")
    above = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UsageError(f"nothing can be made in {above}: give --directory another place")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: give --directory a new or an empty folder")
    return folder


def _first_commit(project: Path, executable: list[str], name: str) -> str | None:
    reason = why_no_commit(project)
    if reason is not None and reason.startswith("git was not found"):
        return reason
    git(project, "init", "--quiet")
    git(project, "symbolic-ref", "HEAD", "refs/heads/main")
    stage(project, executable)
    if reason is None:
        commit(project, f"Make {name} of the template")
        git(project, "branch", TEMPLATE_BRANCH)
    return reason
