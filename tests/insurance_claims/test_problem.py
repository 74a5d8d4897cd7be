"""What follows from the kind of problem."""

from __future__ import annotations

import numpy as np
import pytest

from insurance_claims.problem import Problem


@pytest.mark.parametrize(
    ("problem", "value", "fits"),
    [
        (Problem.CLASSIFICATION, 1, True),
        (Problem.CLASSIFICATION, 0.5, False),
        (Problem.CLASSIFICATION, -1, False),
        (Problem.REGRESSION, 0, True),
        (Problem.REGRESSION, 1234.56, True),
        (Problem.REGRESSION, -0.01, False),
        (Problem.REGRESSION, np.inf, False),
        (Problem.FORECASTING, 2.5, True),
        (Problem.FORECASTING, np.nan, False),
    ],
)
def test_a_target_is_a_class_or_an_amount(problem: Problem, value: float, fits: bool) -> None:
    assert problem.facts.fits([value]).tolist() == [fits]


def test_costs_can_be_told_apart_where_every_row_has_some() -> None:
    classes, costs = Problem.CLASSIFICATION.facts, Problem.REGRESSION.facts
    assert classes.tells_apart(1, 2) and costs.tells_apart(1, 2) and costs.tells_apart(2, 2)
    assert not classes.tells_apart(2, 2)
    assert not classes.tells_apart(0, 2) and not costs.tells_apart(0, 2)


def test_levels_are_shown_as_shares_or_amounts() -> None:
    assert Problem.CLASSIFICATION.facts.shown(0.0364) == "3.64%"
    assert Problem.FORECASTING.facts.shown(1234.5) == "1,234.50"
