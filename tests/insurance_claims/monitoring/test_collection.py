"""What a worker keeps of its requests: whole files, every row once or more, and never at the expense of a request."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from insurance_claims import schema
from insurance_claims.monitoring import collected, collection
from insurance_claims.monitoring.collected import CollectionError, open_place
from insurance_claims.monitoring.collection import (
    Collecting,
    Collector,
    collector,
    is_sampled,
    read_settings,
    rows_table,
)

ROW = [column.minimum for column in schema.FEATURES]
MODEL = ("claims", 3)


def request(*rows: list[float]) -> bytes:
    """A request's body."""
    return json.dumps({"data": rows}).encode()


def answer(*scores: float) -> bytes:
    """What the scorer says."""
    return json.dumps({"result": scores, "model": {"version": 3}, "request_id": "x"}).encode()


@pytest.fixture
def collecting(tmp_path: Path) -> Collecting:
    """Writes when it is closed."""
    return Collecting(str(tmp_path / "collected"), seconds=3600)


@pytest.fixture
def kept(collecting: Collecting) -> Iterator[Collector]:
    """Keeps everything there."""
    found = Collector(collecting, MODEL, None)
    yield found
    found.close(0)


def read(collecting: Collecting) -> list[dict[str, Any]]:
    """Every row that was written, in order of request and row."""
    place = open_place(collecting.location)
    tables = [place.read(name) for name in place.names(collected.ROWS)]
    rows = pa.concat_tables(tables).to_pylist() if tables else []
    return sorted(rows, key=lambda row: (row["request_id"], row["row"]))


def test_inputs_scores_version_request_and_time_are_kept_by_day_and_version(
    kept: Collector, collecting: Collecting
) -> None:
    before = datetime.now(UTC)
    changed = [*ROW]
    changed[0], changed[20] = 5.0, 0.75
    kept.answered("one", request(ROW), answer(0.25))
    kept.answered("two", request(ROW, changed), answer(0.5, 0.75))
    named = dict(zip(schema.FEATURE_NAMES, changed, strict=True))
    body = json.dumps({"data": [dict(reversed(named.items()))]}).encode()
    kept.answered("three", body, answer(0.125))
    assert kept.close(20)
    rows = read(collecting)
    found = [(row["request_id"], row["row"], row["score"]) for row in rows]
    assert found == [("one", 0, 0.25), ("three", 0, 0.125), ("two", 0, 0.5), ("two", 1, 0.75)]
    for row in rows:
        assert (row["model_name"], row["model_version"]) == MODEL
        assert before <= row["time"] <= datetime.now(UTC)
    for row in (rows[1], rows[3]):
        assert {name: row[name] for name in schema.FEATURE_NAMES} == named
    assert type(rows[0]["ps_ind_01"]) is int
    [name] = open_place(collecting.location).names(collected.ROWS)
    day = rows[0]["time"].date().isoformat()
    assert name.startswith(f"rows/day={day}/model_version=3/")


def test_rows_of_two_days_are_in_two_files(kept: Collector, collecting: Collecting) -> None:
    midnight = 86400.0 * 20000
    kept._waiting = [
        (midnight - 1, "before", request(ROW), answer(0.25)),
        (midnight + 1, "after", request(ROW), answer(0.5)),
    ]
    assert kept.close(20)
    place = open_place(collecting.location)
    days = [name.split("/")[1] for name in place.names(collected.ROWS)]
    assert days == ["day=2024-10-03", "day=2024-10-04"]
    assert {row["request_id"] for row in read(collecting)} == {"before", "after"}


def test_columns_that_must_not_be_kept_are_not(tmp_path: Path) -> None:
    environ = {collection.LOCATION: str(tmp_path), collection.OMIT: "ps_ind_01, ps_car_13"}
    found = collector(MODEL, None, environ)
    assert found is not None
    found.answered("one", request(ROW), answer(0.25))
    assert found.close(20)
    [name] = open_place(str(tmp_path)).names(collected.ROWS)
    columns = open_place(str(tmp_path)).read(name).column_names
    assert set(schema.FEATURE_NAMES) - set(columns) == {"ps_ind_01", "ps_car_13"}


def test_nothing_is_kept_where_nothing_was_asked_for() -> None:
    assert collector(MODEL, None, {collection.SHARE: "1"}) is None


