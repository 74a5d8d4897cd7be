"""Figures that say how good scores are. numpy only; every function is pure.

Throughout, ``target`` has shape (n,) and holds 0 and 1 with 1 for a claim, or what each row's claims
cost, as ``schema.PROBLEM`` has it; ``score`` has shape (n,), higher for more risk; where a function
needs probabilities, or costs, it says so. Rows of equal score count as tied: no figure depends on the
order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError
from insurance_claims.problem import POWER

Floats = NDArray[np.float64]

BINS = 10
"""Bins of calibration and lift: deciles."""

_CLIP = 1e-15
"""Keeps the log loss of a confident mistake finite; the value that scikit-learn used for years."""

_LEAST_COST = 1e-6
"""Keeps the deviance of a cost that was predicted to be 0 finite."""


def auc(target: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve, between 0 and 1.

    It is the chance that a row with a claim scores above a row without one; a tie counts half
    (Mann-Whitney; Hanley and McNeil 1982, Radiology 143).

    Raises:
        DataError: shapes differ, scores are not finite, or one class is missing.
    """
    y, s = checked(target, score)
    claims = y > 0
    positives = int(claims.sum())
    negatives = y.size - positives
    if positives == 0 or negatives == 0:
        raise DataError(
            f"{positives:,} of {y.size:,} rows have a claim: "
            "rows with a claim and rows without one are needed to compare them"
        )
    order, group = tied_groups(s)
    ranked = claims[order]
    claims_by_group = np.bincount(group, ranked)
    others_by_group = np.bincount(group, ~ranked)
    below = np.cumsum(others_by_group) - others_by_group / 2
    return float((claims_by_group * below).sum() / (positives * negatives))


def gini(target: ArrayLike, score: ArrayLike) -> float:
    """Normalized Gini, between -1 and 1: the area between Lorenz curve and diagonal. 0 is chance.

    It is divided by the same area of a perfect ordering; ties count half. For a binary target it is
    ``2 AUC - 1``.

    Raises:
        DataError: shapes differ, scores are not finite, or every target is the same.
    """
    if schema.PROBLEM.facts.binary:
        return 2.0 * auc(target, score) - 1.0
    y, s = checked(target, score)
    perfect = float(concordance(y, y).mean())
    if not perfect:
        raise DataError(
            f"all of {y.size:,} rows have the same target: no order is better than another"
        )
    return float(concordance(y, s).mean()) / perfect


def concordance(target: Floats, score: Floats) -> Floats:
    """By how much each row's target is above those of rows that score lower, and below the others', shape (n,).

    Each row's mean over the other rows of ``(y - y') sign(s - s')``, whose mean over all rows is four
    times the covariance of the target with the score's rank: a U-statistic (Schechtman and Yitzhaki
    1987, Communications in Statistics 16). By sorting: O(n log n).
    """
    order, group = tied_groups(score)
    ordered = target[order]
    rows, sums = np.bincount(group), np.bincount(group, ordered)
    rows_below, sums_below = np.cumsum(rows) - rows, np.cumsum(sums) - sums
    rows_above, sums_above = rows.sum() - rows_below - rows, sums.sum() - sums_below - sums
    found = np.empty(target.size)
    found[order] = (
        ordered * (rows_below - rows_above)[group] - (sums_below - sums_above)[group]
    ) / max(1, target.size - 1)
    return found


def log_losses(target: ArrayLike, probability: ArrayLike) -> Floats:
    """Each row's negative log likelihood in nats, shape (n,); 0 and 1 are taken as 1e-15 off."""
    y, p = checked(target, probability)
    p = np.clip(p, _CLIP, 1 - _CLIP)
    return np.asarray(-np.log(np.where(y > 0, p, 1 - p)), dtype=np.float64)


def log_loss(target: ArrayLike, probability: ArrayLike) -> float:
    """Mean negative log likelihood in nats; lower is better."""
    return float(log_losses(target, probability).mean())


def brier_losses(target: ArrayLike, probability: ArrayLike) -> Floats:
    """Each row's squared error of the probability or cost, shape (n,)."""
    y, p = checked(target, probability)
    return np.square(p - y)


