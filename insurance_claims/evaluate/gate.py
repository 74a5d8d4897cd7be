"""The gate: is a challenger good enough, and better than the champion?

Pure: scores in, a decision with its reasons out. The rules, the reasoning behind them and how often
they err are in docs/gate.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError, ModelError
from insurance_claims.evaluate import checks, metrics
from insurance_claims.evaluate.checks import Check
from insurance_claims.evaluate.intervals import (
    Interval,
    calibration_interval,
    ginis_of,
    mean_interval,
)
from insurance_claims.evaluate.metrics import Floats
from insurance_claims.evaluate.slices import Slice, judge_slices
from insurance_claims.parameters import GateParameters

_GROUNDS = frozenset(
    {"minimum_gini", "better_than_chance", "better_than_naive", "against_champion"}
)
"""What a promotion rests on; the other checks only can refuse."""


@dataclass(frozen=True, slots=True)
class Performance:
    """One model's figures on the holdout; empty where its scores cannot be used.

    Attributes:
        metrics: gini, auc, log_loss, brier and calibration_error, each with its interval; of costs gini, deviance,
            squared_error and calibration_error.
        lift: claim rate or mean cost of each tenth of the rows over that of all, highest scores first.
    """

    metrics: Mapping[str, Interval]
    lift: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """As decision.json holds it."""
        return {
            "metrics": {name: found.to_json() for name, found in self.metrics.items()},
            "lift": list(self.lift),
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate says.

    Attributes:
        checks: every rule that was looked at; unusable scores end the judgement.
        challenger: its figures.
        champion: its figures on the same rows; None without a champion.
        comparison: challenger less champion; None without a champion.
        slices: every group, judged or skipped.
        rows: on the holdout.
        claims: among them.
        latency_ms: median of a single row.
        confidence: of the intervals; those of slices are wider, see ``slices``.
    """

    checks: tuple[Check, ...]
    challenger: Performance
    champion: Performance | None
    comparison: Mapping[str, Interval] | None
    slices: tuple[Slice, ...]
    rows: int
    claims: int
    latency_ms: float
    confidence: float

    @property
    def promote(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why: of a refusal all that failed, of a promotion what it rests on."""
        if self.promote:
            return tuple(check.reason for check in self.checks if check.name in _GROUNDS)
        return tuple(check.reason for check in self.checks if not check.passed)

    def to_json(self) -> dict[str, Any]:
        """decision.json, but for what only files and the registry know: identities."""
        compared = self.comparison
        return {
            "decision": "promote" if self.promote else "refuse",
            "reasons": list(self.reasons),
            "confidence": self.confidence,
            "checks": [check.to_json() for check in self.checks],
            "challenger": {**self.challenger.to_json(), "latency_ms": self.latency_ms},
            "champion": self.champion and self.champion.to_json(),
            "comparison": compared and {name: item.to_json() for name, item in compared.items()},
            "slices": [item.to_json() for item in self.slices],
            "holdout": {"rows": self.rows, "claims": self.claims},
        }


def judge(
    target: ArrayLike,
    groups: Mapping[str, NDArray[Any]],
    challenger_scores: ArrayLike,
    champion_scores: ArrayLike | None,
    latency_ms: float,
    parameters: GateParameters,
    naive: float | None = None,
) -> Decision:
    """Hold a challenger against the limits and, where there is one, against the champion.

    Args:
        target: of the holdout's rows, shape (n,).
        groups: values of every feature in ``parameters.slices``, each of shape (n,).
        challenger_scores: probabilities of a claim, or expected costs, shape (n,). Whatever is wrong with the values
            is a refusal, not an error.
        champion_scores: the champion's on the same rows, or None where there is no champion.
        latency_ms: median time of scoring one row.
        parameters: limits.
        naive: the forecast that takes no model, where later periods are forecast.

    Raises:
        DataError: the holdout is not what it has to be.
        ModelError: the champion's scores cannot be, so nothing can be compared.
    """
    y, _ = metrics.checked(target, target)
    challenger = np.asarray(challenger_scores, dtype=np.float64)
    if challenger.shape != y.shape:
        raise DataError(f"the holdout has {y.size:,} rows, {challenger.size:,} were scored")
    champion = None if champion_scores is None else _champion(y, champion_scores)
    claims = metrics.claims_of(y)
    # Costs can be told apart where every row has some.
    others = y.size - claims if schema.PROBLEM.facts.binary else y.size
    confidence = parameters.confidence
    found = [
        checks.enough_claims(claims, others, parameters),
        checks.usable_scores(challenger),
    ]
    measurable = {
        "challenger": challenger if checks.broken_scores(challenger) is None else None,
        "champion": champion,
    }
    models = {name: s for name, s in measurable.items() if s is not None and metrics.comparable(y)}
    ginis = ginis_of(y, list(models.values())) if models else None
    comparison = None
    slices: tuple[Slice, ...] = ()
    if ginis is not None and all(check.passed for check in found):
        gini = ginis.interval(0, confidence)
        found += [
            checks.minimum_gini(gini, parameters),
            checks.better_than_chance(gini, parameters),
            checks.expected_gini(gini, parameters),
            checks.plausible_gini(gini, parameters),
            checks.claim_rate(y, challenger, parameters),
            checks.calibration(y, challenger, parameters),
        ]
        if naive is not None:
            found.append(_against_naive(y, challenger, naive, parameters))
        if champion is None:
            found.append(checks.no_champion())
        else:
            difference = ginis.difference(0, 1, confidence)
            comparison = _compare(y, challenger, champion, difference, confidence)
            same = bool(np.array_equal(challenger, champion))
            found.append(checks.against_champion(difference, same, parameters))
        slices = judge_slices(y, groups, challenger, champion, parameters)
        found += [
            checks.worst_slice(slices, parameters),
            checks.latency(latency_ms, parameters),
        ]
    performances = {
        name: _performance(y, scores, ginis.interval(index, confidence), confidence)
        for index, (name, scores) in enumerate(models.items())
        if ginis is not None
    }
    return Decision(
        checks=tuple(found),
        challenger=performances.get("challenger", Performance({}, ())),
        champion=performances.get("champion"),
        comparison=comparison,
        slices=slices,
        rows=y.size,
        claims=claims,
        latency_ms=latency_ms,
        confidence=confidence,
    )


def _champion(target: Floats, scores: ArrayLike) -> Floats:
    champion = np.asarray(scores, dtype=np.float64)
    if champion.shape != target.shape:
        raise DataError(
            f"the holdout has {target.size:,} rows, the champion scored {champion.size:,}"
        )
    broken = checks.broken_scores(champion)
    if broken is not None:
        raise ModelError(f"the champion cannot be compared with: {broken}")
    return champion


def _against_naive(
    target: Floats, scores: Floats, naive: float, parameters: GateParameters
) -> Check:
    loss = next(iter(metrics.losses().values()))
    gained = loss(target, scores) - loss(target, np.full(target.size, naive))
    difference = mean_interval(gained, parameters.confidence)
    return checks.better_than_naive(difference, naive, parameters)


def _performance(target: Floats, scores: Floats, gini: Interval, confidence: float) -> Performance:
    table = metrics.calibration_table(target, scores)
    figures = {"gini": gini}
    if schema.PROBLEM.facts.binary:
        auc = ((figure + 1) / 2 for figure in (gini.value, gini.low, gini.high))
        figures["auc"] = Interval(*auc)
    for name, loss in metrics.losses().items():
        figures[name] = mean_interval(loss(target, scores), confidence)
    figures["calibration_error"] = calibration_interval(table, confidence)
    return Performance(
        metrics=figures,
        lift=tuple(float(lift) for lift in metrics.lift_by_decile(target, scores)),
    )


def _compare(
    target: Floats, challenger: Floats, champion: Floats, gini: Interval, confidence: float
) -> dict[str, Interval]:
    return {
        "gini_difference": gini,
        **{
            f"{name}_difference": mean_interval(
                loss(target, challenger) - loss(target, champion), confidence
            )
            for name, loss in metrics.losses().items()
        },
    }
