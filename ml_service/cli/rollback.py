"""``mlops rollback`` and ``audit``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ml_service.cli.context import (
    EnvironmentArgument,
    JsonOption,
    PlatformOption,
    open_platform,
    print_json,
    print_table,
    progress,
    who,
)


def rollback(
    environment: EnvironmentArgument,
    reason: Annotated[str, typer.Option(help="Why: it is kept in the registry and the audit log.")],
    to: Annotated[
        int | None, typer.Option(metavar="N", help="Version. Default: the one before.", min=1)
    ] = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Go back to an earlier version, also in the middle of a rollout, which ends by it.

    The version has to load, to give its golden predictions and to answer before anything switches. Then it gets all
    traffic and is made the champion, and the audit log says who, when and why. The same command again completes one
    that failed half way.
    """
    from ml_service.cli.golden import golden_check
    from ml_service.rollout.control import control_of
    from ml_service.rollout.rollback import rollback as go_back

    if not reason.strip():
        raise typer.BadParameter("--reason must say why")
    where = open_platform(platform)
    version = go_back(
        environment,
        to,
        reason.strip(),
        who(),
        control_of(where),
        golden_check(where),
        time.sleep,
    )
    if json:
        print_json({"environment": environment, "version": version, "reason": reason.strip()})
    else:
        print(f"version {version} answers everything in {environment} and is the champion")


def audit(
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="Default: every environment.")
    ] = None,
    platform: PlatformOption = None,
    json: JsonOption = False,
) -> None:
    """Who changed what answers, when and why: deployments, rollouts, rollbacks and promotions, oldest first.

    Exits with 1 where a line of the log was changed, taken out or put in by other means than these commands.
    """
    from ml_service.rollout.control import control_of

    trail = control_of(open_platform(platform)).audit.read()
    records = [record for record in trail.records if environment in (None, record.environment)]
    if json:
        bad = {"torn_lines": trail.torn_lines, "unlinked_lines": trail.unlinked_lines}
        print_json({"records": records, **bad})
    elif not records:
        print("nothing was deployed, rolled out or rolled back yet")
    else:
        print_table(
            "",
            ["time", "environment", "what", "from", "to", "who", "why"],
            [
                (
                    f"{r.time:%Y-%m-%d %H:%M:%S}",
                    r.environment,
                    r.what,
                    r.before,
                    r.after,
                    r.who,
                    r.why,
                )
                for r in records
            ],
        )
    if trail.torn_lines:
        lines = ", ".join(map(str, trail.torn_lines))
        progress(f"warning: a crash tore lines of the audit log, which cannot be read: {lines}")
    if trail.unlinked_lines:
        lines = ", ".join(map(str, trail.unlinked_lines))
        progress(f"error: somebody changed the audit log: what stood before line {lines} is gone")
        raise typer.Exit(1)