def brier(target: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared error of the probability (Brier 1950); lower is better."""
    return float(brier_losses(target, probability).mean())


def deviances(target: ArrayLike, cost: ArrayLike) -> Floats:
    """Each row's deviance of the Tweedie distribution with power ``POWER``, shape (n,); 0 for a cost predicted exactly.

    Jorgensen 1987 (Journal of the Royal Statistical Society B 49). It grows with the error, less so
    where costs are high.
    """
    y, mu = checked(target, cost)
    mu = np.maximum(mu, _LEAST_COST)
    one, two = 1 - POWER, 2 - POWER
    return np.asarray(2 * (y**two / (one * two) - y * mu**one / one + mu**two / two))


def losses() -> Mapping[str, Callable[[ArrayLike, ArrayLike], Floats]]:
    """The losses that models are judged by, lower is better: each takes target and score, and gives each row's."""
    if schema.PROBLEM.facts.binary:
        return {"log_loss": log_losses, "brier": brier_losses}
    return {"deviance": deviances, "squared_error": brier_losses}


def claims_of(target: Floats) -> int:
    """Number of rows with a claim."""
    return int(np.count_nonzero(target > 0))


def comparable(target: Floats) -> bool:
    """Whether figures on these rows have intervals: at least two with a claim, and two without where it is 0 or 1."""
    claims = claims_of(target)
    if schema.PROBLEM.facts.binary:
        return min(claims, target.size - claims) >= 2
    return claims >= 2 and bool(target.min() < target.max())


@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """Predicted against observed, by bins of equal count from the lowest scores to the highest.

    Attributes:
        rows: number of rows a bin, shape (bins,).
        predicted: mean score a bin.
        observed: mean target a bin: the share of rows with a claim, or their mean cost.
        variance: of ``observed`` if the scores were right.
        sampling_variance: of ``observed`` as it is.
    """

    rows: NDArray[np.int64]
    predicted: Floats
    observed: Floats
    variance: Floats
    sampling_variance: Floats

    @property
    def weights(self) -> Floats:
        """Share of the rows a bin, shape (bins,)."""
        return np.asarray(self.rows / self.rows.sum(), dtype=np.float64)

    @property
    def error(self) -> float:
        """The expected calibration error."""
        return float((self.weights * np.abs(self.predicted - self.observed)).sum())


def calibration_table(
    target: ArrayLike, probability: ArrayLike, bins: int = BINS
) -> CalibrationTable:
    """Predicted against observed claim rates or mean costs; fewer bins where there are fewer rows."""
    y, p = checked(target, probability)
    order, share = _ordered(y, p)
    ordered = p[order]
    starts = _starts(y.size, bins)
    rows = np.diff(np.append(starts, y.size)).astype(np.int64)
    observed = np.add.reduceat(share, starts) / rows
    if schema.PROBLEM.facts.binary:
        variance = np.add.reduceat(ordered * (1 - ordered), starts) / np.square(rows)
        sampling_variance = observed * (1 - observed) / rows
    else:
        # How much costs vary no score says: the bin's own rows do.
        bins_of_rows = np.repeat(np.arange(rows.size), rows)
        away = np.square(y[order] - observed[bins_of_rows])
        sampling_variance = np.add.reduceat(away, starts) / rows / np.maximum(1, rows - 1)
        variance = sampling_variance
    return CalibrationTable(
        rows=rows,
        predicted=np.add.reduceat(ordered, starts) / rows,
        observed=observed,
        variance=variance,
        sampling_variance=sampling_variance,
    )


def calibration_error(target: ArrayLike, probability: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error: mean of |predicted - observed| over bins of equal count.

    Naeini, Cooper and Hauskrecht 2015 (AAAI), with equal-count bins weighted by rows. It is above 0
    by chance alone, the more so the fewer rows there are: judge it together with
    ``calibration_error_by_chance``.
    """
    return calibration_table(target, probability, bins).error


def calibration_error_by_chance(table: CalibrationTable) -> tuple[float, float]:
    """Mean and standard deviation of the calibration error if the probabilities were right.

    Each bin's difference is then close to normal around 0, so its absolute value follows the
    half-normal distribution: mean ``s sqrt(2/pi)``, variance ``s^2 (1 - 2/pi)``.
    """
    mean = np.sqrt(2 / np.pi) * float((table.weights * np.sqrt(table.variance)).sum())
    variance = (1 - 2 / np.pi) * float((np.square(table.weights) * table.variance).sum())
    return float(mean), float(np.sqrt(variance))


def lift_by_decile(target: ArrayLike, score: ArrayLike) -> Floats:
    """Claim rate or mean cost of each tenth of the rows over that of all, highest scores first, shape (10,).

    Fewer values where there are fewer than ten rows.

    Raises:
        DataError: no row has a claim.
    """
    y, s = checked(target, score)
    rate = float(y.mean())
    if rate == 0:
        raise DataError(f"none of {y.size:,} rows has a claim: there is no lift over a rate of 0")
    _, share = _ordered(y, -s)
    starts = _starts(y.size, BINS)
    rows = np.diff(np.append(starts, y.size))
    return np.asarray(np.add.reduceat(share, starts) / rows / rate, dtype=np.float64)


def tied_groups(score: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows from the lowest score to the highest, and each of them's group of equal scores.

    Returns:
        Row numbers in order of score, and in the same order the group's number from 0; each of
        shape (n,).
    """
    # Equal scores are only ever used together, so the sort need not be stable, which is faster.
    order = np.argsort(score)
    ordered = score[order]
    return order, np.cumsum(np.concatenate(([False], ordered[1:] != ordered[:-1])))


def checked(target: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float arrays.

    Raises:
        DataError: no rows, different shapes, a target that cannot be, or a score that is not finite.
    """
    y = np.asarray(target, dtype=np.float64)
    s = np.asarray(score, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or y.size == 0:
        raise DataError(
            f"target has shape {y.shape} and scores have shape {s.shape}: "
            "one score a row is needed, and at least one row"
        )
    facts = schema.PROBLEM.facts
    if not facts.fits(y).all():
        raise DataError(f"target holds values other than {facts.values}")
    if not np.isfinite(s).all():
        raise DataError(f"{int((~np.isfinite(s)).sum()):,} of {s.size:,} scores are not finite")
    return y, s


def _ordered(y: Floats, key: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The order by key, and the target in that order with each group of ties sharing its mean."""
    order, group = tied_groups(key)
    return order, (np.bincount(group, y[order]) / np.bincount(group))[group]


def _starts(rows: int, bins: int) -> NDArray[np.int64]:
    """Where each of up to ``bins`` runs of as equal a length as can be starts."""
    count = min(bins, rows)
    return np.arange(count, dtype=np.int64) * rows // count
