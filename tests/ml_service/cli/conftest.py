"""A platform whose production is simulated, so that whole rollouts pass in a moment, and the command line on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pathlib import Path
from typing import Any, Literal

import pytest

from insurance_claims.errors import RegistryError

from insurance_claims.registry import ModelVersion
from ml_service.cli import app
from ml_service.platforms.base import Endpoint, Health, Log, Routing
from ml_service.platforms.local.documents import LocalDocuments
from ml_service.rollout import control
from ml_service.settings import settings
from tests.ml_service.rollout.simulation import GOOD, NEW, OLD, Behavior, World


@dataclass
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


class SimulatedEndpoints:
    """Production is a world; nothing else is deployed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.start_version = world.start_version
        self.stop_version = world.stop_version
        self.set_routing = world.set_routing
        self.health = world.health
        self.observed = world.read

    def check_routing(self, environment: str, routing: Routing) -> None:
        pass

    def traffic(self, environment: str) -> Mapping[int, int]:
        return self._world.traffic(environment)

    def get(self, environment: str) -> Endpoint | None:
        traffic = self._world.traffic(environment)
        if environment != "production" or not traffic:
            return None
        states: dict[int, str] = {
            version: self.health(environment, version)[0] for version in self._world.started
        }
        state: Health = "healthy" if set(states.values()) == {"healthy"} else "unhealthy"
        return Endpoint(environment, "http://here/score", traffic, state, states, "secret")

    def list(self) -> Sequence[Endpoint]:
        found = self.get("production")
        return [found] if found else []

    def deploy(self, environment: str, version: int, log: Log) -> Endpoint:
        self._world.started = {version: self._world.now}
        self._world.sleep(60)
        self._world.set_routing(environment, Routing({version: 100}))
        found = self.get(environment)
        assert found is not None
        return found

    def remove(self, environment: str, log: Log) -> None:
        self._world.routing = None


class SimulatedModels:
    """The world's registry, with model folders."""

    def __init__(self, world: World, folders: Path) -> None:
        self._folders = folders
        self.list = world.list
        self.champion = world.champion
        self.promote = world.promote

    def get(self, version: int | Literal["champion", "latest"]) -> ModelVersion:
        for model in self.list():
            if version in ("latest", model.version) or (version == "champion" and model.champion):
                return model
        raise RegistryError(f"there is no version {version}")

    def fetch(self, version: int) -> Path:
        return self._folders / str(version)


@dataclass
class Simulated:
    """A platform, its world, and its command line."""

    world: World
    endpoints: SimulatedEndpoints
    models: SimulatedModels
    documents: LocalDocuments
    capture: pytest.CaptureFixture[str]
    name: str = "simulated"
    at: dict[int, Callable[[], object]] = field(default_factory=dict)
    """What happens at the n-th sleep."""

    def mlops(self, *arguments: str) -> Result:
        """Run a command."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["mlops", *arguments])
            code = 0
            try:
                app.main()
            except SystemExit as end:
                code = int(end.code or 0)
        printed = self.capture.readouterr()
        return Result(code, printed.out, printed.err)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.world.sleep(seconds)
        todo = self.at.pop(1, None)
        self.at = {count - 1: what for count, what in self.at.items()}
        if todo:
            todo()

    def champion(self) -> int:
        """The champion's version."""
        return self.models.get("champion").version

    def whats(self) -> list[str]:
        """What the audit log says was done."""
        return [record["what"] for record in self.mlops("audit", "--json").json()["records"]]


@pytest.fixture
def simulate(
    tmp_path: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Simulated]]:
    """Makes a platform whose production answers with version 1, and which knows a canary of a behavior as version 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BUILD_REQUESTEDFOR", "someone")
    monkeypatch.setenv("COLUMNS", "160")
    settings.cache_clear()

    def make(canary: Behavior = GOOD) -> Simulated:
        world = World({OLD: GOOD, NEW: canary, 3: GOOD, 4: GOOD})
        world.promote(NEW, "passed the gate")
        made = Simulated(
            world,
            SimulatedEndpoints(world),
            SimulatedModels(world, models),
            LocalDocuments(tmp_path / "documents"),
            capfd,
        )
        modules = ("deploy", "rollout", "rollback", "endpoints")
        for module in modules:
            monkeypatch.setattr(f"ml_service.cli.{module}.open_platform", lambda name: made)
        monkeypatch.setattr("time.sleep", made.sleep)
        monkeypatch.setattr(control, "_now", world.clock)
        return made

    yield make
    settings.cache_clear()
