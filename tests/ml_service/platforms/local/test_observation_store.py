"""Observations in their file: whole, in order, and readable whatever happens to it."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from insurance_claims.monitoring.observations import Observations
from ml_service.platforms.local.observation_store import (
    ObservationFileError,
    ObservationWriter,
    Second,
    read_window,
)

NOW = int(time.time())


def moment(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def some(seed: int, rows: int = 50) -> Observations:
    rng = np.random.default_rng(seed)
    return Observations.of(rng.lognormal(1, 0.5, rows), rng.random(rows), errors=seed % 3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "observations.db"


def test_seconds_are_added_up_to_the_last_bit(file: Path) -> None:
    writer = ObservationWriter(file)
    one, two = [some(seed) for seed in range(5)], [some(seed, 3) for seed in range(5, 9)]
    for second, (first, other) in enumerate(zip(one[:4], two, strict=True)):
        writer.write([Second(NOW + second, 1, first), Second(NOW + second, 12, other)])
    # A second may be written in parts.
    writer.write([Second(NOW + 3, 1, one[4], shed=2, dropped=1)])
    window = read_window(file, moment(NOW), moment(NOW + 60))
    assert window.versions == {
        1: sum(one, start=Observations()),
        12: sum(two, start=Observations()),
    }
    assert (window.start, window.end) == (moment(NOW), moment(NOW + 60))
    [(shed, dropped)] = sqlite3.connect(file).execute("SELECT sum(shed), sum(dropped) FROM seconds")
    assert (shed, dropped) == (2, 1)


def test_nothing_from_before_the_moment(file: Path) -> None:
    ObservationWriter(file).write([Second(NOW + second, 1, some(second)) for second in range(5)])
    later = read_window(file, moment(NOW + 2.001), moment(NOW + 9)).of(1)
    assert later == some(3) + some(4)
    assert read_window(file, moment(NOW + 2), moment(NOW + 9)).of(1) == some(2) + later
    assert read_window(file, moment(NOW + 5), moment(NOW + 9)).versions == {}


def test_sums_above_64_bits(file: Path) -> None:
    many = Observations.of([1.0], np.ones(100_000))
    ObservationWriter(file).write([Second(NOW + second, 1, many) for second in range(3)])
    found = read_window(file, moment(NOW), moment(NOW + 3)).of(1)
    assert found.score_moments.squares == 300_000 * 10**18 > 2**64
    assert found == many + many + many


def test_a_reader_does_not_keep_the_writer_waiting(file: Path) -> None:
    writer = ObservationWriter(file)
    writer.write([Second(NOW, 1, some(1))])
    reader = sqlite3.connect(file)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM seconds").fetchone()
    writer.write([Second(NOW + 1, 1, some(2))])
    assert read_window(file, moment(NOW), moment(NOW)).of(1) == some(1) + some(2)
    reader.close()


def test_what_is_old_is_removed(file: Path) -> None:
    ObservationWriter(file, keep_days=10).write([Second(NOW - 5 * 86400, 1, some(1))])
    since = moment(0)
    assert read_window(file, since, moment(NOW)).versions
    ObservationWriter(file, keep_days=1).write([Second(NOW, 1, some(2))])
    assert read_window(file, since, moment(NOW)).of(1) == some(2)


def test_no_file_yet(file: Path) -> None:
    assert read_window(file, moment(NOW), moment(NOW)).versions == {}
    assert not file.exists()
    sqlite3.connect(file).execute("CREATE TABLE another (a)")
    assert read_window(file, moment(NOW), moment(NOW)).versions == {}


def test_a_damaged_file_is_told_and_replaced(file: Path) -> None:
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(ObservationFileError, match=r"observations\.db cannot be read"):
        read_window(file, moment(NOW), moment(NOW))
    writer = ObservationWriter(file)
    writer.write([Second(NOW, 1, some(1))])
    writer.write([Second(NOW + 1, 1, some(2))])
    assert read_window(file, moment(NOW), moment(NOW)).of(1) == some(1) + some(2)
    assert file.with_suffix(".damaged").read_bytes().startswith(b"no database")


def test_what_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    folder = tmp_path / "away"
    writer = ObservationWriter(folder / "observations.db")
    for second in range(2):
        writer.write([Second(NOW + second, 1, some(second))])
    folder.mkdir()
    writer.write([])
    found = read_window(folder / "observations.db", moment(NOW), moment(NOW))
    assert found.of(1) == some(0) + some(1)


def test_a_day_of_seconds_is_read_in_parts(file: Path) -> None:
    one = some(1, rows=2)
    ObservationWriter(file).write([])
    writer = ObservationWriter(file)
    for begin in range(0, 25_000, 1000):
        writer.write([Second(NOW + begin + second, 1, one) for second in range(1000)])
    found = read_window(file, moment(NOW), moment(NOW) + timedelta(days=1)).of(1)
    assert (found.requests, found.errors) == (25_000 * one.requests, 25_000 * one.errors)
    assert found.score_moments.total == 25_000 * one.score_moments.total