@pytest.mark.parametrize(
    "wrong",
    [{collection.OMIT: "ps_ind_1"}, {collection.SHARE: "half"}, {collection.SECONDS: "0"}],
    ids=str,
)
def test_a_wrong_setting_is_told_and_nothing_is_kept(
    wrong: Mapping[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {collection.LOCATION: str(tmp_path), **wrong}
    with pytest.raises(CollectionError, match=next(iter(wrong))):
        read_settings(environ)
    assert collector(MODEL, None, environ) is None
    assert next(iter(wrong)) in caplog.text


def test_without_pyarrow_it_is_told_and_nothing_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert collector(MODEL, None, {collection.LOCATION: str(tmp_path)}) is None
    assert "no pyarrow" in caplog.text


def test_the_share_is_of_requests_and_the_same_everywhere() -> None:
    ids = [f"request-{number}" for number in range(4000)]
    taken = [is_sampled(name, 0.25) for name in ids]
    assert 900 < sum(taken) < 1100
    assert taken == [is_sampled(name, 0.25) for name in ids]
    assert all(is_sampled(name, 0.5) for name, kept in zip(ids, taken, strict=True) if kept)
    assert all(is_sampled(name, 1.0) for name in ids) and not any(
        is_sampled(name, 0.0) for name in ids
    )


def test_a_request_that_is_not_sampled_is_not_kept(tmp_path: Path) -> None:
    chosen = Collecting(str(tmp_path), share=0.5, seconds=3600)
    found = Collector(chosen, MODEL, None)
    for number in range(100):
        found.answered(f"request-{number}", request(ROW, ROW), answer(0.25, 0.5))
    assert found.close(20)
    rows = read(chosen)
    wanted = [f"request-{n}" for n in range(100) if is_sampled(f"request-{n}", 0.5)]
    assert sorted(row["request_id"] for row in rows) == sorted([*wanted, *wanted])


def test_a_full_disk_loses_nothing_that_fits_and_leaves_no_part(
    kept: Collector, collecting: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, full = os.fsync, [True]

    def fsync(number: int) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    kept.answered("one", request(ROW), answer(0.25))
    with pytest.raises(CollectionError, match="No space left"):
        kept._write()
    assert not [path for path in Path(collecting.location).rglob("*") if path.is_file()]
    kept.answered("two", request(ROW), answer(0.5))
    full[0] = False
    kept._write()
    kept._write()
    assert [row["request_id"] for row in read(collecting)] == ["one", "two"]


def test_what_has_no_room_is_dropped_and_counted(
    collecting: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, told = request(ROW), answer(0.25)
    monkeypatch.setattr(collection, "_MOST", 10 * (len(body) + len(told)))
    found = Collector(collecting, MODEL, None)
    for number in range(25):
        found.answered(f"{number:02}", body, told)
    assert found.dropped == 15
    assert found.close(20)
    assert [row["request_id"] for row in read(collecting)] == [f"{n:02}" for n in range(10)]


def test_much_is_written_before_its_time(collecting: Collecting) -> None:
    found = Collector(collecting, MODEL, None)
    body, told = request(*[ROW] * 5000), answer(*[0.25] * 5000)
    for number in range(1 + collection._MUCH // len(body)):
        found.answered(str(number), body, told)
    place, end = open_place(collecting.location), time.monotonic() + 60
    while not place.names(collected.ROWS):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert found.close(20)


def test_a_place_that_hangs_holds_up_neither_requests_nor_the_end(
    collecting: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    release = threading.Event()

    class Hanging:
        def write(self, name: str, table: pa.Table) -> None:
            release.wait(60)

    monkeypatch.setattr(collection, "open_place", lambda location: Hanging())
    found = Collector(collecting, MODEL, None)
    found.answered("one", request(ROW), answer(0.25))
    assert not found.close(0.05)
    found.answered("two", request(ROW), answer(0.25))
    release.set()


WORKER = """
import sys, time
from insurance_claims.monitoring.collection import Collecting, Collector
found = Collector(Collecting(sys.argv[1], seconds=0.05), ("claims", 3), None)
for number in range(10**9):
    found.answered(str(number), sys.argv[2].encode(), b'{"result": [0.25]}')
    time.sleep(0.0005)
"""


def test_a_worker_that_is_killed_leaves_whole_files(collecting: Collecting) -> None:
    command = [sys.executable, "-c", WORKER, collecting.location, request(ROW).decode()]
    process = subprocess.Popen(command)
    place, end = open_place(collecting.location), time.monotonic() + 60
    while len(place.names(collected.ROWS)) < 3:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = [int(row["request_id"]) for row in read(collecting)]
    # All that was asked until the last file, and every one of them once.
    assert sorted(rows) == list(range(len(rows)))


def test_a_forked_worker_keeps_its_own_rows(kept: Collector, collecting: Collecting) -> None:
    kept.answered("parent", request(ROW), answer(0.25))
    child = os.fork()
    if child == 0:
        kept.answered("child", request(ROW), answer(0.5))
        os._exit(0 if kept.close(20) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [row["request_id"] for row in read(collecting)] == ["child"]
    assert kept.close(20)
    assert [row["request_id"] for row in read(collecting)] == ["child", "parent"]


def test_an_id_that_is_no_text_is_kept_as_one_that_is() -> None:
    table = rows_table([(0.0, "a\ud800", request(ROW), answer(0.25))], MODEL, frozenset())
    assert table["request_id"].to_pylist() == ["a?"]


def test_a_damaged_file_and_a_place_that_is_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(CollectionError, match=r"torn\.parquet cannot be read"):
        open_place(str(tmp_path)).read("rows/torn.parquet")
    with pytest.raises(CollectionError, match="no address of a container"):
        open_place("https://example.com")
