"""Rollbacks: checked before, recorded after, and complete after a kill."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from insurance_claims.errors import ClaimsError, ModelError
from ml_service.platforms.base import Routing
from ml_service.rollout import driver
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.protocols import Control
from ml_service.rollout.rollback import rollback
from ml_service.rollout.state import Outcome
from tests.ml_service.rollout.simulation import (
    ENVIRONMENT,
    GOOD,
    NEW,
    OLD,
    PLAN,
    Behavior,
    World,
    control_of,
)


def passes(version: int) -> None:
    """Every version gives its golden predictions."""


def promoted(folder: Path, third: Behavior = GOOD) -> tuple[World, Control]:
    """Version 2 has replaced version 1; version 3 was registered as champion later and never deployed."""
    world = World({OLD: GOOD, NEW: GOOD, 3: third})
    world.started[NEW] = world.now
    world.routing = Routing({NEW: 100})
    world.promote(NEW, "better")
    world.now += timedelta(days=1)
    return world, control_of(world, folder)


def back(control: Control, world: World, to: int | None = None, why: str = "too slow") -> int:
    return rollback(ENVIRONMENT, to, why, "someone", control, passes, world.sleep)


def champion(world: World) -> int:
    found = world.champion()
    assert found is not None
    return found.version


def test_back_to_the_version_before(tmp_path: Path) -> None:
    world, control = promoted(tmp_path)
    assert back(control, world) == OLD
    assert dict(world.traffic(ENVIRONMENT)) == {OLD: 100}
    assert champion(world) == OLD and "too slow" in world.reasons[OLD]
    begun, done = control.audit.read().records
    assert (begun.what, done.what) == ("rollback begun", "rollback")
    assert (done.who, done.why, done.before, done.after) == ("someone", "too slow", NEW, OLD)


def test_a_champion_that_never_answered_is_not_the_version_before(tmp_path: Path) -> None:
    world, control = promoted(tmp_path)
    world.promote(3, "registered")
    assert back(control, world) == OLD


def test_to_a_version_that_has_to_be_started(tmp_path: Path) -> None:
    world, control = promoted(tmp_path, Behavior(answers_after=0.5))
    assert 3 not in world.started
    assert back(control, world, to=3) == 3
    assert dict(world.traffic(ENVIRONMENT)) == {3: 100}


def test_golden_predictions_are_checked_before_anything_changes(tmp_path: Path) -> None:
    world, control = promoted(tmp_path)

    def fails(version: int) -> None:
        raise ModelError(f"version {version} gives other golden predictions")

    with pytest.raises(ModelError, match="version 1 gives other"):
        rollback(ENVIRONMENT, None, "too slow", "someone", control, fails, world.sleep)
    assert dict(world.traffic(ENVIRONMENT)) == {NEW: 100}
    assert champion(world) == NEW
    assert control.audit.read().records == ()


@pytest.mark.parametrize(
    ("third", "said"),
    [
        (Behavior(answers_after=None), "does not answer in production"),
        (Behavior(dies_after=0), "its process is gone"),
    ],
)
def test_traffic_stays_where_it_is_if_the_version_does_not_answer(
    tmp_path: Path, third: Behavior, said: str
) -> None:
    world, control = promoted(tmp_path, third)
    with pytest.raises(RolloutError, match=said):
        back(control, world, to=3)
    assert dict(world.traffic(ENVIRONMENT)) == {NEW: 100}
    assert champion(world) == NEW
    whats = [record.what for record in control.audit.read().records]
    assert whats == ["rollback begun", "rollback failed"]


@pytest.mark.parametrize(
    ("to", "why", "said"),
    [
        (None, "  ", "takes a reason"),
        (9, "x", "there is no version 9; there are: 3, 2, 1"),
        (NEW, "x", "version 2 answers everything in production already"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, to: int | None, why: str, said: str
) -> None:
    world, control = promoted(tmp_path)
    with pytest.raises(RolloutError, match=said):
        back(control, world, to, why)
    assert control.audit.read().records == ()


def test_without_a_version_before_one_has_to_be_named(tmp_path: Path) -> None:
    world = World({OLD: GOOD, NEW: GOOD})
    control = control_of(world, tmp_path)
    with pytest.raises(RolloutError, match="no version was champion before version 1"):
        back(control, world)
    world.routing = None
    with pytest.raises(RolloutError, match="nothing is deployed to production"):
        back(control, world)


@pytest.mark.parametrize("stage", [0, 2])
def test_a_rollback_ends_a_rollout(tmp_path: Path, stage: int) -> None:
    world = World({OLD: GOOD, NEW: GOOD})
    control = control_of(world, tmp_path)
    driver.begin(ENVIRONMENT, NEW, PLAN, "someone", control)
    for _ in range(60):
        world.sleep(60)
        rollout = driver.look(ENVIRONMENT, control, world.read)
        if rollout.observing_since and rollout.stage == stage:
            break
    assert dict(world.traffic(ENVIRONMENT)) != {OLD: 100}
    assert back(control, world) == OLD
    ended = control.store.load(ENVIRONMENT)
    assert ended is not None and not ended.active
    assert ended.outcome is Outcome.ABORTED and "too slow" in (ended.reason or "")
    assert dict(world.traffic(ENVIRONMENT)) == {OLD: 100} and champion(world) == OLD
    # Whoever still watches it leaves things as they are.
    watched = driver.run(ENVIRONMENT, control, world.read, world.sleep, lambda line: None)
    assert watched == ended
    assert [record.what for record in control.audit.read().records] == [
        "rollout begun",
        "rollback begun",
        "rollback",
    ]


def test_what_answers_after_a_rollback_is_not_stopped_when_its_warm_time_ends(
    tmp_path: Path,
) -> None:
    world = World({OLD: GOOD, NEW: GOOD})
    control = control_of(world, tmp_path)
    driver.begin(ENVIRONMENT, NEW, PLAN, "someone", control)
    rollout = driver.run(ENVIRONMENT, control, world.read, world.sleep, lambda line: None)
    assert rollout.retained == OLD
    assert back(control, world) == OLD
    world.now += timedelta(days=9)
    rollout = driver.look(ENVIRONMENT, control, world.read)
    assert world.stopped == [] and rollout.retained == NEW


@pytest.mark.parametrize("fault", ["start", "health", "route", "promote"])
@pytest.mark.parametrize("during_rollout", [False, True])
def test_the_same_command_again_completes_it(
    tmp_path: Path, fault: str, during_rollout: bool
) -> None:
    world, control = promoted(tmp_path)
    if during_rollout:
        driver.begin(ENVIRONMENT, 3, PLAN, "someone", control)
    world.faults = {fault: 1}
    with pytest.raises(ClaimsError, match=f"{fault}: the platform does not answer"):
        back(control, world, to=OLD)
    assert control.audit.read().records[-1].what == "rollback failed"
    assert back(control, world, to=OLD) == OLD
    assert dict(world.traffic(ENVIRONMENT)) == {OLD: 100} and champion(world) == OLD
    ended = control.store.load(ENVIRONMENT)
    assert ended is None or not ended.active
    assert control.audit.read().records[-1].what == "rollback"
