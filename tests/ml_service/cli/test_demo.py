"""The monitor that the demo begins, so that what it does can be looked at afterwards."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from insurance_claims.monitoring import wire
from insurance_claims.monitoring.observations import Observations
from ml_service.cli import demo
from ml_service.monitoring.connection import folder_of, local_connection
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Kind


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """One that nobody listens on; the demo's own may be taken on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        number: int = found.getsockname()[1]
    monkeypatch.setattr(demo, "_MONITOR_PORT", number)
    yield number


def test_a_monitor_runs_as_long_as_the_demo(home: Path, port: int) -> None:
    with demo._monitor(home):
        connection = local_connection(home)
        assert connection is not None and f":{port}/" in connection
        log = (home / "monitor.log").read_text()
        # Another one is not begun beside it.
        with demo._monitor(home):
            assert local_connection(home) == connection
        assert local_connection(home) == connection
        assert (home / "monitor.log").read_text() == log
    assert local_connection(home) is None


def test_a_port_that_is_taken_ends_no_demo(
    home: Path, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", port)), demo._monitor(home):
        assert local_connection(home) is None
    out = capsys.readouterr().out
    assert "there is no telemetry of this demo" in out and f"port {port}" in out


def test_the_demo_waits_for_what_was_asked_last(
    home: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_DELIVERY_SECONDS", 0.1)
    monkeypatch.setenv("MLOPS_TELEMETRY_SECONDS", "3600")
    # Where nobody takes it, there is nothing to wait for.
    demo._wait_for_telemetry(home)
    with demo._monitor(home):
        # A server that sends nothing does not hold it up for long.
        monkeypatch.setenv("MLOPS_TELEMETRY_SECONDS", "0.05")
        demo._wait_for_telemetry(home)
        monkeypatch.setenv("MLOPS_TELEMETRY_SECONDS", "3600")
        store = Store(folder_of(home))
        seen = Observations.of([4.0], [0.03])
        early, late = (
            Event(Kind.EVENT, datetime.now(UTC) + after, wire.EVENT, wire.encode(seen))
            for after in (-timedelta(seconds=1), timedelta(minutes=1))
        )
        store.add([early])
        waiting = threading.Thread(target=demo._wait_for_telemetry, args=(home,), daemon=True)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        store.add([late])
        waiting.join(60)
        assert not waiting.is_alive()
