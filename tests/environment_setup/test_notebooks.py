"""Notebooks in git: the same as their text, without outputs, linted. Each check meets what it must refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from environment_setup import notebooks


@pytest.fixture(scope="module")
def original() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((notebooks.FOLDER / "ingest.ipynb").read_text())
    return content


def test_nothing_is_wrong_with_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert notebooks.main([]) == 0
    assert capsys.readouterr().out == "nothing is wrong\n"


def _printed(content: dict[str, Any]) -> None:
    cell = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["7;0\n"]}]


def _executed(content: dict[str, Any]) -> None:
    next(cell for cell in content["cells"] if cell["cell_type"] == "code")["execution_count"] = 3


def _changed(content: dict[str, Any]) -> None:
    content["cells"][0]["source"] = ["# Something else"]


def _unlinted(content: dict[str, Any]) -> None:
    content["cells"][1]["source"].append("\nimport os")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_printed, "holds what it printed"),
        (_executed, "holds what it printed"),
        (_changed, "ingest.py says something else"),
        (_unlinted, "F401 'os' imported but unused"),
    ],
)
def test_a_spoiled_notebook_is_refused(
    tmp_path: Path,
    original: dict[str, Any],
    spoil: Callable[[dict[str, Any]], None],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = json.loads(json.dumps(original))
    spoil(content)
    (tmp_path / "ingest.ipynb").write_text(json.dumps(content))
    shutil.copy(notebooks.FOLDER / "ingest.py", tmp_path)
    assert notebooks.main([str(tmp_path)]) == 1
    assert reason in capsys.readouterr().out


def test_a_folder_without_notebooks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notebooks.main([str(tmp_path)]) == 1
    assert "holds no notebooks" in capsys.readouterr().out
