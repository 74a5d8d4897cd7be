"""The local store: several processes, damage, and pruning in steps."""

from __future__ import annotations

import multiprocessing
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from insurance_claims.telemetry import ITEM_ID
from ml_service.monitoring import store as stores
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Kind, TelemetryError

BEGIN = datetime(2026, 11, 21, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def _events(count: int, name: str = "event") -> list[Event]:
    return [
        Event(Kind.EVENT, BEGIN + number * SECOND, name, {"n": str(number)}, {}, BEGIN)
        for number in range(count)
    ]


def _write(folder: Path, name: str) -> None:
    store = Store(folder)
    for _ in range(20):
        store.add(_events(50, name))
    store.close()


def test_processes_write_at_once_while_another_reads(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    reader = Store(tmp_path)
    while any(writer.is_alive() for writer in writers):
        # A batch is seen whole or not at all.
        assert len(list(reader.events("a", BEGIN))) % 50 == 0
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert [len(list(reader.events(name, BEGIN))) for name in ("a", "b")] == [1000, 1000]


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(_events(1))
    broken = Event(Kind.EVENT, BEGIN, "\ud800", {}, {}, BEGIN)
    with pytest.raises(UnicodeEncodeError):
        store.add([*_events(3), broken])
    store.add(_events(1))
    assert len(list(store.events("event", BEGIN))) == 2


def test_nothing_was_sent_yet(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert list(store.events("event", BEGIN)) == []
    assert store.series("metric", BEGIN, BEGIN + SECOND, SECOND) == []
    assert not store.path.exists()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.path.write_text("nonsense " * 500)
    with pytest.raises(TelemetryError, match="telemetry.db cannot be read"):
        list(store.events("event", BEGIN))
    with pytest.raises(TelemetryError, match="telemetry.db cannot be written"):
        store.add(_events(1))


def test_pruning_goes_in_steps_and_keeps_what_arrived_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "_PRUNED", 4)
    store = Store(tmp_path)
    later = [Event(Kind.EVENT, BEGIN, "later", {}, {}, BEGIN + SECOND)]
    store.add([*_events(10), *later])
    more = [store.prune(BEGIN + SECOND) for _ in range(4)]
    assert more == [True, True, False, False]
    assert [event.name for event in store.records(Kind.EVENT, BEGIN)] == ["later"]


def test_queries_by_name_and_time_use_the_index(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(_events(1))
    condition, values = stores._condition(Kind.EVENT, BEGIN, None, "event", {})
    query = f"EXPLAIN QUERY PLAN SELECT * FROM records WHERE {condition} ORDER BY time"
    [[*_, plan]] = store._rows(query, values)
    assert "USING INDEX by_name (kind=? AND name=? AND time>?)" in plan


def test_no_question_reads_all_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.add(_events(1))
    real = store._rows
    plans: list[str] = []

    def explained(query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        plans.extend(row[-1] for row in real(f"EXPLAIN QUERY PLAN {query}", values))
        return real(query, values)

    monkeypatch.setattr(store, "_rows", explained)
    list(store.events("event", BEGIN, BEGIN + SECOND, {"n": "0"}))
    list(store.records(Kind.EXCEPTION, BEGIN, BEGIN + SECOND))
    store.series("requests", BEGIN, BEGIN + SECOND, SECOND, "n")
    store.arrivals(0, 5, ["event"])
    searches = [plan for plan in plans if "records" in plan]
    assert searches == [
        "SEARCH records USING INDEX by_name (kind=? AND name=? AND time>? AND time<?)",
        "SEARCH records USING INDEX by_name (kind=?)",
        "SEARCH records USING INDEX by_name (kind=? AND name=? AND time>? AND time<?)",
        "SEARCH records USING INTEGER PRIMARY KEY (rowid>?)",
    ]


def test_reading_many_holds_few(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for first in range(0, 16_000, 2000):
        store.add(
            [
                Event(Kind.EVENT, BEGIN + n * SECOND, "event", {ITEM_ID: f"{n:032}"}, {}, BEGIN)
                for n in range(first, first + 2000)
            ]
        )
    tracemalloc.start()
    try:
        assert sum(1 for _ in store.events("event", BEGIN)) == 16_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All of them would take fifteen times as much, and their ids alone three times.
    assert peak < 1.2 * 2**20


def test_what_was_sent_twice_comes_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sent = [
        Event(Kind.EVENT, BEGIN + n * SECOND, "event", {ITEM_ID: f"{n} {m}"}, {}, BEGIN)
        for n in range(3)
        for m in range(3)
    ]
    store.add(sent)
    store.add(sent[2:7])
    assert list(store.events("event", BEGIN)) == sent
