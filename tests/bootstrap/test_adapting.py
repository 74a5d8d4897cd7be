"""docs/adapting.md, followed for real: what stands there goes into a new project, which trains on other data."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from bootstrap.names import Renamer
from bootstrap.template import ROOT
from tests.bootstrap.conftest import SHORT, inside

TEXT = Renamer(SHORT)((ROOT / "docs" / "adapting.md").read_text())
BLOCK = re.compile(
    r"([^\n]*(?:\n[^\n]+)*):\n\n```(python|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL
)
COMMANDS = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROWS = 6000


def test_the_page_is_one_page() -> None:
    assert len(TEXT.splitlines()) < 180


@pytest.fixture(scope="module")
def adapted(made: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with everything that the page says."""
    project = tmp_path_factory.mktemp("adapted") / "project"
    shutil.copytree(made(SHORT), project, symlinks=True)
    blocks = BLOCK.findall(TEXT)
    assert len(blocks) == 4
    for says, kind, code in blocks:
        path, *dropped = re.findall(r"`([^`]+)`", says[says.rindex(f"`{SHORT}/") :])
        file = project / path
        if kind == "yaml":
            merged = merge(yaml.safe_load(file.read_text()), yaml.safe_load(code))
            file.write_text(yaml.safe_dump(merged, sort_keys=False))
        elif says.endswith("becomes"):
            file.write_text(code)
        else:
            file.write_text(with_definitions(file.read_text(), code, dropped))
    return project


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Keys that the file has, with the values of the page."""
    assert new.keys() <= old.keys()
    changed = {
        key: merge(old[key], value) if isinstance(value, dict) else value
        for key, value in new.items()
    }
    return {**old, **changed}


def name_of(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return statement.name
    if isinstance(statement, ast.AnnAssign):
        return ast.unparse(statement.target)
    return ast.unparse(statement.targets[0]) if isinstance(statement, ast.Assign) else None


def spans(text: str) -> dict[str, tuple[int, int]]:
    """First line of each definition, from 0, and the line after its last."""
    found = {}
    for statement in ast.parse(text).body:
        if (name := name_of(statement)) is not None:
            above = getattr(statement, "decorator_list", [])
            first = min([statement.lineno, *(item.lineno for item in above)])
            found[name] = (first - 1, statement.end_lineno or first)
    return found


def with_definitions(text: str, code: str, dropped: list[str]) -> str:
    """A module in which what the code defines takes the place of what had the same name."""
    lines, new = text.splitlines(), code.splitlines()
    places, replacing = spans(text), spans(code)
    assert replacing.keys() | set(dropped) <= places.keys()
    changes = {name: new[first:end] for name, (first, end) in replacing.items()}
    changes |= {name: [] for name in dropped}
    for name in sorted(changes, key=lambda name: places[name], reverse=True):
        first, end = places[name]
        lines[first:end] = changes[name]
    return "\n".join(lines) + "\n"


def customers() -> pd.DataFrame:
    """Made by other rules than those of the page's synthetic rows."""
    rng = np.random.default_rng(20)
    tenure = rng.integers(0, 73, ROWS)
    calls = rng.binomial(9, 0.17, ROWS)
    fee = np.round(rng.uniform(10, 120, ROWS), 2)
    plan = rng.integers(0, 3, ROWS)
    logit = -2.2 + 0.6 * calls + 0.02 * fee - 0.05 * tenure + 0.5 * (plan == 2)
    age = np.where(rng.random(ROWS) < 0.05, -1, rng.integers(18, 91, ROWS))
    return pd.DataFrame(
        {
            "customer": np.arange(1, ROWS + 1),
            "left": (rng.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(int),
            "age": age,
            "tenure_months": tenure,
            "plan": plan,
            "monthly_fee": fee,
            "support_calls": calls,
            "pays_by_card": rng.integers(0, 2, ROWS),
        }
    )


def test_a_model_of_other_data_is_trained_and_registered(adapted: Path, tmp_path: Path) -> None:
    customers().to_csv(adapted / "customers.csv", index=False)
    environment = inside(adapted, MLOPS_HOME=str(tmp_path / "state"))
    said = []
    mlops = [sys.executable, "-m", "ml_service"]
    commands = [line.split()[1:] for line in COMMANDS.findall(TEXT)[0].splitlines()]
    assert len(commands) == 5
    for arguments in commands:
        result = subprocess.run(
            [*mlops, *arguments], cwd=adapted, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        said.append(result.stdout)
    assert f"{ROWS:,} rows: valid" in said[0]
    assert f"registered {SHORT} version 1: it is the champion now" in said[2]
    models = sorted((tmp_path / "state").rglob("model.json"))
    features = json.loads(models[0].read_text())["features"]
    assert features == [
        "age",
        "tenure_months",
        "plan",
        "monthly_fee",
        "support_calls",
        "pays_by_card",
    ]
    sample = pd.read_csv(adapted / "data" / "sample.csv")
    assert list(sample.columns) == list(customers().columns)
    assert 0.1 < sample["left"].mean() < 0.3
    assert sample["monthly_fee"].between(10, 120).all()


def test_data_of_the_example_is_refused_then(adapted: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ml_service", "data", "validate", str(ROOT / "data" / "sample.csv")],
        cwd=adapted,
        env=inside(adapted, MLOPS_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "tenure_months: the column is missing" in result.stdout + result.stderr
