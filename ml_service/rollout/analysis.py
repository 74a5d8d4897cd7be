"""Is the canary as good as production? Healthy, unhealthy, or not enough evidence, with figures and words.

- Harm has to be shown: the whole interval of one figure lies beyond its limit.
- Health has to be shown too: the whole interval of every figure lies within its limit (non-inferiority).
- Anything else is not enough evidence, and so is too little traffic.

The plan's ``alpha`` is split evenly over stages and metrics (Bonferroni), and the intervals hold at every look at once
(``sequences``). So a canary within all limits is called unhealthy at any look of a whole rollout with probability at
most alpha, and one beyond a limit passes a stage with probability at most alpha / (stages x metrics).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from insurance_claims.monitoring.observations import Observations
from ml_service.rollout.comparison import (
    Estimate,
    calibration_difference,
    error_rate_difference,
    latency_ratio,
    score_ks,
    score_mean,
    score_psi,
)
from ml_service.rollout.plan import QUANTILES, Plan, Stage

ALL_FAILED = 10
"""So many requests, all failed, while production answered some: the canary is dead."""


class Verdict(StrEnum):
    """What a look at the window says."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure against its limit.

    Attributes:
        metric: its name.
        estimate: with its confidence sequence.
        limit: largest value allowed.
        either_way: whether the limit's negative bounds it from below too.
        needed: whether a stage cannot be passed without it.
    """

    metric: str
    estimate: Estimate
    limit: float
    either_way: bool = False
    needed: bool = True

    @property
    def harmful(self) -> bool:
        """The whole interval is beyond the limit."""
        low, high = self.estimate.low, self.estimate.high
        above = low is not None and low > self.limit
        below = high is not None and high < -self.limit
        return above or (self.either_way and below)

    @property
    def within(self) -> bool:
        """The whole interval is within the limit."""
        low, high = self.estimate.low, self.estimate.high
        if high is None or high > self.limit:
            return False
        return not self.either_way or (low is not None and low >= -self.limit)

    def describe(self) -> str:
        """One line for a person."""
        if self.estimate.value is None:
            return f"{self.metric}: not known yet (limit {self.described_limit()})"
        return f"{self.metric}: {self.described_estimate('; limit ' + self.described_limit())}"

    def described_estimate(self, more: str = "") -> str:
        """The value and its interval, and what else is to stand in the brackets."""
        if self.estimate.value is None:
            return "not known yet"
        low, high = (
            "any" if end is None else self._text(end)
            for end in (self.estimate.low, self.estimate.high)
        )
        return f"{self._text(self.estimate.value)} ({low} to {high}{more})"

    def described_limit(self) -> str:
        """The limit, with its sign where it bounds either way."""
        return f"{'+-' if self.either_way else ''}{self._text(self.limit)}"

    def _text(self, value: float) -> str:
        if self.metric.startswith("latency"):
            return f"{value:.2f} x"
        if self.metric.startswith("score mean"):
            return f"{value:.1%}"
        if self.metric.startswith("error"):
            return f"{value:.2%}"
        return f"{value:.3f}"


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one look found.

    Attributes:
        verdict: in one word.
        reasons: why, in words; of an unhealthy canary only what is harmful.
        findings: every figure that was judged.
        canary_requests: seen in the window.
        production_requests: seen in the window.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    canary_requests: int
    production_requests: int


def compare(
    canary: Observations,
    production: Observations,
    plan: Plan,
    stage: Stage,
    *,
    same_time: bool = True,
) -> Analysis:
    """Compare two versions.

    Args:
        canary: observed since the stage began.
        production: observed over the same time, or in the stage before where it has no traffic any more.
        plan: its limits and alpha.
        stage: how many requests it takes.
        same_time: whether both were observed over the same time. Where not, scores are left out: other hours have
            other customers.
    """
    findings = _findings(canary, production, plan, stage, same_time)
    # What production did before does not grow any more: its interval alone says whether it was enough.
    counted = {"canary": canary, **({"production": production} if same_time else {})}
    lacking = tuple(
        f"{name} answered {seen.requests:,} of at least {stage.least_requests:,} requests"
        for name, seen in counted.items()
        if seen.requests < stage.least_requests
    )
    verdict, reasons = _judge(canary, production, findings, lacking)
    return Analysis(verdict, reasons, findings, canary.requests, production.requests)


def _findings(
    canary: Observations, production: Observations, plan: Plan, stage: Stage, same_time: bool
) -> tuple[Finding, ...]:
    limits, error = plan.limits, plan.error_of_each_figure
    least = stage.least_requests
    pair = (canary, production)
    found: list[Finding] = []
    if limits.error_rate is not None:
        estimate = error_rate_difference(*pair, error)
        found.append(Finding("error rate difference", estimate, limits.error_rate))
    for name, ratio in limits.latency_ratio.items():
        estimate = latency_ratio(*pair, QUANTILES[name], error)
        found.append(Finding(f"latency {name} ratio", estimate, ratio))
    if not same_time:
        return tuple(found)
    if limits.score_psi is not None:
        found.append(Finding("score PSI", score_psi(*pair, error), limits.score_psi))
    if limits.score_ks is not None:
        found.append(Finding("score KS", score_ks(*pair, error), limits.score_ks))
    if limits.score_mean is not None:
        estimate = score_mean(*pair, error, least)
        found.append(Finding("score mean difference", estimate, limits.score_mean, either_way=True))
    if limits.calibration is not None and canary.residuals.count and production.residuals.count:
        estimate = calibration_difference(*pair, error, least)
        # Labels come months after the request: they can show harm, and nobody waits for them.
        found.append(Finding("calibration difference", estimate, limits.calibration, needed=False))
    return tuple(found)


def _judge(
    canary: Observations,
    production: Observations,
    findings: tuple[Finding, ...],
    lacking: tuple[str, ...],
) -> tuple[Verdict, tuple[str, ...]]:
    if canary.requests >= ALL_FAILED and canary.errors == canary.requests:
        if production.errors < production.requests:
            reason = f"all {canary.requests:,} requests to the canary failed, production answers"
            return Verdict.UNHEALTHY, (reason,)
    harmful = tuple(f"{finding.describe()}: too much" for finding in findings if finding.harmful)
    if harmful:
        return Verdict.UNHEALTHY, harmful
    missing = lacking + tuple(
        f"{finding.describe()}: may still be too much"
        for finding in findings
        if finding.needed and not finding.within
    )
    if missing:
        return Verdict.NOT_ENOUGH_EVIDENCE, missing
    return Verdict.HEALTHY, tuple(finding.describe() for finding in findings)
