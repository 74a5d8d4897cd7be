"""What each synthetic column looks like by itself, and how columns hang together.

A column's values are spread over a fixed support by the distribution that has schema.py's mean and standard deviation
and is, among those, closest to a base measure; with a flat base that is the one of maximum entropy. Columns hang
together because each is a quantised normal variable that loads on a few shared ones: a Gaussian copula.

The loadings were set by eye, from rank correlations of the real columns. No real row is kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from insurance_claims import schema

Floats = NDArray[np.float64]

FACTORS = ("region", "engine", "newness", "person", "tenure", "policy", "equipment", "record")
"""The shared normal variables, named by what the columns that load on them seem to have in common."""

_LOADINGS: dict[str, dict[str, float]] = {
    "ps_ind_01": {"tenure": 0.45, "person": 0.35, "region": 0.2},
    "ps_ind_02_cat": {"tenure": -0.5},
    "ps_ind_03": {"tenure": 0.55},
    "ps_ind_04_cat": {"person": 0.6},
    "ps_ind_15": {"policy": 0.55, "tenure": 0.3},
    "ps_reg_01": {"region": 0.57},
    "ps_reg_02": {"region": 0.95},
    "ps_reg_03": {"region": 0.7, "engine": 0.25},
    "ps_car_01_cat": {"region": 0.25, "record": 0.1},
    "ps_car_02_cat": {"engine": -0.7},
    "ps_car_03_cat": {"newness": 0.5},
    "ps_car_04_cat": {"engine": 0.7},
    "ps_car_05_cat": {"newness": -0.25},
    "ps_car_06_cat": {"engine": 0.27},
    "ps_car_08_cat": {"newness": -0.8},
    "ps_car_09_cat": {"engine": -0.2},
    "ps_car_11_cat": {"engine": 0.2},
    "ps_car_12": {"engine": 0.87},
    "ps_car_13": {"engine": 0.75, "newness": 0.62},
    "ps_car_14": {"engine": 0.65},
    "ps_car_15": {"newness": 0.95},
}

_MOVED = {"region": 0.8, "tenure": 0.5, "equipment": -0.3}
"""By how many standard deviations the factors move when the population shifts by 1: newer customers from elsewhere."""

_MISSING_LOADINGS: dict[str, dict[str, float]] = {
    "ps_car_03_cat": {"equipment": 0.97, "engine": -0.2},
    "ps_car_05_cat": {"equipment": 0.97, "engine": -0.2},
    "ps_ind_05_cat": {"record": 0.98},
    "ps_car_07_cat": {"record": 0.98},
}

_POISSON = frozenset({f"ps_calc_{number}" for number in range(10, 15)})
_BINOMIAL = frozenset({f"ps_calc_{number:02}" for number in range(4, 10)})
"""Counts whose variance is that of a Poisson, or of a binomial variable with the column's maximum as trials."""

_BINARY_RARE = 0.02
"""Below this mean, a two-decimal standard deviation says more about a binary column than its two-decimal mean."""

_MEANS = {"ps_car_10_cat": 0.992}
"""Where no distribution on the support has the rounded mean with the rounded deviation: one that rounds to it."""

# Distinct values where the steps are not whole numbers or tenths: the squares of the values are evenly spaced.
_SQUARE_STEPS = {
    "ps_reg_03": 2 / 1600,
    "ps_car_12": 9 / 1000,
    "ps_car_14": 3.5 / 10000,
    "ps_car_15": 1.0,
}
_CAR_13_STEP = 1.5e-5
_LOGNORMAL = frozenset({"ps_reg_03", "ps_car_13"})
_FLAT_SHARE = {"ps_car_12": 0.003, "ps_car_13": 0.0005}
"""Share of values spread evenly over the support: these two reach further out than a bell curve does."""


@dataclass(frozen=True)
class Latent:
    """A standard normal variable that is partly shared.

    Attributes:
        loadings: on FACTORS, shape (factors,); their squares sum to at most 1.
        own: standard deviation of the part that is not shared.
    """

    loadings: Floats
    own: float


@dataclass(frozen=True)
class Marginal:
    """How values of a column are made from a standard normal variable.

    Attributes:
        latent: the variable.
        values: the support, ascending, shape (k,).
        thresholds: ascending, shape (k - 1,): a variable above i of them takes ``values[i]``.
    """

    latent: Latent
    values: NDArray[np.int64] | Floats
    thresholds: Floats


