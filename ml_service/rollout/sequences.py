"""Confidence sequences: intervals that hold at every look at once, however often and whenever somebody looks.

``P(there is a time at which the true value is outside) <= error``. So a decision may be made at any look, and the next
look may depend on the last. Only totals are needed, never the order in which values came.

All of it takes requests as independent of each other.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, expit, logit, xlog1py, xlogy

from insurance_claims.monitoring.observations import Counts, Floats

_STEPS = 12


def evidence_against(share: ArrayLike, successes: ArrayLike, trials: ArrayLike) -> Floats:
    """Logarithm of a mixture likelihood ratio against a share p; broadcasts.

    Robbins 1970 ("Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics
    41, section 3, the method of mixtures), with Jeffreys' prior Beta(1/2, 1/2) as the mixture: after S successes and F
    failures

        M = B(S + 1/2, F + 1/2) / (B(1/2, 1/2) p^S (1 - p)^F)

    is a nonnegative martingale that begins at 1 when the share is p. By Ville's inequality (1939) it ever reaches
    1/error with probability error at most. Nothing is approximated.
    """
    s, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    mixed = betaln(s + 0.5, n - s + 0.5) - math.log(math.pi)
    return np.asarray(mixed - xlogy(s, share) - xlog1py(n - s, -np.asarray(share, dtype=float)))


def share_bounds(successes: ArrayLike, trials: ArrayLike, error: float) -> tuple[Floats, Floats]:
    """Both ends of the confidence sequence of a share: every p against which the evidence stays below 1/error.

    Args:
        successes: how often it happened, shape (k,).
        trials: out of how many, shape (k,) or a number.
        error: that the share is ever outside, on either side.
    """
    s = np.atleast_1d(np.asarray(successes, dtype=np.float64))
    n = np.broadcast_to(np.asarray(trials, dtype=np.float64), s.shape)
    f = n - s
    # In log odds the evidence is convex, so Newton's method walks to each root from outside and never passes it:
    # stopped at any step it errs towards the wider interval.
    allowed = math.log(1 / error) + math.log(math.pi) - betaln(s + 0.5, f + 0.5)
    middle = (s + 0.5) / (n + 1)
    margin = np.sqrt(2 * math.log(n.max(initial=1) / error) / ((n + 1) * middle * (1 - middle)))
    odds = logit(middle) + np.stack([-margin, margin])
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_STEPS):
            share = expit(odds)
            excess = n * np.logaddexp(0, odds) - s * odds - allowed
            odds = odds - excess / (n * share - s)
    low, high = expit(odds)
    return np.where(s > 0, low, 0.0), np.where(f > 0, high, 1.0)


def quantile_bounds(
    counts: Counts, edges: Floats, quantile: float, error: float
) -> tuple[float, float]:
    """Both ends of the confidence sequence of a quantile of binned values; 0 and infinity where there is none yet.

    As in Howard and Ramdas 2022 ("Sequential estimation of quantiles", Bernoulli 28, section 2) the quantile is the
    value below which a share of ``quantile`` falls, so a bound on that share is one on the quantile. Their bound on the
    share is replaced by ``evidence_against``: an edge below which too few values fall for any share of ``quantile`` is
    below the quantile, one below which too many fall is above. Bins only widen the interval, by one bin at most.

    Args:
        counts: of bins, shape (edges + 1,).
        edges: between bins, growing, above 0.
        quantile: 0 to 1.
        error: that the quantile is ever outside, on either side.
    """
    trials = int(counts.sum())
    below = np.cumsum(counts[:-1])
    shown = evidence_against(quantile, below, trials) >= math.log(1 / error)
    lower = np.flatnonzero(shown & (below < quantile * trials))
    upper = np.flatnonzero(shown & (below > quantile * trials))
    return (
        float(edges[lower[-1]]) if lower.size else 0.0,
        float(edges[upper[0]]) if upper.size else math.inf,
    )


def mean_margin(variance: float, count: int, error: float, tuned_for: int) -> float:
    """How far the confidence sequence of a mean reaches to each side of the observed mean.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas ("Time-uniform central limit
    theory and asymptotic confidence sequences", Annals of Statistics 52, 2024; Theorem 2.2):

        s sqrt(2 (n r^2 + 1) / (n^2 r^2) log(sqrt(n r^2 + 1) / error))

    It rests on the central limit theorem, so it may be used from some hundreds of values on. ``r`` makes it tightest
    at ``tuned_for`` values; it has to be fixed before the first look.

    Args:
        variance: of the values, ``s^2``.
        count: of the values, ``n``; at least 1.
        error: that the mean is ever outside, on either side.
        tuned_for: number of values.
    """
    spent = -2 * math.log(error)
    r2 = (spent + math.log1p(spent)) / tuned_for
    scale = count * r2 + 1
    reach = 2 * scale / (count**2 * r2) * math.log(math.sqrt(scale) / error)
    return math.sqrt(variance * reach)
