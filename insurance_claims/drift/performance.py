"""How good scores turned out to be, once it is known which rows had a claim, or what it cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.evaluate.intervals import Interval, ginis_of
from insurance_claims.evaluate.metrics import (
    calibration_error_by_chance,
    calibration_table,
    claims_of,
    comparable,
    lift_by_decile,
)
from insurance_claims.parameters import MonitoringParameters

Floats = NDArray[np.float64]

_CHANCE_ERRORS = 2.0
"""Standard deviations beyond its mean that the calibration error may be by chance."""


@dataclass(frozen=True, slots=True)
class Performance:
    """Scores against outcomes.

    Attributes:
        rows: whose outcome is known.
        claims: of them.
        predicted: mean score.
        observed: mean target: the share of rows with a claim, or their mean cost.
        gini: normalized Gini with its interval; None below ``minimum_claims``, where it says nothing.
        calibration_error: expected calibration error.
        calibration_by_chance: the largest that chance explains: its mean and two standard deviations, if the scores
            were right.
        lift: claim rate or mean cost of each tenth over that of all, highest scores first; empty without a claim.
    """

    rows: int
    claims: int
    predicted: float
    observed: float
    gini: Interval | None
    calibration_error: float
    calibration_by_chance: float
    lift: tuple[float, ...]


def performance(target: Floats, score: Floats, limits: MonitoringParameters) -> Performance:
    """Judge scores of one model version.

    Args:
        target: shape (n,), as the schema's problem has it.
        score: shape (n,), probabilities or expected costs.
        limits: confidence of the interval, and claims that a Gini needs.

    Raises:
        DataError: no rows, or values that cannot be.
    """
    table = calibration_table(target, score)
    mean, deviation = calibration_error_by_chance(table)
    claims = claims_of(target)
    gini = None
    if claims >= limits.minimum_claims and comparable(target):
        gini = ginis_of(target, [score]).interval(0, limits.confidence)
    return Performance(
        rows=len(target),
        claims=claims,
        predicted=float(np.mean(score)),
        observed=float(np.mean(target)),
        gini=gini,
        calibration_error=table.error,
        calibration_by_chance=mean + _CHANCE_ERRORS * deviation,
        lift=tuple(lift_by_decile(target, score).tolist()) if claims else (),
    )


def shortfalls(
    found: Performance, gini_before: float | None, limits: MonitoringParameters
) -> tuple[str, ...]:
    """Why a performance is below what it may be; empty where it is not.

    Args:
        found: to judge.
        gini_before: of the model when it was registered; None where that is not known.
        limits: what it may lose.
    """
    reasons = []
    if found.gini is not None and gini_before is not None:
        lost = gini_before - found.gini.value
        if lost >= limits.gini_loss and found.gini.high < gini_before:
            reasons.append(
                f"Gini {found.gini.value:.4f} ({found.gini.low:.4f} to {found.gini.high:.4f}), "
                f"{gini_before:.4f} when it was registered"
            )
    shown = schema.PROBLEM.facts.shown
    beyond = found.calibration_error - found.calibration_by_chance
    if found.claims >= limits.minimum_claims and beyond >= limits.calibration_error:
        reasons.append(
            f"calibration error {found.calibration_error:.4f}, {found.calibration_by_chance:.4f} by chance: "
            f"{shown(found.predicted)} predicted, {shown(found.observed)} observed"
        )
    return tuple(reasons)
