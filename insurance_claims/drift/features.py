"""What changed between the rows that a model was trained on and a window of those that it scores, feature by feature.

A feature has drifted where a difference is both beyond chance and large enough to matter. Beyond chance alone would not
do: with a million rows everything is. Large enough alone would not do either: with a hundred rows anything can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.drift.statistics import Difference, holm, ks, psi, share_difference
from insurance_claims.parameters import MonitoringParameters

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

SCORE = "score"
"""Stands for the model's scores, which are compared like a feature."""

_BINS = 10
_MOST_VALUES = 20
"""A feature with more distinct values is compared in tenths of the reference, unless it is categorical."""
_LEAST_EXPECTED = 5
"""Bins in which fewer rows are expected are put together: the chi-square approximation needs as many (Cochran 1954)."""


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature in the window against the reference.

    Attributes:
        feature: its name, or ``score``.
        psi: of its bins, a missing value's among them.
        ks: of the values that are there; None where one side has none.
        missing: difference of the shares of missing values.
        reference_missing: share of missing values in the reference.
        new_values: share of rows whose value the reference does not have; 0 for continuous features.
        p_value: the smallest of its tests, adjusted for all tests of the window.
        reasons: why it counts as drifted; empty where it does not.
        bins: what the bins hold, for people.
        reference_shares: of the bins, shape (bins,).
        window_shares: of the same bins.
    """

    feature: str
    psi: Difference
    ks: Difference | None
    missing: Difference
    reference_missing: float
    new_values: float
    p_value: float
    reasons: tuple[str, ...]
    bins: tuple[str, ...]
    reference_shares: tuple[float, ...]
    window_shares: tuple[float, ...]

    @property
    def drifted(self) -> bool:
        """Whether it counts."""
        return bool(self.reasons)


@dataclass(frozen=True, slots=True)
class _Binned:
    names: tuple[str, ...]
    reference: Counts
    window: Counts
    new_values: float


@dataclass(frozen=True, slots=True)
class _Compared:
    """A feature before its tests are judged together with all others."""

    name: str
    binned: _Binned
    psi: Difference
    ks: Difference | None
    missing: Difference
    reference_missing: float

    @property
    def p_values(self) -> list[float]:
        return [self.psi.p_value, self.ks.p_value if self.ks else 1.0, self.missing.p_value]


def compare(
    reference: Mapping[str, Floats], window: Mapping[str, Floats], limits: MonitoringParameters
) -> list[FeatureDrift]:
    """Compare every feature that both have.

    Args:
        reference: values by feature, each of shape (n,), -1 where missing; scores under ``score``.
        window: the same of the window, each of shape (m,).
        limits: how small a chance, and how large a difference, counts.

    Returns:
        In the schema's order, the score first.

    Raises:
        DataError: there are no rows.
    """
    # Time goes on: a period that drifts tells nothing.
    names = [
        name
        for name in (SCORE, *schema.FEATURE_NAMES)
        if name in reference and name in window and name != schema.PERIOD
    ]
    found = [_compared(name, reference[name], window[name]) for name in names]
    adjusted = holm([value for item in found for value in item.p_values])
    return [
        _judged(item, adjusted[3 * place : 3 * place + 3], limits)
        for place, item in enumerate(found)
    ]


def _compared(name: str, reference: Floats, window: Floats) -> _Compared:
    missing = (_missing(name, reference), _missing(name, window))
    there = reference[~missing[0]], window[~missing[1]]
    counts = (int(missing[0].sum()), reference.size), (int(missing[1].sum()), window.size)
    binned = _binned(name, *there, (counts[0][0], counts[1][0]))
    return _Compared(
        name,
        binned,
        psi(binned.reference, binned.window),
        ks(*there) if there[0].size and there[1].size else None,
        share_difference(*counts),
        counts[0][0] / reference.size,
    )


def _missing(name: str, values: Floats) -> NDArray[np.bool_]:
    column = schema.BY_NAME.get(name)
    if column is None or not column.missing_allowed:
        return np.zeros(values.size, dtype=np.bool_)
    return np.asarray(values == schema.MISSING)


def _binned(name: str, reference: Floats, window: Floats, missing: tuple[int, int]) -> _Binned:
    column = schema.BY_NAME.get(name)
    known = np.unique(reference)
    categorical = column is not None and column.kind is schema.Kind.CATEGORICAL
    if categorical or known.size <= _MOST_VALUES:
        names, a, b = _by_value(known, reference, window)
    else:
        names, a, b = _by_tenths(reference, window)
    unseen = 0
    if column is not None and column.is_integer:
        unseen = int((~np.isin(window, known)).sum())
    if any(missing):
        names, a, b = [*names, "missing"], np.append(a, missing[0]), np.append(b, missing[1])
    names, a, b = _without_small(names, a, b)
    return _Binned(tuple(names), a, b, unseen / (window.size + missing[1]))


def _by_value(known: Floats, reference: Floats, window: Floats) -> tuple[list[str], Counts, Counts]:
    new = np.setdiff1d(window, known)
    values = np.concatenate((known, new))
    order = np.argsort(values)
    values = values[order]
    names = [f"{value:g}" for value in values]
    a, b = (_counts(np.searchsorted(values, x), values.size) for x in (reference, window))
    return names, a, b


def _by_tenths(reference: Floats, window: Floats) -> tuple[list[str], Counts, Counts]:
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, _BINS + 1)[1:-1]))
    names = [f"below {edges[0]:.4g}", *(f"from {edge:.4g}" for edge in edges)]
    places = (np.searchsorted(edges, values, side="right") for values in (reference, window))
    a, b = (_counts(place, edges.size + 1) for place in places)
    return names, a, b


def _counts(places: NDArray[Any], bins: int) -> Counts:
    return np.asarray(np.bincount(places, minlength=bins), dtype=np.int64)


def _without_small(names: Sequence[str], a: Counts, b: Counts) -> tuple[list[str], Counts, Counts]:
    """Bins put together in which chance would put too few rows of either side."""
    expected = (a + b) / (a.sum() + b.sum()) * min(a.sum(), b.sum())
    large = expected >= _LEAST_EXPECTED
    kept = [name for name, keep in zip(names, large, strict=True) if keep]
    if large.all():
        return list(names), a, b
    rest = [*kept, "others"]
    return rest, np.append(a[large], a[~large].sum()), np.append(b[large], b[~large].sum())


def _judged(
    item: _Compared, adjusted: Sequence[float], limits: MonitoringParameters
) -> FeatureDrift:
    by_psi, by_ks, by_missing = adjusted
    reasons = []
    if by_psi < limits.alpha and item.psi.value - item.psi.expected >= limits.psi:
        reasons.append(f"PSI {item.psi.value:.3f}, {item.psi.expected:.4f} by chance")
    if item.ks and by_ks < limits.alpha and item.ks.value - item.ks.expected >= limits.ks:
        reasons.append(f"KS {item.ks.value:.3f}, {item.ks.expected:.4f} by chance")
    if by_missing < limits.alpha and abs(item.missing.value) >= limits.missing_share:
        now = item.reference_missing + item.missing.value
        reasons.append(f"missing in {now:.1%} of the rows, {item.reference_missing:.1%} before")
    if item.binned.new_values >= limits.new_values:
        reasons.append(f"{item.binned.new_values:.1%} of the rows have values never seen before")
    binned = item.binned
    return FeatureDrift(
        feature=item.name,
        psi=item.psi,
        ks=item.ks,
        missing=item.missing,
        reference_missing=item.reference_missing,
        new_values=binned.new_values,
        p_value=min(adjusted),
        reasons=tuple(reasons),
        bins=binned.names,
        reference_shares=tuple((binned.reference / binned.reference.sum()).tolist()),
        window_shares=tuple((binned.window / binned.window.sum()).tolist()),
    )
