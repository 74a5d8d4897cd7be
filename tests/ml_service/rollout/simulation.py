"""A simulated platform on which days of traffic pass in a moment, and what becomes of good and bad canaries on it.

``python -m tests.ml_service.rollout.simulation`` prints the tables of docs/rollout.md.
"""

from __future__ import annotations

import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from insurance_claims.monitoring.observations import Observations, Window
from insurance_claims.registry import CHAMPION_REASON, CHAMPION_SINCE, ModelVersion
from ml_service.platforms.base import Health, PlatformError, Routing
from ml_service.platforms.local.documents import LocalDocuments
from ml_service.rollout import driver
from ml_service.rollout.analysis import Verdict
from ml_service.rollout.audit import AuditLog
from ml_service.rollout.plan import Plan, load_plan
from ml_service.rollout.protocols import Control, Store
from ml_service.rollout.state import Rollout
from ml_service.rollout.store import RolloutStore

BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)
ENVIRONMENT = "production"
OLD, NEW = 1, 2


@dataclass(frozen=True)
class Behavior:
    """How a version answers.

    Attributes:
        error_rate: share of requests that fail.
        slowness: factor of every latency.
        score: factor of every score.
        constant: the same score for everybody.
        bias: added to the labels' rate, so that scores are off by it.
        labelled: share of rows whose label is known.
        answers_after: minutes from start until it answers; None: never.
        dies_after: minutes from start.
    """

    error_rate: float = 0.001
    slowness: float = 1.0
    score: float = 1.0
    constant: float | None = None
    bias: float = 0.0
    labelled: float = 0.0
    answers_after: float | None = 1.0
    dies_after: float | None = None

    def observe(self, requests: int, random: np.random.Generator) -> Observations:
        """Answer requests of one row: log-normal latencies around 4.5 ms and scores around 3.7%."""
        errors = int(random.binomial(requests, self.error_rate))
        answered = requests - errors
        latencies = random.lognormal(1.5, 0.4, answered) * self.slowness
        truth = np.minimum(random.lognormal(np.log(0.033), 0.5, answered), 1)
        scores = np.minimum(truth * self.score, 1)
        if self.constant is not None:
            scores = np.full(answered, self.constant)
        known = random.random(answered) < self.labelled
        labels = random.random(answered) < truth + self.bias
        return Observations.of(latencies, scores, errors, scores[known], labels[known])


GOOD = Behavior()
PLAN = load_plan().model_copy(update={"look_every_seconds": 60.0})


