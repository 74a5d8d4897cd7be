"""``mlops deploy``, ``smoke-test``, ``endpoints`` and ``down``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml_service.cli.context import (
    EnvironmentArgument,
    JsonOption,
    PlatformOption,
    chosen_version,
    deployed,
    open_platform,
    print_json,
    print_table,
    progress,
)

from ml_service.settings import settings


def deploy(
    environment: EnvironmentArgument,
    model: Annotated[
        str, typer.Option(help="Version of the model: a number, champion or latest.")
    ] = "champion",
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Serve what this report of `mlops run` registered."),
    ] = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Serve a model version. It answers before the one that served until now is taken away."""
    if report is not None:
        from ml_service.report import registered_version

        model = str(registered_version(report, settings().model_name))
    where = open_platform(platform)
    endpoint = where.endpoints.deploy(environment, chosen_version(where, model), progress)
    if json:
        print_json(endpoint)
    else:
        served = ", ".join(f"version {v} {share}%" for v, share in endpoint.traffic.items())
        print(f"{environment} answers at {endpoint.url} ({served})")


def smoke_test(
    environment: EnvironmentArgument, platform: PlatformOption = None, json: JsonOption = False
) -> None:
    """Check a deployed endpoint from outside: health, golden predictions, bad requests, key, latency."""
    from ml_service.smoke_test import load_golden
    from ml_service.smoke_test import smoke_test as check

    where = open_platform(platform)
    endpoint = deployed(where, environment)
    version = max(endpoint.traffic, key=lambda number: endpoint.traffic[number])
    golden = load_golden(where.models.fetch(version) / "golden.json")
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
    """What is deployed, where it answers, and whether it is healthy."""
    endpoints = open_platform(platform).endpoints.list()
    if json:
        keys = {e.environment: e.key for e in endpoints} if show_key else {}
        print_json({"endpoints": list(endpoints), **({"keys": keys} if show_key else {})})
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
                    ", ".join(f"{share}% version {v}" for v, share in e.traffic.items()),
                    e.url,
                    *([e.key] if show_key else []),
                )
                for e in endpoints
            ],
        )


def down(
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="Default: every environment.")
    ] = None,
    platform: PlatformOption = None,
) -> None:
    """Stop an endpoint and free what it used."""
    endpoints = open_platform(platform).endpoints
    names = [environment] if environment else [e.environment for e in endpoints.list()]
    if not names:
        print("nothing is deployed")
    for name in names:
        endpoints.remove(name, progress)
        print(f"{name} is down")
