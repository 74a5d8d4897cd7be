"""The monitor that the demo begins, so that what it does can be looked at afterwards."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_service.cli import demo
from ml_service.monitoring.connection import local_connection


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
