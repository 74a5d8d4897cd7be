"""The Telemetry protocol: how what was sent is read back, wherever it went.

The local sink's store and Log Analytics both satisfy it, and one suite of tests holds them to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from insurance_claims.errors import ClaimsError
from insurance_claims.telemetry import ITEM_ID

NOTHING: Mapping[str, str] = MappingProxyType({})
_NEAR = timedelta(minutes=1)


class TelemetryError(ClaimsError):
    """Telemetry cannot be received, kept or read."""


class Kind(StrEnum):
    """What a record is of."""

    EVENT = "event"
    METRIC = "metric"
    EXCEPTION = "exception"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Event:
    """One record: something that happened, a figure, an exception or a line of a log.

    Attributes:
        kind: which of these it is.
        time: when, UTC, by the sender's clock.
        name: the event's or metric's name, the exception's type, the log's level.
        properties: what the sender said of it, and of itself. An exception's ``message`` and ``traceback`` and a log's
            ``message`` are among them.
        measurements: figures. A metric's are ``value``, ``count``, ``minimum`` and ``maximum``; ``value`` is a sum
            where count is above 1.
        arrived: when it was received, UTC, by the receiver's clock.
    """

    kind: Kind
    time: datetime
    name: str
    properties: Mapping[str, str]
    measurements: Mapping[str, float] = field(default_factory=dict)
    arrived: datetime | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A metric over one stretch of time.

    Attributes:
        time: when the stretch begins, UTC.
        key: value of the property that was split by; empty where it was not.
        count: of single values.
        total: their sum.
        minimum: of them.
        maximum: of them.
    """

    time: datetime
    key: str
    count: int
    total: float
    minimum: float
    maximum: float

    @property
    def mean(self) -> float:
        """Of the values."""
        return self.total / self.count


class Telemetry(Protocol):
    """Reads telemetry. Whatever fails raises TelemetryError."""

    def events(
        self,
        name: str,
        since: datetime,
        until: datetime | None = None,
        where: Mapping[str, str] = NOTHING,
    ) -> Iterable[Event]:
        """Custom events of this name, oldest first; one that was sent twice comes once.

        Args:
            name: of the events.
            since: first moment, by the sender's clock.
            until: first moment that does not count any more; None for all.
            where: properties and the values that they must have.
        """

    def records(
        self,
        kind: Kind,
        since: datetime,
        until: datetime | None = None,
        name: str | None = None,
        where: Mapping[str, str] = NOTHING,
    ) -> Iterable[Event]:
        """Records of one kind, of one name or of all, oldest first; else as ``events``."""

    def series(
        self,
        metric: str,
        since: datetime,
        until: datetime,
        step: timedelta,
        by: str | None = None,
        where: Mapping[str, str] = NOTHING,
    ) -> Sequence[Point]:
        """A metric in stretches of equal length, added up where it is kept.

        Args:
            metric: its name.
            since: first moment. Stretches begin at multiples of ``step`` since 1970.
            until: first moment that does not count any more.
            step: length of a stretch, at least a second.
            by: a property; each of its values gets points of its own.
            where: as in ``events``.

        Returns:
            In order of time, then key; stretches without a value are left out.
        """


def once(events: Iterable[Event]) -> Iterator[Event]:
    """Leave out what came before: a sender that got no answer sends again what may have arrived.

    Args:
        events: in order of time. What is sent again keeps its time, so only what is near is remembered.
    """
    begin: datetime | None = None
    seen: set[str] = set()
    before: set[str] = set()
    for event in events:
        if begin is None or event.time - begin > _NEAR:
            begin, before, seen = event.time, seen, set()
        identity = event.properties.get(ITEM_ID)
        if identity is not None:
            if identity in seen or identity in before:
                continue
            seen.add(identity)
        yield event
