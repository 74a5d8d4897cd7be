"""What versions did, as series to draw: pure functions from cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from insurance_claims import schema
from insurance_claims.monitoring.observations import LATENCY_EDGES, SCORE_EDGES, Floats
from ml_service.monitoring.dashboard.cells import Cell
from ml_service.monitoring.dashboard.span import Span, milliseconds

LATENCIES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
BAND = {"score_low": 0.1, "score_high": 0.9}
"""The middle four fifths of the scores."""

_LATENCY_BOUNDS = np.concatenate([[0.0], LATENCY_EDGES, LATENCY_EDGES[-1:]])
_LARGEST = 1.0 if schema.PROBLEM.facts.binary else SCORE_EDGES[-1]
_SCORE_BOUNDS = np.concatenate([[0.0], SCORE_EDGES, [_LARGEST]])


def scoring(cells: Iterable[Cell], span: Span, environment: str | None) -> dict[str, Any]:
    """Everything that is drawn of requests and scores.

    Args:
        cells: in any order.
        span: what is shown.
        environment: which; None for the one with the most requests.

    Returns:
        ``environments``, the ``environment`` that is shown, ``times`` of the steps in milliseconds since 1970, the
        ``edges`` of the histograms of scores, and ``versions``: model version to its series, one value a step and none
        where there were no requests, its ``histogram`` over all steps, and its ``totals``.
    """
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.environment, []).append(cell)
    busiest = max(
        found, key=lambda name: sum(cell.observations.requests for cell in found[name]), default=""
    )
    chosen = busiest if environment is None else environment
    versions: dict[int, _Version] = {}
    for cell in found.get(chosen, ()):
        if cell.version not in versions:
            versions[cell.version] = _Version(span.steps)
        versions[cell.version].add(span.index(cell.time), cell)
    everything = sum((version.requests for version in versions.values()), np.zeros(span.steps))
    return {
        "environments": sorted(found),
        "environment": chosen,
        "since": milliseconds(span.since),
        "until": milliseconds(span.until),
        "times": span.times(),
        "edges": SCORE_EDGES,
        "versions": {
            str(number): versions[number].content(span, everything) for number in sorted(versions)
        },
    }


class _Version:
    """One version, added up by step."""

    def __init__(self, steps: int) -> None:
        self.requests = np.zeros(steps)
        self._errors = np.zeros(steps)
        self._score_sum = np.zeros(steps)
        self._score_count = np.zeros(steps)
        self._latencies = np.zeros((steps, LATENCY_EDGES.size + 1))
        self._scores = np.zeros((steps, SCORE_EDGES.size + 1))
        self._refused: Counter[str] = Counter()

    def add(self, step: int, cell: Cell) -> None:
        """Add what is in a cell."""
        seen = cell.observations
        moments = seen.score_moments
        self.requests[step] += seen.requests
        self._errors[step] += seen.errors
        self._score_sum[step] += moments.mean * moments.count
        self._score_count[step] += moments.count
        for table, histogram in ((self._latencies, seen.latencies), (self._scores, seen.scores)):
            table[step, list(histogram.counts)] += list(histogram.counts.values())
        self._refused.update(cell.refused)

    def content(self, span: Span, everything: Floats) -> dict[str, Any]:
        """As JSON types and arrays; see ``scoring``."""
        latencies = quantiles(self._latencies, _LATENCY_BOUNDS, list(LATENCIES.values()))
        band = quantiles(self._scores, _SCORE_BOUNDS, list(BAND.values()))
        histogram = self._scores.sum(axis=0)
        return {
            "requests": self.requests / _seconds(span),
            "share": _ratio(100 * self.requests, everything),
            "errors": _ratio(100 * self._errors, self.requests),
            "score_mean": _ratio(self._score_sum, self._score_count),
            **dict(zip(BAND, band, strict=True)),
            **dict(zip(LATENCIES, latencies, strict=True)),
            "histogram": _ratio(100 * histogram, np.full_like(histogram, histogram.sum())),
            "totals": self._totals(),
        }

    def _totals(self) -> dict[str, Any]:
        [latencies] = quantiles(
            self._latencies.sum(axis=0, keepdims=True), _LATENCY_BOUNDS, list(LATENCIES.values())
        ).T
        requests, rows = self.requests.sum(), self._score_count.sum()
        return {
            "requests": int(requests),
            "rows": int(rows),
            "errors": int(self._errors.sum()),
            "refused": dict(self._refused.most_common()),
            "score_mean": self._score_sum.sum() / rows if rows else None,
            **dict(zip(LATENCIES, latencies, strict=True)),
        }


def quantiles(counts: Floats, bounds: Floats, shares: Sequence[float]) -> Floats:
    """Quantiles of histograms, interpolated within their bins.

    Args:
        counts: one histogram a row, shape (n, bins).
        bounds: where each bin begins and the last one ends, shape (bins + 1,).
        shares: from 0 to 1, shape (k,).

    Returns:
        Shape (k, n); not a number where a histogram is empty.
    """
    below = np.cumsum(counts, axis=1)
    rows = np.arange(counts.shape[0])
    result = np.full((len(shares), counts.shape[0]), np.nan)
    for position, share in enumerate(shares):
        wanted = share * below[:, -1]
        bins = np.minimum((below < wanted[:, None]).sum(axis=1), counts.shape[1] - 1)
        inside = counts[rows, bins]
        some = inside > 0
        before = below[rows, bins] - inside
        part = np.divide(wanted - before, inside, out=np.zeros_like(wanted), where=some)
        value = bounds[bins] + part * (bounds[bins + 1] - bounds[bins])
        result[position, some] = value[some]
    return result


def _seconds(span: Span) -> Floats:
    """The length of each step; the last one may have only begun."""
    width = span.step.total_seconds()
    lengths = np.full(span.steps, width)
    begun = (span.until - span.since).total_seconds() - (span.steps - 1) * width
    # A rate over a moment says nothing.
    lengths[-1] = max(begun, width / 2)
    return lengths


def _ratio(of: Floats, by: Floats) -> Floats:
    return np.divide(of, by, out=np.full_like(by, np.nan), where=by > 0)
