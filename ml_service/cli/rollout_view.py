"""How a rollout is shown: once, or live."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from insurance_claims.errors import ClaimsError
from ml_service.cli.walk import summary
from ml_service.rollout.control import control_of
from ml_service.rollout.driver import what_to_do
from ml_service.rollout.figures import Figure, figures
from ml_service.rollout.state import Phase, Rollout

if TYPE_CHECKING:
    from rich.console import Group

    from ml_service.platforms.base import Platform

_REFRESH_SECONDS = 2.0
_MISSED_LOOKS = 3
_FILE_WIDTH = 140
_COLUMNS = ("", "production", "canary", "compared", "limit")


@dataclass(frozen=True)
class View:
    """What can be shown of an environment's newest rollout at one moment.

    Attributes:
        environment: its name in settings.
        now: the moment.
        rollout: None where there was none.
        traffic: version to percent of requests that it answers; None where that cannot be asked.
        problem: why it cannot.
    """

    environment: str
    now: datetime
    rollout: Rollout | None
    traffic: Mapping[int, int] | None
    problem: str | None = None

    def content(self) -> dict[str, Any]:
        """As JSON types."""
        rollout = self.rollout
        return {
            "environment": self.environment,
            "traffic": self.traffic,
            "rollout": summary(rollout) if rollout else None,
            "figures": [asdict(figure) for figure in figures(rollout)] if rollout else [],
            "waits_for": list(self.waits_for()),
        }

    def title(self) -> str:
        """Where the rollout is, in one line."""
        if self.rollout is None:
            return f"{self.environment} has had no rollout"
        return self.rollout.describe()

    def facts(self) -> Iterator[str]:
        """What answers, since when, and who looks."""
        if self.traffic is None:
            yield f"what answers cannot be asked: {self.problem}"
        else:
            served = ", ".join(f"version {v} {share}%" for v, share in self.traffic.items())
            yield f"answers now: {served or 'nothing'}"
        rollout = self.rollout
        if rollout is None:
            return
        yield f"begun {_moment(rollout.begun)} by {rollout.who}"
        if rollout.active:
            yield from self._attention(rollout)
        elif rollout.retained is not None:
            yield _retained(rollout, self.now)

    def waits_for(self) -> Iterator[str]:
        """What has to be seen, or to pass, before the rollout goes on."""
        rollout = self.rollout
        if rollout is None or not rollout.active:
            return
        if rollout.phase is Phase.PAUSED:
            yield f"a person: `mlops rollout resume {self.environment} --reason TEXT`"
        yield from (f"to be done: {action.describe()}" for action in rollout.todo)
        if rollout.phase is Phase.PENDING and not rollout.todo:
            yield "the canary's first answer"
        if rollout.phase is Phase.STAGE and rollout.observing_since is not None:
            end = rollout.observing_since + timedelta(minutes=rollout.current.least_minutes)
            if self.now < end:
                yield f"the least time of this stage, until {_moment(end)}"
            if rollout.analysis is None:
                yield "the first look at this stage's traffic"
            elif rollout.analysis.verdict != "healthy":
                yield from rollout.analysis.reasons
        if rollout.phase in (Phase.PENDING, Phase.STAGE) and rollout.deadline is not None:
            yield f"at most until {_moment(rollout.deadline)}: then production gets its traffic back"

    def history(self) -> Iterator[str]:
        """Every transition, oldest first."""
        for step in self.rollout.history if self.rollout else ():
            stage = f" {step.stage + 1}" if step.phase in (Phase.STAGE, Phase.PAUSED) else ""
            yield f"{_moment(step.time)} {step.phase}{stage} ({step.who}): {step.reason}"

    def show(self) -> None:
        """Print it."""
        from rich.console import Console

        console = Console(soft_wrap=True)
        if not console.is_terminal:
            console.width = _FILE_WIDTH
        console.print(self.drawn(), highlight=False)

    def drawn(self) -> Group:
        """For a terminal, or a file."""
        from rich.console import Group
        from rich.text import Text

        parts: list[Any] = [Text(self.title(), style="bold"), Text("\n".join(self.facts()))]
        if self.rollout is not None and (rows := figures(self.rollout)):
            parts += [Text(), _table(rows)]
        for title, lines in (("waits for", self.waits_for()), ("history", self.history())):
            if found := list(lines):
                parts.append(Text("\n".join(["", title, *(f"  {line}" for line in found)])))
        return Group(*parts)

    def _attention(self, rollout: Rollout) -> Iterator[str]:
        last = rollout.looked or rollout.begun
        age = self.now - last
        yield f"looked at {_moment(last)}, {age.total_seconds():.0f} s ago"
        if age > _MISSED_LOOKS * timedelta(seconds=rollout.plan.look_every_seconds):
            yield f"nobody looks at it: {what_to_do(self.environment)}"


def read_view(where: Platform, environment: str) -> View:
    """What there is to show now.

    Raises:
        ClaimsError: there is no such environment, or the state cannot be read.
    """
    control = control_of(where)
    rollout = control.store.load(environment)
    try:
        return View(environment, control.clock(), rollout, where.endpoints.traffic(environment))
    except ClaimsError as error:
        if rollout is None:
            raise
        return View(environment, control.clock(), rollout, None, str(error))


def show_live(where: Platform, environment: str) -> None:
    """Show a rollout until it ends or somebody presses Ctrl-C; a line for each change where there is no terminal."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    view = read_view(where, environment)
    try:
        if not console.is_terminal:
            _show_lines(where, view)
            return
        with Live(view.drawn(), console=console, auto_refresh=False) as live:
            while view.rollout is not None and view.rollout.active:
                time.sleep(_REFRESH_SECONDS)
                view = read_view(where, environment)
                live.update(view.drawn(), refresh=True)
    except KeyboardInterrupt:
        return


def _show_lines(where: Platform, view: View) -> None:
    shown = ""
    while True:
        if view.title() != shown:
            shown = view.title()
            print(f"{_moment(view.now)} {shown}", flush=True)
        if view.rollout is None or not view.rollout.active:
            return
        time.sleep(_REFRESH_SECONDS)
        view = read_view(where, view.environment)


def _table(rows: list[Figure]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row.name, row.production, row.canary, row.compared, row.limit)
    return table


def _retained(rollout: Rollout, now: datetime) -> str:
    kept, until = f"version {rollout.retained} is kept", rollout.retained_until
    if until is None:
        return f"{kept} for inspection, without traffic, until the next rollout"
    if now >= until:
        return f"{kept} ready, and its time is over: `mlops rollout run {rollout.environment}` stops it"
    return f"{kept} ready, without traffic, until {_moment(until)}"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}Z"
