"""The table of predictors: what is exact is called exact, what is not is caught, and none is left out in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import predictors
from benchmarks.models import make_model
from benchmarks.predictors import BOOSTER, LLEAVES, ONNX, SINGLE, Found, Predictor
from insurance_claims.model import load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, small enough to be quick."""
    result = tmp_path_factory.mktemp("models") / "insurance_claims" / "1"
    make_model(result, trees=3, leaves=4)
    return result


@pytest.fixture
def ready(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Predictor]:
    """What is compared: the two that need no further package, of a model that is trained once."""
    model = load_model(folder)
    found = {
        BOOSTER: Predictor(model.predict),
        SINGLE: predictors.single_row(model),
    }
    monkeypatch.setattr(predictors, "make_model", lambda folder: None)
    monkeypatch.setattr(predictors, "predictors", lambda folder: found)
    return found


def _compare() -> dict[str, Found]:
    return predictors.compare(seconds=0, rounds=2, checked=1_000)


def test_the_single_row_call_gives_the_same_bits(ready: dict[str, Predictor]) -> None:
    found = _compare()
    assert (found[SINGLE].difference, found[SINGLE].equal) == (0, 1)
    assert set(found[BOOSTER].times) == set(predictors.ROWS)
    assert set(found[SINGLE].times) == {1}
    assert all(len(times) == 2 for own in found.values() for times in own.times.values())


def test_a_predictor_that_is_not_exact_is_shown_so(ready: dict[str, Predictor]) -> None:
    exact = ready[BOOSTER].predict
    ready["off"] = Predictor(lambda rows: exact(rows) + np.where(rows[:, 0] > 3, 1e-9, 0))
    found = _compare()
    assert found["off"].difference == pytest.approx(1e-9, rel=1e-3)
    assert 0 < found["off"].equal < 1
    [line] = [line for line in predictors.table(found).splitlines() if line.startswith("| off")]
    assert "1.0e-09" in line


def test_what_is_not_installed_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictors, "find_spec", lambda package: None)
    assert set(predictors.predictors(folder)) == {BOOSTER, SINGLE}
    lines = predictors.table({BOOSTER: Found(0, 0, 1, dict.fromkeys(predictors.ROWS, [1.0]))})
    assert f"| {LLEAVES} | not installed |" in lines
    assert f"| {ONNX} | not installed |" in lines
    assert len({line.count("|") for line in lines.splitlines()}) == 1
