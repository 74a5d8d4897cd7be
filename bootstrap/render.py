"""The files of a new project: those of the template, under its name and without what it does not take along."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from bootstrap.answers import ANSWERS_FILE, CLASSIFICATION, Answers, to_json
from bootstrap.errors import BootstrapError
from bootstrap.markdown import Without
from bootstrap.names import Renamer
from bootstrap.problems import with_problem
from bootstrap.template import File

TEMPLATE_ONLY = ("bootstrap", "tests/bootstrap")
"""A project of a single word would be a bad template: its name stands in other words."""

EXAMPLE_ONLY = (
    "docs/challenges",
    "tests/docs/test_defects.py",
    "notebooks/01_experiment.ipynb",
    "tests/test_notebook.py",
)
"""What is about the example alone, which is a classification.

Its schema and synthetic rows stay: every step and test runs on them.
"""


def render(files: list[File], answers: Answers, commit: str) -> list[File]:
    """The files of a project, sorted by path, as they are before they are formatted.

    Args:
        files: of the template.
        answers: how to make it.
        commit: of the template.

    Raises:
        BootstrapError: two files would be the same one where upper and lower case are, or the template does not hold
            what another problem replaces.
    """
    example = answers.example and answers.problem == CLASSIFICATION
    dropped = TEMPLATE_ONLY + (() if example else EXAMPLE_ONLY)
    without = Without(dropped)
    renamer = Renamer(answers.name)
    made = [File(ANSWERS_FILE, to_json(answers, commit))]
    for file in with_problem(files, answers.problem):
        if without.holds(file.path):
            continue
        text = file.text
        if text is not None:
            text = renamer(_without(file.path, text, without))
            if answers.description:
                text = _described(file.path, text, answers.description)
            file = replace(file, content=text.encode())
        made.append(replace(file, path=renamer(file.path)))
    made.sort(key=lambda file: file.path)
    _refuse_collisions(made)
    return made


def _without(path: str, text: str, without: Without) -> str:
    if path.endswith(".md"):
        return without.document(path, text)
    if path == "pyproject.toml":
        # Folders that tools look at.
        for name in TEMPLATE_ONLY:
            text = re.sub(rf',\s*"{re.escape(name)}"', "", text)
    return text


def _described(path: str, text: str, description: str) -> str:
    if path == "README.md":
        return re.sub(r"\A(# .*\n)", lambda match: f"{match[1]}\n{description}\n", text)
    if path == "pyproject.toml":
        line = f"description = {json.dumps(description, ensure_ascii=False)}"
        return re.sub(r"^description = .*$", lambda _: line, text, count=1, flags=re.MULTILINE)
    return text


def _refuse_collisions(files: list[File]) -> None:
    seen: dict[str, str] = {}
    for file in files:
        other = seen.setdefault(file.path.casefold(), file.path)
        if other is not file.path:
            raise BootstrapError(f"{other} and {file.path} would be one file on some systems")
