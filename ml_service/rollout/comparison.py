"""Figures that compare the canary with production, each with its confidence sequence.

A figure of two versions is made of an interval of each, so each gets half of the figure's error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from insurance_claims.monitoring.observations import (
    LATENCY_EDGES,
    SCORE_EDGES,
    Counts,
    Floats,
    Histogram,
    Moments,
    Observations,
)
from ml_service.rollout.sequences import mean_margin, quantile_bounds, share_bounds

LEAST_FOR_A_MEAN = 500
"""Values of each version before the central limit theorem is relied on."""

_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval. None: not known at all yet, or without bound."""

    value: float | None
    low: float | None
    high: float | None


UNKNOWN = Estimate(None, None, None)


def error_rate_difference(canary: Observations, production: Observations, error: float) -> Estimate:
    """Canary's share of failed requests less production's."""
    if not canary.requests or not production.requests:
        return UNKNOWN
    errors = np.array([canary.errors, production.errors])
    requests = np.array([canary.requests, production.requests])
    low, high = share_bounds(errors, requests, error / 2)
    observed = errors / requests
    return Estimate(
        float(observed[0] - observed[1]), float(low[0] - high[1]), float(high[0] - low[1])
    )


def latency_ratio(
    canary: Observations, production: Observations, quantile: float, error: float
) -> Estimate:
    """Canary's latency at a quantile divided by production's."""
    if not canary.latencies.counts or not production.latencies.counts:
        return UNKNOWN
    ours, theirs = (version.latencies.dense(LATENCY_EDGES) for version in (canary, production))
    low, high = quantile_bounds(ours, LATENCY_EDGES, quantile, error / 2)
    their_low, their_high = quantile_bounds(theirs, LATENCY_EDGES, quantile, error / 2)
    value = observed_quantile(ours, quantile) / observed_quantile(theirs, quantile)
    return Estimate(
        value,
        low / their_high,
        high / their_low if their_low > 0 and math.isfinite(high) else None,
    )


def observed_quantile(counts: Counts, quantile: float) -> float:
    """A quantile of latencies in milliseconds, interpolated within its bin on a logarithmic scale."""
    below = np.cumsum(counts)
    position = quantile * below[-1]
    index = int(np.searchsorted(below, position))
    inner = min(max(index, 1), LATENCY_EDGES.size - 1)
    start, end = LATENCY_EDGES[inner - 1], LATENCY_EDGES[inner]
    part = (position - (below[index] - counts[index])) / counts[index]
    return float(start * (end / start) ** part)


def score_ks(canary: Observations, production: Observations, error: float) -> Estimate:
    """Kolmogorov-Smirnov distance of the scores, over the bins' edges.

    The distance is the largest difference of two shares, one pair an edge. The error is split over all edges of both
    versions, so every pair's intervals hold together.
    """
    if not canary.scores.counts or not production.scores.counts:
        return UNKNOWN
    below = [np.cumsum(side.dense(SCORE_EDGES))[:-1] for side in (canary.scores, production.scores)]
    # Edges between which nobody has a score all say the same.
    _, different = np.unique(np.stack(below), axis=1, return_index=True)
    ours, theirs = (side[different] for side in below)
    n, m = canary.scores.total, production.scores.total
    split = error / 2 / SCORE_EDGES.size
    low, high, their_low, their_high = _bounds_of_both(ours, n, theirs, m, split)
    apart = np.maximum(low - their_high, their_low - high)
    widest = np.maximum(high - their_low, their_high - low)
    return Estimate(
        float(np.abs(ours / n - theirs / m).max()),
        max(0.0, float(apart.max())),
        min(1.0, float(widest.max())),
    )


def score_psi(canary: Observations, production: Observations, error: float) -> Estimate:
    """Population stability index of the scores: the sum over groups of (p - q) log(p / q).

    The groups are tenths of production's scores, as far as bins allow. They are chosen after looking, so the error is
    split over every run of neighboring bins that could have become a group. Each term is smallest and largest at the
    ends of the two shares' intervals; the sums of these bound the index.
    """
    if not canary.scores.counts or not production.scores.counts:
        return UNKNOWN
    ours, theirs = _grouped(canary.scores, production.scores)
    bins = SCORE_EDGES.size + 1
    split = error / 2 / (bins * (bins + 1) / 2)
    n, m = canary.scores.total, production.scores.total
    low, high, their_low, their_high = _bounds_of_both(ours, n, theirs, m, split)
    nearest = np.where(
        low > their_high,
        _term(low, their_high),
        np.where(high < their_low, _term(high, their_low), 0.0),
    )
    farthest = np.maximum(_term(high, their_low), _term(low, their_high))
    upper = float(farthest.sum())
    # A group that one version never hit must not make the observed value infinite.
    p, q = ((side + 0.5) / (side.sum() + 0.5 * side.size) for side in (ours, theirs))
    return Estimate(
        float(_term(p, q).sum()), float(nearest.sum()), upper if math.isfinite(upper) else None
    )


def score_mean(
    canary: Observations, production: Observations, error: float, tuned_for: int
) -> Estimate:
    """Relative difference of the mean scores: 0.2 is a fifth more than production's."""
    sides = (canary.score_moments, production.score_moments)
    if min(side.count for side in sides) < LEAST_FOR_A_MEAN or sides[1].mean == 0:
        return UNKNOWN
    (low, high), (their_low, their_high) = (_mean(side, error / 2, tuned_for) for side in sides)
    return Estimate(
        sides[0].mean / sides[1].mean - 1,
        max(low, 0.0) / their_high - 1,
        high / their_low - 1 if their_low > 0 else None,
    )


def calibration_difference(
    canary: Observations, production: Observations, error: float, tuned_for: int
) -> Estimate:
    """How much further the canary's mean score is from the share of claims than production's.

    Calibration in the large: of each version the absolute mean of score less label; canary's less production's.
    """
    sides = (canary.residuals, production.residuals)
    if min(side.count for side in sides) < LEAST_FOR_A_MEAN:
        return UNKNOWN
    ours, theirs = (_absolute(*_mean(side, error / 2, tuned_for)) for side in sides)
    value = abs(sides[0].mean) - abs(sides[1].mean)
    return Estimate(value, ours[0] - theirs[1], ours[1] - theirs[0])


def _bounds_of_both(
    ours: Counts, n: int, theirs: Counts, m: int, error: float
) -> tuple[Floats, Floats, Floats, Floats]:
    trials = np.repeat([n, m], [ours.size, theirs.size])
    low, high = share_bounds(np.concatenate([ours, theirs]), trials, error)
    cut = ours.size
    return low[:cut], high[:cut], low[cut:], high[cut:]


def _grouped(canary: Histogram, production: Histogram) -> tuple[Counts, Counts]:
    ours, theirs = canary.dense(SCORE_EDGES), production.dense(SCORE_EDGES)
    below = np.cumsum(theirs)
    ends = np.searchsorted(below, below[-1] * np.arange(1, _GROUPS) / _GROUPS)
    starts = np.unique(np.concatenate([[0], ends + 1]))
    starts = starts[starts < theirs.size]
    return np.add.reduceat(ours, starts), np.add.reduceat(theirs, starts)


def _term(p: Floats, q: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p == q, 0.0, (p - q) * np.log(p / q))


def _mean(values: Moments, error: float, tuned_for: int) -> tuple[float, float]:
    margin = mean_margin(values.variance, values.count, error, tuned_for)
    return values.mean - margin, values.mean + margin


def _absolute(low: float, high: float) -> tuple[float, float]:
    nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return nearest, max(abs(low), abs(high))
