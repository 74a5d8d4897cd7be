"""What a worker keeps of its requests: whole files, every row once or more, and never at the expense of a request."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
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
)
from insurance_claims.monitoring.conversion import Converted, convert
from insurance_claims.monitoring.spool import Origin, Spool, bytes_of, to_bytes, spools

ROW = [column.minimum for column in schema.FEATURES]
MODEL = ("claims", 3)


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


def wait_for(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_inputs_scores_version_request_and_time_are_kept_by_day_and_version(
    kept: Collector, collecting: Collecting
) -> None:
    before = datetime.now(UTC)
    changed = [*ROW]
    changed[0], changed[20] = 5.0, 0.75
    kept.answered("one", [ROW], [0.25])
    kept.answered("two", [ROW, changed], [0.5, 0.75])
    named = dict(zip(schema.FEATURE_NAMES, changed, strict=True))
    # What has several rows comes as an array.
    kept.answered("three", np.array([changed, ROW]), np.array([0.125, 0.25]))
    assert kept.close(20)
    rows = read(collecting)
    found = [(row["request_id"], row["row"], row["score"]) for row in rows]
    assert found == [
        *(("one", 0, 0.25), ("three", 0, 0.125), ("three", 1, 0.25)),
        *(("two", 0, 0.5), ("two", 1, 0.75)),
    ]
    for row in rows:
        assert (row["model_name"], row["model_version"]) == MODEL
        assert before <= row["time"] <= datetime.now(UTC)
    for row in (rows[1], rows[4]):
        assert {name: row[name] for name in schema.FEATURE_NAMES} == named
    assert type(rows[0]["ps_ind_01"]) is int
    [name] = open_place(collecting.location).names(collected.ROWS)
    day = rows[0]["time"].date().isoformat()
    assert name.startswith(f"rows/day={day}/model_version=3/")
    assert not spools(collecting.spool_folder)


def test_rows_of_two_days_are_in_two_files_also_where_the_clock_goes_back(
    kept: Collector, collecting: Collecting
) -> None:
    midnight = 86400.0 * 20000
    with kept._lock:
        kept._waiting += [
            (midnight - 1, "before", [ROW], [0.25]),
            (midnight + 1, "after", [ROW], [0.5]),
            (midnight - 2, "again", [ROW], [0.5]),
        ]
    assert kept.close(20)
    place = open_place(collecting.location)
    days = [name.split("/")[1] for name in place.names(collected.ROWS)]
    assert days == ["day=2024-10-03", "day=2024-10-04"]
    assert {row["request_id"] for row in read(collecting)} == {"before", "after", "again"}


def test_columns_that_must_not_be_kept_are_not_and_not_in_a_spool_either(tmp_path: Path) -> None:
    environ = {collection.LOCATION: str(tmp_path), collection.OMIT: "ps_ind_01, ps_car_13"}
    found = collector(MODEL, None, {**environ, collection.SECONDS: "3600"})
    assert found is not None
    told = [*ROW]
    told[schema.FEATURE_NAMES.index("ps_car_13")] = 3.7182818
    found.answered("one", [told], [0.25])
    table = np.array([told, told])
    found.answered("two", table, [0.5, 0.5])
    wait_for(lambda: not found._waiting)
    [spool] = spools(tmp_path / ".spool")
    assert b"two" in spool.read_bytes() and to_bytes([3.7182818]) not in spool.read_bytes()
    # What the answer was made of is not touched.
    assert table.tolist() == [told, told]
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


def test_spools_are_beside_the_files_or_on_this_machine(tmp_path: Path) -> None:
    def folder(location: str, **more: str) -> Path:
        found = read_settings({collection.LOCATION: location, **more})
        assert found is not None
        return found.spool_folder

    address = "https://claims.blob.core.windows.net/collected"
    own = {collection.SPOOL: str(tmp_path)}
    assert folder("kept") == Path("kept").absolute() / ".spool"
    assert not folder(address).is_relative_to(Path.cwd())
    assert folder(address, **own).parent == folder("kept", **own).parent == tmp_path
    assert folder(address, **own) != folder(f"{address}2", **own)
    assert folder("kept", **own) == folder(str(Path("kept").absolute()), **own)


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
        found.answered(f"request-{number}", [ROW, ROW], [0.25, 0.5])
    assert found.close(20)
    rows = read(chosen)
    wanted = [f"request-{n}" for n in range(100) if is_sampled(f"request-{n}", 0.5)]
    assert sorted(row["request_id"] for row in rows) == sorted([*wanted, *wanted])


def test_a_full_disk_is_told_once_loses_nothing_that_fits_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, full = os.write, [True]

    def write(number: int, data: Any) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(number, data)

    monkeypatch.setattr(os, "write", write)
    chosen = Collecting(str(tmp_path / "collected"), seconds=0.05)
    found = Collector(chosen, MODEL, None)
    found.answered("one", [ROW], [0.25])
    wait_for(lambda: "No space left" in caplog.text)
    found.answered("two", [ROW], [0.5])
    time.sleep(4 * collection._LINGER)
    assert caplog.text.count("No space left") == 1
    assert not [path for path in tmp_path.rglob("[!.]*") if path.is_file()]
    full[0] = False
    assert found.close(20)
    assert [row["request_id"] for row in read(chosen)] == ["one", "two"]
    assert found.dropped == 0


def test_a_disk_that_is_full_for_files_keeps_the_spool(
    kept: Collector, collecting: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept.answered("one", [ROW], [0.25])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        assert not kept.close(20)
        with pytest.raises(CollectionError, match="No space left"):
            list(convert(collecting.spool_folder, open_place(collecting.location)))
    assert not read(collecting) and len(spools(collecting.spool_folder)) == 1
    assert Collector(collecting, MODEL, None).close(20)
    assert [row["request_id"] for row in read(collecting)] == ["one"]


def test_what_has_no_room_is_dropped_and_counted(
    collecting: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_MOST", 10 * 8 * (len(ROW) + 1))
    monkeypatch.setattr(collection, "_LINGER", 3600.0)
    found = Collector(collecting, MODEL, None)
    for number in range(25):
        found.answered(f"{number:02}", [ROW], [0.25])
    assert found.dropped == 15
    assert found.close(20)
    assert [row["request_id"] for row in read(collecting)] == [f"{n:02}" for n in range(10)]


def test_spools_that_take_too_much_room_get_no_more(
    collecting: Collecting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Spool(collecting.spool_folder, Origin(*MODEL, ())).append([(0.0, "x", b"y" * 1000, b"")])
    monkeypatch.setattr(collection, "_MOST_SPOOLED", 500)
    found = Collector(collecting, MODEL, None)
    found.answered("one", [ROW], [0.25])
    wait_for(lambda: "in no file yet" in caplog.text)
    assert not found.close(20)
    assert bytes_of(collecting.spool_folder) < 1500


def test_much_is_written_before_its_time(
    collecting: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_MUCH", 2000)
    found = Collector(collecting, MODEL, None)
    for number in range(20):
        found.answered(str(number), [ROW], [0.25])
    place = open_place(collecting.location)
    wait_for(lambda: place.names(collected.ROWS))
    assert found.close(20)
    assert len(read(collecting)) == 20


def test_a_place_that_hangs_holds_up_neither_spool_nor_requests_nor_the_end(
    collecting: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, hangs = threading.Event(), threading.Event()

    class Hanging:
        def write(self, name: str, table: pa.Table) -> None:
            hangs.set()
            release.wait(60)

    monkeypatch.setattr(collection, "open_place", lambda location: Hanging())
    found = Collector(replace(collecting, seconds=0.05), MODEL, None)
    found.answered("one", [ROW], [0.25])
    assert hangs.wait(60)
    found.answered("two", [ROW], [0.25])
    wait_for(lambda: any(b"two" in path.read_bytes() for path in spools(collecting.spool_folder)))
    assert not found.close(0.05)
    release.set()


WORKER = """
import json, sys, time
from insurance_claims.monitoring.collection import Collecting, Collector
rows = json.loads(sys.argv[2])
found = Collector(Collecting(sys.argv[1], seconds=3600), ("claims", 3), None)
for number in range(10**9):
    found.answered(str(number), rows, [0.25])
    time.sleep(0.0005)
