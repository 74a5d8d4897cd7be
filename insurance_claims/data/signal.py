"""What makes a claim more or less likely, and dearer, in synthetic data: the concept that a model has to learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from insurance_claims.schema import MISSING

Floats = NDArray[np.float64]

STRENGTH = 0.845
INTERCEPT = -4.1364
"""Found by bisection, then rounded, so that the true probabilities of five million rows (seed 20170929) have a mean of
0.036448 and order labels drawn from them with an expected Gini of 0.2999."""


def claim_logit(columns: Mapping[str, NDArray[Any]]) -> Floats:
    """Log odds of a claim, for the real data's claim rate.

    Signs and rough strengths follow the real columns' correlations with the target; interactions and thresholds are
    made up. The ps_calc columns have no effect.

    Args:
        columns: features by name, each of shape (n,).

    Returns:
        Shape (n,).
    """
    effects = _driver(columns) + _region(columns) + _car(columns) + _interactions(columns)
    return np.asarray(INTERCEPT + STRENGTH * effects)


def moved_logit(x: Mapping[str, NDArray[Any]]) -> Floats:
    """What a shift of the population by 1 adds to the log odds: expensive cars claim less, and other drivers more.

    Args:
        x: features by name, each of shape (n,).

    Returns:
        Shape (n,).
    """
    return np.asarray(
        -0.9 * _car_value(x)
        + 0.7 * (x["ps_ind_03"] >= 6)
        - 0.6 * (x["ps_ind_01"] >= 3)
        - 0.5 * x["ps_ind_17_bin"]
    )


def mean_cost(x: Mapping[str, NDArray[Any]]) -> Floats:
    """What a claim costs on average, in the insurer's currency: more for dear and for large cars, and in cities.

    Args:
        x: features by name, each of shape (n,).

    Returns:
        Shape (n,), about 2,000.
    """
    effects = (
        0.50 * _car_value(x)
        + 0.25 * (x["ps_reg_02"] > 0.6)
        + 0.20 * x["ps_ind_17_bin"]
        - 0.15 * x["ps_ind_16_bin"]
        + 0.20 * (x["ps_car_04_cat"] >= 8)
    )
    return np.asarray(1950.0 * np.exp(effects))


def level(quarters: NDArray[np.int64]) -> Floats:
    """By how much claims of a quarter cost more than those of others: inflation and the season.

    Args:
        quarters: counted from any first quarter of a year, which is 1; shape (n,).

    Returns:
        Shape (n,), about 1.
    """
    season = np.array([1.04, 0.97, 0.96, 1.03])[(quarters - 1) % 4]
    return np.asarray(season * np.exp(0.005 * (quarters - 1)))


def _driver(x: Mapping[str, NDArray[Any]]) -> Floats:
    return np.asarray(
        0.05 * np.minimum(x["ps_ind_01"], 5)
        - 0.08 * (x["ps_ind_02_cat"] == 2)
        + 0.40 * (x["ps_ind_02_cat"] == MISSING)
        + 0.20 * (x["ps_ind_03"] == 0)
        + 0.10 * (x["ps_ind_03"] >= 5)
        + 0.08 * (x["ps_ind_04_cat"] == 1)
        + 0.50 * (x["ps_ind_04_cat"] == MISSING)
        + 0.60 * (x["ps_ind_05_cat"] >= 2)
        + 0.45 * (x["ps_ind_05_cat"] == MISSING)
        - 0.12 * x["ps_ind_06_bin"]
        + 0.12 * x["ps_ind_07_bin"]
        + 0.15 * x["ps_ind_08_bin"]
        + 0.20 * x["ps_ind_12_bin"]
        - 0.16 * (x["ps_ind_15"] >= 8)
        - 0.08 * x["ps_ind_16_bin"]
        + 0.40 * x["ps_ind_17_bin"]
    )


def _region(x: Mapping[str, NDArray[Any]]) -> Floats:
    return np.asarray(
        0.20 * x["ps_reg_01"]
        + 0.40 * np.minimum(x["ps_reg_02"], 1.4)
        + 0.12 * np.minimum(x["ps_reg_03"], 1.6)
    )


def _car(x: Mapping[str, NDArray[Any]]) -> Floats:
    return np.asarray(
        0.45 * _car_value(x)
        - 0.15 * (x["ps_car_01_cat"] == 7)
        + 0.15 * np.isin(x["ps_car_01_cat"], (8, 9))
        + 0.30 * (x["ps_car_02_cat"] == 0)
        - 0.10 * (x["ps_car_03_cat"] == MISSING)
        + 0.15 * (x["ps_car_03_cat"] == 1)
        + 0.25 * (x["ps_car_04_cat"] >= 8)
        - 0.15 * (x["ps_car_05_cat"] == MISSING)
        + 0.15 * ((x["ps_car_06_cat"] >= 8) & (x["ps_car_06_cat"] <= 10))
        + 0.20 * (x["ps_car_06_cat"] >= 15)
        + 0.30 * (x["ps_car_07_cat"] == 0)
        + 0.40 * (x["ps_car_07_cat"] == MISSING)
        + 0.20 * (x["ps_car_09_cat"] == 1)
        + 0.10 * ((x["ps_car_11_cat"] >= 40) & (x["ps_car_11_cat"] < 70))
        + 0.08 * (x["ps_car_14"] == MISSING)
        + 0.06 * x["ps_car_15"]
    )


def _interactions(x: Mapping[str, NDArray[Any]]) -> Floats:
    return np.asarray(
        0.20 * _car_value(x) * x["ps_ind_07_bin"]
        + 0.30 * x["ps_ind_17_bin"] * (x["ps_reg_02"] > 0.6)
        + 0.25 * (x["ps_ind_05_cat"] >= 2) * (x["ps_car_03_cat"] >= 0)
        + 0.20 * (x["ps_ind_15"] < 4) * (x["ps_ind_01"] >= 3)
        - 0.25 * (x["ps_reg_01"] <= 0.2) * (x["ps_car_15"] < 2.5)
    )


def _car_value(x: Mapping[str, NDArray[Any]]) -> Floats:
    """ps_car_13 between about -1 and 1: its logarithm, flattened at both ends."""
    return np.asarray(np.tanh(np.log(x["ps_car_13"] / 0.78) / 0.5))
