"""Back to a version that is known to be good, with a trail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from insurance_claims.errors import ClaimsError
from insurance_claims.registry import CHAMPION_SINCE
from ml_service.platforms.base import Routing
from ml_service.rollout import driver
from ml_service.rollout.audit import AuditRecord
from ml_service.rollout.commands import overtake
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.protocols import Control
from ml_service.rollout.state import Outcome, Rollout

_POLL_SECONDS = 1.0


def rollback(
    environment: str,
    to: int | None,
    why: str,
    who: str,
    control: Control,
    check: Callable[[int], None],
    sleep: Callable[[float], None],
    wait_seconds: float = 600.0,
) -> int:
    """Give all requests to an older version, make it the champion, and write it to the audit log.

    Nothing changes before the version has passed ``check`` and answers. A rollout that is active ends by it. Killed at
    any moment, the same call again completes it.

    Args:
        environment: its name in settings.
        to: version; None: the one before.
        why: for the registry and the audit log.
        who: for the audit log.
        control: what it acts through.
        check: raises ClaimsError unless a version loads and gives its golden predictions.
        sleep: takes seconds.
        wait_seconds: for the version to answer.

    Returns:
        The version that answers now.

    Raises:
        ClaimsError: no such version, or it fails the check, does not answer, or answers already; says which.
    """
    if not why.strip():
        raise RolloutError("a rollback takes a reason: people will ask for it")
    now = control.clock()
    traffic = dict(control.endpoints.traffic(environment))
    if not traffic:
        raise RolloutError(f"nothing is deployed to {environment}: there is nothing to roll back")
    serving = max(traffic, key=lambda version: traffic[version])
    target = to if to is not None else previous_version(environment, serving, control)
    _refuse_if_there(environment, target, traffic, control)
    check(target)
    begun = AuditRecord(
        f"rollback:{now.isoformat()}", now, who, "rollback begun", why, environment, serving, target
    )
    control.audit.append(begun)
    try:
        control.endpoints.start_version(environment, target)
        _wait(environment, target, control, sleep, wait_seconds)
        _switch(environment, serving, target, why, who, control, begun)
    except ClaimsError as error:
        failed = replace(begun, key=f"{begun.key}:failed", time=control.clock())
        control.audit.append(replace(failed, what="rollback failed", why=f"{why} ({error})"))
        raise
    return target


def previous_version(environment: str, serving: int, control: Control) -> int:
    """The version that answered before.

    Raises:
        RolloutError: there was none.
    """
    last = control.store.load(environment)
    if last is not None and last.active:
        return last.production
    if last is not None and last.outcome is Outcome.PROMOTED and last.canary == serving:
        return last.production
    since = {
        model.version: model.tags[CHAMPION_SINCE]
        for model in control.models.list()
        if CHAMPION_SINCE in model.tags
    }
    # A champion that came after what answers now was never deployed here.
    end = since.get(serving, "~")
    earlier = [version for version, time in since.items() if version != serving and time < end]
    if not earlier:
        raise RolloutError(
            f"no version was champion before version {serving}: say which one to roll back to"
        )
    return max(earlier, key=lambda version: since[version])


def _refuse_if_there(
    environment: str, target: int, traffic: dict[int, int], control: Control
) -> None:
    known = [model.version for model in control.models.list()]
    if target not in known:
        raise RolloutError(
            f"there is no version {target}; there are: {', '.join(map(str, known)) or 'none'}"
        )
    champion = control.models.champion()
    rollout = control.store.load(environment)
    active = rollout is not None and rollout.active
    is_champion = champion is not None and champion.version == target
    if traffic.get(target) == 100 and is_champion and not active:
        raise RolloutError(f"version {target} answers everything in {environment} already")


def _wait(
    environment: str,
    version: int,
    control: Control,
    sleep: Callable[[float], None],
    wait_seconds: float,
) -> None:
    deadline = control.clock() + timedelta(seconds=wait_seconds)
    while True:
        health, problem = control.endpoints.health(environment, version)
        if health == "healthy":
            return
        if health == "unhealthy" or control.clock() >= deadline:
            raise RolloutError(
                f"version {version} does not answer in {environment} ({problem or health}): "
                "traffic stays where it is; look at its logs or choose another version"
            )
        sleep(_POLL_SECONDS)


def _switch(
    environment: str,
    serving: int,
    target: int,
    why: str,
    who: str,
    control: Control,
    begun: AuditRecord,
) -> None:
    with control.store.lock(environment):
        last = control.store.load(environment)
        if last is not None and last.active:
            _overtake(environment, target, why, who, control)
            return
        control.endpoints.set_routing(environment, Routing({target: 100}))
        driver.promote(target, f"rolled back to version {target}: {why}", control)
        if last is not None:
            control.store.save(_without(last, target, serving))
        done = replace(begun, key=f"{begun.key}:done", time=control.clock(), what="rollback")
        control.audit.append(done)


def _overtake(environment: str, target: int, why: str, who: str, control: Control) -> None:
    ended = driver.command(
        environment, lambda rollout, now: overtake(rollout, target, who, why, now), control
    )
    if ended.active:
        raise RolloutError(f"{ended.actions[-1].error}; the same command again completes it")


def _without(last: Rollout, target: int, serving: int) -> Rollout:
    """The last rollout must not stop the version that it kept warm and that answers now."""
    kept = serving if serving != target else last.retained
    return replace(last, retained=kept if kept != target else None, retained_until=None)
