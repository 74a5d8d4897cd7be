"""What kind of thing is predicted, and everything that follows from it and differs between the kinds.

``schema.PROBLEM`` says which kind a project is of. Other modules ask its ``facts`` and know no kind by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import bool_
    from numpy.typing import ArrayLike, NDArray

POWER = 1.5
"""Of the Tweedie distribution, between 1 (Poisson) and 2 (gamma): many zeros, and positive amounts otherwise."""


class Problem(StrEnum):
    """What is predicted of a row."""

    CLASSIFICATION = "classification"
    """The probability that it has a claim: the target is 0 or 1."""
    REGRESSION = "regression"
    """What its claims cost: the target is a number from 0, and 0 for most rows."""
    FORECASTING = "forecasting"
    """What its claims will cost in a period that is yet to come."""

    @property
    def facts(self) -> Facts:
        """What follows from it."""
        return _PROBABILITY if self is Problem.CLASSIFICATION else _COST


@dataclass(frozen=True, slots=True)
class Facts:
    """What differs between kinds of problems.

    Attributes:
        binary: whether the target is 0 or 1 rather than an amount.
        largest: upper end of targets and scores; the lower one is 0.
        lightgbm: its parameters.
        curves: LightGBM's names of the metrics that it reports after each round, by ours. The first one decides how
            many rounds are best.
        value: what a target's value has to be.
        values: the same of several, completing "values other than".
        both: what a row is that has two different targets.
        wrong: what a wrong target is, completing "holds".
        range: of scores, in words.
        score: what a score is, in words.
        scores: the same of several.
        sampled: what must not be weighted in training.
        total: what their sum is, completing "1,000".
        mean: what their mean is called where two are compared.
        form: how such a mean is written: a share, or an amount.
        level: the target's mean in a group of rows, in words.
        needed: rows that each part of the data needs.
        alike: what a part holds that teaches nothing.
    """

    binary: bool
    largest: float
    lightgbm: Mapping[str, Any]
    curves: Mapping[str, str]
    value: str
    values: str
    both: str
    wrong: str
    range: str
    score: str
    scores: str
    sampled: str
    total: str
    mean: str
    form: str
    level: str
    needed: str
    alike: str

    def fits(self, target: ArrayLike) -> NDArray[bool_]:
        """Which values of a target may be, shape (n,)."""
        # The schema is asked where no numbers are: it takes no NumPy to be imported.
        import numpy as np

        values = np.asarray(target)
        if self.binary:
            return np.asarray((values == 0) | (values == 1))
        return np.asarray((values >= 0) & np.isfinite(values))

    def tells_apart(self, claims: int, rows: int) -> bool:
        """Whether rows of which so many have a target above 0 have something to learn or to judge.

        Args:
            claims: rows with a target above 0.
            rows: all of them.
        """
        return 0 < claims < rows or (not self.binary and claims > 0)

    def shown(self, level: float) -> str:
        """A mean of targets or scores for a person."""
        return self.form.format(level)


_PROBABILITY = Facts(
    binary=True,
    largest=1.0,
    lightgbm={"objective": "binary", "metric": ["binary_logloss", "auc"]},
    curves={"log_loss": "binary_logloss", "auc": "auc"},
    value="0 or 1",
    values="0 and 1",
    both="are both 0 and 1",
    wrong="neither 0 nor 1",
    range="0 to 1",
    score="probability",
    scores="probabilities",
    sampled="classes",
    total="claims",
    mean="rate",
    form="{:.2%}",
    level="claim rate",
    needed="rows with and without a claim",
    alike="only one class",
)
_COST = Facts(
    binary=False,
    largest=math.inf,
    lightgbm={"objective": "tweedie", "tweedie_variance_power": POWER, "metric": ["tweedie"]},
    curves={"tweedie_loss": "tweedie"},
    value="a number from 0",
    values="finite numbers from 0",
    both="have two costs",
    wrong="a negative or infinite value",
    range="0 to infinity",
    score="expected cost",
    scores="expected costs",
    sampled="rows",
    total="in claims",
    mean="mean",
    form="{:,.2f}",
    level="mean cost",
    needed="rows with a claim",
    alike="no claim",
)
