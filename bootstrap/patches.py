"""Patches among the template's files: renaming wraps lines anew, so each is made again from what it changes."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from bootstrap.answers import Answers
from bootstrap.formatting import format_code
from bootstrap.git import git_or_none, run_git
from bootstrap.names import Renamer
from bootstrap.render import render
from bootstrap.template import ROOT, File, write_files

_TOUCHED = re.compile(r"^(?:---|\+\+\+) [ab]/(.*)$", re.MULTILINE)
_FIRST = "diff --git "


def remake_patches(files: list[File], answers: Answers, project: Path) -> None:
    """Write the patches of a project so that they apply to its formatted code.

    Args:
        files: of the template.
        answers: how the project was made.
        project: its folder, formatted.
    """
    rename = Renamer(answers.name)
    for file in files:
        target = project / rename(file.path)
        if file.path.endswith(".patch") and target.is_file() and file.text is not None:
            changes = _changes(files, file.text, answers)
            if changes is not None:
                # What stands before the first file says what the patch is.
                says = rename(file.text.partition(_FIRST)[0])
                target.write_bytes(f"{says}{changes}".encode())


def _changes(files: list[File], patch: str, answers: Answers) -> str | None:
    """What a patch of the template changes, in the project's names and lines; None where git cannot apply it."""
    # With the settings of ruff.
    touched = {*_TOUCHED.findall(patch), "pyproject.toml"}
    before = [file for file in files if file.path in touched]
    with tempfile.TemporaryDirectory() as folder:
        patched = Path(folder) / "patched"
        patched.mkdir()
        write_files(before, patched)
        if git_or_none(patched, "init", "--quiet") is None:
            return None
        (patched / ".git" / "patch").write_bytes(patch.encode())
        if git_or_none(patched, "apply", ".git/patch") is None:
            return None
        paths = [path for path in touched if (patched / path).is_file()]
        after = [File(path, (patched / path).read_bytes()) for path in paths]
        for name, side in (("a", before), ("b", after)):
            (Path(folder) / name).mkdir()
            write_files(render(side, answers, ""), Path(folder) / name)
            if not format_code(Path(folder) / name, ROOT):
                return None
        return run_git(Path(folder), "diff", "--no-index", "--no-prefix", "a", "b").stdout
