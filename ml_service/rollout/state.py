"""The state of one rollout: immutable, and JSON and back without loss.

What is about to be done is part of the state: ``todo`` is written before anything is done, and each action is taken off
it once it is done. So a rollout that was killed at any moment goes on where it was; every action may be done twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from insurance_claims.monitoring.observations import Observations, Window
from ml_service.platforms.base import Routing
from ml_service.rollout.analysis import Analysis
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.plan import Plan, Stage


class Phase(StrEnum):
    """Where a rollout is."""

    PENDING = "pending"
    """The canary is being started; it gets no traffic yet."""
    STAGE = "stage"
    PAUSED = "paused"
    """A stage that a person holds: it is not passed, and harm still ends it."""
    PROMOTING = "promoting"
    ROLLING_BACK = "rolling back"
    FINISHING = "finishing"
    """A shadow was compared to the end: copying stops."""
    DONE = "done"


class Outcome(StrEnum):
    """How a rollout ended."""

    PROMOTED = "promoted"
    COMPARED = "compared"
    """A healthy shadow: nothing was promoted."""
    ROLLED_BACK = "rolled back"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Start:
    """Start serving a version without giving it traffic."""

    version: int
    kind: Literal["start"] = "start"

    def describe(self) -> str:
        """For a person to read."""
        return f"start version {self.version}"


@dataclass(frozen=True, slots=True)
class Route:
    """Split the traffic."""

    routing: Routing
    kind: Literal["route"] = "route"

    def describe(self) -> str:
        """For a person to read."""
        return f"route {self.routing.describe()}"


@dataclass(frozen=True, slots=True)
class Promote:
    """Make a version the champion."""

    version: int
    reason: str
    kind: Literal["promote"] = "promote"

    def describe(self) -> str:
        """For a person to read."""
        return f"promote version {self.version}"


@dataclass(frozen=True, slots=True)
class Restore:
    """Make a version the champion again where another one, which was tried and did not stay, has the title."""

    version: int
    tried: int
    reason: str
    kind: Literal["restore"] = "restore"

    def describe(self) -> str:
        """For a person to read."""
        return f"take the champion's title from version {self.tried}"


@dataclass(frozen=True, slots=True)
class Retire:
    """Stop serving a version that has no traffic."""

    version: int
    kind: Literal["retire"] = "retire"

    def describe(self) -> str:
        """For a person to read."""
        return f"retire version {self.version}"


@dataclass(frozen=True, slots=True)
class Record:
    """Write a line to the audit log, once for each key."""

    key: str
    who: str
    what: str
    why: str
    before: int | None
    after: int | None
    kind: Literal["record"] = "record"

    def describe(self) -> str:
        """For a person to read."""
        return f"record: {self.what}"


Action = Start | Route | Promote | Restore | Retire | Record


@dataclass(frozen=True, slots=True)
class ActionLog:
    """One action that was begun.

    Attributes:
        action: in words.
        begun: when it was first tried.
        finished: when it succeeded.
        attempts: how often it was tried.
        error: of the last attempt, while it has not succeeded.
    """

    action: str
    begun: datetime
    finished: datetime | None = None
    attempts: int = 1
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of phase, stage or outcome: when, to what, by whom and why."""

    time: datetime
    phase: Phase
    stage: int
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout in one environment.

    Attributes:
        id: sorts by the time it was begun.
        environment: its name in settings.
        production: version that answers everything before.
        canary: version that may answer everything after.
        plan: as it was when the rollout began.
        who: began it.
        begun: when, UTC.
        phase: where it is.
        stage: index of the plan's stage; 0 before the first.
        observing_since: from when on the stage's traffic was split as planned.
        deadline: when the phase ends for want of evidence.
        looked: when somebody looked last.
        problem: what that look could not see, and why.
        paused_since: while paused.
        window: last window that was looked at.
        reference: production's observations in the stage before, for the stage in which it has no traffic.
        analysis: what the last look found.
        todo: actions that are not done yet, in order.
        actions: those that were begun, oldest first.
        history: every transition, oldest first.
        outcome: how it ends; set when that is decided.
        reason: why, in words.
        retained: version without traffic that is still served: kept warm, or for inspection.
        retained_until: when it may be stopped; None: when the next rollout begins.
    """

    id: str
    environment: str
    production: int
    canary: int
    plan: Plan
    who: str
    begun: datetime
    phase: Phase
    stage: int
    observing_since: datetime | None = None
    deadline: datetime | None = None
    looked: datetime | None = None
    problem: str | None = None
    paused_since: datetime | None = None
    window: Window | None = None
    reference: Observations | None = None
    analysis: Analysis | None = None
    todo: tuple[Action, ...] = ()
    actions: tuple[ActionLog, ...] = ()
    history: tuple[Transition, ...] = ()
    outcome: Outcome | None = None
    reason: str | None = None
    retained: int | None = None
    retained_until: datetime | None = None

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.phase is not Phase.DONE

    @property
    def current(self) -> Stage:
        """The plan's stage."""
        return self.plan.stages[self.stage]

    def describe(self) -> str:
        """One line for a person to read."""
        name = f"{self.environment}: version {self.production} to {self.canary}"
        if self.phase is Phase.DONE:
            return f"{name}: {self.outcome} ({self.reason})"
        where = str(self.phase)
        if self.phase in (Phase.STAGE, Phase.PAUSED):
            where += f" {self.stage + 1} of {len(self.plan.stages)} ({self.current.share}%)"
            if found := self.analysis:
                where += f", {found.verdict} after {found.canary_requests:,} requests"
        return f"{name}: {where}{f': {self.trouble}' if self.trouble else ''}"

    @property
    def trouble(self) -> str | None:
        """Why the next action or the last look did not succeed."""
        failed = self.actions[-1].error if self.todo and self.actions else None
        return f"{failed}; tried again at the next look" if failed else self.problem


_ADAPTER = TypeAdapter(Rollout)


def to_json(rollout: Rollout) -> dict[str, Any]:
    """The state as JSON types."""
    content: dict[str, Any] = _ADAPTER.dump_python(rollout, mode="json")
    return content


def from_json(content: Any, where: str) -> Rollout:
    """The state from what ``to_json`` gave.

    Raises:
        RolloutError: ``where`` does not hold a rollout.
    """
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        [first, *_] = error.errors()
        place = ".".join(str(part) for part in first["loc"])
        raise RolloutError(f"{where} does not hold a rollout: {place}: {first['msg']}") from None
