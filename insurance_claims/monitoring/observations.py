"""What is observed of each model version in a window of time: counts that can be added up in any order.

Everything is an integer, so merging is associative and commutative to the last bit, and a window that was written as
JSON and read again is the same window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from insurance_claims import schema
from insurance_claims.errors import ClaimsError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

LATENCY_EDGES: Floats = 0.1 * np.power(1.05, np.arange(284, dtype=np.float64))
"""Milliseconds, 0.1 ms to 99 s, each edge 5% above the one before."""

_FACTS = schema.PROBLEM.facts

SCORE_EDGES: Floats = (
    1 / (1 + np.exp(-np.linspace(-7.0, 7.0, 141, dtype=np.float64)))
    if _FACTS.binary
    else np.geomspace(0.01, 1e6, 141)
)
"""Probabilities, 0.1 apart in log odds, or amounts, each edge 14% above the one before: small ones get bins as fine as
large ones."""

LARGEST_SCORE = min(_FACTS.largest, 1e12)
"""No sound model says more."""

_UNIT = 10**9 if _FACTS.binary else 10**4
_EXACT = 2**36
"""Units whose squares can be added up, two million of them, in two halves of 64 bits."""


class ObservationError(ClaimsError):
    """Something that cannot have been observed."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values fell into which bin; empty bins are left out.

    Bin 0 is below the first edge, bin i from edge i-1 up to but without edge i, the last from the last edge on.
    """

    counts: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: ArrayLike, edges: Floats) -> Histogram:
        """Count values; shape (n,)."""
        bins = np.searchsorted(edges, np.asarray(values, dtype=np.float64), side="right")
        counts = np.bincount(bins)
        return cls({int(index): int(counts[index]) for index in np.flatnonzero(counts)})

    @property
    def total(self) -> int:
        """How many values there were."""
        return sum(self.counts.values())

    def dense(self, edges: Floats) -> Counts:
        """Counts of all bins, shape (edges + 1,)."""
        result = np.zeros(edges.size + 1, dtype=np.int64)
        if self.counts:
            result[list(self.counts)] = list(self.counts.values())
        return result

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(dict(sorted((Counter(self.counts) + Counter(other.counts)).items())))


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squares of values that were rounded to 1e-9, amounts to 1e-4: the unit.

    Attributes:
        count: of values.
        total: of the values, in units.
        squares: of the values' squares, in squared units.
    """

    count: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, values: ArrayLike) -> Moments:
        """Sum up values of at most LARGEST_SCORE either way; shape (n,)."""
        units = np.rint(np.asarray(values, dtype=np.float64) * _UNIT).astype(np.int64)
        if units.size and np.abs(units).max() >= _EXACT:
            return cls(units.size, sum(units.tolist()), sum(unit * unit for unit in units.tolist()))
        # Squares overflow 64 bits when added up: in two halves they do not.
        high, low = np.divmod(units, 2**15)
        squares = (
            int((high * high).sum()) * 2**30
            + int((high * low).sum()) * 2**16
            + int((low * low).sum())
        )
        return cls(units.size, int(units.sum()), squares)

    @property
    def mean(self) -> float:
        """Their mean; 0 of none."""
        return self.total / (self.count * _UNIT) if self.count else 0.0

    @property
    def variance(self) -> float:
        """Their variance with n in the denominator; exactly 0 for equal values."""
        if not self.count:
            return 0.0
        return (self.count * self.squares - self.total**2) / (self.count * _UNIT) ** 2

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )


@dataclass(frozen=True, slots=True)
class Observations:
    """What one model version did.

    Attributes:
        requests: that it was given.
        errors: requests that it failed: 5xx, no answer, or too late. A bad request's 400 is no error of its.
        latencies: of the requests that it answered, over LATENCY_EDGES.
        scores: of the rows that it answered, over SCORE_EDGES.
        score_moments: of the same scores.
        residuals: score less label (0 or 1) of the rows whose label is known by now.
    """

    requests: int = 0
    errors: int = 0
    latencies: Histogram = field(default_factory=Histogram)
    scores: Histogram = field(default_factory=Histogram)
    score_moments: Moments = field(default_factory=Moments)
    residuals: Moments = field(default_factory=Moments)

    def __post_init__(self) -> None:
        if not 0 <= self.errors <= self.requests:
            raise ObservationError(f"{self.errors} errors of {self.requests} requests cannot be")

    @classmethod
    def of(
        cls,
        latencies_ms: ArrayLike,
        scores: ArrayLike,
        errors: int = 0,
        labelled_scores: ArrayLike = (),
        labels: ArrayLike = (),
    ) -> Observations:
        """Make observations of single values.

        Args:
            latencies_ms: of each answered request, shape (n,).
            scores: of each answered row, shape (m,).
            errors: number of failed requests.
            labelled_scores: scores whose label is known, shape (k,).
            labels: what became of them, shape (k,).

        Raises:
            ObservationError: a latency is negative, or a score or label is not between 0 and LARGEST_SCORE. An answer
                with such a score has to be counted as an error.
        """
        latency = np.asarray(latencies_ms, dtype=np.float64)
        score = np.asarray(scores, dtype=np.float64)
        known = np.asarray(labelled_scores, dtype=np.float64)
        label = np.asarray(labels, dtype=np.float64)
        if not (np.isfinite(latency) & (latency >= 0)).all():
            raise ObservationError("a latency is negative or no number: milliseconds are expected")
        for name, values in (("score", score), ("labelled score", known), ("label", label)):
            if not ((values >= 0) & (values <= LARGEST_SCORE)).all():
                raise ObservationError(
                    f"a {name} is not between 0 and {LARGEST_SCORE:g}: count its answer as an error"
                )
        if known.shape != label.shape:
            raise ObservationError(f"{known.size} labelled scores have {label.size} labels")
        return cls(
            requests=latency.size + errors,
            errors=errors,
            latencies=Histogram.of(latency, LATENCY_EDGES),
            scores=Histogram.of(score, SCORE_EDGES),
            score_moments=Moments.of(score),
            residuals=Moments.of(known - label),
        )

    def __add__(self, other: Observations) -> Observations:
        return Observations(
            self.requests + other.requests,
            self.errors + other.errors,
            self.latencies + other.latencies,
            self.scores + other.scores,
            self.score_moments + other.score_moments,
            self.residuals + other.residuals,
        )


@dataclass(frozen=True, slots=True)
class Window:
    """What each model version did between two moments.

    Attributes:
        start: first moment, UTC.
        end: last moment, UTC.
        versions: model version to its observations.
    """

    start: datetime
    end: datetime
    versions: Mapping[int, Observations]

    def of(self, version: int) -> Observations:
        """A version's observations; nothing where it was not seen."""
        return self.versions.get(version, Observations())

    def __add__(self, other: Window) -> Window:
        both = sorted({*self.versions, *other.versions})
        merged = {version: self.of(version) + other.of(version) for version in both}
        return Window(min(self.start, other.start), max(self.end, other.end), merged)
