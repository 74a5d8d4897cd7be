"""What each version did, side by side, with the intervals that the comparison is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from insurance_claims.monitoring.observations import LATENCY_EDGES, Moments, Observations
from insurance_claims.schema import PROBLEM
from ml_service.rollout.comparison import LEAST_FOR_A_MEAN, UNKNOWN, Estimate, observed_quantile
from ml_service.rollout.plan import QUANTILES
from ml_service.rollout.sequences import mean_margin, quantile_bounds, share_bounds
from ml_service.rollout.state import Rollout


@dataclass(frozen=True, slots=True)
class Figure:
    """One row for a person: texts, empty where there is nothing to say.

    Attributes:
        name: of the figure.
        production: its value and interval.
        canary: its value and interval.
        compared: the comparison's value and interval.
        limit: of the comparison.
    """

    name: str
    production: str
    canary: str
    compared: str
    limit: str


def figures(rollout: Rollout) -> list[Figure]:
    """The figures of the last look; none where there was no look at this stage yet."""
    window, analysis = rollout.window, rollout.analysis
    if window is None or analysis is None:
        return []
    seen = window.of(rollout.production), window.of(rollout.canary)
    if not seen[0].requests and rollout.reference is not None:
        seen = rollout.reference, seen[1]
    error, least = rollout.plan.error_of_each_figure / 2, rollout.current.least_requests
    answered = (f"{side.requests:,}" for side in seen)
    rows = [Figure("requests", next(answered), next(answered), "", f"{least:,} or more")]
    for finding in analysis.findings:
        production, canary = (_own(finding.metric, side, error, least) for side in seen)
        compared = finding.described_estimate()
        rows.append(Figure(finding.metric, production, canary, compared, finding.described_limit()))
    return rows


def _own(metric: str, seen: Observations, error: float, tuned_for: int) -> str:
    """A version's own figure behind a comparison."""
    kind, _, rest = metric.partition(" ")
    if kind == "error":
        return _text(_error_rate(seen, error), "{:.2%}")
    if kind == "latency":
        quantile = next(share for name, share in QUANTILES.items() if rest.startswith(name))
        return _text(_latency(seen, quantile, error), "{:.1f} ms")
    if metric.startswith("score mean"):
        return _text(_mean(seen.score_moments, error, tuned_for), PROBLEM.facts.form)
    if kind == "calibration":
        return _text(_mean(seen.residuals, error, tuned_for), "{:+.3f}")
    return ""


def _text(estimate: Estimate, form: str) -> str:
    if estimate.value is None:
        return "not known yet"
    low, high = (
        "any" if end is None else form.format(end) for end in (estimate.low, estimate.high)
    )
    return f"{form.format(estimate.value)} ({low} to {high})"


def _error_rate(seen: Observations, error: float) -> Estimate:
    if not seen.requests:
        return UNKNOWN
    [low], [high] = share_bounds(np.array([seen.errors]), seen.requests, error)
    return Estimate(seen.errors / seen.requests, float(low), float(high))


def _latency(seen: Observations, quantile: float, error: float) -> Estimate:
    if not seen.latencies.counts:
        return UNKNOWN
    counts = seen.latencies.dense(LATENCY_EDGES)
    low, high = quantile_bounds(counts, LATENCY_EDGES, quantile, error)
    return Estimate(observed_quantile(counts, quantile), low, high if math.isfinite(high) else None)


def _mean(values: Moments, error: float, tuned_for: int) -> Estimate:
    if values.count < LEAST_FOR_A_MEAN:
        return UNKNOWN
    margin = mean_margin(values.variance, values.count, error, tuned_for)
    return Estimate(values.mean, values.mean - margin, values.mean + margin)
