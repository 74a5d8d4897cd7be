"""What people may ask of a rollout: pure functions from its state to the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ml_service.platforms.base import Routing
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.moves import WATCHED, ending, event_key, noted, pass_stage, roll_back
from ml_service.rollout.state import Outcome, Phase, Promote, Record, Rollout, Route


def advance(rollout: Rollout, who: str, why: str, now: datetime) -> Rollout:
    """Pass the stage without waiting for evidence, because a person says so.

    Raises:
        RolloutError: it is not in a stage.
    """
    _refuse_unless(rollout, WATCHED, "advanced")
    return pass_stage(rollout, who, f"advanced by hand: {why}", now)


def pause(rollout: Rollout, who: str, why: str, now: datetime) -> Rollout:
    """Hold a stage: its traffic stays, its time stands still, and only harm ends it.

    Raises:
        RolloutError: it is not in a stage, or paused already.
    """
    _refuse_unless(rollout, (Phase.STAGE,), "paused")
    paused = replace(rollout, phase=Phase.PAUSED, paused_since=now)
    return noted(paused, who, f"paused: {why}", now)


def resume(rollout: Rollout, who: str, why: str, now: datetime) -> Rollout:
    """Let a paused stage go on.

    Raises:
        RolloutError: it is not paused.
    """
    _refuse_unless(rollout, (Phase.PAUSED,), "resumed")
    since, deadline = rollout.paused_since or now, rollout.deadline or now
    begun = max(since, rollout.observing_since or since)
    resumed = replace(
        rollout, phase=Phase.STAGE, paused_since=None, deadline=deadline + (now - begun)
    )
    return noted(resumed, who, f"resumed: {why}", now)


def abort(rollout: Rollout, who: str, why: str, now: datetime) -> Rollout:
    """Give all traffic back to production because a person says so.

    Raises:
        RolloutError: it has ended, or is ending.
    """
    _refuse_unless(rollout, (Phase.PENDING, *WATCHED), "aborted")
    return roll_back(rollout, f"aborted by hand: {why}", now, Outcome.ABORTED, who)


def overtake(rollout: Rollout, to: int, who: str, why: str, now: datetime) -> Rollout:
    """End an active rollout by a rollback to any version, in one state, so that no crash comes between the two."""
    reason = f"rolled back to version {to}: {why}"
    todo = (
        Route(Routing({to: 100})),
        Promote(to, reason),
        Record(event_key(rollout), who, "rollback", why, rollout.production, to),
    )
    kept = rollout.canary if rollout.canary != to else rollout.production
    moved = replace(
        rollout,
        phase=Phase.ROLLING_BACK,
        todo=todo,
        outcome=Outcome.ABORTED,
        reason=reason,
        retained=kept,
        retained_until=None,
    )
    return noted(moved, who, reason, now)


def close(rollout: Rollout, who: str, why: str, now: datetime) -> Rollout:
    """End an active rollout whose endpoint is taken away: there is no traffic to give back."""
    closed = replace(
        rollout,
        phase=Phase.ROLLING_BACK,
        todo=ending(rollout, why, Outcome.ABORTED, who),
        outcome=Outcome.ABORTED,
        reason=why,
        retained=None,
        retained_until=None,
    )
    return noted(closed, who, why, now)


def _refuse_unless(rollout: Rollout, phases: tuple[Phase, ...], what: str) -> None:
    if rollout.phase not in phases:
        raise RolloutError(
            f"the rollout of version {rollout.canary} to {rollout.environment} cannot be {what}: "
            f"it is {rollout.phase}{f' ({rollout.outcome})' if rollout.outcome else ''}"
        )
