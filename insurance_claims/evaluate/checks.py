"""The gate's rules, one function each: a figure, its limit, and a sentence that says both.

A failed check's sentence ends with what to do. docs/gate.md has the reasoning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from insurance_claims import schema
from insurance_claims.evaluate.intervals import Interval, normal_quantile
from insurance_claims.evaluate.metrics import (
    Floats,
    calibration_error_by_chance,
    calibration_table,
)
from insurance_claims.evaluate.slices import Slice
from insurance_claims.parameters import GateParameters


@dataclass(frozen=True, slots=True)
class Check:
    """One rule and how the challenger did.

    Attributes:
        name: of the rule.
        passed: whether the challenger may pass as far as this rule goes.
        value: the figure that was held against the limit; None where there is none.
        limit: of the figure; None where there is none.
        reason: a plain sentence, with what to do where the check failed.
    """

    name: str
    passed: bool
    value: float | None
    limit: float | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As decision.json holds it."""
        return {
            "name": self.name,
            "passed": self.passed,
            "value": self.value,
            "limit": self.limit,
            "reason": self.reason,
        }


def enough_claims(claims: int, others: int, parameters: GateParameters) -> Check:
    """Fewer claims than the minimum decide nothing, however good they look."""
    fewest = min(claims, others)
    limit = parameters.minimum_claims
    if fewest >= limit:
        reason = f"The holdout has {claims:,} rows with a claim, at least {limit:,} are needed."
    else:
        kind = "with" if claims <= others else "without"
        reason = (
            f"The holdout has {fewest:,} rows {kind} a claim, fewer than the {limit:,} that a "
            "decision takes: add data, or make a larger holdout (split.holdout)."
        )
    return Check("enough_claims", fewest >= limit, fewest, limit, reason)


def usable_scores(scores: Floats) -> Check:
    """Scores have to be what the schema's problem has them be, and not all the same."""
    reason = broken_scores(scores)
    if reason is None and float(scores.min()) == float(scores.max()):
        reason = (
            f"Every row got the same score, {scores[0]:.6f}: the model tells no customer from another. "
            "Look at its training log: no round may have helped."
        )
    if reason is None:
        low, high = float(scores.min()), float(scores.max())
        return Check(
            "usable_scores", True, None, None, f"Scores lie between {low:.4f} and {high:.4f}."
        )
    return Check("usable_scores", False, None, None, reason)


def broken_scores(scores: Floats) -> str | None:
    """Why scores are no probabilities, or no costs; None where they are."""
    unknown = int((~np.isfinite(scores)).sum())
    if unknown:
        return (
            f"{unknown:,} of {scores.size:,} scores are not finite numbers: "
            "check the model's objective and its training data."
        )
    facts = schema.PROBLEM.facts
    outside = int(((scores < 0) | (scores > facts.largest)).sum())
    if outside:
        return (
            f"{outside:,} of {scores.size:,} scores lie outside {facts.range} "
            f"(from {scores.min():.4g} to {scores.max():.4g}), so they are no {facts.scores}: "
            f"train with the objective '{facts.lightgbm['objective']}'."
        )
    return None


def minimum_gini(gini: Interval, parameters: GateParameters) -> Check:
    """The absolute floor."""
    limit = parameters.minimum_gini
    passed = gini.value >= limit
    reason = f"Gini {gini.value:.4f} is {'at least' if passed else 'below'} the floor of {limit}"
    if not passed:
        if gini.value < 0:
            reason += ": it orders customers the wrong way round, so check the target's meaning"
        else:
            reason += ": check labels, features and the number of rows it was trained on"
    return Check("minimum_gini", passed, gini.value, limit, reason + ".")