@dataclass(frozen=True)
class OneOf:
    """Binary columns of which at most one is 1.

    Attributes:
        latent: the variable that chooses.
        names: the column for each interval of the variable; None stands for no column.
        thresholds: between the intervals, ascending.
    """

    latent: Latent
    names: tuple[str | None, ...]
    thresholds: Floats


@dataclass(frozen=True)
class Missing:
    """When a column has no value: where a standard normal variable is below the threshold."""

    latent: Latent
    threshold: float


RARE_FLAGS = ("ps_ind_10_bin", "ps_ind_11_bin", "ps_ind_12_bin", "ps_ind_13_bin")
RARE_COUNT = "ps_ind_14"
"""The sum of RARE_FLAGS."""

# Share of rows with each combination of RARE_FLAGS but the empty one. They sum to the flags' real shares.
_RARE_PATTERNS: dict[tuple[int, int, int, int], float] = {
    (0, 0, 1, 0): 0.00816,
    (0, 1, 0, 0): 0.00030,
    (0, 0, 0, 1): 0.00050,
    (1, 0, 0, 0): 0.00004,
    (0, 1, 1, 0): 0.00102,
    (0, 0, 1, 1): 0.00025,
    (1, 0, 1, 0): 0.00012,
    (1, 1, 1, 0): 0.00015,
    (0, 1, 1, 1): 0.00010,
    (1, 1, 1, 1): 0.00003,
}


@cache
def moved_factors() -> Floats:
    """How far each factor moves when the population shifts by 1, shape (factors,)."""
    return np.array([_MOVED.get(factor, 0.0) for factor in FACTORS])


@cache
def marginals() -> dict[str, Marginal]:
    """Every column that depends on one variable alone, in the schema's order."""
    together = {name for group in one_of_groups() for name in group.names}
    alone = [
        column
        for column in schema.FEATURES
        if column.name not in together
        and column.name not in (*RARE_FLAGS, RARE_COUNT, schema.PERIOD)
    ]
    return {column.name: _marginal(column) for column in alone}


@cache
def one_of_groups() -> tuple[OneOf, ...]:
    """Columns that stem from one choice: exactly one of ps_ind_06 to 09, at most one of ps_ind_16 to 18."""
    return (
        _one_of(
            ("ps_ind_06_bin", "ps_ind_09_bin", "ps_ind_08_bin", "ps_ind_07_bin"),
            {"person": 0.6, "engine": 0.28, "newness": 0.2, "region": 0.2},
        ),
        _one_of(("ps_ind_18_bin", None, "ps_ind_17_bin", "ps_ind_16_bin"), {"policy": 0.85}),
    )


@cache
def missing() -> dict[str, Missing]:
    """Every column that may have no value."""
    from scipy.special import ndtri

    return {
        column.name: Missing(
            _latent(_MISSING_LOADINGS.get(column.name, {})), float(ndtri(column.missing_share))
        )
        for column in schema.FEATURES
        if column.missing_share is not None
    }


@cache
def rare_patterns() -> tuple[NDArray[np.int64], Floats]:
    """Combinations of RARE_FLAGS, shape (k, 4), the empty one first, and the cuts between their shares, (k - 1,)."""
    patterns = [(0, 0, 0, 0), *_RARE_PATTERNS]
    empty = 1.0 - sum(_RARE_PATTERNS.values())
    ends = np.cumsum([empty, *_RARE_PATTERNS.values()])[:-1]
    return np.array(patterns, dtype=np.int64), ends


