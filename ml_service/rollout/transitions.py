"""How a rollout moves by itself: pure functions from a state and what was seen to the next. Nothing is done here."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from insurance_claims.monitoring.observations import Window
from ml_service.rollout.analysis import Analysis, Verdict, compare
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.moves import ITSELF, WATCHED, enter, noted, pass_stage, roll_back
from ml_service.rollout.plan import Plan
from ml_service.rollout.protocols import Observed
from ml_service.rollout.state import Phase, Record, Retire, Rollout, Start


def begin(
    environment: str,
    production: int,
    canary: int,
    plan: Plan,
    who: str,
    now: datetime,
    leftover: int | None = None,
) -> Rollout:
    """A new rollout, whose first action is to start the canary.

    Args:
        environment: its name in settings.
        production: version that answers now.
        canary: version to try.
        plan: how.
        who: begins it.
        now: UTC.
        leftover: version that the rollout before retained; it is stopped first.

    Raises:
        RolloutError: both are the same version.
    """
    if production == canary:
        raise RolloutError(f"version {canary} is in {environment} already: roll out another one")
    retire = [Retire(leftover)] if leftover and leftover not in (production, canary) else []
    shadow = " as a shadow" if plan.shadow else ""
    reason = f"version {canary} is rolled out{shadow} beside version {production}"
    name = f"{now:%Y%m%dT%H%M%S.%f}-{production}-{canary}"
    rollout = Rollout(
        id=name,
        environment=environment,
        production=production,
        canary=canary,
        plan=plan,
        who=who,
        begun=now,
        phase=Phase.PENDING,
        stage=0,
        deadline=now + timedelta(minutes=plan.start_minutes),
        todo=(
            Record(f"{name}:0", who, "rollout begun", reason, production, canary),
            *retire,
            Start(canary),
        ),
    )
    return noted(rollout, who, reason, now)


def decide(rollout: Rollout, observed: Observed, now: datetime) -> Rollout:
    """What follows from one look.

    Raises:
        RolloutError: the window begins before the stage's traffic did.
    """
    if rollout.phase is Phase.PENDING:
        return _decide_start(rollout, observed, now)
    if rollout.phase not in WATCHED:
        return rollout
    if observed.canary in ("unhealthy", "starting"):
        # It has answered before: one that is starting again has died in between.
        return roll_back(rollout, f"the canary does not answer: {_said(observed)}", now)
    if rollout.observing_since is not None and observed.window is not None:
        rollout = _analyzed(rollout, observed.window)
    return _decide_stage(rollout, observed, now)


def settled(rollout: Rollout, now: datetime) -> Rollout:
    """The state once nothing is left to do."""
    if rollout.todo:
        return rollout
    if rollout.phase in WATCHED and rollout.observing_since is None:
        deadline = now + timedelta(minutes=rollout.current.most_minutes)
        return replace(rollout, observing_since=now, deadline=deadline)
    if rollout.phase in (Phase.PROMOTING, Phase.FINISHING, Phase.ROLLING_BACK):
        ended = replace(rollout, phase=Phase.DONE, deadline=None, paused_since=None)
        return noted(ended, ITSELF, f"{rollout.outcome}: {rollout.reason}", now)
    return rollout


def expired(rollout: Rollout, now: datetime) -> Rollout:
    """Stop the version that was kept warm once its time is over."""
    until = rollout.retained_until
    if rollout.active or rollout.retained is None or until is None or now < until:
        return rollout
    return replace(rollout, todo=(Retire(rollout.retained),), retained=None, retained_until=None)


def _decide_start(rollout: Rollout, observed: Observed, now: datetime) -> Rollout:
    if observed.canary == "unhealthy" and not rollout.todo:
        return roll_back(rollout, f"the canary does not start: {_said(observed)}", now)
    if observed.canary == "healthy" and not rollout.todo:
        return enter(rollout, 0, ITSELF, "the canary answers", now)
    if rollout.deadline is not None and now >= rollout.deadline:
        failed = rollout.actions[-1].error if rollout.todo and rollout.actions else None
        said = failed or _said(observed)
        minutes = rollout.plan.start_minutes
        return roll_back(
            rollout, f"the canary is not healthy after {minutes:g} minutes: {said}", now
        )
    return rollout


def _analyzed(rollout: Rollout, window: Window) -> Rollout:
    if rollout.observing_since is not None and window.start < rollout.observing_since:
        raise RolloutError(
            f"the window begins at {window.start:%H:%M:%S}, before the stage's traffic at "
            f"{rollout.observing_since:%H:%M:%S}: it mixes two stages"
        )
    alone = rollout.current.share == 100 and not rollout.plan.shadow
    before = rollout.reference if alone else None
    analysis = compare(
        window.of(rollout.canary),
        before if before is not None else window.of(rollout.production),
        rollout.plan,
        rollout.current,
        same_time=not alone,
    )
    return replace(rollout, window=window, analysis=analysis)


def _decide_stage(rollout: Rollout, observed: Observed, now: datetime) -> Rollout:
    analysis, since = rollout.analysis, rollout.observing_since
    if analysis is not None and analysis.verdict is Verdict.UNHEALTHY:
        return roll_back(rollout, "; ".join(analysis.reasons), now)
    if rollout.phase is Phase.PAUSED:
        return rollout
    if analysis is not None and analysis.verdict is Verdict.HEALTHY and observed.window is not None:
        if since is not None and now >= since + timedelta(minutes=rollout.current.least_minutes):
            seen = f"healthy after {analysis.canary_requests:,} requests"
            return pass_stage(rollout, ITSELF, seen, now)
    if rollout.deadline is not None and now >= rollout.deadline:
        return roll_back(rollout, _too_late(rollout, analysis, observed), now)
    return rollout


def _too_late(rollout: Rollout, analysis: Analysis | None, observed: Observed) -> str:
    if rollout.todo and rollout.actions:
        return f"its traffic cannot be set: {rollout.actions[-1].error}"
    minutes = rollout.current.most_minutes
    missing = analysis.reasons if analysis else (_said(observed),)
    return f"{Verdict.NOT_ENOUGH_EVIDENCE} after {minutes:g} minutes: {'; '.join(missing)}"


def _said(observed: Observed) -> str:
    return observed.problem or f"it is {observed.canary or 'not known how it is'}"
