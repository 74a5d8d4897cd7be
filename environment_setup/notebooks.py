"""Checks notebooks as they are in git: ``python -m environment_setup.notebooks [FOLDER]``.

A notebook holds no outputs, which may be somebody's data. Its code keeps flake8's rules, read as text (py:percent).
Where that text is a file beside it, both say the same: the text is what people review, the notebook is what runs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext  # type: ignore[import-untyped]

from insurance_claims.errors import ClaimsError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"

_IGNORED = "E203,E701,E704,E402,E501"
"""What files of ours may do, and two that are no fault of a notebook: imports in a later cell, prose in one line."""


def problems(folder: Path) -> Iterator[str]:
    """What is wrong with the notebooks in a folder, one line each.

    Raises:
        ClaimsError: there are none.
    """
    files = sorted(folder.glob("*.ipynb"))
    if not files:
        raise ClaimsError(f"{folder} holds no notebooks")
    for file in files:
        notebook = jupytext.read(file)
        yield from _kept_outputs(file, notebook)
        yield from _lint(file, jupytext.writes(notebook, fmt="py:percent"))
        text = file.with_suffix(".py")
        if text.is_file() and _cells(notebook) != _cells(jupytext.read(text)):
            yield (
                f"{file.name}: {text.name} says something else: jupytext --sync, with the one that was changed"
            )


def _cells(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def _kept_outputs(file: Path, notebook: Any) -> Iterator[str]:
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield f"{file.name}: cell {number} holds what it printed: clear all outputs"


def _lint(file: Path, text: str) -> Iterator[str]:
    command = [sys.executable, "-m", "flake8", "--extend-ignore", _IGNORED]
    command += ["--stdin-display-name", file.name, "-"]
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True)
    if done.stderr:
        raise ClaimsError(f"flake8 failed: {done.stderr.strip().splitlines()[-1]}")
    yield from done.stdout.splitlines()


def main(arguments: list[str]) -> int:
    """Print what is wrong; 1 where anything is."""
    try:
        found = list(problems(Path(arguments[0]) if arguments else FOLDER))
    except ClaimsError as error:
        found = [str(error)]
    for problem in found:
        print(problem)
    print("nothing is wrong" if not found else f"{len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
