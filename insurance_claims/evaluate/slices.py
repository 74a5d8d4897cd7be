"""How a challenger does on groups of customers.

A mean over all rows hides a group that is served badly. Every value of a slicing feature is one
slice; slices overlap between features. Small slices say little, and the more slices are looked at
the more of them look bad by chance, so:

- a slice with fewer claims than the minimum is skipped, and listed as skipped;
- intervals are Bonferroni's: with k slices judged each has confidence 1 - (1 - confidence) / k, so
  that a challenger that harms no slice is refused with probability (1 - confidence) / 2 at most;
- a slice counts against the challenger only beyond doubt: its whole interval is below the limit.

The price is the other error: a loss little above the limit in a small slice goes unseen. Each slice
says the loss that would be noticed four times in five.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.evaluate.intervals import Interval, ginis_of, normal_quantile
from insurance_claims.evaluate.metrics import Floats, claims_of, comparable
from insurance_claims.parameters import GateParameters

_POWER = 0.8
_POWER_QUANTILE = normal_quantile(2 * _POWER - 1)


@dataclass(frozen=True, slots=True)
class Slice:
    """One group of rows.

    Attributes:
        feature: that makes the group.
        value: of the feature; -1 is missing.
        rows: on the holdout.
        claims: among them.
        challenger: its Gini; None where the slice was skipped.
        champion: its Gini on the same rows; None without a champion too.
        difference: challenger less champion.
        limit: what the judged interval must not lie below as a whole: ``difference`` with a
            champion, ``challenger`` without.
        noticed: the value of the judged figure that would be refused four times in five.
    """

    feature: str
    value: int
    rows: int
    claims: int
    challenger: Interval | None = None
    champion: Interval | None = None
    difference: Interval | None = None
    limit: float | None = None
    noticed: float | None = None

    @property
    def name(self) -> str:
        """For people: ``ps_car_02_cat = 1``."""
        value = "missing" if self.value == schema.MISSING else str(self.value)
        return f"{self.feature} = {value}"

    @property
    def judged(self) -> Interval | None:
        """The interval that decides; None where the slice was skipped."""
        return self.difference or self.challenger

    @property
    def passed(self) -> bool:
        """Whether the slice does not count against the challenger; a skipped one does not."""
        return self.judged is None or self.limit is None or self.judged.high >= self.limit

    def to_json(self) -> dict[str, Any]:
        """As decision.json holds it."""
        figures = {"challenger": self.challenger, "champion": self.champion}
        return {
            "feature": self.feature,
            "value": self.value,
            "rows": self.rows,
            "claims": self.claims,
            "skipped": self.judged is None,
            "passed": self.passed,
            **{name: found and found.to_json() for name, found in figures.items()},
            "difference": self.difference and self.difference.to_json(),
            "limit": self.limit,
            "noticed": self.noticed,
        }


def judge_slices(
    target: Floats,
    groups: Mapping[str, NDArray[Any]],
    challenger: Floats,
    champion: Floats | None,
    parameters: GateParameters,
) -> tuple[Slice, ...]:
    """Every slice of every slicing feature, in the order of the parameters and then by value.

    Args:
        target: shape (n,).
        groups: for each slicing feature its values, shape (n,).
        challenger: scores, shape (n,).
        champion: scores of the same rows, or None.
        parameters: limits.
    """
    found = [
        (name, int(value), np.asarray(groups[name]) == value)
        for name in parameters.slices
        for value in np.unique(groups[name])
    ]
    # Whatever the parameters allow, an interval takes rows that differ.
    large = [
        claims_of(target[mask]) >= parameters.minimum_slice_claims and comparable(target[mask])
        for *_, mask in found
    ]
    confidence = 1 - (1 - parameters.confidence) / max(1, sum(large))
    results = []
    for (name, value, mask), judged in zip(found, large, strict=True):
        counts = Slice(name, value, int(mask.sum()), claims_of(target[mask]))
        if judged:
            models = [challenger[mask]] + ([] if champion is None else [champion[mask]])
            counts = _judge_slice(counts, target[mask], models, confidence, parameters)
        results.append(counts)
    return tuple(results)


def _judge_slice(
    counts: Slice,
    target: Floats,
    models: list[Floats],
    confidence: float,
    parameters: GateParameters,
) -> Slice:
    ginis = ginis_of(target, models)
    compared = len(models) == 2
    # Without a champion: no group may be ordered the wrong way round.
    limit = -parameters.maximum_slice_loss if compared else 0.0
    error = ginis.difference_error(0, 1) if compared else ginis.standard_error(0)
    return Slice(
        counts.feature,
        counts.value,
        counts.rows,
        counts.claims,
        challenger=ginis.interval(0, confidence),
        champion=ginis.interval(1, confidence) if compared else None,
        difference=ginis.difference(0, 1, confidence) if compared else None,
        limit=limit,
        noticed=limit - (normal_quantile(confidence) + _POWER_QUANTILE) * error,
    )
