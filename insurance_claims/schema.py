"""The data contract: every column of the Porto Seguro claims data.

One source for validation, synthetic data, request checks, drift, the API's description and the model card. The figures
are those of all 595,212 training rows of Kaggle's "Porto Seguro's Safe Driver Prediction", rounded to what is written
here. Kaggle's names carry the kind of a feature: ``_bin`` is binary, ``_cat`` categorical, and anything else ordinal
where its values are whole numbers, continuous where they are not. ``-1`` marks a missing value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from insurance_claims.problem import Problem

SCHEMA_VERSION = "1"
ID = "id"
TARGET = "target"
MISSING = -1
"""The marker of a missing value, in every feature that allows one. NaN is never allowed."""

CLAIM_RATE = 0.036448
"""Share of rows with a claim among the 595,212 real ones."""

PROBLEM = Problem.CLASSIFICATION
"""What is predicted: the kind of target, of model and of figures that it is judged by."""

PERIOD: str | None = None
"""The feature that says when a row is from, where later periods are forecast: a whole number, larger for later ones. No
model learns from it."""

_ROUNDING = 0.005
"""Continuous ranges are known to two decimals, so a bound is widened by half of the last one."""


class Kind(StrEnum):
    """What the values of a feature mean."""

    BINARY = "binary"
    CATEGORICAL = "categorical"
    ORDINAL = "ordinal"
    CONTINUOUS = "continuous"


class Group(StrEnum):
    """What a feature describes, by its prefix."""

    INDIVIDUAL = "ind"
    REGION = "reg"
    CAR = "car"
    CALCULATED = "calc"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Column:
    """One feature.

    Attributes:
        name: Kaggle's name of it.
        group: what it describes.
        kind: what its values mean. All but continuous ones are whole numbers.
        minimum: the smallest value that is allowed, missing marker aside.
        maximum: the largest value that is allowed.
        mean: of all real rows, the missing marker left out.
        std: standard deviation of the same rows.
        cardinality: number of distinct values in the real rows, the missing marker left out.
        missing_share: share of real rows with the missing marker; None where it is not allowed.
    """

    name: str
    group: Group
    kind: Kind
    minimum: float
    maximum: float
    mean: float
    std: float
    cardinality: int
    missing_share: float | None

    @property
    def missing_allowed(self) -> bool:
        """Whether ``MISSING`` is a legal value."""
        return self.missing_share is not None

    @property
    def is_integer(self) -> bool:
        """Whether every legal value is a whole number."""
        return self.kind is not Kind.CONTINUOUS

    @property
    def lower(self) -> float:
        """The smallest value that validation accepts, missing marker aside."""
        if self.is_integer:
            return self.minimum
        lower = self.minimum - _ROUNDING
        return lower if self.minimum < 0 else max(0.0, lower)

    @property
    def upper(self) -> float:
        """The largest value that validation accepts."""
        return self.maximum if self.is_integer else self.maximum + _ROUNDING


def _column(
    name: str,
    minimum: float,
    maximum: float,
    mean: float,
    std: float,
    cardinality: int,
    missing_share: float | None,
) -> Column:
    if name.endswith("_bin"):
        kind = Kind.BINARY
    elif name.endswith("_cat"):
        kind = Kind.CATEGORICAL
    else:
        kind = Kind.CONTINUOUS if name in _CONTINUOUS else Kind.ORDINAL
    group = Group(name.split("_")[1])
    return Column(name, group, kind, minimum, maximum, mean, std, cardinality, missing_share)


_CONTINUOUS = frozenset(
    "ps_reg_01 ps_reg_02 ps_reg_03 ps_car_12 ps_car_13 ps_car_14 ps_car_15 "
    "ps_calc_01 ps_calc_02 ps_calc_03".split()
)

# name, minimum, maximum, mean, standard deviation, distinct values, share missing (None: not allowed)
FEATURES: tuple[Column, ...] = (
    _column("ps_ind_01", 0, 7, 1.9, 1.98, 8, None),
    _column("ps_ind_02_cat", 1, 4, 1.36, 0.66, 4, 0.000363),
    _column("ps_ind_03", 0, 11, 4.42, 2.7, 12, None),
    _column("ps_ind_04_cat", 0, 1, 0.42, 0.49, 2, 0.000139),
    _column("ps_ind_05_cat", 0, 6, 0.42, 1.35, 7, 0.00976),
    _column("ps_ind_06_bin", 0, 1, 0.39, 0.49, 2, None),
    _column("ps_ind_07_bin", 0, 1, 0.26, 0.44, 2, None),
    _column("ps_ind_08_bin", 0, 1, 0.16, 0.37, 2, None),
    _column("ps_ind_09_bin", 0, 1, 0.19, 0.39, 2, None),
    _column("ps_ind_10_bin", 0, 1, 0, 0.02, 2, None),
    _column("ps_ind_11_bin", 0, 1, 0, 0.04, 2, None),
    _column("ps_ind_12_bin", 0, 1, 0.01, 0.1, 2, None),
    _column("ps_ind_13_bin", 0, 1, 0, 0.03, 2, None),
    _column("ps_ind_14", 0, 4, 0.01, 0.13, 5, None),
    _column("ps_ind_15", 0, 13, 7.3, 3.55, 14, None),
    _column("ps_ind_16_bin", 0, 1, 0.66, 0.47, 2, None),
    _column("ps_ind_17_bin", 0, 1, 0.12, 0.33, 2, None),
    _column("ps_ind_18_bin", 0, 1, 0.15, 0.36, 2, None),
    _column("ps_reg_01", 0, 0.9, 0.61, 0.29, 10, None),
    _column("ps_reg_02", 0, 1.8, 0.44, 0.4, 19, None),
    _column("ps_reg_03", 0.06, 4.04, 0.89, 0.35, 5012, 0.181065),
    _column("ps_car_01_cat", 0, 11, 8.3, 2.51, 12, 0.00018),
    _column("ps_car_02_cat", 0, 1, 0.83, 0.38, 2, 8e-06),
    _column("ps_car_03_cat", 0, 1, 0.6, 0.49, 2, 0.690898),
    _column("ps_car_04_cat", 0, 9, 0.73, 2.15, 10, None),
    _column("ps_car_05_cat", 0, 1, 0.53, 0.5, 2, 0.447825),
    _column("ps_car_06_cat", 0, 17, 6.56, 5.5, 18, None),
    _column("ps_car_07_cat", 0, 1, 0.95, 0.22, 2, 0.019302),
    _column("ps_car_08_cat", 0, 1, 0.83, 0.37, 2, None),
    _column("ps_car_09_cat", 0, 4, 1.33, 0.98, 5, 0.000956),
    _column("ps_car_10_cat", 0, 2, 0.99, 0.09, 3, None),
    _column("ps_car_11_cat", 1, 104, 62.22, 33.01, 104, None),
    _column("ps_car_11", 0, 3, 2.35, 0.83, 4, 8e-06),
    _column("ps_car_12", 0.1, 1.26, 0.38, 0.06, 183, 2e-06),
    _column("ps_car_13", 0.25, 3.72, 0.81, 0.22, 70482, None),
    _column("ps_car_14", 0.11, 0.64, 0.37, 0.05, 849, 0.071605),
    _column("ps_car_15", 0, 3.74, 3.07, 0.73, 15, None),
    _column("ps_calc_01", 0, 0.9, 0.45, 0.29, 10, None),
    _column("ps_calc_02", 0, 0.9, 0.45, 0.29, 10, None),
    _column("ps_calc_03", 0, 0.9, 0.45, 0.29, 10, None),
    _column("ps_calc_04", 0, 5, 2.37, 1.12, 6, None),
    _column("ps_calc_05", 0, 6, 1.89, 1.13, 7, None),
    _column("ps_calc_06", 0, 10, 7.69, 1.33, 11, None),
    _column("ps_calc_07", 0, 9, 3.01, 1.41, 10, None),
    _column("ps_calc_08", 2, 12, 9.23, 1.46, 11, None),
    _column("ps_calc_09", 0, 7, 2.34, 1.25, 8, None),
    _column("ps_calc_10", 0, 25, 8.43, 2.9, 26, None),
    _column("ps_calc_11", 0, 19, 5.44, 2.33, 20, None),
    _column("ps_calc_12", 0, 10, 1.44, 1.2, 11, None),
    _column("ps_calc_13", 0, 13, 2.87, 1.69, 14, None),
    _column("ps_calc_14", 0, 23, 7.54, 2.75, 24, None),
    _column("ps_calc_15_bin", 0, 1, 0.12, 0.33, 2, None),
    _column("ps_calc_16_bin", 0, 1, 0.63, 0.48, 2, None),
    _column("ps_calc_17_bin", 0, 1, 0.55, 0.5, 2, None),
    _column("ps_calc_18_bin", 0, 1, 0.29, 0.45, 2, None),
    _column("ps_calc_19_bin", 0, 1, 0.35, 0.48, 2, None),
    _column("ps_calc_20_bin", 0, 1, 0.15, 0.36, 2, None),
)
FEATURE_NAMES: tuple[str, ...] = tuple(column.name for column in FEATURES)
COLUMNS: tuple[str, ...] = (ID, TARGET, *FEATURE_NAMES)
"""Every column of the training data, in Kaggle's order."""

BY_NAME: dict[str, Column] = {column.name: column for column in FEATURES}


def is_whole(name: str) -> bool:
    """Whether every legal value of a column of the training data is a whole number."""
    if name == TARGET:
        return PROBLEM.facts.binary
    return name == ID or BY_NAME[name].is_integer
