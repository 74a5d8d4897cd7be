"""The moves that looks and people share: into a stage, past it, and back. Pure, and nothing is done here."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from ml_service.platforms.base import Routing
from ml_service.rollout.plan import Plan
from ml_service.rollout.state import (
    Outcome,
    Phase,
    Promote,
    Record,
    Restore,
    Rollout,
    Route,
    Transition,
)

ITSELF = "rollout"
"""Who decided, where no person did."""

WATCHED = (Phase.STAGE, Phase.PAUSED)
"""Phases in which the canary has traffic and is compared."""


def stage_routing(plan: Plan, production: int, canary: int, stage: int) -> Routing:
    """Which version answers which requests in a stage."""
    share = plan.stages[stage].share
    if plan.shadow:
        return Routing({production: 100}, {canary: share}, plan.sticky_header)
    split = {production: 100 - share, canary: share}
    traffic = {version: part for version, part in split.items() if part}
    return Routing(traffic, sticky_header=plan.sticky_header)


def enter(rollout: Rollout, stage: int, who: str, reason: str, now: datetime) -> Rollout:
    """Begin a stage: first its traffic, then its time."""
    plan = rollout.plan
    entered = replace(
        rollout,
        phase=Phase.STAGE,
        stage=stage,
        observing_since=None,
        paused_since=None,
        # Whether a platform can split as planned shows at once; later it is only a matter of trying again.
        deadline=now
        + timedelta(minutes=plan.stages[stage].most_minutes if stage else plan.start_minutes),
        window=None,
        analysis=None,
        todo=(Route(stage_routing(plan, rollout.production, rollout.canary, stage)),),
    )
    return noted(entered, who, reason, now)


def pass_stage(rollout: Rollout, who: str, reason: str, now: datetime) -> Rollout:
    """Go to the next stage; after the last one promote, or end the comparison of a shadow."""
    if rollout.stage + 1 < len(rollout.plan.stages):
        reference = rollout.window.of(rollout.production) if rollout.window else None
        return enter(replace(rollout, reference=reference), rollout.stage + 1, who, reason, now)
    why = f"rollout {rollout.id}: {reason}"
    before, after = rollout.production, rollout.canary
    record = Record(event_key(rollout), who, "promoted", reason, before, after)
    if rollout.plan.shadow:
        ended = replace(
            rollout,
            phase=Phase.FINISHING,
            todo=(
                Route(Routing({rollout.production: 100})),
                replace(record, what="compared", after=before),
            ),
            outcome=Outcome.COMPARED,
            retained=rollout.canary,
        )
    else:
        ended = replace(
            rollout,
            phase=Phase.PROMOTING,
            todo=(Route(Routing({rollout.canary: 100})), Promote(rollout.canary, why), record),
            outcome=Outcome.PROMOTED,
            retained=rollout.production,
            retained_until=now + timedelta(minutes=rollout.plan.keep_warm_minutes),
        )
    return noted(replace(ended, reason=reason), who, reason, now)


def roll_back(
    rollout: Rollout,
    reason: str,
    now: datetime,
    outcome: Outcome = Outcome.ROLLED_BACK,
    who: str = ITSELF,
) -> Rollout:
    """All traffic to production, and the title; the canary is kept for inspection until the next rollout."""
    moved = replace(
        rollout,
        phase=Phase.ROLLING_BACK,
        todo=(Route(Routing({rollout.production: 100})), *ending(rollout, reason, outcome, who)),
        outcome=outcome,
        reason=reason,
        retained=rollout.canary,
        retained_until=None,
    )
    return noted(moved, who, reason, now)


def ending(
    rollout: Rollout, reason: str, outcome: Outcome, who: str
) -> tuple[Restore | Record, ...]:
    """What is left to do after a canary lost its traffic.

    Registration makes a model that passes the gate the champion. One that production refused must not be what later
    challengers are compared with, and what is deployed next. A shadow was only compared.
    """
    before, after = rollout.canary, rollout.production
    record = Record(event_key(rollout), who, str(outcome), reason, before, after)
    if rollout.plan.shadow:
        return (record,)
    why = f"rollout {rollout.id} of version {before}: {outcome}: {reason}"
    return (Restore(after, before, why), record)


def noted(rollout: Rollout, who: str, reason: str, now: datetime) -> Rollout:
    """Add a transition to the history."""
    made = Transition(now, rollout.phase, rollout.stage, who, reason)
    return replace(rollout, history=(*rollout.history, made))


def event_key(rollout: Rollout) -> str:
    """The same for one transition however often its actions are tried, and another for the next."""
    return f"{rollout.id}:{len(rollout.history)}"