def expected_gini(gini: Interval, parameters: GateParameters) -> Check:
    """Not beyond doubt below what this data gives a sound model.

    The floor has to let a sound model pass on few claims; this rule grows stricter with more of
    them, and then refuses a model that was starved of rows or features.
    """
    limit = parameters.expected_gini
    passed = gini.high >= limit
    if passed:
        reason = (
            f"Gini may well reach the {limit} that is expected of this data "
            f"(its interval ends at {gini.high:.4f})."
        )
    else:
        reason = (
            f"Gini {gini.value:.4f} is beyond doubt below the {limit} that is expected of this data "
            f"(its interval ends at {gini.high:.4f}): check that the model was trained on all rows "
            "and features. Where the data gives no more, lower gate.expected_gini."
        )
    return Check("expected_gini", passed, gini.high, limit, reason)


def better_than_chance(gini: Interval, parameters: GateParameters) -> Check:
    """The floor beyond doubt: however high the figure, a few claims may be luck."""
    passed = gini.low > 0
    confidence = f"{parameters.confidence:.0%}"
    if passed:
        reason = (
            f"Gini is above 0 with {confidence} confidence (the interval begins at {gini.low:.4f})."
        )
    else:
        reason = (
            f"The {confidence} interval of Gini begins at {gini.low:.4f} and has to begin above 0: "
            "the order may be luck. Train a better model or judge it on more claims."
        )
    return Check("better_than_chance", passed, gini.low, 0.0, reason)


def plausible_gini(gini: Interval, parameters: GateParameters) -> Check:
    """Too good to be true: a feature that knows the answer would pass every other check."""
    limit = parameters.maximum_gini
    passed = gini.low <= limit
    if passed:
        reason = f"Gini {gini.value:.4f} is not suspiciously high (limit {limit})."
    else:
        reason = (
            f"Gini {gini.value:.4f} is beyond doubt above {limit}, which claims data does not allow: "
            "look for a feature that knows the outcome. If it is real, raise gate.maximum_gini."
        )
    return Check("plausible_gini", passed, gini.low, limit, reason)


def claim_rate(target: Floats, scores: Floats, parameters: GateParameters) -> Check:
    """Calibration in the large: as many claims, or costs as high, as predicted, but for chance."""
    facts = schema.PROBLEM.facts
    predicted, observed = float(scores.mean()), float(target.mean())
    if facts.binary:
        error = np.sqrt((scores * (1 - scores)).sum()) / scores.size
    else:
        error = (target - scores).std() / np.sqrt(scores.size)
    chance = normal_quantile(parameters.confidence) * float(error)
    limit = parameters.maximum_calibration_error + chance
    off = abs(predicted - observed)
    passed = off <= limit
    reason = (
        f"It predicts {scores.sum():,.0f} {facts.total} where {target.sum():,.0f} happened "
        f"(a {facts.mean} of {predicted:.4f} against {observed:.4f}; "
    )
    reason += f"at most {limit:.4f} apart is allowed)"
    if not passed:
        reason += (
            f": do not weight or resample {facts.sampled} in training, or calibrate the scores"
        )
    return Check("claim_rate", passed, off, limit, reason + ".")


def calibration(target: Floats, scores: Floats, parameters: GateParameters) -> Check:
    """Predicted and observed rates agree from low to high scores, but for chance."""
    table = calibration_table(target, scores)
    mean, deviation = calibration_error_by_chance(table)
    chance = mean + normal_quantile(parameters.confidence) * deviation
    limit = parameters.maximum_calibration_error + chance
    error = table.error
    passed = error <= limit
    reason = (
        f"Calibration error {error:.4f} is {'within' if passed else 'above'} {limit:.4f} "
        f"({parameters.maximum_calibration_error} and the {chance:.4f} that chance may add)"
    )
    if not passed:
        reason += ": see the calibration plot; the model is over- or underfitted, or re-weighted"
    return Check("calibration", passed, error, limit, reason + ".")


