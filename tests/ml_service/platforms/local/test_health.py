"""When a version is starting, healthy or unhealthy, case by case; the processes are made up, the ports are real."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ml_service.platforms.base import Health
from ml_service.platforms.local import health, probe
from ml_service.platforms.local.health import endpoint_health, version_health
from ml_service.platforms.local.routes import Backend, Routes
from ml_service.platforms.local.site import Site
from ml_service.platforms.local.supervision import ProgramState
from tests.ml_service.platforms.local.router_process import Serve

LONG = 3600.0


@dataclass
class Made:
    """What a site says of version 1.

    Attributes:
        program: its process.
        started: seconds since its worker started.
        restarts: of its workers.
        answered: seconds since the router had an answer of it.
        router: whether the router answers.
    """

    program: ProgramState | None = field(
        default_factory=lambda: ProgramState("model-1", "RUNNING", 7, LONG, "pid 7")
    )
    started: float = LONG
    restarts: int = 0
    answered: float | None = None
    router: bool = True

    def site(self) -> Site:
        programs = SimpleNamespace(
            restarts=lambda version, seconds: self.restarts,
            last_start=lambda version: time.time() - self.started,
        )
        states = {"model-1": self.program} if self.program else {}
        fake = SimpleNamespace(
            folder=Path("production"),
            programs=programs,
            supervisor=SimpleNamespace(states=lambda: states),
            ready=self._ready,
            last_error=lambda version: "the reason",
        )
        return cast(Site, fake)

    def _ready(self) -> dict[str, Any] | None:
        ago = {} if self.answered is None else {"1": self.answered}
        return {"answered_seconds_ago": ago, "backends": {}} if self.router else None


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is soon believed; an answer a moment ago is still recent."""
    monkeypatch.setattr(health, "_SILENT_SECONDS", 0.3)
    real = probe.why_not_alive
    monkeypatch.setattr(probe, "why_not_alive", lambda port: real(port, timeout=0.3))


def of(made: Made, port: int) -> tuple[Health, str | None]:
    return version_health(made.site(), Routes(1, {1: Backend(port, 100)}), 1)


@contextmanager
def listens() -> Iterator[int]:
    """A port that takes connections and answers nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def state(status: str, seconds: float = LONG) -> ProgramState:
    return ProgramState("model-1", status, 7, seconds, "its detail")


def test_what_answers_is_healthy(serve: Serve) -> None:
    # Also without a supervisor, or when it was started again often.
    for made in (Made(), Made(program=None), Made(restarts=9), Made(router=False)):
        assert of(made, serve().port) == ("healthy", None)


def test_what_is_not_served_is_unhealthy() -> None:
    assert version_health(Made().site(), Routes(1, {}), 1) == (
        "unhealthy",
        "version 1 is not served in production",
    )


@pytest.mark.parametrize(
    ("made", "expected", "reason"),
    [
        (Made(state("RUNNING", 2), started=2), "starting", "2 s ago"),
        (Made(state("STARTING", 1), started=LONG), "starting", "starting"),
        (Made(state("BACKOFF"), restarts=2), "starting", "backoff: its detail"),
        # Its master is old, its worker new: it was killed.
        (Made(started=1, answered=5), "starting", "1 s ago"),
        (Made(state("RUNNING", 2), started=2, router=False), "starting", "2 s ago"),
        (Made(state("BACKOFF"), restarts=3), "unhealthy", "again and again, 3 times.*the reason"),
        (Made(state("RUNNING", 2), started=2, restarts=3), "unhealthy", "again and again"),
        (Made(state("FATAL")), "unhealthy", "ended for good: the reason"),
        (Made(program=None), "unhealthy", "nothing starts it again; deploy to production"),
        (Made(), "unhealthy", "does not answer"),
        # It answered since it started, however young it is.
        (Made(state("RUNNING", 20), started=20, answered=10), "unhealthy", "does not answer"),
    ],
)
def test_what_does_not_answer(made: Made, expected: str, reason: str) -> None:
    found, said = of(made, probe.free_port())
    assert found == expected
    assert said is not None
    assert re.search(reason, said), said


def test_what_scores_something_long_is_healthy() -> None:
    with listens() as port:
        assert of(Made(answered=0.05), port) == ("healthy", None)
        found, said = of(Made(answered=60.0), port)
    assert found == "unhealthy" and said is not None and "within 0.3 s" in said
    # Nobody listens: it cannot be scoring.
    assert of(Made(answered=0.05), probe.free_port())[0] == "unhealthy"


def test_an_endpoint_is_as_its_versions_are(serve: Serve) -> None:
    routes = Routes(1, {1: Backend(probe.free_port(), 100)})
    models, together, reason = endpoint_health(Made(state("STARTING")).site(), routes)
    assert (models, together) == ({1: "starting"}, "starting")
    models, together, reason = endpoint_health(Made(state("FATAL")).site(), routes)
    assert models[1].startswith("unhealthy: ") and together == "unhealthy"
    assert reason is not None and "deploy to production again" in reason
    assert endpoint_health(Made(program=None).site(), routes)[1] == "unhealthy"
    running = Routes(1, {1: Backend(serve().port, 100)})
    assert endpoint_health(Made().site(), running)[:2] == ({1: "healthy"}, "healthy")
    found = endpoint_health(Made(router=False).site(), running)
    assert found[1] == "unhealthy" and "router" in (found[2] or "")
