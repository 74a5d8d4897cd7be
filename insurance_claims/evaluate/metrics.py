"""Figures that say how good scores are. numpy only; every function is pure.

Throughout, ``target`` has shape (n,) and holds 0 and 1 with 1 for a claim, ``score`` has shape
(n,), higher for more risk; where a function needs probabilities it says so. Rows of equal score
count as tied: no figure depends on the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from insurance_claims.errors import DataError

Floats = NDArray[np.float64]

BINS = 10
"""Bins of calibration and lift: deciles."""

_CLIP = 1e-15
"""Keeps the log loss of a confident mistake finite; the value that scikit-learn used for years."""


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
    """Normalized Gini, between -1 and 1: ``2 AUC - 1``. 0 is chance.

    For a binary target this equals the area between Lorenz curve and diagonal, divided by the same
    area of a perfect ordering; ties count half.

    Raises:
        DataError: as for ``auc``.
    """
    return 2.0 * auc(target, score) - 1.0


def log_losses(target: ArrayLike, probability: ArrayLike) -> Floats:
    """Each row's negative log likelihood in nats, shape (n,); 0 and 1 are taken as 1e-15 off."""
    y, p = checked(target, probability)
    p = np.clip(p, _CLIP, 1 - _CLIP)
    return np.asarray(-np.log(np.where(y > 0, p, 1 - p)), dtype=np.float64)


def log_loss(target: ArrayLike, probability: ArrayLike) -> float:
    """Mean negative log likelihood in nats; lower is better."""
    return float(log_losses(target, probability).mean())


def brier_losses(target: ArrayLike, probability: ArrayLike) -> Floats:
    """Each row's squared error of the probability, shape (n,)."""
    y, p = checked(target, probability)
    return np.square(p - y)


def brier(target: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared error of the probability (Brier 1950); lower is better."""
    return float(brier_losses(target, probability).mean())


@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """Predicted against observed, by bins of equal count from the lowest scores to the highest.

    Attributes:
        rows: number of rows a bin, shape (bins,).
        predicted: mean probability a bin.
        observed: share of rows with a claim a bin.
        variance: of ``observed`` if the probabilities were right.
    """

    rows: NDArray[np.int64]
    predicted: Floats
    observed: Floats
    variance: Floats

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
    """Predicted against observed claim rates; fewer bins where there are fewer rows."""
    y, p = checked(target, probability)
    order, share = _ordered(y, p)
    ordered = p[order]
    starts = _starts(y.size, bins)
    rows = np.diff(np.append(starts, y.size)).astype(np.int64)
    return CalibrationTable(
        rows=rows,
        predicted=np.add.reduceat(ordered, starts) / rows,
        observed=np.add.reduceat(share, starts) / rows,
        variance=np.add.reduceat(ordered * (1 - ordered), starts) / np.square(rows),
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
    """Claim rate of each tenth of the rows over that of all, highest scores first, shape (10,).

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
        DataError: no rows, different shapes, a target other than 0 and 1, or a score that is not
            finite.
    """
    y = np.asarray(target, dtype=np.float64)
    s = np.asarray(score, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or y.size == 0:
        raise DataError(
            f"target has shape {y.shape} and scores have shape {s.shape}: "
            "one score a row is needed, and at least one row"
        )
    if not ((y == 0) | (y == 1)).all():
        raise DataError("target holds values other than 0 and 1")
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
