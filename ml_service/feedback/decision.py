"""Whether to retrain: rules over what was seen, and nothing else. Pure: the clock is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from insurance_claims.parameters import MonitoringParameters
from ml_service.feedback.windows import Outcome, WindowReport

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Labelled:
    """What there is to learn from.

    Attributes:
        known: rows of the data version that holds all that is known.
        new: labelled rows that were scored and are not in it yet.
        claims: of the new ones.
    """

    known: int
    new: int
    claims: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say.

    Attributes:
        reasons: to retrain, in words; empty where there is none.
        held_back: why it is not done in spite of reasons; empty where nothing is in the way.
    """

    reasons: tuple[str, ...]
    held_back: str

    @property
    def retrain(self) -> bool:
        """Whether to."""
        return bool(self.reasons) and not self.held_back

    def describe(self) -> str:
        """In a few lines."""
        if not self.reasons:
            return "no retraining is needed"
        lines = [f"- {reason}" for reason in self.reasons]
        head = f"retraining has to wait: {self.held_back}" if self.held_back else "retraining"
        return "\n".join([f"{head}, because:", *lines])


def decide(
    windows: Sequence[WindowReport],
    outcomes: Sequence[Outcome],
    labelled: Labelled,
    last: datetime | None,
    limits: MonitoringParameters,
    now: datetime,
) -> Decision:
    """Apply the rules.

    Args:
        windows: of the version that is judged, the newest ``limits.windows`` of them count.
        outcomes: of the same version, in order of time; the newest ``limits.windows`` with enough claims count.
        labelled: what there is to learn from.
        last: when it was last retrained; None where it never was.
        limits: of monitoring.
        now: this moment, UTC.
    """
    found = (_drift(windows, limits), _performance(outcomes, limits), _new_rows(labelled, limits))
    reasons = tuple(reason for reason in found if reason)
    return Decision(reasons, _held_back(labelled, last, limits, now) if reasons else "")


def _drift(windows: Sequence[WindowReport], limits: MonitoringParameters) -> str:
    newest = sorted(windows, key=lambda window: window.since)[-limits.windows :]
    bad = [window for window in newest if window.drifted]
    if len(bad) < limits.bad_windows:
        return ""
    worst = sorted(bad[-1].drifted, key=lambda item: -item.psi.value)[:_SHOWN]
    named = ", ".join(f"{item.feature} ({item.reasons[0]})" for item in worst)
    more = len(bad[-1].drifted) - len(worst)
    return f"drift in {len(bad)} of the newest {len(newest)} windows: {named}" + (
        f" and {more} more" if more else ""
    )


def _performance(outcomes: Sequence[Outcome], limits: MonitoringParameters) -> str:
    judged = [item for item in outcomes if item.performance.claims >= limits.minimum_claims]
    newest = judged[-limits.windows :]
    bad = [item for item in newest if item.shortfalls]
    if len(bad) < limits.bad_windows:
        return ""
    return f"performance in {len(bad)} of the newest {len(newest)} windows: " + "; ".join(
        bad[-1].shortfalls
    )


def _new_rows(labelled: Labelled, limits: MonitoringParameters) -> str:
    if labelled.new < limits.new_rows * labelled.known or not labelled.new:
        return ""
    return f"{labelled.new:,} new labelled rows beside {labelled.known:,} known ones"


def _held_back(
    labelled: Labelled, last: datetime | None, limits: MonitoringParameters, now: datetime
) -> str:
    if labelled.claims < limits.minimum_claims:
        return (
            f"{labelled.claims:,} claims are known of rows that are new, and {limits.minimum_claims:,} are needed to "
            "learn anything: add labels with `mlops labels add FILE`"
        )
    if last is None:
        return ""
    until = last + timedelta(hours=limits.cooldown_hours)
    # A clock that was set back must not put it off for longer than that.
    if last <= now < until:
        return f"the last one was at {last:%Y-%m-%d %H:%M} UTC, and the next may be at {until:%Y-%m-%d %H:%M}"
    return ""
