"""`mlops monitor`: the local sink of telemetry, and the dashboard."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ml_service.cli.collected import kept_up
from ml_service.cli.context import PlatformOption, open_platform
from ml_service.settings import settings

if TYPE_CHECKING:
    from insurance_claims.telemetry import Connection
    from ml_service.monitoring.alerts.watch import Watcher
    from ml_service.monitoring.dashboard.panels import Operations
    from ml_service.platforms.azureml.platform import AzureMLPlatform
    from ml_service.platforms.base import Platform

DEFAULT_PORT = 8600

_AZURE_REFRESH_SECONDS = 60.0
"""Minutes pass before Log Analytics answers with what was sent: to ask more often is of no use."""

_AZURE_LONGEST = timedelta(hours=24)


def monitor(
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one."),
    ] = DEFAULT_PORT,
    days: Annotated[
        float, typer.Option(min=0.01, help="What arrived longer ago is removed.")
    ] = 30.0,
    platform: PlatformOption = None,
) -> None:
    """Receive telemetry on this machine, as Application Insights does on Azure, and show it on a page. Ctrl-C ends it.

    With --platform azureml: only the page, over what Application Insights received.
    """
    where = open_platform(platform)
    with suppress(KeyboardInterrupt):
        if where.name == "azureml":
            _show_azure(where, port)
        else:
            _receive(where, port, timedelta(days=days))


def operations_of(where: Platform) -> Operations:
    """What the dashboard shows of a platform beside its telemetry."""
    from ml_service.monitoring.alerts.definitions import load_alerts
    from ml_service.monitoring.dashboard.panels import THRESHOLDS, Mark, Operations
    from ml_service.rollout.control import control_of
    from ml_service.rollout.figures import figures

    control = control_of(where)

    def marks() -> Sequence[Mark]:
        return [
            Mark(
                *(record.time, record.environment, record.what),
                *("" if record.after is None else str(record.after), record.who, record.why),
            )
            for record in control.audit.read().records
        ]

    def rollouts() -> Sequence[Mapping[str, Any]]:
        found = map(control.store.load, settings().environments)
        return [
            {
                "environment": rollout.environment,
                "title": rollout.describe(),
                "production": rollout.production,
                "canary": rollout.canary,
                "active": rollout.active,
                "figures": figures(rollout),
            }
            for rollout in found
            if rollout is not None
        ]

    watched = {
        alert.metric: alert.above
        for alert in load_alerts(settings().alerts)
        if alert.metric is not None and alert.above is not None
    }
    return Operations(marks, rollouts, {**THRESHOLDS, **watched})


def _receive(where: Platform, port: int, retention: timedelta) -> None:
    from ml_service.monitoring.connection import FILE, folder_of
    from ml_service.monitoring.sink import serve

    home = settings().home.absolute()

    def ready(connection: Connection) -> None:
        print(f"receiving telemetry at {connection.endpoint}")
        print(f"the dashboard is at {connection.endpoint}/")
        print(
            "steps and endpoints that are started from now on send to it; others by the connection string in"
        )
        print(f"{folder_of(home) / FILE}. Ctrl-C ends it", flush=True)

    hourly = kept_up if settings().collect is not None else None
    asyncio.run(serve(home, port, ready, retention, operations_of(where), _watcher(home), hourly))


def _watcher(home: Path) -> Watcher:
    from ml_service.monitoring.alerts.definitions import load_alerts
    from ml_service.monitoring.alerts.watch import Watcher, Webhook
    from ml_service.monitoring.connection import folder_of
    from ml_service.monitoring.store import Store

    url = settings().alert_webhook
    return Watcher(
        load_alerts(settings().alerts),
        Store(folder_of(home)),
        lambda line: print(line, flush=True),
        None if url is None else Webhook(url.get_secret_value()),
    )


def _show_azure(where: Platform, port: int) -> None:
    from ml_service.monitoring.sink import serve_dashboard
    from ml_service.platforms.azureml.observing import Observing

    telemetry = Observing(cast("AzureMLPlatform", where).workspace).telemetry

    def ready(address: str) -> None:
        print(f"the dashboard is at {address}. Ctrl-C ends it", flush=True)

    asyncio.run(
        serve_dashboard(
            *(telemetry, port, ready, operations_of(where)),
            refresh_seconds=_AZURE_REFRESH_SECONDS,
            longest=_AZURE_LONGEST,
        )
    )
