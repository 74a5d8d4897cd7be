"""The experiment that the package was refactored from still runs, and is committed without outputs."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from insurance_claims.data.synthesize import write_synthetic

NOTEBOOK = Path("notebooks/01_experiment.ipynb")
GINI = re.compile(r"^Gini: (\S+)$", re.MULTILINE)


def stored_outputs(notebook: dict[str, Any]) -> list[str]:
    """The source of every code cell that holds an output or a run's number."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return ["".join(cell["source"]) for cell in cells if cell["outputs"] or cell["execution_count"]]


def run(folder: Path, parameters: dict[str, str]) -> dict[str, Any]:
    """Execute the notebook of a copy of the repository and return it with its outputs."""
    papermill = pytest.importorskip(
        "papermill", reason="papermill is missing: pip install -e '.[notebooks]'"
    )
    papermill.execute_notebook(
        folder / NOTEBOOK,
        folder / "executed.ipynb",
        parameters,
        cwd=folder / "notebooks",
        progress_bar=False,
    )
    executed: dict[str, Any] = json.loads((folder / "executed.ipynb").read_text())
    return executed


def printed_gini(notebook: dict[str, Any]) -> float:
    texts = [
        "".join(output.get("text", ""))
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
    ]
    found = GINI.findall("\n".join(texts))
    assert len(found) == 1
    return float(found[0])


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A folder with the notebook and the sample where the repository has them."""
    for name in (NOTEBOOK, Path("data/sample.csv")):
        (tmp_path / name).parent.mkdir()
        shutil.copy(root / name, tmp_path / name)
    return tmp_path


@pytest.mark.slow
def test_the_experiment_runs(copy: Path) -> None:
    data, model = copy / "claims.csv", copy / "models/model.pkl"
    write_synthetic(data, 5000, seed=1)
    executed = run(copy, {"data_file": str(data), "model_file": str(model)})
    gini = printed_gini(executed)
    assert math.isfinite(gini)
    # 5,000 rows are few, but the model was stopped at its best on these very rows.
    assert 0 < gini < 0.8
    assert model.is_file()
    assert stored_outputs(executed)


@pytest.mark.slow
def test_the_experiment_runs_on_the_sample_as_it_is(copy: Path) -> None:
    assert math.isfinite(printed_gini(run(copy, {})))
    assert (copy / ".mlops/experiment/model.pkl").is_file()


def test_no_outputs_are_committed(root: Path) -> None:
    assert stored_outputs(json.loads((root / NOTEBOOK).read_text())) == []


def test_the_files_that_it_points_to_exist(root: Path) -> None:
    text = "\n".join(
        "".join(cell["source"])
        for cell in json.loads((root / NOTEBOOK).read_text())["cells"]
        if cell["cell_type"] == "markdown"
    )
    files = set(re.findall(r"`(insurance_claims/[^`]+)`", text))
    assert len(files) >= 8
    assert [file for file in sorted(files) if not (root / file).is_file()] == []
