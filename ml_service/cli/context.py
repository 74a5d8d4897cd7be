"""What commands share: options, the platform, and how they print."""

from __future__ import annotations

import dataclasses
import getpass
import importlib.util
import json
import os
import socket
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from insurance_claims.errors import ClaimsError
from ml_service.settings import Settings, azure_settings, settings

if TYPE_CHECKING:
    from ml_service.platforms.base import Endpoint, Platform

PlatformOption = Annotated[
    str | None,
    typer.Option(
        "--platform", help="Where to do it: local or azureml. Default: MLOPS_PLATFORM, else local."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, and progress to stderr.")
]
EnvironmentArgument = Annotated[str, typer.Argument(metavar="ENV", help="staging or production.")]

_CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
_alone = False
_PLATFORMS = ("local", "azureml")


def open_platform(name: str | None) -> Platform:
    """The platform that was asked for.

    Raises:
        typer.BadParameter: there is no such platform.
        ClaimsError: its settings or packages are missing.
    """
    chosen: Settings = settings()
    name = name or chosen.platform
    if name not in _PLATFORMS:
        raise typer.BadParameter(
            f"there is no platform {name!r}; there is: {', '.join(_PLATFORMS)}"
        )
    _tell_what_to_collect(chosen)
    if name == "azureml":
        if importlib.util.find_spec("azureml") is None:
            raise ClaimsError("platform azureml needs Azure ML's SDK: `make azure` installs it")
        from ml_service.platforms.azureml.platform import AzureMLPlatform

        return AzureMLPlatform(chosen, azure_settings())
    _leave_azure_out()
    _tell_the_monitor(chosen)
    from ml_service.platforms.local.platform import LocalPlatform

    return LocalPlatform(chosen)


def run_alone() -> None:
    """Say that this process runs one command and nothing else."""
    global _alone
    _alone = True


def _leave_azure_out() -> None:
    # MLflow imports the plugins of whatever is installed. Azure ML's takes a second, and no local command needs it.
    if _alone and "azureml" not in sys.modules:
        sys.modules["azureml"] = None  # type: ignore[assignment]
        warnings.filterwarnings("ignore", message="Failure attempting to register")


def _tell_the_monitor(chosen: Settings) -> None:
    # What this command starts sends its telemetry to the monitor that runs on this machine, unless told otherwise.
    if _CONNECTION in os.environ or not (chosen.home / "monitoring" / "connection").exists():
        return
    from ml_service.monitoring.connection import local_connection

    if found := local_connection(chosen.home):
        os.environ[_CONNECTION] = found


def _tell_what_to_collect(chosen: Settings) -> None:
    # Servers that this command starts read it from their environment, where .env is not.
    if chosen.collect is not None:
        os.environ["MLOPS_COLLECT"] = chosen.collect
        os.environ["MLOPS_COLLECT_SHARE"] = str(chosen.collect_share)
        os.environ["MLOPS_COLLECT_OMIT"] = chosen.collect_omit


def assignment(text: str) -> tuple[str, str]:
    """Name and value of a ``--set``.

    Raises:
        typer.BadParameter: it has another form.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--set takes NAME=VALUE, not {text!r}")
    return name, value


def chosen_version(where: Platform, text: str) -> int:
    """The model version that ``--model`` means: a number, ``champion`` or ``latest``.

    Raises:
        typer.BadParameter: it is none of these.
        ClaimsError: there is no such version.
    """
    if text in ("champion", "latest"):
        named: Literal["champion", "latest"] = "champion" if text == "champion" else "latest"
        try:
            return where.models.get(named).version
        except ClaimsError:
            raise ClaimsError(
                f"there is no {text} model: `mlops run training` registers one when it passes the gate"
            ) from None
    if not text.isdigit():
        raise typer.BadParameter(
            f"--model takes a version number, champion or latest, not {text!r}"
        )
    return where.models.get(int(text)).version


def deployed(where: Platform, environment: str) -> Endpoint:
    """The endpoint of an environment.

    Raises:
        ClaimsError: nothing is deployed there.
    """
    endpoint = where.endpoints.get(environment)
    if endpoint is None:
        raise ClaimsError(
            f"nothing is deployed to {environment}: deploy with `mlops deploy {environment}`"
        )
    return endpoint


def who() -> str:
    """Who does it, for the audit log: whom the build agent works for, else this machine's user."""
    chosen = settings()
    if named := chosen.requested_for or chosen.github_actor:
        return named
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        # A container may run as a number without a name.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def progress(line: str) -> None:
    """Print a line of progress to stderr, where it does not mix with results."""
    print(line, file=sys.stderr, flush=True)


def print_json(content: Any) -> None:
    """Print a result as one JSON object."""
    print(json.dumps(content, default=plain, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        # What identifies a row is copied from there.
        table.add_column(column, overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


def seconds(value: float | None) -> str:
    """Seconds for a person."""
    return "" if value is None else f"{value:.1f} s"


def plain(value: Any) -> Any:
    """A value as JSON types; an object as a dictionary of its fields, without secrets."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # A field that is kept out of the repr is a secret: it is kept out of the output too.
        return {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
            if field.repr
        }
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