def closest(support: Floats, base: Floats, mean: float, std: float) -> Floats:
    """The distribution with this mean and standard deviation that is closest to a base measure.

    It is ``base * exp(a x + b x^2)``, normed (minimum discrimination information, Kullback 1959); a and b are found by
    Newton's method on the convex dual.

    Args:
        support: the values, shape (k,), k > 2.
        base: positive weights, shape (k,), of any sum.
        mean: between the smallest and the largest value.
        std: possible on that support.

    Returns:
        Probabilities, shape (k,).

    Raises:
        ValueError: no such distribution was found.
    """
    x = (support - mean) / std
    statistics = np.vstack([x, x * x])
    wanted = np.array([0.0, 1.0])
    log_base = np.log(base)

    def dual(tilt: Floats) -> tuple[float, Floats]:
        log_weights = log_base + tilt @ statistics
        top = log_weights.max()
        weights = np.exp(log_weights - top)
        total = weights.sum()
        return float(top + np.log(total) - tilt @ wanted), weights / total

    tilt = np.zeros(2)
    value, weights = dual(tilt)
    for _ in range(200):
        moments = statistics @ weights
        gradient = moments - wanted
        if np.abs(gradient).max() < 1e-9:
            return weights
        hessian = (statistics * weights) @ statistics.T - np.outer(moments, moments)
        step = np.linalg.solve(hessian + 1e-12 * np.eye(2), gradient)
        scale = 1.0
        while (found := dual(tilt - scale * step))[0] > value + 1e-12 and scale > 1e-10:
            scale /= 2
        tilt = tilt - scale * step
        value, weights = found
    raise ValueError(
        f"no distribution with mean {mean} and standard deviation {std} on the support"
    )


def _marginal(column: schema.Column) -> Marginal:
    from scipy.special import ndtri

    values = _support(column)
    thresholds = np.asarray(ndtri(np.cumsum(_probabilities(column, values))[:-1].clip(0.0, 1.0)))
    kept = values.astype(np.int64) if column.is_integer else values
    return Marginal(_latent(_LOADINGS.get(column.name, {})), kept, thresholds)


def _support(column: schema.Column) -> Floats:
    if column.name in _SQUARE_STEPS:
        step = _SQUARE_STEPS[column.name]
        first, last = np.ceil(column.minimum**2 / step), np.floor(column.upper**2 / step)
        return np.asarray(np.round(np.sqrt(np.arange(first, last + 1) * step), 9))
    if column.name == "ps_car_13":
        return np.asarray(np.round(np.arange(column.minimum, column.maximum, _CAR_13_STEP), 9))
    if column.is_integer:
        return np.arange(column.minimum, column.maximum + 1, dtype=np.float64)
    first, last = round(column.minimum * 10), round(column.maximum * 10)
    return np.asarray(np.arange(first, last + 1) / 10.0)


def _probabilities(column: schema.Column, values: Floats) -> Floats:
    mean, std = _MEANS.get(column.name, column.mean), column.std
    if len(values) == 2:
        share = mean if mean > _BINARY_RARE else (1 - np.sqrt(1 - 4 * std**2)) / 2
        return np.array([1 - share, share])
    flat = _FLAT_SHARE.get(column.name, 0.0)
    # The core takes what the flat part leaves of the mean and of the mean square.
    core_mean = (mean - flat * values.mean()) / (1 - flat)
    core_square = (mean**2 + std**2 - flat * np.square(values).mean()) / (1 - flat)
    core_std = float(np.sqrt(core_square - core_mean**2))
    core = closest(values, _base(column, values, core_mean, core_std), core_mean, core_std)
    return (1 - flat) * core + flat / len(values)


def _base(column: schema.Column, values: Floats, mean: float, std: float) -> Floats:
    from scipy.special import gammaln

    if column.name in _LOGNORMAL:
        variance = np.log1p((std / mean) ** 2)
        centre = np.log(mean) - variance / 2
        density = np.exp(-((np.log(values) - centre) ** 2) / (2 * variance)) / values
        return np.asarray(density * np.gradient(values)) + 1e-300
    if column.name in _POISSON:
        return np.asarray(np.exp(-gammaln(values + 1)))
    if column.name in _BINOMIAL:
        return np.asarray(np.exp(-gammaln(values + 1) - gammaln(column.maximum - values + 1)))
    if column.name in _SQUARE_STEPS and column.name != "ps_car_15":
        return np.asarray(np.gradient(values))
    return np.ones(len(values))


def _one_of(names: tuple[str | None, ...], loadings: dict[str, float]) -> OneOf:
    from scipy.special import ndtri

    shares = [0.0 if name is None else schema.BY_NAME[name].mean for name in names]
    rest = 1.0 - sum(shares)
    ends = np.cumsum(
        [rest if name is None else share for name, share in zip(names, shares, strict=True)]
    )
    return OneOf(_latent(loadings), names, np.asarray(ndtri(ends[:-1])))


def _latent(loadings: dict[str, float]) -> Latent:
    vector = np.array([loadings.get(factor, 0.0) for factor in FACTORS])
    return Latent(vector, float(np.sqrt(1.0 - vector @ vector)))
