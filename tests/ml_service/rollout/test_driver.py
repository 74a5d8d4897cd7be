"""Whole rollouts on a simulated platform: how each canary ends, what people may do, and what a kill leaves."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring.observations import Window
from ml_service.platforms.base import PlatformError, Routing
from ml_service.rollout import commands, driver
from ml_service.rollout.analysis import Verdict
from ml_service.rollout.audit import AuditLog
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.plan import Plan
from ml_service.rollout.protocols import Control, Observed
from ml_service.rollout.state import Outcome, Phase, Rollout, from_json, to_json
from tests.ml_service.rollout.simulation import (
    BEGIN,
    ENVIRONMENT,
    GOOD,
    NEW,
    OLD,
    PLAN,
    Behavior,
    MemoryStore,
    World,
    audit_of,
    control_of,
    simulate,
)

QUICK = PLAN.model_copy(
    update={
        "stages": tuple(
            stage.model_copy(update={"least_requests": 200, "least_minutes": 2.0})
            for stage in PLAN.stages
        ),
        "limits": PLAN.limits.model_copy(
            update={
                "error_rate": 0.05,
                "latency_ratio": {"p50": 1.5},
                "score_psi": None,
                "score_ks": None,
                "score_mean": 0.3,
            }
        ),
    }
)
"""Needs little evidence: for tests of what happens, not of when."""


def world_of(canary: Behavior = GOOD) -> World:
    return World({OLD: GOOD, NEW: canary, 3: GOOD})


def begun(world: World, folder: Path, plan: Plan = QUICK) -> Control:
    control = control_of(world, folder)
    driver.begin(ENVIRONMENT, NEW, plan, "someone", control)
    return control


def until(world: World, control: Control, wanted: Callable[[Rollout], bool]) -> Rollout:
    for _ in range(100):
        rollout = driver.look(ENVIRONMENT, control, world.read)
        if wanted(rollout):
            return rollout
        world.sleep(60)
    raise AssertionError(f"never: {rollout.describe()}")


def in_stage(index: int) -> Callable[[Rollout], bool]:
    return lambda rollout: rollout.phase is Phase.STAGE and rollout.stage == index


def to_the_end(world: World, control: Control) -> Rollout:
    return driver.run(ENVIRONMENT, control, world.read, world.sleep, lambda line: None)


@pytest.mark.parametrize(
    ("canary", "reason", "most_requests"),
    [
        (Behavior(error_rate=0.02), "error rate difference", 6000),
        (Behavior(slowness=3), "latency p50 ratio", 1500),
        (Behavior(constant=0.0365), "score PSI", 1500),
        (Behavior(score=1.2), "score mean difference", 6000),
        (Behavior(error_rate=1.0), "requests to the canary failed", 1500),
        (Behavior(dies_after=4), "the canary does not answer: its process is gone", 3000),
        (Behavior(answers_after=None), "the canary is not healthy after 10 minutes", 0),
        (Behavior(dies_after=0), "the canary does not start: its process is gone", 0),
    ],
)
def test_a_bad_canary_is_taken_back(
    tmp_path: Path, canary: Behavior, reason: str, most_requests: int
) -> None:
    rollout, world = simulate(canary, tmp_path)
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert reason in (rollout.reason or "")
    assert world.seen[NEW].requests <= most_requests
    assert dict(world.traffic(ENVIRONMENT)) == {OLD: 100}
    # Kept for inspection, and the champion is who it was.
    assert rollout.retained == NEW and NEW in world.started
    assert world.champion() is not None and OLD in world.since and NEW not in world.since
    [*_, last] = audit_of(tmp_path).read().records
    assert (last.what, last.before, last.after) == ("rolled back", NEW, OLD)
    assert last.why == rollout.reason


@pytest.mark.parametrize("canary", [GOOD, Behavior(error_rate=0.0, slowness=0.8)])
def test_a_good_canary_is_promoted(tmp_path: Path, canary: Behavior) -> None:
    rollout, world = simulate(canary, tmp_path)
    assert rollout.outcome is Outcome.PROMOTED
    assert dict(world.traffic(ENVIRONMENT)) == {NEW: 100}
    champion = world.champion()
    assert champion is not None and champion.version == NEW
    assert rollout.id in world.reasons[NEW] and "healthy after" in world.reasons[NEW]
    stages = [(step.phase, step.stage) for step in rollout.history]
    assert stages == [
        (Phase.PENDING, 0),
        (Phase.STAGE, 0),
        (Phase.STAGE, 1),
        (Phase.STAGE, 2),
        (Phase.PROMOTING, 2),
        (Phase.DONE, 2),
    ]
    whats = [record.what for record in audit_of(tmp_path).read().records]
    assert whats == ["rollout begun", "promoted"]


def test_every_stage_lasts_its_least_time(tmp_path: Path) -> None:
    rollout, _ = simulate(GOOD, tmp_path, requests_per_minute=20_000)
    times = [step.time for step in rollout.history if step.phase is not Phase.PENDING]
    for stage, start, end in zip(PLAN.stages, times, times[1:], strict=False):
        assert end - start >= timedelta(minutes=stage.least_minutes)


def test_too_little_traffic_never_passes(tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"look_every_seconds": 600.0})
    rollout, world = simulate(GOOD, tmp_path, plan=plan, requests_per_minute=1)
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert (rollout.reason or "").startswith(
        "not enough evidence after 1440 minutes: canary answered"
    )
    assert rollout.analysis is not None
    assert rollout.analysis.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert dict(world.traffic(ENVIRONMENT)) == {OLD: 100}


def test_equal_models_are_hardly_ever_rolled_back(tmp_path: Path) -> None:
    plan = PLAN.model_copy(
        update={
            "stages": tuple(
                stage.model_copy(update={"least_minutes": 5.0}) for stage in PLAN.stages
            )
        }
    )
    looks, rolled_back = 0, 0
    for seed in range(200):
        rollout, world = simulate(GOOD, tmp_path, plan=plan, requests_per_minute=4000, seed=seed)
        looks += round((world.now - BEGIN) / timedelta(minutes=1))
        rolled_back += rollout.outcome is not Outcome.PROMOTED
    assert looks / 200 > 20
    assert rolled_back <= 4


def test_the_old_version_is_kept_warm_and_then_stopped(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    rollout = to_the_end(world, control)
    assert rollout.outcome is Outcome.PROMOTED and rollout.retained == OLD
    driver.look(ENVIRONMENT, control, world.read)
    assert world.stopped == []
    world.now += timedelta(minutes=QUICK.keep_warm_minutes)
    rollout = driver.look(ENVIRONMENT, control, world.read)
    assert world.stopped == [OLD] and rollout.retained is None
    driver.look(ENVIRONMENT, control, world.read)
    assert world.stopped == [OLD]


def test_a_version_that_got_traffic_again_is_not_stopped(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    to_the_end(world, control)
    world.set_routing(ENVIRONMENT, Routing({OLD: 100}))
    world.now += timedelta(minutes=QUICK.keep_warm_minutes)
    driver.look(ENVIRONMENT, control, world.read)
    assert world.stopped == []


def test_a_canary_kept_for_inspection_goes_when_the_next_rollout_begins(tmp_path: Path) -> None:
    world = world_of(Behavior(slowness=3))
    control = begun(world, tmp_path)
    assert to_the_end(world, control).retained == NEW
    world.now += timedelta(days=30)
    driver.look(ENVIRONMENT, control, world.read)
    assert world.stopped == []
    driver.begin(ENVIRONMENT, 3, QUICK, "someone", control)
    assert world.stopped == [NEW]
    assert to_the_end(world, control).outcome is Outcome.PROMOTED


def test_what_could_not_be_stopped_is_stopped_by_the_next_rollout(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    to_the_end(world, control)
    world.now += timedelta(minutes=QUICK.keep_warm_minutes)
    world.faults = {"stop": 1}
    rollout = driver.look(ENVIRONMENT, control, world.read)
    assert rollout.todo and rollout.actions[-1].error and world.stopped == []
    driver.begin(ENVIRONMENT, 3, QUICK, "someone", control)
    assert world.stopped == [OLD]


def test_a_canary_that_starts_again_has_died(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    rollout = until(world, control, in_stage(0))
    rollout = driver.step(rollout, Observed(None, "starting", "restarted"), control)
    assert rollout.outcome is Outcome.ROLLED_BACK and "restarted" in (rollout.reason or "")


def test_a_second_rollout_at_once_is_refused(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    with pytest.raises(
        RolloutError, match="a rollout is active already: production: version 1 to 2"
    ):
        driver.begin(ENVIRONMENT, 3, QUICK, "another", control)
    assert 3 not in world.started


def test_of_two_that_begin_at_the_same_moment_one_is_refused(tmp_path: Path) -> None:
    world = world_of()

    def attempt(canary: int) -> str:
        try:
            driver.begin(ENVIRONMENT, canary, QUICK, "x", control_of(world, tmp_path))
        except RolloutError:
            return "refused"
        return "begun"

    with ThreadPoolExecutor(2) as people:
        ends = list(people.map(attempt, (NEW, 3)))
    assert sorted(ends) == ["begun", "refused"]
    assert len(world.started) == 2


def test_a_rollout_needs_one_version_that_answers_and_another_one(tmp_path: Path) -> None:
    world = world_of()
    control = control_of(world, tmp_path)
    with pytest.raises(RolloutError, match="version 1 is in production already"):
        driver.begin(ENVIRONMENT, OLD, QUICK, "someone", control)
    world.routing = None
    with pytest.raises(RolloutError, match="exactly one version answers; in production: none"):
        driver.begin(ENVIRONMENT, NEW, QUICK, "someone", control)
    world.routing = Routing({1: 50, 3: 50})
    with pytest.raises(RolloutError, match="in production: 1, 3"):
        driver.begin(ENVIRONMENT, NEW, QUICK, "someone", control)
    with pytest.raises(RolloutError, match="has had no rollout"):
        driver.look("staging", control, world.read)


def test_a_shadow_answers_nobody_and_is_not_promoted(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path, QUICK.model_copy(update={"shadow": True}))
    routings = []
    for stage in range(3):
        until(world, control, in_stage(stage))
        routings.append(world.routing)
    assert [dict(routing.mirror) for routing in routings if routing] == [
        {NEW: 10},
        {NEW: 50},
        {NEW: 100},
    ]
    assert all(routing and dict(routing.traffic) == {OLD: 100} for routing in routings)
    rollout = to_the_end(world, control)
    assert rollout.outcome is Outcome.COMPARED
    # Production answers all along, so scores are compared to the last stage.
    assert rollout.analysis is not None
    assert "score mean difference" in [found.metric for found in rollout.analysis.findings]
    assert NEW not in world.since and world.routing == Routing({OLD: 100})


def test_a_bad_shadow_is_found_out(tmp_path: Path) -> None:
    rollout, world = simulate(
        Behavior(slowness=3), tmp_path, plan=PLAN.model_copy(update={"shadow": True})
    )
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert world.routing == Routing({OLD: 100})


def test_the_sticky_header_reaches_the_platform(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path, QUICK.model_copy(update={"sticky_header": "x-customer"}))
    until(world, control, in_stage(0))
    assert world.routing == Routing({OLD: 90, NEW: 10}, {}, "x-customer")


def test_latency_under_all_traffic_is_compared_with_the_stage_before(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    until(world, control, in_stage(2))
    assert dict(world.traffic(ENVIRONMENT)) == {NEW: 100}
    world._behaviors = {OLD: GOOD, NEW: Behavior(slowness=3)}
    rollout = to_the_end(world, control)
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "latency p50 ratio" in (rollout.reason or "")
    assert dict(world.traffic(ENVIRONMENT)) == {OLD: 100}


def act(control: Control, what: Callable[..., Rollout], who: str = "someone") -> Rollout:
    return driver.command(
        ENVIRONMENT, lambda rollout, now: what(rollout, who, "because", now), control
    )


def test_a_person_advances(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    until(world, control, in_stage(0))
    world.sleep(60)
    assert driver.look(ENVIRONMENT, control, world.read).window is not None
    rollout = act(control, commands.advance)
    assert rollout.stage == 1
    assert rollout.window is None and rollout.analysis is None
    assert dict(world.traffic(ENVIRONMENT)) == {OLD: 50, NEW: 50}
    act(control, commands.advance)
    rollout = act(control, commands.advance)
    assert rollout.outcome is Outcome.PROMOTED and not rollout.active
    assert rollout.history[-2].who == "someone"
    assert "advanced by hand: because" in world.reasons[NEW]


def test_a_person_aborts(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    until(world, control, in_stage(1))
    rollout = act(control, commands.abort)
    assert rollout.outcome is Outcome.ABORTED and not rollout.active
    assert dict(world.traffic(ENVIRONMENT)) == {OLD: 100}
    assert control.audit.read().records[-1].who == "someone"


def test_a_canary_that_is_starting_can_be_aborted(tmp_path: Path) -> None:
    world = world_of(Behavior(answers_after=None))
    control = begun(world, tmp_path)
    assert act(control, commands.abort).outcome is Outcome.ABORTED


def test_a_paused_stage_holds_still(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    deadline = until(world, control, in_stage(0)).deadline
    act(control, commands.pause)
    for _ in range(5):
        world.sleep(600)
        rollout = driver.look(ENVIRONMENT, control, world.read)
        assert rollout.phase is Phase.PAUSED
    assert dict(world.traffic(ENVIRONMENT)) == {OLD: 90, NEW: 10}
    rollout = act(control, commands.resume)
    assert deadline is not None and rollout.deadline == deadline + timedelta(seconds=3000)
    assert to_the_end(world, control).outcome is Outcome.PROMOTED


def test_a_pause_outlasts_the_most_time_and_harm_ends_it(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    until(world, control, in_stage(0))
    act(control, commands.pause)
    world.now += timedelta(days=3)
    assert driver.look(ENVIRONMENT, control, world.read).phase is Phase.PAUSED
    world._behaviors = {OLD: GOOD, NEW: Behavior(dies_after=0)}
    assert driver.look(ENVIRONMENT, control, world.read).outcome is Outcome.ROLLED_BACK


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (commands.advance, "cannot be advanced: it is done"),
        (commands.pause, "cannot be paused: it is done"),
        (commands.resume, "cannot be resumed: it is done"),
        (commands.abort, "cannot be aborted: it is done"),
    ],
)
def test_an_ended_rollout_takes_no_command(
    tmp_path: Path, what: Callable[..., Rollout], said: str
) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    to_the_end(world, control)
    with pytest.raises(RolloutError, match=said):
        act(control, what)
    assert dict(world.traffic(ENVIRONMENT)) == {NEW: 100}


def test_a_canary_that_is_starting_cannot_be_advanced_or_resumed(tmp_path: Path) -> None:
    control = begun(world_of(), tmp_path)
    for what in (commands.advance, commands.pause, commands.resume):
        with pytest.raises(RolloutError, match="it is pending"):
            act(control, what)


def test_a_command_takes_a_rollout(tmp_path: Path) -> None:
    with pytest.raises(RolloutError, match="has had no rollout"):
        act(control_of(world_of(), tmp_path), commands.abort)


def test_a_title_that_registration_gave_goes_back_from_a_bad_canary(tmp_path: Path) -> None:
    world = world_of(Behavior(slowness=3))
    world.promote(NEW, "passed the gate")
    rollout = to_the_end(world, begun(world, tmp_path))
    assert rollout.outcome is Outcome.ROLLED_BACK
    champion = world.champion()
    assert champion is not None and champion.version == OLD
    assert rollout.id in world.reasons[OLD] and "latency p50 ratio" in world.reasons[OLD]


def test_an_abort_gives_the_title_back_once(tmp_path: Path) -> None:
    world = world_of()
    world.promote(NEW, "passed the gate")
    control = begun(world, tmp_path)
    world.faults = {"promote": 1}
    rollout = act(control, commands.abort)
    assert rollout.active and "promote: the platform does not answer" in rollout.describe()
    assert to_the_end(world, control).outcome is Outcome.ABORTED
    champion = world.champion()
    assert champion is not None and champion.version == OLD
    assert world.asked["promote"] == 3


@pytest.mark.parametrize("canary", [NEW, 3])
def test_a_title_that_another_version_has_stays_there(tmp_path: Path, canary: int) -> None:
    world = world_of(Behavior(slowness=3))
    world.promote(5 - canary, "passed the gate")
    control = control_of(world, tmp_path)
    driver.begin(ENVIRONMENT, canary, QUICK, "someone", control)
    act(control, commands.abort)
    champion = world.champion()
    assert champion is not None and champion.version == 5 - canary


def test_a_shadow_leaves_the_title_where_it_is(tmp_path: Path) -> None:
    world = world_of(Behavior(slowness=3))
    world.promote(NEW, "passed the gate")
    control = begun(world, tmp_path, QUICK.model_copy(update={"shadow": True}))
    assert to_the_end(world, control).outcome is Outcome.ROLLED_BACK
    champion = world.champion()
    assert champion is not None and champion.version == NEW


def test_a_rollout_whose_endpoint_is_taken_away_is_closed(tmp_path: Path) -> None:
    world = world_of()
    world.promote(NEW, "passed the gate")
    control = begun(world, tmp_path)
    until(world, control, in_stage(0))
    asked = world.asked["route"]
    rollout = act(control, commands.close)
    assert (rollout.phase, rollout.outcome, rollout.retained) == (
        *(Phase.DONE, Outcome.ABORTED),
        None,
    )
    assert world.asked["route"] == asked
    champion = world.champion()
    assert champion is not None and champion.version == OLD
    assert control.audit.read().records[-1].what == "aborted"


def test_the_state_says_when_somebody_looked_and_what_was_not_seen(tmp_path: Path) -> None:
    world = world_of(Behavior(answers_after=2))
    control = begun(world, tmp_path)
    world.sleep(60)
    rollout = driver.look(ENVIRONMENT, control, world.read)
    assert (rollout.looked, rollout.problem) == (world.now, "no answer yet")
    assert rollout.describe() == "production: version 1 to 2: pending: no answer yet"
    assert control.store.load(ENVIRONMENT) == rollout
    until(world, control, in_stage(0))
    world.sleep(60)
    assert driver.look(ENVIRONMENT, control, world.read).problem is None


class Forgetful(MemoryStore):
    """Cannot be read for some looks."""

    def __init__(self, fails: range) -> None:
        super().__init__()
        self._fails, self._loads = fails, 0

    def load(self, environment: str) -> Rollout | None:
        self._loads += 1
        if self._loads in self._fails:
            raise PlatformError("the network is away")
        return super().load(environment)


@pytest.mark.parametrize(("fails", "ends"), [(range(5, 14), True), (range(5, 15), False)])
def test_watching_outlasts_a_network_that_is_away_for_some_looks(
    tmp_path: Path, fails: range, ends: bool
) -> None:
    world = world_of()
    control = control_of(world, tmp_path, Forgetful(fails))
    driver.begin(ENVIRONMENT, NEW, QUICK, "someone", control)
    lines: list[str] = []

    def watch() -> Rollout:
        return driver.run(ENVIRONMENT, control, world.read, world.sleep, lines.append)

    if ends:
        assert watch().outcome is Outcome.PROMOTED
        assert lines.count("production: this look failed: the network is away") == len(fails)
    else:
        with pytest.raises(PlatformError, match="the network is away"):
            watch()


def test_what_is_being_done_is_written_before_it_is_done(tmp_path: Path) -> None:
    world = world_of()
    control = control_of(world, tmp_path)
    seen: list[Rollout | None] = []
    start = world.start_version

    def watched(environment: str, version: int) -> None:
        seen.append(control.store.load(environment))
        start(environment, version)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "start_version", watched)
        after = driver.begin(ENVIRONMENT, NEW, QUICK, "someone", control)
    [during] = seen
    assert during is not None
    assert (during.actions[-1].action, during.actions[-1].finished) == ("start version 2", None)
    assert [action.describe() for action in during.todo] == ["start version 2"]
    assert after.actions[-1].finished == world.now and not after.todo


@pytest.mark.parametrize("fault", ["start", "route", "promote", "health"])
def test_what_the_platform_refuses_is_tried_again(tmp_path: Path, fault: str) -> None:
    world = world_of()
    world.faults = {fault: 3}
    rollout = to_the_end(world, begun(world, tmp_path))
    assert rollout.outcome is Outcome.PROMOTED
    assert all(action.finished and not action.error for action in rollout.actions)
    if fault != "health":
        assert max(action.attempts for action in rollout.actions) == 4


def test_a_canary_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    world = world_of()
    world.faults = {"start": 10**6}
    rollout = to_the_end(world, begun(world, tmp_path))
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "start: the platform does not answer" in (rollout.reason or "")


def test_a_platform_that_cannot_split_as_planned_ends_the_rollout_soon(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    world.faults = {"route": 11}
    rollout = to_the_end(world, control)
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "its traffic cannot be set: route: the platform does not" in (rollout.reason or "")
    assert world.now - BEGIN < timedelta(minutes=QUICK.start_minutes + 5)


def test_a_blind_rollout_ends_where_it_began(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path, QUICK.model_copy(update={"look_every_seconds": 3600.0}))
    until(world, control, in_stage(0))

    def blind(environment: str, since: object) -> Window:
        raise ClaimsError("telemetry does not answer")

    rollout = driver.run(ENVIRONMENT, control, blind, world.sleep, lambda line: None)
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "not enough evidence" in (rollout.reason or "")
    assert "telemetry does not answer" in (rollout.reason or "")


def test_a_window_of_two_stages_is_refused(tmp_path: Path) -> None:
    world = world_of()
    control = begun(world, tmp_path)
    rollout = until(world, control, in_stage(0))
    mixed = Window(BEGIN - timedelta(days=1), world.now, {})
    with pytest.raises(RolloutError, match="it mixes two stages"):
        driver.step(rollout, Observed(mixed, "healthy"), control)


class Killed(BaseException):
    """The process is gone: nothing catches it."""


class Mortal:
    """Passes calls on; the process dies before or after the call of a given number."""

    def __init__(self, inner: object, calls: list[int], names: tuple[str, ...]) -> None:
        self._inner, self._calls, self._names = inner, calls, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        def call(*arguments: object) -> object:
            self._boundary()
            result = found(*arguments)
            self._boundary()
            return result

        return call

    def _boundary(self) -> None:
        self._calls[0] -= 1
        if self._calls[0] == 0:
            raise Killed


class JsonStore(MemoryStore):
    """Keeps nothing but JSON, as a file would."""

    def __init__(self) -> None:
        super().__init__()
        self._content: object = None

    def load(self, environment: str) -> Rollout | None:
        return from_json(self._content, "memory") if self._content else None

    def save(self, rollout: Rollout) -> None:
        self._content = to_json(rollout)

    def lock(self, environment: str) -> AbstractContextManager[None]:
        return nullcontext()


def killed_and_resumed(world: World, folder: Path, boundary: int) -> tuple[Rollout, bool]:
    """Run a rollout in processes, the first of which dies at a boundary."""
    store, audit = JsonStore(), audit_of(folder)
    calls = [boundary]
    changes = ("start_version", "set_routing", "stop_version", "promote", "append", "save")
    died = False
    for _ in range(3):
        platform, kept, log = (Mortal(part, calls, changes) for part in (world, store, audit))
        control = Control(
            cast(World, platform),
            cast(World, platform),
            cast(MemoryStore, kept),
            cast(AuditLog, log),
            world.clock,
        )
        try:
            if store.load(ENVIRONMENT) is None:
                driver.begin(ENVIRONMENT, NEW, QUICK, "someone", control)
            return to_the_end(world, control), died
        except Killed:
            died = True
    raise AssertionError("killed more than once")


def traces(rollout: Rollout, world: World, folder: Path) -> object:
    """What is left of a rollout: the same, killed or not."""
    return (
        rollout.phase,
        rollout.outcome,
        [(step.phase, step.stage) for step in rollout.history],
        [action.action for action in rollout.actions],
        world.routing,
        sorted(world.started),
        sorted(world.since),
        world.asked["promote"],
        [record.what for record in audit_of(folder).read().records],
    )


@pytest.mark.parametrize(
    "canary",
    [GOOD, Behavior(slowness=3), Behavior(answers_after=None)],
    ids=["good", "slow", "dead"],
)
def test_killed_anywhere_it_ends_the_same(tmp_path: Path, canary: Behavior) -> None:
    unhurt = world_of(canary)
    rollout, _ = killed_and_resumed(unhurt, tmp_path / "unhurt", 0)
    expected = traces(rollout, unhurt, tmp_path / "unhurt")
    boundary = 0
    died = True
    while died:
        boundary += 1
        world, folder = world_of(canary), tmp_path / str(boundary)
        rollout, died = killed_and_resumed(world, folder, boundary)
        assert traces(rollout, world, folder) == expected, boundary
    # Before and after every action and every write of the state.
    assert boundary > 20
