"""Deployments beside rollouts: all traffic to a version at once, the begin of a canary, and an end to everything.

A deployment and a rollout never change an environment at the same time: both hold its lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from insurance_claims.registry import ModelVersion
from ml_service.platforms.base import Endpoint, Log, Platform
from ml_service.rollout import driver
from ml_service.rollout.audit import AuditRecord
from ml_service.rollout.commands import close
from ml_service.rollout.control import control_of
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.moves import stage_routing
from ml_service.rollout.plan import Plan
from ml_service.rollout.protocols import Control
from ml_service.rollout.state import Rollout

CheckModel = Callable[[int], None]
"""Raises ClaimsError unless a version loads and gives its golden predictions."""


def answering(endpoint: Endpoint | None) -> list[int]:
    """Versions that answer requests."""
    return [version for version, share in endpoint.traffic.items() if share] if endpoint else []


def deploy_at_once(
    environment: str, version: int, who: str, why: str, platform: Platform, log: Log
) -> Endpoint:
    """Give a version all traffic, and write it to the audit log where another one, or none, answered before.

    Raises:
        ClaimsError: a rollout is active there, or the platform cannot deploy the version.
    """
    control = control_of(platform)
    with control.store.lock(environment):
        endpoint = platform.endpoints.get(environment)
        last = _ended(environment, endpoint, who, control)
        before = answering(endpoint)
        if endpoint is not None and before == [version] and endpoint.state == "healthy":
            if last is not None and last.retained is not None:
                # To deploy would take away what a person may want back.
                log(
                    f"version {version} answers everything, and version {last.retained} is kept beside it"
                )
                return endpoint
        deployed = platform.endpoints.deploy(environment, version, log)
        _forget_retained(last, control)
        if before != [version]:
            _record(environment, who, "deployed", why, before, version, control)
    return deployed


def begin_canary(
    environment: str, version: int, plan: Plan, who: str, platform: Platform, check: CheckModel
) -> Rollout:
    """Begin a rollout beside the version that answers everything.

    Raises:
        ClaimsError: a rollout is active there, the platform cannot do what the plan asks for, the version fails the
            check, or what answers is not healthy.
    """
    control = control_of(platform)
    with control.store.lock(environment):
        endpoint = platform.endpoints.get(environment)
        _ended(environment, endpoint, who, control)
        for production in answering(endpoint):
            health, problem = platform.endpoints.health(environment, production)
            if health == "unhealthy":
                raise RolloutError(
                    f"version {production}, which answers in {environment}, is unhealthy ({problem}): nothing can be "
                    f"compared with it. Repair it with `mlops deploy {environment} --model {production}`, or replace "
                    "it with --at-once"
                )
            routing = stage_routing(plan, production, version, stage=0)
            platform.endpoints.check_routing(environment, routing)
        check(version)
        return driver.begin(environment, version, plan, who, control)


def take_down(environment: str, who: str, platform: Platform, log: Log) -> None:
    """Remove an endpoint. A rollout that is active there is aborted, and the champion's title given back.

    Raises:
        ClaimsError: the platform cannot do it; the same call again completes it.
    """
    control = control_of(platform)
    with control.store.lock(environment):
        before = answering(platform.endpoints.get(environment))
        why = f"{environment} was taken down"
        last = control.store.load(environment)
        if last is not None and last.active:
            log(f"aborting the rollout of version {last.canary}")
            last = _closed(environment, who, why, control)
        platform.endpoints.remove(environment, log)
        _forget_retained(last, control)
        if before:
            _record(environment, who, "taken down", why, before, None, control)


def promote_by_hand(version: int, who: str, why: str, platform: Platform) -> ModelVersion:
    """Make a version the champion, and write it to the audit log, whose environment is then ``registry``.

    Raises:
        ClaimsError: there is no such version, or the log cannot be written.
    """
    before = platform.models.champion()
    model = platform.models.promote(version, f"by hand: {why}")
    known = [before.version] if before else []
    _record("registry", who, "made champion", why, known, version, control_of(platform))
    return model


def _ended(
    environment: str, endpoint: Endpoint | None, who: str, control: Control
) -> Rollout | None:
    """The last rollout, which must not be active; one whose endpoint was removed by other means ends here."""
    last = control.store.load(environment)
    if last is None or not last.active:
        return last
    if endpoint is None:
        return _closed(environment, who, f"nothing is deployed to {environment} any more", control)
    raise RolloutError(f"a rollout is active: {last.describe()}; {driver.what_to_do(environment)}")


def _closed(environment: str, who: str, why: str, control: Control) -> Rollout:
    ended = driver.command(environment, lambda rollout, now: close(rollout, who, why, now), control)
    if ended.active:
        raise RolloutError(f"{ended.actions[-1].error}; the same command again completes it")
    return ended


def _forget_retained(last: Rollout | None, control: Control) -> None:
    """What the last rollout kept is gone."""
    if last is not None and last.retained is not None:
        control.store.save(replace(last, retained=None, retained_until=None))


def _record(
    environment: str,
    who: str,
    what: str,
    why: str,
    before: list[int],
    after: int | None,
    control: Control,
) -> None:
    now = control.clock()
    only = before[0] if len(before) == 1 else None
    key = f"{what}:{environment}:{now.isoformat()}"
    control.audit.append(AuditRecord(key, now, who, what, why, environment, only, after))
