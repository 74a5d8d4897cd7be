"""What is told when an alert begins and ends, and what happens when it cannot be told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ml_service.monitoring.alerts.definitions import Alert
from ml_service.monitoring.alerts.watch import (
    ALERTS_LOG,
    Change,
    Watcher,
    Webhook,
    firing,
    watching,
)
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import TelemetryError
from tests.ml_service.monitoring.alerts.telemetry import NOW, metric

ALERT = Alert(
    name="too-slow",
    metric="latency",
    statistic="mean",
    by="model_version",
    above=100,
    window_minutes=5,
    severity=2,
    meaning="it is too slow",
    action="make it faster",
)


class Receiver:
    """A webhook's other end."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.status == 200:
                    outer.got.append(json.loads(body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?secret=s3cr3t"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()


class Place:
    """A store, and what was said of it."""

    def __init__(self, folder: Path, receiver: Receiver | None = None) -> None:
        self.store = Store(folder)
        self.said: list[str] = []
        webhook = Webhook(receiver.url) if receiver else None
        self.watcher = Watcher([ALERT], self.store, self.said.append, webhook)
        self.log = folder / ALERTS_LOG

    def look(self, minutes: float = 0) -> list[tuple[str, str]]:
        """State and key of what changed, so many minutes after ``NOW``."""
        changes = self.watcher.look(NOW + timedelta(minutes=minutes))
        return [(change.state, change.key) for change in changes]


def test_it_is_told_once_when_it_begins_and_once_when_it_ends(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.look() == []
    metric(place.store, "latency", {1: 120})
    assert place.look() == [("fired", "1")]
    assert place.look() == []
    # Another process, as after a restart, remembers.
    assert list(firing(place.store, NOW)) == [("too-slow", "1")]
    place = Place(tmp_path)
    assert place.look() == []
    metric(place.store, "latency", {-2: 20})
    assert place.look(7) == [("resolved", "1")]
    assert place.look(7) == []
    assert firing(place.store, NOW + timedelta(minutes=8)) == {}
    [line] = place.said
    assert line.startswith("resolved too-slow (severity 2): mean of latency above 100")
    lines = [json.loads(line) for line in place.log.read_text().splitlines()]
    assert [(line["state"], line["key"]) for line in lines] == [("fired", "1"), ("resolved", "1")]
    assert lines[0]["action"] == "make it faster" and "seen 120" in lines[0]["reason"]


def test_what_nothing_is_seen_of_any_more_ends(tmp_path: Path) -> None:
    place = Place(tmp_path)
    metric(place.store, "latency", {1: 120})
    assert place.look() == [("fired", "1")]
    assert place.look(60) == [("resolved", "1")]
    assert "nothing more was seen" in place.said[-1]


def test_a_webhook_gets_each_change(tmp_path: Path, receiver: Receiver) -> None:
    place = Place(tmp_path, receiver)
    metric(place.store, "latency", {1: 120})
    place.look()
    [message] = receiver.got
    assert message["name"] == "too-slow" and message["state"] == "fired"
    assert message["severity"] == "2" and message["action"] == "make it faster"


def test_what_a_webhook_does_not_take_is_sent_again_in_order(
    tmp_path: Path, receiver: Receiver
) -> None:
    place = Place(tmp_path, receiver)
    receiver.status = 503
    metric(place.store, "latency", {1: 120})
    assert place.look() == [("fired", "1")]
    assert "does not take alerts" in place.said[-1] and "1 wait" in place.said[-1]
    place.look(60)
    assert "2 wait" in place.said[-1]
    receiver.status = 200
    assert place.look(61) == []
    assert [message["state"] for message in receiver.got] == ["fired", "resolved"]
    # It may hold a secret.
    assert not any("s3cr3t" in line for line in place.said)


def test_a_webhook_that_nobody_hears_stops_nothing(tmp_path: Path, receiver: Receiver) -> None:
    receiver.server.server_close()
    receiver.server.shutdown()
    place = Place(tmp_path, receiver)
    metric(place.store, "latency", {1: 120})
    assert place.look() == [("fired", "1")]
    assert place.log.exists()


def test_it_goes_on_looking_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[datetime] = []

    def look(now: datetime) -> list[Change]:
        looks.append(now)
        if len(looks) == 1:
            raise TelemetryError("the disk is full")
        return []

    place = Place(tmp_path)
    monkeypatch.setattr(place.watcher, "look", look)

    async def watched() -> None:
        task = asyncio.create_task(watching(place.watcher, seconds=0.01))
        while len(looks) < 3:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(watched())
    assert looks == sorted(looks)


def test_a_store_that_cannot_be_written_tells_nothing_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    metric(place.store, "latency", {1: 120})

    def full(events: object) -> None:
        raise TelemetryError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(place.store, "add", full)
        with pytest.raises(TelemetryError, match="full"):
            place.look()
    assert place.said == [] and not place.log.exists()
    assert place.look() == [("fired", "1")]
