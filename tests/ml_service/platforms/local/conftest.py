"""Steps small enough to watch, and a router with servers that misbehave on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ml_service.platforms.local.router_process import (
    Running,
    Serve,
    running_router,
    servers,
)
from tests.ml_service.watched import PIPELINE, write_package


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline file whose steps do what its parameters say."""
    monkeypatch.setenv("PYTHONPATH", str(write_package(tmp_path / "modules").parent))
    path = tmp_path / "example.yml"
    path.write_text(PIPELINE)
    return path


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A router of the module."""
    with running_router(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers of one test."""
    with servers() as start:
        yield start
