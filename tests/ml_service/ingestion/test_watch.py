"""Watching: when a file is whole, when training begins, and what a watcher does when things are gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from ml_service.ingestion.landing import LandingRefusedError
from ml_service.ingestion.options import Pace
from ml_service.ingestion.watch import Stability, Watcher
from ml_service.platforms.base import PlatformError
from tests.ml_service.ingestion.stand_in import (
    DATA,
    StandIn,
    ingestor,
    statuses,
    trigger,
)


class Clock:
    """Time that passes when somebody sleeps, or a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watcher(platform: StandIn, address: str, clock: Clock, lines: list[str]) -> Watcher:
    pace = Pace(poll=1, settle=5, debounce=10, patience=60)
    return Watcher(
        ingestor(platform, address), trigger(platform), pace, lines.append, clock, clock.sleep
    )


def test_a_file_that_grows_is_not_read_before_it_stops(
    folder: Any, platform: StandIn, claims: pd.DataFrame, clock: Clock
) -> None:
    watching = watcher(platform, folder.address, clock, [])
    for rows in (100, 200, 300, 400):
        folder.drop("a.csv", claims[:rows])
        assert watching.look()[0] == []
        clock.sleep(4)
        assert watching.look()[0] == []
    clock.sleep(1)
    assert len(watching.look()[0]) == 1
    assert platform.data.get(DATA).rows == 400


def test_a_whole_blob_is_read_at_once(
    container: Any, platform: StandIn, claims: pd.DataFrame, clock: Clock
) -> None:
    container.drop("a.csv", claims)
    assert len(watcher(platform, container.address, clock, []).look()[0]) == 1


def test_a_blob_that_is_appended_to_is_waited_for(
    container: Any, platform: StandIn, clock: Clock
) -> None:
    blob = container._container.get_blob_client("log.csv")
    blob.create_append_blob()
    blob.append_block(b"id\n")
    watching = watcher(platform, container.address, clock, [])
    assert watching.look()[0] == []
    clock.sleep(5)
    assert len(watching.look()[0]) == 1


def test_files_that_come_and_go_are_forgotten(clock: Clock) -> None:
    stability = Stability(5, clock)
    assert stability.settled([]) == []
    assert stability._since == {}


def test_many_files_are_one_training(
    folder: Any, platform: StandIn, claims: pd.DataFrame, clock: Clock
) -> None:
    watching = watcher(platform, folder.address, clock, [])
    trained = []
    for number in range(4):
        folder.drop(f"{number}.csv", claims[number * 100 : number * 100 + 100])
        for _ in range(7):
            trained.append(watching.look()[1])
            clock.sleep(1)
    assert trained == [None] * 28
    clock.sleep(10)
    _, run = watching.look()
    assert run is not None
    assert run.parameters["data_version"] == "4"
    clock.sleep(100)
    assert watching.look() == ([], None)
    assert len(platform.pipelines.of("training")) == 1


def test_a_stream_of_files_without_end_is_trained_with_all_the_same(
    folder: Any, platform: StandIn, claims: pd.DataFrame, clock: Clock
) -> None:
    watching = watcher(platform, folder.address, clock, [])
    for number in range(20):
        folder.drop(f"{number}.csv", claims[number * 20 : number * 20 + 20])
        watching.look()
        clock.sleep(5)
    assert len(platform.pipelines.of("training")) == 1


def test_training_that_fails_is_tried_again_and_then_left(
    folder: Any, platform: StandIn, claims: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.drop("a.csv", claims)
    made = ingestor(platform, folder.address)
    made.handle(["a.csv"])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    trying = trigger(platform, tries=2, wait=timedelta(minutes=1), clock=lambda: now)

    def failing(*arguments: Any) -> Any:
        raise PlatformError("no compute")

    with monkeypatch.context() as patch:
        patch.setattr(platform.pipelines, "run", failing)
        with pytest.raises(PlatformError, match="no compute"):
            trying.train()
    # That the platform did not answer is no failure of training.
    last = trying.last()
    assert last is not None
    assert last.attempts == 0
    results = []
    run = platform.pipelines.run

    def failed(*arguments: Any) -> Any:
        from dataclasses import replace

        results.append(replace(run(*arguments), error="step train failed", status="failed"))
        (platform.pipelines.home / "runs" / results[-1].id).unlink()
        return results[-1]

    monkeypatch.setattr(platform.pipelines, "run", failed)
    assert trying.train() is not None
    assert trying.train() is None
    now += timedelta(minutes=1)
    assert trying.train() is not None
    now += timedelta(days=1)
    assert trying.train() is None
    last = trying.last()
    assert last is not None
    assert (last.attempts, last.run, last.error) == (2, None, "step train failed")


def test_the_watcher_waits_for_what_comes_back_and_ends_for_what_does_not(
    folder: Any, platform: StandIn, claims: pd.DataFrame, clock: Clock
) -> None:
    lines: list[str] = []
    watching = watcher(platform, folder.address, clock, lines)
    folder.drop("a.csv", claims)
    troubles: list[Exception | None] = [
        *(PlatformError("the network is down"), PlatformError("the network is down")),
        *([None] * 7),
        LandingRefusedError("the login has expired"),
    ]
    look = watching.look

    def troubled() -> Any:
        trouble = troubles.pop(0)
        if trouble is not None:
            raise trouble
        return look()

    watching.look = troubled  # type: ignore[method-assign]
    with pytest.raises(LandingRefusedError, match="expired"):
        watching.run()
    assert clock.slept == [2, 4, *([1] * 7)]
    assert lines == ["waiting: the network is down", "all is well again"]
    assert platform.data.get(DATA).rows == 400


def test_draining_takes_everything_and_trains_once(
    landing: Any, platform: StandIn, claims: pd.DataFrame, clock: Clock
) -> None:
    landing.drop("a.csv", claims[:200])
    landing.drop("b.csv", claims[200:])
    landing.drop("bad.csv", b"")
    lines: list[str] = []
    watching = watcher(platform, landing.address, clock, lines)
    records, run = watching.drain()
    assert len(records) == 1
    assert run is not None
    assert watching.drain() == ([], None)
    made = ingestor(platform, landing.address)
    assert statuses(platform, made)["bad.csv"] == ["quarantined"]


def test_draining_does_not_wait_for_ever_for_what_somebody_else_holds(
    container: Any, platform: StandIn, claims: pd.DataFrame, clock: Clock
) -> None:
    container.drop("a.csv", claims)
    container._container.get_blob_client("a.csv").acquire_lease(-1)
    watching = watcher(platform, container.address, clock, [])
    clock_before = clock.now
    with pytest.raises(PlatformError, match="held by somebody else"):
        watching.drain()
    assert clock.now - clock_before < 120
