"""`mlops monitor alerts`: what fires now."""

from __future__ import annotations

import typer

from ml_service.cli.context import JsonOption, print_json
from ml_service.settings import settings


def alerts(json: JsonOption = False) -> None:
    """Look at every alert once. Exit code 1 where one fires."""
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.table import Table

    from ml_service.monitoring.alerts.definitions import load_alerts
    from ml_service.monitoring.alerts.evaluation import all_readings
    from ml_service.monitoring.connection import folder_of
    from ml_service.monitoring.store import Store

    chosen = settings()
    store = Store(folder_of(chosen.home))
    found = all_readings(load_alerts(chosen.alerts), store, datetime.now(UTC))
    if json:
        print_json(
            [
                {
                    "name": reading.alert.name,
                    "key": reading.key,
                    "fires": reading.fires,
                    "severity": reading.alert.severity,
                    "values": list(reading.values),
                    "reason": reading.reason,
                }
                for reading in found
            ]
        )
    else:
        table = Table("", "alert", "of", "what was seen")
        for reading in found:
            mark = "[red]fires[/red]" if reading.fires else "ok"
            table.add_row(mark, reading.alert.name, reading.key, reading.reason)
        Console().print(table)
    raise typer.Exit(1 if any(reading.fires for reading in found) else 0)