"""


def test_what_a_killed_worker_had_put_aside_is_written_by_the_next_one(
    collecting: Collecting,
) -> None:
    command = [sys.executable, "-c", WORKER, collecting.location, json.dumps([ROW])]
    process = subprocess.Popen(command)
    folder = collecting.spool_folder
    wait_for(lambda: bytes_of(folder) > 20_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not read(collecting)
    # Of another version: rows stay those of the version that answered.
    found = Collector(collecting, ("claims", 4), None)
    wait_for(lambda: not spools(folder))
    assert found.close(20)
    rows = read(collecting)
    assert {row["model_version"] for row in rows} == {3}
    # All that was answered until it was put aside for the last time, and each of them once.
    assert sorted(int(row["request_id"]) for row in rows) == list(range(len(rows)))
    assert len(rows) > 20


def test_a_torn_end_is_counted_and_what_is_whole_is_kept(collecting: Collecting) -> None:
    spool = Spool(collecting.spool_folder, Origin(*MODEL, ()))
    spool.append([(1.0, name, to_bytes([ROW]), to_bytes([0.25])) for name in ("one", "two")])
    spool.release()
    [path] = spools(collecting.spool_folder)
    os.truncate(path, spool.size - 1)
    found = Collector(collecting, MODEL, None)
    assert found.close(20)
    assert [row["request_id"] for row in read(collecting)] == ["one"]
    assert found.dropped == 1


@pytest.mark.parametrize("spaces", range(8))
def test_a_spool_that_holds_no_numbers_is_named_and_stays(
    collecting: Collecting, spaces: int
) -> None:
    spool = Spool(collecting.spool_folder, Origin(*MODEL, ()))
    body = json.dumps({"data": [ROW]}).encode() + b" " * spaces
    spool.append([(1.0, "one", body, b'{"result": [0.25]}' + b" " * 6)])
    spool.release()
    [path] = spools(collecting.spool_folder)
    with pytest.raises(CollectionError, match=path.name):
        list(convert(collecting.spool_folder, open_place(collecting.location)))
    assert spools(collecting.spool_folder) == [path]
    assert read(collecting) == []


def test_whoever_was_killed_before_a_spool_was_removed_makes_no_doubles(
    collecting: Collecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(collecting.spool_folder, Origin(*MODEL, ()))
    spool.append([(1.0, "one", to_bytes([ROW, ROW]), to_bytes([0.25, 0.5]))])
    spool.release()
    place = open_place(collecting.location)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", killed)
        list(convert(collecting.spool_folder, place))
    assert len(read(collecting)) == 2
    assert list(convert(collecting.spool_folder, place)) == [Converted(MODEL, 2, False)]
    assert len(read(collecting)) == 2


def test_a_spool_that_cannot_be_read_does_not_hold_up_the_others(collecting: Collecting) -> None:
    for origin, name in ((Origin("claims", 1, (), "0"), "old"), (Origin(*MODEL, ()), "new")):
        spool = Spool(collecting.spool_folder, origin)
        spool.append([(1.0, name, to_bytes([ROW]), to_bytes([0.25]))])
        spool.release()
    with pytest.raises(CollectionError, match="version 0 of the schema"):
        list(convert(collecting.spool_folder, open_place(collecting.location)))
    assert [row["request_id"] for row in read(collecting)] == ["new"]
    assert len(spools(collecting.spool_folder)) == 1


def test_a_forked_worker_keeps_its_own_rows(kept: Collector, collecting: Collecting) -> None:
    kept.answered("parent", [ROW], [0.25])
    wait_for(lambda: not kept._waiting)
    child = os.fork()
    if child == 0:
        kept.answered("child", [ROW], [0.5])
        os._exit(0 if kept.close(20) else 1)
    assert os.waitpid(child, 0)[1] == 0
    # The parent's spool is still the parent's.
    assert [row["request_id"] for row in read(collecting)] == ["child"]
    assert kept.close(20)
    assert [row["request_id"] for row in read(collecting)] == ["child", "parent"]


def test_a_damaged_file_and_a_place_that_is_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(CollectionError, match=r"torn\.parquet cannot be read"):
        open_place(str(tmp_path)).read("rows/torn.parquet")
    with pytest.raises(CollectionError, match="no address of a container"):
        open_place("https://example.com")
