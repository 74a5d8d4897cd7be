"""Collected rows, read back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from insurance_claims.monitoring.collected import CollectionError, Place
from ml_service.feedback.rows import collected_place, read_all, read_rows
from ml_service.settings import settings
from tests.ml_service.feedback.collecting import NOW, VERSION, collect

HOUR = timedelta(hours=1)


def test_a_window_holds_what_was_scored_in_it_and_nothing_else(place: Place, trained: Path) -> None:
    model = trained / "model"
    collect(place, model, 500, at=NOW - HOUR, seed=5)
    collect(place, model, 500, at=NOW - 30 * HOUR, seed=6)
    collect(place, model, 500, at=NOW - HOUR, seed=7, version=4)
    found = read_rows(place, NOW - 2 * HOUR, NOW)
    assert (len(found.table), found.versions, found.doubles) == (1000, [VERSION, 4], 0)
    assert len(read_rows(place, NOW - 2 * HOUR, NOW, VERSION).table) == 500
    assert len(read_rows(place, NOW - HOUR, NOW).table) == 1000
    assert len(read_rows(place, NOW - 2 * HOUR, NOW - HOUR).table) == 0
    everything = read_all(place)
    assert len(everything.table) == 1500
    assert everything.table["time"].is_monotonic_increasing


def test_doubles_count_once_and_versions_each_for_themselves(place: Place, trained: Path) -> None:
    model = trained / "model"
    collect(place, model, 500, at=NOW - 2 * HOUR)
    # Sent again after an answer that was lost, an hour later.
    collect(place, model, 500, at=NOW - HOUR)
    collect(place, model, 500, at=NOW - HOUR, version=4)
    found = read_rows(place, NOW - 3 * HOUR, NOW)
    assert (len(found.table), found.doubles) == (1000, 500)


def test_rows_of_a_clock_that_is_ahead_are_kept_and_wait_for_their_time(
    place: Place, trained: Path
) -> None:
    collect(place, trained / "model", 250, at=NOW - HOUR, seed=5)
    # The next day, and the year before: both clocks are wrong.
    collect(place, trained / "model", 500, at=NOW + 30 * HOUR, seed=6)
    collect(place, trained / "model", 750, at=NOW - 400 * 24 * HOUR, seed=7)
    assert len(read_rows(place, NOW - 24 * HOUR, NOW).table) == 250
    assert len(read_rows(place, NOW, NOW + 48 * HOUR).table) == 500
    assert len(read_all(place).table) == 1500


def test_nothing_was_collected(place: Place) -> None:
    assert read_rows(place, NOW - HOUR, NOW).table.empty
    assert read_all(place, ["request_id"]).table.empty


def test_a_damaged_file_is_left_out_and_told(place: Place, trained: Path, tmp_path: Path) -> None:
    collect(place, trained / "model", 500)
    [file] = (tmp_path / "collected").rglob("*.parquet")
    file.with_name("torn.parquet").write_bytes(file.read_bytes()[:-100])
    found = read_rows(place, NOW - 2 * HOUR, NOW)
    assert len(found.table) == 500
    assert len(found.unreadable) == 1 and "torn.parquet" in found.unreadable[0]


def test_a_folder_that_is_no_day_is_told(place: Place, trained: Path, tmp_path: Path) -> None:
    collect(place, trained / "model", 250)
    [day] = (tmp_path / "collected" / "rows").iterdir()
    day.rename(day.with_name("day=yesterday"))
    with pytest.raises(CollectionError, match="day=yesterday is no day"):
        read_all(place)


def test_where_nothing_says_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No developer's .env.
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLOPS_COLLECT", raising=False)
    settings.cache_clear()
    with pytest.raises(CollectionError, match="set MLOPS_COLLECT"):
        collected_place()
    settings.cache_clear()
