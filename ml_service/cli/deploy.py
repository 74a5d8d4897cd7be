"""``mlops deploy`` and ``down``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml_service.cli.context import (
    EnvironmentArgument,
    JsonOption,
    PlatformOption,
    chosen_version,
    open_platform,
    plain,
    print_json,
    progress,
    who,
)
from ml_service.settings import settings

if TYPE_CHECKING:
    from ml_service.platforms.base import Endpoint, Platform


def deploy(
    environment: EnvironmentArgument,
    model: Annotated[
        str, typer.Option(help="Version of the model: a number, champion or latest.")
    ] = "champion",
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Serve what this report of `mlops run` registered."),
    ] = None,
    at_once: Annotated[
        bool,
        typer.Option("--at-once", help="Give it all traffic without a canary, in production too."),
    ] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            help="Walk the rollout to its end here, or only begin it: `mlops rollout run` goes on.",
        ),
    ] = True,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of the rollout. Default: MLOPS_ROLLOUT_PLAN, else the shipped one.",
        ),
    ] = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Serve a model version.

    In production, where another version answers, it becomes a canary: it gets the traffic stage by stage while both are
    compared, and all of it if it is shown to be as good; else it loses its traffic and the exit code is 1. Elsewhere,
    and where nothing answers yet, it gets all traffic once it answers, and what served before is taken away.
    """
    if report is not None:
        from ml_service.report import registered_version

        model = str(registered_version(report, settings().model_name))
    where = open_platform(platform)
    version = chosen_version(where, model)
    if at_once:
        why = "at once, as asked for"
    elif environment not in settings().canary_environments:
        why = f"{environment} takes no canaries"
    else:
        from ml_service.rollout.deployments import answering

        if answering(where.endpoints.get(environment)) not in ([], [version]):
            _roll_out(where, environment, version, wait, plan, json)
            return
        why = "nothing answered before"
    _at_once(where, environment, version, why, json)


def down(
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="Default: every environment.")
    ] = None,
    platform: PlatformOption = None,
) -> None:
    """Stop an endpoint and free what it used. A rollout that is active there is aborted."""
    from ml_service.rollout.deployments import take_down

    where = open_platform(platform)
    names = [environment] if environment else [e.environment for e in where.endpoints.list()]
    if not names:
        print("nothing is deployed")
    for name in names:
        take_down(name, who(), where, progress)
        print(f"{name} is down")


def _at_once(where: Platform, environment: str, version: int, why: str, json: bool) -> None:
    from ml_service.rollout.deployments import deploy_at_once

    # It refuses files that are not those that were registered.
    where.models.fetch(version)
    endpoint = deploy_at_once(environment, version, who(), why, where, progress)
    if json:
        print_json({**plain(endpoint), "rollout": None})
    else:
        print(_answers(endpoint))


def _roll_out(
    where: Platform, environment: str, version: int, wait: bool, plan: Path | None, json: bool
) -> None:
    from ml_service.cli.golden import golden_check
    from ml_service.cli.walk import end, summary, walk
    from ml_service.rollout.deployments import begin_canary
    from ml_service.rollout.plan import PLAN_FILE, load_plan

    chosen = load_plan(plan or settings().rollout_plan or PLAN_FILE)
    rollout = begin_canary(environment, version, chosen, who(), where, golden_check(where))
    if wait:
        rollout = walk(where, environment)
    endpoint = where.endpoints.get(environment)
    if json:
        print_json({**(plain(endpoint) if endpoint else {}), "rollout": summary(rollout)})
    elif rollout.active:
        print(f"{rollout.describe()}; `mlops rollout run {environment}` goes on")
    elif endpoint:
        print(_answers(endpoint))
    end(rollout)


def _answers(endpoint: Endpoint) -> str:
    served = ", ".join(f"version {v} {share}%" for v, share in endpoint.traffic.items() if share)
    return f"{endpoint.environment} answers at {endpoint.url} ({served})"