class World:
    """A platform's endpoints and models, its traffic, and a clock that moves when somebody sleeps."""

    def __init__(
        self,
        behaviors: Mapping[int, Behavior],
        requests_per_minute: float = 6000,
        seed: int = 0,
    ) -> None:
        self.now = BEGIN
        self.routing: Routing | None = Routing({OLD: 100})
        self.started = {OLD: BEGIN - timedelta(days=30)}
        self.stopped: list[int] = []
        self.since = {OLD: (BEGIN - timedelta(days=30)).isoformat()}
        self.reasons: dict[int, str] = {}
        self.asked: Counter[str] = Counter()
        self.faults: dict[str, int] = {}
        self.seen = {version: Observations() for version in behaviors}
        self.requests_per_minute = requests_per_minute
        self._behaviors = behaviors
        self._random = np.random.default_rng(seed)
        self._window = Window(BEGIN, BEGIN, {})

    def clock(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, and requests with it."""
        self.now += timedelta(seconds=seconds)
        expected = self.requests_per_minute * seconds / 60
        routing = self.routing
        shares = {**routing.traffic, **routing.mirror} if routing else {}
        made = {
            version: self._answers(version, self._random.poisson(expected * share / 100))
            for version, share in shares.items()
        }
        for version, observations in made.items():
            self.seen[version] += observations
        self._window += Window(self._window.end, self.now, made)

    def _answers(self, version: int, requests: int) -> Observations:
        behavior = self._behaviors[version]
        if self._health(version)[0] != "healthy":
            behavior = replace(behavior, error_rate=1.0)
        return behavior.observe(requests, self._random)

    def read(self, environment: str, since: datetime) -> Window:
        assert self._window.start >= since
        return self._window

    def start_version(self, environment: str, version: int) -> None:
        self._fail("start")
        self.started.setdefault(version, self.now)

    def health(self, environment: str, version: int) -> tuple[Health, str | None]:
        self._fail("health")
        return self._health(version)

    def _health(self, version: int) -> tuple[Health, str | None]:
        behavior = self._behaviors[version]
        if version not in self.started:
            return "unhealthy", "it is not served"
        age = (self.now - self.started[version]) / timedelta(minutes=1)
        if behavior.dies_after is not None and age >= behavior.dies_after:
            return "unhealthy", "its process is gone"
        if behavior.answers_after is None or age < behavior.answers_after:
            return "starting", "no answer yet"
        return "healthy", None

    def traffic(self, environment: str) -> Mapping[int, int]:
        return self.routing.traffic if self.routing else {}

    def set_routing(self, environment: str, routing: Routing) -> None:
        self._fail("route")
        assert sum(routing.traffic.values()) == 100
        assert {*routing.traffic, *routing.mirror} <= self.started.keys()
        self.routing = routing
        self._window = Window(self.now, self.now, {})

    def stop_version(self, environment: str, version: int) -> None:
        self._fail("stop")
        assert version not in self.traffic(environment)
        if self.started.pop(version, None) is not None:
            self.stopped.append(version)

    def list(self) -> Sequence[ModelVersion]:
        newest = max(self.since, key=lambda version: self.since[version])
        return [
            ModelVersion(
                name="insurance_claims",
                version=version,
                created=BEGIN.isoformat(),
                run_id="",
                source="",
                tags=self._tags(version),
                champion=version == newest,
            )
            for version in sorted(self._behaviors, reverse=True)
        ]

    def champion(self) -> ModelVersion | None:
        return next((model for model in self.list() if model.champion), None)

    def promote(self, version: int, reason: str) -> ModelVersion:
        self._fail("promote")
        self.since[version] = self.now.isoformat()
        self.reasons[version] = reason
        return next(model for model in self.list() if model.version == version)

    def _tags(self, version: int) -> dict[str, str]:
        if version not in self.since:
            return {}
        return {
            CHAMPION_SINCE: self.since[version],
            CHAMPION_REASON: self.reasons.get(version, "first"),
        }

    def _fail(self, what: str) -> None:
        self.asked[what] += 1
        if self.faults.get(what, 0) > 0:
            self.faults[what] -= 1
            raise PlatformError(f"{what}: the platform does not answer; try again")


class MemoryStore:
    """The newest rollout, in memory."""

    def __init__(self) -> None:
        self._newest: Rollout | None = None

    def load(self, environment: str) -> Rollout | None:
        return self._newest

    def save(self, rollout: Rollout) -> None:
        self._newest = rollout

    def lock(self, environment: str) -> AbstractContextManager[None]:
        return nullcontext()


def control_of(world: World, folder: Path, store: Store | None = None) -> Control:
    """What a rollout in a world acts through."""
    documents = LocalDocuments(folder)
    return Control(world, world, store or RolloutStore(documents), AuditLog(documents), world.clock)


def audit_of(folder: Path) -> AuditLog:
    """The log that ``control_of`` writes."""
    return AuditLog(LocalDocuments(folder))


def simulate(
    canary: Behavior,
    folder: Path,
    *,
    production: Behavior = GOOD,
    plan: Plan = PLAN,
    requests_per_minute: float = 6000,
    seed: int = 0,
) -> tuple[Rollout, World]:
    """A whole rollout."""
    world = World({OLD: production, NEW: canary}, requests_per_minute, seed)
    control = control_of(world, folder, MemoryStore())
    driver.begin(ENVIRONMENT, NEW, plan, "someone", control)
    rollout = driver.run(ENVIRONMENT, control, world.read, world.sleep, lambda line: None)
    return rollout, world


CANARIES = {
    "equal": GOOD,
    "better: no errors, a fifth faster": Behavior(error_rate=0.0, slowness=0.8),
    "errors on 2% of requests": Behavior(error_rate=0.02),
    "3 times slower": Behavior(slowness=3.0),
    "constant scores": Behavior(constant=0.0365),
    "scores shifted by 20%": Behavior(score=1.2),
    "dies after 15 minutes": Behavior(dies_after=15),
    "never healthy": Behavior(answers_after=None),
    "fails every request": Behavior(error_rate=1.0),
}


def _ended(rollout: Rollout) -> str:
    blind = (rollout.reason or "").startswith(Verdict.NOT_ENOUGH_EVIDENCE)
    return f"{rollout.outcome}: {Verdict.NOT_ENOUGH_EVIDENCE}" if blind else f"{rollout.outcome}"


def _row(name: str, canary: Behavior, rollouts: int, requests_per_minute: float) -> str:
    outcomes: Counter[str] = Counter()
    requests, errors, minutes = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(rollouts):
            rollout, world = simulate(
                canary, Path(folder) / str(seed), requests_per_minute=requests_per_minute, seed=seed
            )
            outcomes[_ended(rollout)] += 1
            requests.append(world.seen[NEW].requests)
            errors.append(world.seen[NEW].errors)
            minutes.append((world.now - BEGIN) / timedelta(minutes=1))
    ended = ", ".join(f"{share / rollouts:.1%} {end}" for end, share in outcomes.most_common())
    middle = statistics.median
    return (
        f"| {name} | {requests_per_minute:,.0f} | {ended} | {middle(requests):,.0f} | "
        f"{middle(errors):,.0f} | {middle(minutes):,.0f} |"
    )


def main() -> None:
    """Print the table."""
    print("| canary | requests a minute | ended | canary's requests | of them failed | minutes |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for name, canary in CANARIES.items():
        for requests_per_minute in (600, 6000):
            print(_row(name, canary, 200 if name == "equal" else 20, requests_per_minute))
    at_limit = Behavior(error_rate=GOOD.error_rate + (PLAN.limits.error_rate or 0))
    print(_row("errors exactly at the limit", at_limit, 20, 600))
    print(_row("equal, hardly any traffic", GOOD, 20, 1))


if __name__ == "__main__":
    main()
