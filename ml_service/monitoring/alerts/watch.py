"""Tells when an alert begins and when it ends, once each: as an event, in the log, in a file, and to a webhook."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ml_service.monitoring.alerts.definitions import Alert
from ml_service.monitoring.alerts.evaluation import Reading, all_readings
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Kind, TelemetryError

EVENT = "alert"
FIRED, RESOLVED = "fired", "resolved"
ALERTS_LOG = "alerts.jsonl"

LOOK_SECONDS = 60.0
"""Windows end at whole minutes: more often shows nothing new."""

_LOG = logging.getLogger(__name__)
_REMEMBERED = timedelta(days=30)
_WEBHOOK_SECONDS = 5.0
_WAITING = 100
"""Messages that are kept for a webhook that does not answer; then the oldest goes."""


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that began or ended.

    Attributes:
        time: when it was seen.
        name: of the alert.
        key: value of the property that the alert is split by; empty where it is not.
        state: ``fired`` or ``resolved``.
        severity: 0 to 4.
        reason: what was seen, in words.
        action: what to do.
    """

    time: datetime
    name: str
    key: str
    state: str
    severity: int
    reason: str
    action: str

    def describe(self) -> str:
        """One line."""
        return f"{self.state} {self.name} (severity {self.severity}): {self.reason}"

    def properties(self) -> dict[str, str]:
        """As text, for an event, a file or a webhook."""
        return {
            "name": self.name,
            "key": self.key,
            "state": self.state,
            "severity": str(self.severity),
            "reason": self.reason,
            "action": self.action,
        }


class Webhook:
    """Posts changes as JSON. What cannot be delivered is tried again with the next look, in order.

    Args:
        url: of the receiver. It may hold a secret, so it is never shown.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: deque[Change] = deque(maxlen=_WAITING)

    def __call__(self, changes: Sequence[Change]) -> str | None:
        """Deliver; says why it could not, None where nothing waits any more."""
        self._waiting.extend(changes)
        while self._waiting:
            change = self._waiting[0]
            body = json.dumps({"time": change.time.isoformat(), **change.properties()}).encode()
            request = urllib.request.Request(
                self._url, body, {"Content-Type": "application/json"}, method="POST"
            )
            try:
                with urllib.request.urlopen(request, timeout=_WEBHOOK_SECONDS):
                    self._waiting.popleft()
            except (OSError, urllib.error.URLError, ValueError) as error:
                why = getattr(error, "reason", None) or getattr(error, "code", type(error).__name__)
                return f"the webhook does not take alerts ({why}); {len(self._waiting)} wait"
        return None


class Watcher:
    """Looks at telemetry and remembers what fires, also over restarts.

    Args:
        alerts: what is watched.
        store: is read, and gets an event for each change.
        say: gets a line for each change.
        webhook: gets the changes; None for no webhook.
    """

    def __init__(
        self,
        alerts: Sequence[Alert],
        store: Store,
        say: Callable[[str], None],
        webhook: Webhook | None = None,
    ) -> None:
        self._alerts = alerts
        self._store = store
        self._say = say
        self._webhook = webhook
        self._log = store.path.with_name(ALERTS_LOG)

    def look(self, now: datetime) -> list[Change]:
        """Look once, and tell what changed since the last time.

        Raises:
            TelemetryError: telemetry cannot be read or written. Nothing was told; the next look does.
        """
        changes = list(self._changes(now))
        if changes:
            self._store.add(
                [Event(Kind.EVENT, now, EVENT, change.properties(), {}) for change in changes]
            )
            _append(self._log, changes)
        for change in changes:
            self._say(change.describe())
        if self._webhook is not None and (problem := self._webhook(changes)):
            self._say(f"warning: {problem}")
        return changes

    def _changes(self, now: datetime) -> Iterator[Change]:
        open_ones = firing(self._store, now)
        seen = all_readings(self._alerts, self._store, now)
        by_place = {(reading.alert.name, reading.key): reading for reading in seen}
        for place, reading in by_place.items():
            if reading.fires and place not in open_ones:
                yield _change(reading, FIRED, now)
        for (name, key), event in open_ones.items():
            found = by_place.get((name, key))
            if found is None:
                # Nothing is said of it any more, or the alert was taken out of the file.
                reason = "nothing more was seen of it"
                severity = int(event.properties["severity"])
                yield Change(now, name, key, RESOLVED, severity, reason, "")
            elif not found.fires:
                yield _change(found, RESOLVED, now)


async def watching(watcher: Watcher, seconds: float = LOOK_SECONDS) -> None:
    """Look at once and again and again, until the task is cancelled. What cannot be read now is looked at again."""
    while True:
        try:
            await asyncio.to_thread(watcher.look, datetime.now(UTC))
        except TelemetryError as problem:
            _LOG.error("alerts were not looked at: %s", problem)
        await asyncio.sleep(seconds)


def firing(store: Store, now: datetime) -> dict[tuple[str, str], Event]:
    """Alerts that began and did not end: by name and key, the events of their beginnings."""
    found: dict[tuple[str, str], Event] = {}
    for event in store.events(EVENT, now - _REMEMBERED):
        place = event.properties["name"], event.properties["key"]
        if event.properties["state"] == FIRED:
            found[place] = event
        else:
            found.pop(place, None)
    return found


def _change(reading: Reading, state: str, now: datetime) -> Change:
    alert = reading.alert
    action = " ".join(alert.action.split()) if state == FIRED else ""
    return Change(now, alert.name, reading.key, state, alert.severity, reading.reason, action)


def _append(path: Path, changes: Sequence[Change]) -> None:
    lines = [
        json.dumps({"time": change.time.isoformat(), **change.properties()}) for change in changes
    ]
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise TelemetryError(f"{path} cannot be written: {error.strerror}") from None
