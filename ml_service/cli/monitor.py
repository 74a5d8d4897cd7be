"""`mlops monitor`: the local sink of telemetry."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ml_service.settings import settings

if TYPE_CHECKING:
    from insurance_claims.telemetry import Connection

DEFAULT_PORT = 8600


def monitor(
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one."),
    ] = DEFAULT_PORT,
    days: Annotated[
        float, typer.Option(min=0.01, help="What arrived longer ago is removed.")
    ] = 30.0,
) -> None:
    """Receive telemetry on this machine, as Application Insights does on Azure. Ctrl-C ends it."""
    from datetime import timedelta

    from ml_service.monitoring.connection import FILE, folder_of
    from ml_service.monitoring.sink import serve

    home = settings().home.absolute()

    def ready(connection: Connection) -> None:
        print(f"receiving telemetry at {connection.endpoint}")
        print(
            "steps and endpoints that are started from now on send to it; others by the connection string in"
        )
        print(f"{folder_of(home) / FILE}. Ctrl-C ends it", flush=True)

    with suppress(KeyboardInterrupt):
        asyncio.run(serve(home, port, ready, timedelta(days=days)))
