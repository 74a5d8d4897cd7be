"""``mlops monitor``: the sink and its dashboard where nothing else is said, and ``drift``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

import typer

from ml_service.cli import alerts, collected, drift, monitor

app = typer.Typer(help="What runs, and what it was asked: the dashboard, and drift.")


def _unless_command(begin: Callable[..., None]) -> Callable[..., None]:
    """What a group does when none of its commands is named."""

    @functools.wraps(begin)
    def begun(context: typer.Context, **options: object) -> None:
        if context.invoked_subcommand is None:
            begin(**options)

    # Its options are those of the group.
    options = inspect.signature(begin, eval_str=True)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    context = inspect.Parameter("context", kind, annotation=typer.Context)
    parameters = [context, *options.parameters.values()]
    begun.__signature__ = options.replace(parameters=parameters)  # type: ignore[attr-defined]
    return begun


app.callback(invoke_without_command=True)(_unless_command(monitor.monitor))
app.command("drift")(drift.drift)
app.command("alerts")(alerts.alerts)
app.command("collected")(collected.collected)
