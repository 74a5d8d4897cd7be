"""The state survives JSON whole; files of rollouts are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ml_service.platforms.base import PlatformError, Routing
from ml_service.platforms.local.documents import LocalDocuments
from ml_service.rollout import driver
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.state import Phase, Rollout, from_json, to_json
from ml_service.rollout.store import RolloutStore
from tests.ml_service.rollout.simulation import (
    ENVIRONMENT,
    GOOD,
    NEW,
    OLD,
    PLAN,
    Behavior,
    World,
    control_of,
    simulate,
)


@pytest.fixture
def under_way(tmp_path: Path) -> Rollout:
    """A rollout in its first stage, with a window and an analysis."""
    world = World({OLD: GOOD, NEW: GOOD})
    control = control_of(world, tmp_path)
    driver.begin(ENVIRONMENT, NEW, PLAN, "someone", control)
    for _ in range(4):
        world.sleep(60)
        rollout = driver.look(ENVIRONMENT, control, world.read)
    return rollout


def test_a_rollout_under_way_survives_json(under_way: Rollout) -> None:
    assert under_way.phase is Phase.STAGE
    assert under_way.window is not None and under_way.analysis is not None
    text = json.dumps(to_json(under_way), allow_nan=False)
    assert from_json(json.loads(text), "text") == under_way


@pytest.mark.parametrize("canary", [GOOD, Behavior(slowness=3), Behavior(answers_after=None)])
def test_an_ended_rollout_survives_json(tmp_path: Path, canary: Behavior) -> None:
    rollout, _ = simulate(canary, tmp_path)
    assert from_json(json.loads(json.dumps(to_json(rollout))), "text") == rollout


def test_actions_that_wait_survive_json(under_way: Rollout, tmp_path: Path) -> None:
    world = World({OLD: GOOD, NEW: GOOD})
    world.faults = {"start": 1}
    waiting = driver.begin(ENVIRONMENT, NEW, PLAN, "x", control_of(world, tmp_path / "other"))
    assert waiting.todo
    assert from_json(to_json(waiting), "text") == waiting


def test_what_is_no_rollout_is_refused(under_way: Rollout) -> None:
    with pytest.raises(RolloutError, match="somewhere does not hold a rollout: id"):
        from_json({}, "somewhere")
    with pytest.raises(RolloutError, match="phase"):
        from_json(to_json(under_way) | {"phase": "lost"}, "somewhere")


def test_the_newest_rollout_is_the_one_of_an_environment(
    under_way: Rollout, tmp_path: Path
) -> None:
    store = RolloutStore(LocalDocuments(tmp_path / "store"))
    assert store.load(ENVIRONMENT) is None
    ended = replace(under_way, id="20250101T000000.000000-1-2", phase=Phase.DONE)
    for rollout in (under_way, ended):
        store.save(rollout)
    assert store.load(ENVIRONMENT) == under_way
    assert store.load("staging") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": 1}'])
def test_a_broken_state_says_where_it_is(
    under_way: Rollout, tmp_path: Path, content: bytes
) -> None:
    documents = LocalDocuments(tmp_path / "store")
    RolloutStore(documents).save(under_way)
    [name] = documents.names("rollouts")
    documents.write(name, content)
    with pytest.raises(RolloutError, match=f"{name} does not hold a rollout"):
        RolloutStore(documents).load(ENVIRONMENT)


def test_an_environment_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no name of a document"):
        RolloutStore(LocalDocuments(tmp_path)).load("../elsewhere")


def test_routing_in_words() -> None:
    assert Routing({1: 90, 2: 10}).describe() == "version 1 90%, version 2 10%"
    assert Routing({1: 100}, {2: 50}).describe() == "version 1 100%, version 2 copies of 50%"
