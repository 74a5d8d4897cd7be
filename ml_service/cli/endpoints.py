"""``mlops smoke-test`` and ``endpoints``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from insurance_claims.errors import ClaimsError
from ml_service.cli.context import (
    EnvironmentArgument,
    JsonOption,
    PlatformOption,
    deployed,
    open_platform,
    print_json,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from ml_service.platforms.base import Endpoint
    from ml_service.rollout.state import Rollout


def smoke_test(
    environment: EnvironmentArgument, platform: PlatformOption = None, json: JsonOption = False
) -> None:
    """Check a deployed endpoint from outside: health, golden predictions, bad requests, key, latency.

    While versions share the traffic, golden predictions are left out: either version may answer.
    """
    from ml_service.rollout.deployments import answering
    from ml_service.smoke_test import GOLDEN_FILE, load_golden
    from ml_service.smoke_test import smoke_test as check

    where = open_platform(platform)
    endpoint = deployed(where, environment)
    versions = answering(endpoint)
    if not versions:
        raise ClaimsError(f"no version answers in {environment}: {endpoint.reason}")
    golden, version = None, None
    if len(versions) == 1:
        [version] = versions
        golden = load_golden(where.models.fetch(version) / GOLDEN_FILE)
    else:
        shared = " and ".join(map(str, versions))
        progress(f"versions {shared} share the traffic: golden predictions are not compared")
    report = check(endpoint.url, endpoint.key, golden, version, progress)
    if json:
        print_json({"environment": environment, "ok": report.ok, "report": report})
    else:
        print(report.describe())
    raise typer.Exit(0 if report.ok else 1)


def list_endpoints(
    show_key: Annotated[bool, typer.Option(help="Print the keys too.")] = False,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """What is deployed, where it answers, whether it is healthy, and which rollout is under way."""
    from ml_service.cli.walk import summary
    from ml_service.rollout.control import control_of

    where = open_platform(platform)
    endpoints = where.endpoints.list()
    store = control_of(where).store
    newest = {e.environment: store.load(e.environment) for e in endpoints}
    rollouts = {name: rollout for name, rollout in newest.items() if rollout and rollout.active}
    if json:
        content: dict[str, object] = {"endpoints": list(endpoints)}
        content["rollouts"] = {name: summary(rollout) for name, rollout in rollouts.items()}
        if show_key:
            content["keys"] = {e.environment: e.key for e in endpoints}
        print_json(content)
    elif not endpoints:
        print("nothing is deployed: `mlops deploy staging` serves the champion")
    else:
        print_table(
            "",
            ["environment", "state", "traffic", "url", *(["key"] if show_key else [])],
            [
                (
                    e.environment,
                    e.state + (f": {e.reason}" if e.reason else ""),
                    _traffic(e, rollouts.get(e.environment)),
                    e.url,
                    *([e.key] if show_key else []),
                )
                for e in endpoints
            ],
        )
        for rollout in rollouts.values():
            print(f"{rollout.describe()}; `mlops rollout status {rollout.environment}` says more")


def _traffic(endpoint: Endpoint, rollout: Rollout | None) -> str:
    canary = rollout.canary if rollout else None
    parts = [
        f"{share}% version {version}{' (canary)' if version == canary else ''}"
        for version, share in endpoint.traffic.items()
        if share
    ]
    if rollout and rollout.plan.shadow and rollout.observing_since is not None:
        parts.append(f"copies of {rollout.current.share}% to version {canary}")
    return ", ".join(parts)
