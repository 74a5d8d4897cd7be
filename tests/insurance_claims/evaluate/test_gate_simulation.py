"""The simulation behind docs/gate.md: its models are what they are said to be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from insurance_claims.parameters import load_parameters

LIMITS = load_parameters().gate


@pytest.fixture
def simulation(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(root), *sys.path])
    from benchmarks import gate_simulation

    return gate_simulation


def test_simulated_models_have_the_gini_calibration_and_likeness_they_should(
    simulation: Any,
) -> None:
    scenario = simulation.Scenario("test", 200_000, 0.28, 0.24, 0.9)
    decision = simulation._judgement(scenario, np.random.default_rng(1), LIMITS)
    ours, theirs = decision.challenger.metrics["gini"], decision.champion.metrics["gini"]
    assert ours.low < 0.28 < ours.high and theirs.low < 0.24 < theirs.high
    assert {check.name for check in decision.checks if not check.passed} == set()


def test_no_two_models_of_unlike_quality_are_all_alike(simulation: Any) -> None:
    scenario = simulation.Scenario("test", 3_000, 0.28, 0.10, 0.99)
    with pytest.raises(ValueError, match="no two such models correlate 0.99"):
        simulation.simulate(scenario, 1, 1, LIMITS)


def test_on_the_real_holdout_good_first_models_usually_pass_and_useless_ones_never(
    simulation: Any,
) -> None:
    by_name = {
        scenario.name: simulation.simulate(scenario, 60, 1, LIMITS)
        for scenario in simulation.SCENARIOS
        if scenario.rows == simulation.REAL_HOLDOUT and scenario.champion is None
    }
    assert by_name["first: good"].rate >= 0.85
    assert by_name["first: useless"].promoted == 0
    assert by_name["first: inverted"].promoted == 0
    table = simulation.table([(simulation.SCENARIOS[0], by_name["first: useless"])])
    assert "| 0.0% | minimum_gini 100.0%" in table


@pytest.mark.slow
def test_on_all_rows_a_model_better_by_a_hundredth_is_promoted(simulation: Any) -> None:
    better = next(item for item in simulation.SCENARIOS if item.name == "better by 0.01")
    assert better.rows == simulation.FULL_HOLDOUT
    assert simulation.simulate(better, 20, 1, LIMITS).rate >= 0.9
