"""Costs now, and costs of later periods: each from synthetic rows to a score, in a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import insurance_claims
from insurance_claims.problem import Problem

PACKAGE = Path(insurance_claims.__file__).parent
LOOP = Path(__file__).with_name("whole_loop.py")
PERIOD = "ps_time_quarter"
QUICK = {"learning_rate": 0.1, "max_rounds": 80, "early_stopping_rounds": 20, "threads": 1}
LIMITS = {
    "minimum_gini": 0.25,
    "expected_gini": 0.35,
    "maximum_gini": 0.65,
    "maximum_calibration_error": 15.0,
    "maximum_slice_loss": 0.08,
    "maximum_latency_ms": 100.0,
}


def copy_for(problem: Problem, folder: Path) -> Path:
    """A folder with the package of a project of another kind."""
    package = folder / "insurance_claims"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    schema = package / "schema.py"
    text = re.sub(r"(?m)^PROBLEM = .*$", f"PROBLEM = Problem.{problem.name}", schema.read_text())
    period = repr(PERIOD) if problem is Problem.FORECASTING else None
    text = re.sub(r"(?m)^PERIOD: str \| None = .*$", f"PERIOD: str | None = {period}", text)
    text = re.sub(rf'    _column\("{PERIOD}".*\n', "", text)
    if period:
        feature = f"    _column({period}, 1, 400, 6.5, 3.45, 12, None),\n)\nFEATURE_NAMES"
        text = text.replace(")\nFEATURE_NAMES", feature)
    schema.write_text(text)
    file = package / "parameters.yml"
    parameters = yaml.safe_load(file.read_text())
    parameters["training"] |= QUICK
    parameters["gate"] |= LIMITS
    file.write_text(yaml.safe_dump(parameters))
    return folder


def whole_loop(problem: Problem, folder: Path) -> dict[str, Any]:
    """What came of the loop in a copy."""
    copy, made = copy_for(problem, folder / "copy"), folder / "made"
    made.mkdir()
    ours = ("MLFLOW_", "MLOPS_", "APPLICATIONINSIGHTS_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    done = subprocess.run(
        [sys.executable, str(LOOP), str(made)],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(copy)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((made / "result.json").read_text())
    assert result["package"] == str(copy / "insurance_claims" / "__init__.py")
    assert result["problem"] == problem
    return result


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return whole_loop(Problem.REGRESSION, tmp_path_factory.mktemp("regression"))


@pytest.fixture(scope="module")
def forecasting(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return whole_loop(Problem.FORECASTING, tmp_path_factory.mktemp("forecasting"))


def test_a_model_of_costs_is_trained_promoted_and_served(regression: dict[str, Any]) -> None:
    decision = regression["decision"]
    assert decision["decision"] == "promote", decision["reasons"]
    assert set(decision["challenger"]["metrics"]) == {
        *("gini", "deviance", "squared_error", "calibration_error")
    }
    assert decision["holdout"]["claims"] == regression["dataset"]["claims"]["holdout"]
    assert "gains.png" in regression["plots"]
    assert regression["same_scores"] and max(regression["scores"]) > 1
    assert regression["truth"][0] == "expected_cost"
    assert regression["truth"][1] == pytest.approx(regression["target"], rel=0.15)
    metrics = regression["model"]["metrics"]
    assert set(metrics) == {"tweedie_loss"}
    assert "a negative or infinite value" in regression["refused"]["negative"]


def test_a_forecast_learns_from_the_past_alone(forecasting: dict[str, Any]) -> None:
    periods = forecasting["dataset"]["periods"]
    assert {part: periods[part] for part in ("train", "validation", "holdout")} == {
        "train": [1, 8],
        "validation": [9, 10],
        "holdout": [11, 12],
    }
    assert forecasting["model"]["periods"] == periods
    # It is handed over, and no tree splits by it.
    assert PERIOD in forecasting["model"]["features"]
    assert forecasting["importance_of_period"] == 0
    decision = forecasting["decision"]
    assert decision["decision"] == "promote", decision["reasons"]
    [naive] = [check for check in decision["checks"] if check["name"] == "better_than_naive"]
    assert f"the {periods['naive']:,.2f} of the last period known" in naive["reason"]
    assert forecasting["same_scores"]
    assert PERIOD not in forecasting["compared"] and "ps_car_13" in forecasting["compared"]


def test_a_forecast_refuses_two_periods(forecasting: dict[str, Any]) -> None:
    assert "2 periods (1, 2), and a forecast takes 3" in forecasting["refused"]["two periods"]
