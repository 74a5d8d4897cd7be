"""What commands share."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ml_service.cli.context import open_platform
from ml_service.monitoring.connection import make_connection
from ml_service.settings import settings

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Local state of its own; what a command sets in the environment is gone after the test."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    monkeypatch.setenv(CONNECTION, "")
    monkeypatch.delenv(CONNECTION)
    settings.cache_clear()
    return tmp_path


def test_what_a_command_starts_tells_the_monitor_that_runs(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as monitor:
        connection = make_connection(home, monitor.getsockname()[1])
        open_platform("local")
        assert os.environ[CONNECTION] == connection.text


def test_a_monitor_that_is_gone_is_told_nothing(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as monitor:
        make_connection(home, monitor.getsockname()[1])
    open_platform("local")
    assert CONNECTION not in os.environ


def test_who_says_where_telemetry_goes_is_obeyed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, "elsewhere")
    with socket.create_server(("127.0.0.1", 0)) as monitor:
        make_connection(home, monitor.getsockname()[1])
        open_platform("local")
    assert os.environ[CONNECTION] == "elsewhere"
