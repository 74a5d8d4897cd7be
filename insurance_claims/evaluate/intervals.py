"""Confidence intervals of the gate's figures, alone and as paired differences of two models.

Pairing matters: two versions of a model agree on most rows, so on the same rows the difference of
their figures is known far better than either figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError
from insurance_claims.evaluate.metrics import (
    CalibrationTable,
    checked,
    comparable,
    concordance,
    tied_groups,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its confidence interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """As decision.json holds it."""
        return {"value": self.value, "low": self.low, "high": self.high}


def normal_quantile(confidence: float) -> float:
    """How many standard errors a two-sided interval reaches to each side."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def interval(value: float, standard_error: float, confidence: float) -> Interval:
    """A two-sided normal interval."""
    reach = normal_quantile(confidence) * standard_error
    return Interval(value, value - reach, value + reach)


@dataclass(frozen=True, slots=True)
class Ginis:
    """Normalized Ginis of some models on the same rows.

    Attributes:
        values: shape (models,).
        covariance: of the values, shape (models, models).
    """

    values: Floats
    covariance: Floats

    def standard_error(self, model: int) -> float:
        """Of one model's Gini."""
        return float(np.sqrt(max(0.0, float(self.covariance[model, model]))))

    def interval(self, model: int, confidence: float) -> Interval:
        """One model's Gini."""
        return interval(float(self.values[model]), self.standard_error(model), confidence)

    def difference_error(self, model: int, other: int) -> float:
        """Standard error of one model's Gini less another's; exactly 0 for identical scores."""
        c = self.covariance
        variance = float(c[model, model] + c[other, other] - 2 * c[model, other])
        # What floating point leaves of a variance of 0 must not count as knowledge or doubt.
        noise = 1e-12 * float(c[model, model] + c[other, other])
        return float(np.sqrt(variance)) if variance > noise else 0.0

    def difference(self, model: int, other: int, confidence: float) -> Interval:
        """One model's Gini less another's."""
        value = float(self.values[model] - self.values[other])
        return interval(value, self.difference_error(model, other), confidence)

    def correlation(self, model: int, other: int) -> float:
        """Of two models' Ginis over samples of rows; 0 where one of them cannot vary."""
        scale = self.standard_error(model) * self.standard_error(other)
        return float(self.covariance[model, other]) / scale if scale > 0 else 0.0


def ginis_of(target: ArrayLike, scores: Sequence[ArrayLike]) -> Ginis:
    """Ginis of models scored on the same rows, with their covariance.

    Args:
        target: shape (n,), as the schema's problem has it.
        scores: for each model shape (n,).

    Raises:
        DataError: too few rows differ, or what ``checked`` refuses.
    """
    found = delong if schema.PROBLEM.facts.binary else rank_ginis
    return found(target, scores)


def delong(target: ArrayLike, scores: Sequence[ArrayLike]) -> Ginis:
    """Ginis of models scored on the same rows, with the covariance of DeLong et al.

    DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44) give the covariance of AUCs from each
    row's share of the other class that it beats; as Sun and Xu 2014 (IEEE Signal Processing Letters
    21) point out, these shares follow from sorting: O(n log n). A Gini is ``2 AUC - 1``, so its
    covariance is four times as large. Ties count half; a constant score has Gini 0 and variance 0.

    Args:
        target: shape (n,), 0 and 1.
        scores: for each model shape (n,).

    Raises:
        DataError: fewer than two rows with a claim or two without, or what ``checked`` refuses.
    """
    pairs = [checked(target, score) for score in scores]
    claims = pairs[0][0] > 0
    positives = int(claims.sum())
    negatives = claims.size - positives
    if min(positives, negatives) < 2:
        raise DataError(
            f"{positives:,} of {claims.size:,} rows have a claim: "
            "an interval takes at least two rows with a claim and two without"
        )
    of_claims, of_others = [], []
    for _, score in pairs:
        order, group = tied_groups(score)
        ranked = claims[order]
        claims_by_group = np.bincount(group, ranked)
        others_by_group = np.bincount(group, ~ranked)
        others_below = np.cumsum(others_by_group) - others_by_group / 2
        claims_above = positives - np.cumsum(claims_by_group) + claims_by_group / 2
        of_claims.append(_at(others_below[group] / negatives, order, claims))
        of_others.append(_at(claims_above[group] / positives, order, ~claims))
    aucs = np.asarray([shares.mean() for shares in of_claims])
    covariance = np.atleast_2d(np.cov(of_claims)) / positives
    covariance = covariance + np.atleast_2d(np.cov(of_others)) / negatives
    return Ginis(2 * aucs - 1, np.asarray(4 * covariance, dtype=np.float64))


def rank_ginis(target: ArrayLike, scores: Sequence[ArrayLike]) -> Ginis:
    """Ginis of models scored on the same rows, for targets of any size.

    A Gini is a ratio of two U-statistics, the means of ``concordance`` with the model's order and with
    the perfect one (Schechtman and Yitzhaki 1987, Communications in Statistics 16). By the delta method
    its error is the mean over rows of ``2 (a - Gini b) / mean of b``, where a and b are the rows'
    concordances; so covariances of Ginis are those of these means (Hoeffding 1948, Annals of
    Mathematical Statistics 19). For 0 and 1 it comes close to ``delong``. A constant score has Gini 0
    and variance 0.

    Args:
        target: shape (n,), 0 or more.
        scores: for each model shape (n,).

    Raises:
        DataError: fewer than two rows with a claim, the same target in every row, or what ``checked`` refuses.
    """
    pairs = [checked(target, score) for score in scores]
    y = pairs[0][0]
    if not comparable(y):
        raise DataError(
            f"{np.count_nonzero(y):,} of {y.size:,} rows have a claim: "
            "an interval takes at least two, and costs that differ"
        )
    perfect = concordance(y, y)
    scale = perfect.mean()
    own = [concordance(y, score) for _, score in pairs]
    values = np.asarray([found.mean() / scale for found in own])
    errors = [2 * (a - gini * perfect) / scale for a, gini in zip(own, values, strict=True)]
    return Ginis(values, np.atleast_2d(np.cov(errors)) / y.size)


def _at(shares: Floats, order: NDArray[np.int64], rows: NDArray[np.bool_]) -> Floats:
    """Shares in the order of scores, of some rows, in these rows' own order."""
    placed = np.empty(order.size)
    placed[order] = shares
    return placed[rows]


def mean_interval(losses: Floats, confidence: float) -> Interval:
    """The mean of independent rows' losses, or of paired differences of losses; shape (n,), n > 1.

    Normal by the central limit theorem.
    """
    error = float(losses.std(ddof=1) / np.sqrt(losses.size)) if losses.size > 1 else 0.0
    return interval(float(losses.mean()), error, confidence)


def calibration_interval(table: CalibrationTable, confidence: float) -> Interval:
    """The expected calibration error, not below 0.

    A mean of absolute values of independent bins: its variance is at most that of the signed
    differences, so the interval is rather too wide than too narrow.
    """
    error = float(np.sqrt((np.square(table.weights) * table.sampling_variance).sum()))
    found = interval(table.error, error, confidence)
    return Interval(found.value, max(0.0, found.low), found.high)
