"""``mlops rollout``: what goes on with a canary, and what a person says to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from insurance_claims.errors import ClaimsError
from ml_service.cli.context import JsonOption, PlatformOption, open_platform, print_json, who

if TYPE_CHECKING:
    from datetime import datetime

    from ml_service.rollout.state import Rollout

    Command = Callable[[Rollout, str, str, datetime], Rollout]

app = typer.Typer(
    help="A canary and the version in production: what is compared, and what to do about it.",
    no_args_is_help=True,
)

_Environment = Annotated[str, typer.Argument(metavar="ENV", help="Where the rollout is.")]
ReasonOption = Annotated[str, typer.Option(help="Why: it is kept with your name.")]


@app.command()
def status(
    environment: _Environment = "production",
    watch: Annotated[bool, typer.Option("--watch", help="Show it live until it ends.")] = False,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """The newest rollout: its stage, both versions' figures with intervals and limits, what it waits for, its history.

    It only shows; `mlops rollout run` is what moves a rollout on.
    """
    from ml_service.cli.rollout_view import read_view, show_live

    where = open_platform(platform)
    if watch:
        if json:
            raise typer.BadParameter("--watch is for people: leave --json out")
        show_live(where, environment)
        return
    view = read_view(where, environment)
    if json:
        print_json(view.content())
    else:
        view.show()


@app.command()
def run(
    environment: _Environment = "production",
    once: Annotated[
        bool, typer.Option("--once", help="One look, and what follows from it; not to the end.")
    ] = False,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Walk the rollout on, from where it is, to its end; also one whose command was killed.

    After a promotion it stops the version that was kept ready, once its time is over. Exit code 1 where the rollout
    ends without promoting; 0 where there is nothing to do.
    """
    from ml_service.cli.walk import end, summary, walk
    from ml_service.rollout import driver
    from ml_service.rollout.control import control_of

    where = open_platform(platform)
    control = control_of(where)
    before = control.store.load(environment)
    if before is None:
        # A schedule with a wrong name must not be green for ever.
        where.endpoints.traffic(environment)
        if json:
            print_json({"rollout": None})
        else:
            print(f"nothing to do: {environment} has had no rollout")
        return
    if once or not before.active:
        rollout = driver.look(environment, control, where.endpoints.observed)
    else:
        rollout = walk(where, environment)
    if json:
        print_json({"rollout": summary(rollout)})
    else:
        print(rollout.describe() if before.active else f"nothing to do: {rollout.describe()}")
    if before.active:
        end(rollout)


@app.command()
def advance(
    reason: ReasonOption, environment: _Environment = "production", platform: PlatformOption = None
) -> None:
    """Pass the stage without waiting for evidence."""
    from ml_service.rollout import commands

    _say(commands.advance, environment, reason, platform)


@app.command()
def pause(
    reason: ReasonOption, environment: _Environment = "production", platform: PlatformOption = None
) -> None:
    """Hold the stage: its traffic stays, its time stands still, and only harm ends it."""
    from ml_service.rollout import commands

    _say(commands.pause, environment, reason, platform)


@app.command()
def resume(
    reason: ReasonOption, environment: _Environment = "production", platform: PlatformOption = None
) -> None:
    """Let a paused stage go on."""
    from ml_service.rollout import commands

    _say(commands.resume, environment, reason, platform)


@app.command()
def abort(
    reason: ReasonOption, environment: _Environment = "production", platform: PlatformOption = None
) -> None:
    """Give all traffic back to the version in production, and end the rollout."""
    from ml_service.rollout import commands

    _say(commands.abort, environment, reason, platform)


def _say(what: Command, environment: str, reason: str, platform: str | None) -> None:
    from ml_service.rollout import driver
    from ml_service.rollout.control import control_of

    if not reason.strip():
        raise typer.BadParameter("--reason must say why")
    control = control_of(open_platform(platform))
    person, why = who(), reason.strip()
    rollout = driver.command(environment, lambda state, now: what(state, person, why, now), control)
    print(rollout.describe())
    if rollout.todo:
        raise ClaimsError(
            f"not all of it is done: {rollout.actions[-1].error}. `mlops rollout run {environment}` completes it"
        )