def better_than_naive(difference: Interval, naive: float, parameters: GateParameters) -> Check:
    """A forecast has to know more than that the next period will be like the last one.

    Args:
        difference: of the loss, challenger less naive forecast.
        naive: the naive forecast.
        parameters: limits.
    """
    passed = difference.high < 0
    reason = (
        f"The forecast is {'better' if passed else 'not shown to be better'} than the naive one, "
        f"the {naive:,.2f} of the last period known: the difference in deviance is "
        f"{difference.value:+.4f}, {parameters.confidence:.0%} interval "
        f"{difference.low:+.4f} to {difference.high:+.4f}"
    )
    if not passed:
        reason += (
            ", which has to end below 0: levels may have moved since the periods that it was "
            "trained on, or its features tell too little"
        )
    return Check("better_than_naive", passed, difference.high, 0.0, reason + ".")


def no_champion() -> Check:
    """The first model has nobody to beat."""
    reason = "There is no champion yet: the absolute limits decide alone."
    return Check("against_champion", True, None, None, reason)


def against_champion(difference: Interval, same: bool, parameters: GateParameters) -> Check:
    """Better, or not worse, than the champion on the same rows.

    Args:
        difference: Gini, challenger less champion.
        same: whether both gave every row the same score.
        parameters: limits.
    """
    better = parameters.require == "better"
    limit = 0.0 if better else -parameters.margin
    passed = difference.low > limit and not same
    spread = (
        f"the difference in Gini is {difference.value:+.4f}, "
        f"{parameters.confidence:.0%} interval {difference.low:+.4f} to {difference.high:+.4f}"
    )
    if same:
        reason = (
            "The challenger is no better than the champion: it gives every row the score that the champion gives. "
            "Nothing to do: the champion stays."
        )
    elif passed:
        word = "better than" if better else f"not worse (by {parameters.margin} Gini) than"
        reason = f"The challenger is {word} the champion: {spread}."
    elif difference.high < 0:
        reason = (
            f"The challenger is worse than the champion: {spread}, which has to begin above "
            f"{limit:g}. The champion stays; look at what changed in features or parameters."
        )
    else:
        word = "no better than" if better else "not shown to be as good as"
        reason = (
            f"The challenger is {word} the champion: {spread}, which has to begin above "
            f"{limit:g}. The champion stays; a larger improvement or more claims would show it."
        )
    return Check("against_champion", passed, difference.low, limit, reason)


def worst_slice(slices: Sequence[Slice], parameters: GateParameters) -> Check:
    """No group is served worse than allowed, beyond doubt."""
    judged = [(item, item.judged) for item in slices if item.judged is not None]
    skipped = len(slices) - len(judged)
    note = (
        f" {skipped} of {len(slices)} slices have fewer than {parameters.minimum_slice_claims} "
        "claims and were skipped."
        if skipped
        else ""
    )
    if not judged:
        return Check("worst_slice", True, None, None, f"No slice was judged.{note}")
    worst, found = min(judged, key=lambda pair: pair[1].high - (pair[0].limit or 0.0))
    compared = worst.difference is not None
    limit = worst.limit or 0.0
    failed = [item.name for item, _ in judged if not item.passed]
    if compared:
        figure = f"Gini differs from the champion's by {found.value:+.4f}"
    else:
        figure = f"Gini is {found.value:.4f}"
    reason = (
        f"In the worst of {len(judged)} slices, {worst.name} with {worst.claims:,} claims, {figure} "
        f"(interval {found.low:+.4f} to {found.high:+.4f}"
    )
    if failed:
        reason += (
            f"), beyond doubt below {limit:g}. Slices that fail: {', '.join(failed)}. "
            "Look at these customers' rows and features before training again."
        )
    else:
        reason += f"), not beyond doubt below {limit:g}."
    return Check("worst_slice", not failed, found.high, limit, reason + note)


def latency(latency_ms: float, parameters: GateParameters) -> Check:
    """A single row is scored within the budget."""
    limit = parameters.maximum_latency_ms
    passed = latency_ms <= limit
    reason = (
        f"A single row takes {latency_ms:.3f} ms (median), "
        f"{'within' if passed else 'above'} the budget of {limit:g} ms"
    )
    if not passed:
        reason += ": use fewer or smaller trees, or repeat on a machine that is not busy"
    return Check("latency", passed, latency_ms, limit, reason + ".")
