"""Statistics that tell two samples apart, each with what chance alone makes of it at their sizes.

numpy and scipy's distribution functions; every function is pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from insurance_claims.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a window is from its reference.

    Attributes:
        value: the statistic.
        expected: its mean if both were drawn from the same distribution.
        p_value: chance of a value at least as large, if they were.
    """

    value: float
    expected: float
    p_value: float


def psi(reference: ArrayLike, window: ArrayLike) -> Difference:
    """Population stability index of counts in the same bins: sum of ``(q - p) ln(q / p)`` over the bins.

    Of two samples of n and m rows from one distribution, ``PSI / (1/n + 1/m)`` follows a chi-square distribution with
    one degree of freedom less than there are bins (Yurdakul and Naranjo 2020, Statistical properties of the population
    stability index, Journal of Risk Model Validation 14). So a small window has a large index by chance alone. Half a
    row is added to every bin, so that an empty one does not make it infinite.

    Args:
        reference: rows in each bin, shape (bins,).
        window: the same of the window.

    Raises:
        DataError: shapes differ, or one has no rows.
    """
    from scipy.special import chdtrc

    p, q = np.asarray(reference, dtype=np.float64), np.asarray(window, dtype=np.float64)
    if p.shape != q.shape or p.ndim != 1:
        raise DataError(f"counts of shapes {p.shape} and {q.shape} are not in the same bins")
    n, m = float(p.sum()), float(q.sum())
    if not n or not m:
        raise DataError("there are no rows to compare")
    if p.size < 2:
        return Difference(0.0, 0.0, 1.0)
    p, q = (p + 0.5) / (n + p.size / 2), (q + 0.5) / (m + q.size / 2)
    value = float(((q - p) * np.log(q / p)).sum())
    scale = 1 / n + 1 / m
    return Difference(value, (p.size - 1) * scale, float(chdtrc(p.size - 1, value / scale)))


def ks(reference: ArrayLike, window: ArrayLike) -> Difference:
    """Two-sample Kolmogorov-Smirnov statistic: the largest distance of the two distribution functions.

    Of n and m rows from one continuous distribution, ``D sqrt(nm / (n + m))`` follows Kolmogorov's distribution in
    large samples (Smirnov 1948, Annals of Mathematical Statistics 19); its mean is ``sqrt(pi / 2) ln 2``. Where values
    are tied, chance differences are smaller still (Noether 1963), so the p-value errs on the side of no alarm.

    Args:
        reference: values, shape (n,).
        window: values, shape (m,).

    Raises:
        DataError: one has no values.
    """
    from scipy.special import kolmogorov

    a, b = np.sort(np.asarray(reference)), np.sort(np.asarray(window))
    if not a.size or not b.size:
        raise DataError("there are no values to compare")
    values = np.concatenate((a, b))
    below_a = np.searchsorted(a, values, side="right") / a.size
    below_b = np.searchsorted(b, values, side="right") / b.size
    value = float(np.abs(below_a - below_b).max())
    scale = float(np.sqrt(1 / a.size + 1 / b.size))
    expected = float(np.sqrt(np.pi / 2) * np.log(2)) * scale
    return Difference(value, expected, float(kolmogorov(value / scale)))


def share_difference(reference: tuple[int, int], window: tuple[int, int]) -> Difference:
    """Difference of two shares, window's less reference's, with the pooled two-sample test of proportions.

    ``expected`` is the mean of its absolute value by chance, ``sqrt(2 / pi)`` standard errors.

    Args:
        reference: rows that have it, and rows.
        window: the same of the window.

    Raises:
        DataError: one has no rows.
    """
    from scipy.special import ndtr

    (a, n), (b, m) = reference, window
    if not n or not m:
        raise DataError("there are no rows to compare")
    value = b / m - a / n
    pooled = (a + b) / (n + m)
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)))
    if not error:
        return Difference(value, 0.0, 1.0)
    return Difference(
        value, float(np.sqrt(2 / np.pi)) * error, float(2 * ndtr(-abs(value) / error))
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that a level holds for all of many tests together, however they depend on each other.

    Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
