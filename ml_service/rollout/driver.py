"""Moves rollouts: looks, decides (``transitions``), acts through the protocols, keeps the state at each boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from insurance_claims.errors import ClaimsError
from ml_service.platforms.base import PlatformError
from ml_service.rollout import transitions
from ml_service.rollout.audit import AuditRecord
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.plan import Plan
from ml_service.rollout.protocols import Control, Observed, ReadWindow
from ml_service.rollout.state import (
    Action,
    ActionLog,
    Promote,
    Record,
    Restore,
    Retire,
    Rollout,
    Route,
    Start,
)

Change = Callable[[Rollout, datetime], Rollout]

_BEGIN = "`mlops deploy` begins one where another version answers"
_FAILED_LOOKS = 10
"""So many looks in a row may fail before watching ends: a network may be away for minutes."""


def begin(environment: str, canary: int, plan: Plan, who: str, control: Control) -> Rollout:
    """Begin a rollout beside the version that answers everything now, and start its canary.

    Raises:
        RolloutError: a rollout is active there already, or not exactly one version answers.
    """
    with control.store.lock(environment):
        before = control.store.load(environment)
        if before is not None and before.active:
            raise RolloutError(
                f"a rollout is active already: {before.describe()}; {what_to_do(environment)}"
            )
        rollout = transitions.begin(
            environment,
            _production(environment, control),
            canary,
            plan,
            who,
            control.clock(),
            _leftover(before) if before else None,
        )
        control.store.save(rollout)
        return perform(rollout, control)


def command(environment: str, change: Change, control: Control) -> Rollout:
    """Make a change that a person asked for, such as ``lambda rollout, now: abort(rollout, who, why, now)``.

    Raises:
        RolloutError: there is no rollout, or the change is refused.
    """
    with control.store.lock(environment):
        rollout = control.store.load(environment)
        if rollout is None:
            raise RolloutError(f"{environment} has had no rollout: {_BEGIN}")
        changed = change(rollout, control.clock())
        control.store.save(changed)
        return perform(changed, control)


def step(rollout: Rollout, observed: Observed, control: Control) -> Rollout:
    """One look: decide, write what is to be done, do it.

    A failed action stays to be done and is tried again at the next look; the state says why it failed.
    """
    now = control.clock()
    decided = transitions.expired(transitions.decide(rollout, observed, now), now)
    if rollout.active:
        decided = replace(decided, looked=now, problem=observed.problem)
    if decided is not rollout:
        control.store.save(decided)
    return perform(decided, control)


def look(environment: str, control: Control, read: ReadWindow) -> Rollout:
    """One look at the newest rollout of an environment, whoever began it.

    Raises:
        RolloutError: there is none.
    """
    with control.store.lock(environment):
        rollout = control.store.load(environment)
        if rollout is None:
            raise RolloutError(f"{environment} has had no rollout: {_BEGIN}")
        observed = observe(rollout, control, read) if rollout.active else Observed()
        return step(rollout, observed, control)


def run(
    environment: str,
    control: Control,
    read: ReadWindow,
    sleep: Callable[[float], None],
    log: Callable[[str], None],
) -> Rollout:
    """Look again and again until the rollout ends. Killed and run again, it goes on where it was.

    The state is read anew at every look, so other processes may pause, advance, abort or roll back meanwhile.

    Args:
        environment: its name in settings.
        control: what the rollout acts through.
        read: gives what was observed.
        sleep: takes seconds.
        log: takes a line for a person at every look.

    Raises:
        ClaimsError: there is no rollout, or its state can be read or written no more.
    """
    rollout = look(environment, control, read)
    failed = 0
    while True:
        if failed == 0:
            log(rollout.describe())
        if not rollout.active:
            return rollout
        sleep(rollout.plan.look_every_seconds)
        try:
            rollout = look(environment, control, read)
            failed = 0
        except PlatformError as error:
            failed += 1
            if failed == _FAILED_LOOKS:
                raise
            log(f"{environment}: this look failed: {error}")


def what_to_do(environment: str) -> str:
    """About an active rollout, for messages."""
    return (
        f"`mlops rollout status {environment}` shows it, `mlops rollout run {environment}` goes on with it, "
        f"`mlops rollout abort {environment} --reason TEXT` ends it"
    )


def observe(rollout: Rollout, control: Control, read: ReadWindow) -> Observed:
    """What one look sees. What cannot be seen is no evidence, and stops nobody."""
    window, canary, problem = None, None, None
    try:
        canary, problem = control.endpoints.health(rollout.environment, rollout.canary)
        if rollout.observing_since is not None:
            window = read(rollout.environment, rollout.observing_since)
    except ClaimsError as error:
        problem = str(error)
    return Observed(window, canary, problem)


def perform(rollout: Rollout, control: Control) -> Rollout:
    """Do what is to be done, writing the state before and after each action."""
    while rollout.todo:
        action = rollout.todo[0]
        rollout = _begun(rollout, action, control.clock())
        control.store.save(rollout)
        try:
            _act(rollout, action, control)
        except ClaimsError as error:
            rollout = _with_last(rollout, replace(rollout.actions[-1], error=str(error)))
            control.store.save(rollout)
            return rollout
        done = replace(rollout.actions[-1], finished=control.clock(), error=None)
        rollout = replace(_with_last(rollout, done), todo=rollout.todo[1:])
        control.store.save(rollout)
    settled = transitions.settled(rollout, control.clock())
    if settled is not rollout:
        control.store.save(settled)
    return settled


def _act(rollout: Rollout, action: Action, control: Control) -> None:
    environment, endpoints = rollout.environment, control.endpoints
    match action:
        case Start(version=version):
            endpoints.start_version(environment, version)
        case Route(routing=routing):
            endpoints.set_routing(environment, routing)
        case Promote(version=version, reason=reason):
            promote(version, reason, control)
        case Restore(version=version, tried=tried, reason=reason):
            champion = control.models.champion()
            if champion is not None and champion.version == tried:
                control.models.promote(version, reason)
        case Retire(version=version):
            # Somebody may have given it traffic again.
            if not endpoints.traffic(environment).get(version):
                endpoints.stop_version(environment, version)
        case Record():
            control.audit.append(
                AuditRecord(
                    key=action.key,
                    time=control.clock(),
                    who=action.who,
                    what=action.what,
                    why=action.why,
                    environment=environment,
                    before=action.before,
                    after=action.after,
                )
            )


def promote(version: int, reason: str, control: Control) -> None:
    """Make a version the champion, unless it is: the registry's history shall not say it twice."""
    champion = control.models.champion()
    if champion is None or champion.version != version:
        control.models.promote(version, reason)


def _begun(rollout: Rollout, action: Action, now: datetime) -> Rollout:
    last = rollout.actions[-1] if rollout.actions else None
    if last is not None and last.finished is None and last.action == action.describe():
        return _with_last(rollout, replace(last, attempts=last.attempts + 1))
    return replace(rollout, actions=(*rollout.actions, ActionLog(action.describe(), now)))


def _with_last(rollout: Rollout, log: ActionLog) -> Rollout:
    return replace(rollout, actions=(*rollout.actions[:-1], log))


def _leftover(before: Rollout) -> int | None:
    """What an ended rollout still serves, or failed to stop."""
    if before.retained is not None:
        return before.retained
    return next((action.version for action in before.todo if isinstance(action, Retire)), None)


def _production(environment: str, control: Control) -> int:
    traffic = control.endpoints.traffic(environment)
    answering = [version for version, share in traffic.items() if share]
    if len(answering) != 1:
        found = ", ".join(map(str, answering)) or "none"
        raise RolloutError(
            f"a rollout begins where exactly one version answers; in {environment}: {found}. "
            "Deploy one with --at-once, or roll back, first"
        )
    return answering[0]
