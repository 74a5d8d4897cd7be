"""Sums are what the events say, whatever happens while they are made."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from insurance_claims.monitoring.observations import Observations
from ml_service.monitoring.dashboard import rollup as module
from ml_service.monitoring.dashboard.cells import GAUGES, Cell, Events, Source, merged
from ml_service.monitoring.dashboard.rollup import Rollup
from ml_service.monitoring.dashboard.span import Span
from ml_service.monitoring.store import FILE, Store
from ml_service.monitoring.telemetry import Event
from tests.ml_service.monitoring.dashboard.generated import observations, traffic

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
END = NOON + timedelta(hours=1, minutes=10, seconds=1)


@pytest.fixture(scope="module")
def events() -> Sequence[Event]:
    """An hour of two versions."""
    every = timedelta(seconds=20)
    return list(traffic(NOON, END, every, NOON + timedelta(minutes=30)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Nothing is kept yet."""
    return Store(tmp_path)


def _summed(source: Source, span: Span) -> dict[tuple[int, str, int], Cell]:
    """Cells by step, environment and version."""
    parts: dict[tuple[int, str, int], list[Cell]] = {}
    for cell in source.cells(span):
        parts.setdefault((span.index(cell.time), cell.environment, cell.version), []).append(cell)
    return {
        key: Cell(
            *(NOON, key[1], key[2]),
            sum((cell.observations for cell in cells), Observations()),
            merged(cell.refused for cell in cells),
        )
        for key, cells in parts.items()
    }


def _same(rollup: Rollup, store: Store, step: timedelta) -> None:
    span = Span(NOON, END, step)
    found = _summed(rollup, span)
    assert found == _summed(Events(store), span)
    assert len(found) > 3


def _all(rollup: Rollup) -> None:
    while rollup.catch_up():
        pass


@pytest.mark.parametrize("minutes", [1, 5, 30, 60])
def test_sums_equal_the_events_when_they_come_in_pieces(
    store: Store, events: Sequence[Event], minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ", 300)
    rollup = Rollup(store)
    for begin in range(0, len(events), 700):
        store.add(events[begin : begin + 700])
        _all(rollup)
    _same(rollup, store, timedelta(minutes=minutes))
    for metric in GAUGES:
        span = Span(NOON, END, timedelta(minutes=minutes))
        for ours, theirs in zip(
            rollup.gauge(metric, span), Events(store).gauge(metric, span), strict=True
        ):
            assert (ours.time, ours.key, ours.count) == (theirs.time, theirs.key, theirs.count)
            assert ours.mean == pytest.approx(theirs.mean)
            assert (ours.minimum, ours.maximum) == (theirs.minimum, theirs.maximum)


def test_what_was_sent_twice_counts_once(store: Store, events: Sequence[Event]) -> None:
    rollup = Rollup(store)
    some = [event for event in events if event.name == "observations"]
    store.add([*some[:50], *some[:50]])
    _all(rollup)
    store.add(some[40:90])
    _all(rollup)
    _same(rollup, store, timedelta(minutes=1))


def test_a_crash_half_way_neither_loses_nor_doubles(
    store: Store, events: Sequence[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(events)
    with monkeypatch.context() as crash:

        def fail(*_: object) -> None:
            raise MemoryError

        crash.setattr(module, "_add_gauges", fail)
        with pytest.raises(MemoryError):
            Rollup(store).catch_up()
    rollup = Rollup(store)
    _all(rollup)
    _same(rollup, store, timedelta(minutes=1))


def test_several_at_once_add_everything_once(
    store: Store, events: Sequence[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ", 50)
    store.add(events)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(_all, [Rollup(store) for _ in range(3)]))
    _same(Rollup(store), store, timedelta(minutes=1))


def test_a_store_that_was_made_anew_is_added_up_anew(store: Store, events: Sequence[Event]) -> None:
    rollup = Rollup(store)
    store.add(events)
    _all(rollup)
    store.close()
    for file in store.path.parent.glob(f"{FILE}*"):
        file.unlink()
    store.add(events[:500])
    _all(rollup)
    _same(rollup, store, timedelta(minutes=1))


def test_sums_that_were_removed_are_made_anew(store: Store, events: Sequence[Event]) -> None:
    store.add(events)
    _all(Rollup(store))
    for file in store.path.parent.glob("rollup.db*"):
        file.unlink()
    rollup = Rollup(store)
    _all(rollup)
    _same(rollup, store, timedelta(minutes=1))


def test_what_was_long_ago_goes(store: Store, events: Sequence[Event]) -> None:
    rollup = Rollup(store)
    store.add(events)
    _all(rollup)
    hour = timedelta(hours=1)
    rollup.prune(NOON + hour)
    whole = Span(NOON, END, timedelta(minutes=1))
    assert min(cell.time for cell in rollup.cells(whole)) == NOON + hour
    assert min(point.time for point in rollup.gauge(GAUGES[0], whole)) == NOON + hour


def test_a_clock_that_is_ahead_is_noticed(store: Store) -> None:
    rollup = Rollup(store)
    assert rollup.newest_after(NOON) is None
    ahead = NOON + timedelta(days=3)
    store.add([observations(at, 1, Observations.of([1.0], [0.1])) for at in (NOON, ahead)])
    _all(rollup)
    for source in (rollup, Events(store)):
        assert source.newest_after(NOON + timedelta(minutes=1)) == ahead
        assert source.newest_after(ahead + timedelta(minutes=1)) is None


def test_events_that_scoring_did_not_send_are_passed_over(store: Store) -> None:
    rollup = Rollup(store)
    good = observations(NOON, 1, Observations.of([1.0], [0.1]))
    bad = observations(NOON, 1, Observations.of([1.0], [0.1]))
    assert isinstance(bad.properties, dict)
    bad.properties["latencies"] = "nonsense"
    store.add([bad, good])
    _all(rollup)
    [cell] = rollup.cells(Span(NOON, END, timedelta(minutes=1)))
    assert cell.observations.requests == 1
