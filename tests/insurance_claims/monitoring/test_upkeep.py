"""Collected rows as time goes by: merged without a row lost or doubled for readers, removed when too old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from insurance_claims import schema
from insurance_claims.monitoring import upkeep
from insurance_claims.monitoring.collected import (
    ROWS,
    CollectionError,
    Place,
    open_place,
    partition,
)
from insurance_claims.monitoring.conversion import rows_table
from insurance_claims.monitoring.spool import Origin, Spool, to_bytes
from insurance_claims.monitoring.upkeep import Upkeep, keep_up
from ml_service.feedback.rows import read_all

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROW = [column.minimum for column in schema.FEATURES]
ROWS_SENT = to_bytes([ROW, ROW])
SCORES = to_bytes([0.25, 0.5])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where rows are kept."""
    return open_place(str(tmp_path / "collected"))


def _collect(
    place: Place, days_ago: int, requests: Sequence[str], version: int = 3, omit: str = ""
) -> str:
    moment = NOW - timedelta(days=days_ago)
    seen = [(moment.timestamp(), request, ROWS_SENT, SCORES) for request in requests]
    name = f"{partition(moment.date().isoformat(), version)}/{requests[0]}.parquet"
    omitted = frozenset(filter(None, [omit]))
    place.write(name, rows_table(seen, ("claims", version), omitted))
    return name


def _requests(place: Place) -> list[str]:
    """Of the rows that readers get."""
    return sorted(read_all(place).table["request_id"])


def test_files_of_a_day_that_is_over_become_one_a_version_and_rows_stay_what_they_were(
    place: Place, tmp_path: Path
) -> None:
    for version in (3, 4):
        for number in range(4):
            _collect(place, 1, [f"{version}-{number}"], version, "ps_ind_01" if number else "")
    today = _collect(place, 0, ["today"])
    before = read_all(place)
    first = keep_up(place, tmp_path, None, NOW)
    assert (first.merged, first.written, first.replaced) == (8, 2, 0)
    # Nobody who reads now misses a file.
    between = read_all(place)
    assert between.table.equals(before.table) and between.doubles == 16
    second = keep_up(place, tmp_path, None, NOW)
    assert (second.merged, second.written, second.replaced) == (0, 0, 8)
    names = place.names(ROWS)
    assert today in names and len(names) == 3
    after = read_all(place)
    assert after.table.equals(before.table) and after.doubles == 0
    assert keep_up(place, tmp_path, None, NOW) == Upkeep()
    assert place.names(ROWS) == names


def test_rows_that_come_late_are_merged_as_well(place: Place, tmp_path: Path) -> None:
    _collect(place, 1, ["one"])
    keep_up(place, tmp_path, None, NOW)
    _collect(place, 1, ["two"])
    done = keep_up(place, tmp_path, None, NOW)
    assert (done.merged, done.replaced) == (1, 1)
    keep_up(place, tmp_path, None, NOW)
    assert _requests(place) == ["one"] * 2 + ["two"] * 2
    assert all("/merged-" in name for name in place.names(ROWS))


def test_whoever_is_interrupted_is_gone_on_with(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [_collect(place, 1, [f"{number}"]) for number in range(4)]
    keep_up(place, tmp_path, None, NOW)
    real = place.remove

    def remove(name: str) -> None:
        if name == names[2]:
            raise CollectionError("the account is down")
        real(name)

    with monkeypatch.context() as patch, pytest.raises(CollectionError, match="down"):
        patch.setattr(place, "remove", remove)
        keep_up(place, tmp_path, None, NOW)
    assert len(place.names(ROWS)) == 3
    assert _requests(place) == sorted("00112233")
    assert keep_up(place, tmp_path, None, NOW).replaced == 2
    assert _requests(place) == sorted("00112233")


def test_what_is_merged_fits_into_memory(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_MOST_ROWS", 4)
    for number in range(5):
        _collect(place, 1, [f"{number}"])
    assert keep_up(place, tmp_path, None, NOW).written == 3
    keep_up(place, tmp_path, None, NOW)
    assert [place.read(name).num_rows for name in place.names(ROWS)].count(4) == 2
    assert len(_requests(place)) == 10


def test_a_day_is_over_two_hours_after_midnight(place: Place, tmp_path: Path) -> None:
    _collect(place, 1, ["one"])
    midnight = NOW.replace(hour=0)
    assert keep_up(place, tmp_path, None, midnight + timedelta(hours=1.9)).merged == 0
    assert keep_up(place, tmp_path, None, midnight + timedelta(hours=2)).merged == 1


def test_days_that_are_too_old_go_and_their_folders_with_them(place: Place, tmp_path: Path) -> None:
    for days_ago in (0, 1, 2, 3, 40):
        _collect(place, days_ago, [f"{days_ago}"])
    done = keep_up(place, tmp_path, 2, NOW)
    assert done.expired == 2
    assert set(_requests(place)) == {"0", "1", "2"}
    days = sorted(path.name for path in (tmp_path / "collected" / ROWS).iterdir())
    assert days == ["day=2026-11-19", "day=2026-11-20", "day=2026-11-21"]


def test_without_a_number_of_days_all_are_kept(place: Place, tmp_path: Path) -> None:
    _collect(place, 4000, ["old"])
    assert keep_up(place, tmp_path, None, NOW).expired == 0
    assert _requests(place) == ["old", "old"]


def test_what_is_damaged_or_does_not_belong_there_stays_and_is_told(
    place: Place, tmp_path: Path
) -> None:
    _collect(place, 1, ["one"])
    torn = _collect(place, 1, ["two"])
    (tmp_path / "collected" / torn).write_bytes(b"PAR1 torn")
    foreign = tmp_path / "collected" / ROWS / "day=soon" / "a.parquet"
    foreign.parent.mkdir()
    foreign.write_bytes(b"")
    done = keep_up(place, tmp_path, 1, NOW)
    assert done.merged == 1 and len(done.problems) == 1
    assert "left as it is" in done.describe() and "two.parquet" in done.describe()
    assert torn in place.names(ROWS) and foreign.exists()
    merged = next(name for name in place.names(ROWS) if "/merged-" in name)
    (tmp_path / "collected" / merged).write_bytes(b"PAR1 torn")
    # What it was made of is still there, and is not removed.
    assert len(keep_up(place, tmp_path, None, NOW).problems) == 2
    assert any(name.endswith("one.parquet") for name in place.names(ROWS))


def test_what_killed_workers_left_becomes_files(place: Place, tmp_path: Path) -> None:
    for origin in (Origin("claims", 3, ()), Origin("claims", 3, (), "0")):
        spool = Spool(tmp_path / "spool", origin)
        spool.append([(NOW.timestamp(), "one", ROWS_SENT, SCORES)])
        spool.release()
    done = keep_up(place, tmp_path / "spool", None, NOW)
    assert done.adopted == 2
    assert len(done.problems) == 1
    assert _requests(place) == ["one", "one"]
