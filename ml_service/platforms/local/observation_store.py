"""What each version did in each second, in a SQLite file: the router writes it, any process may read it meanwhile.

Histograms are stored as pairs of bin and count, so that a day of them is added up by numpy at once.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring.observations import (
    LATENCY_EDGES,
    SCORE_EDGES,
    Histogram,
    Moments,
    Observations,
    Window,
)

OBSERVATIONS_FILE = "observations.db"
KEEP_DAYS = 7
"""Some times as long as a rollout's longest stage. A version that always has requests fills about 40 MB a day."""

_WAITING = 1000
"""Seconds that are kept in memory while they cannot be written."""
_PRUNE_SECONDS = 3600
_CHUNK = 10_000
_PAIR = np.dtype([("bin", "<u2"), ("count", "<u4")])
_LATENCY_BINS = LATENCY_EDGES.size + 1
_BINS = _LATENCY_BINS + SCORE_EDGES.size + 1

_CREATE = """
CREATE TABLE IF NOT EXISTS seconds (
    second INTEGER NOT NULL, version INTEGER NOT NULL, requests INTEGER NOT NULL, errors INTEGER NOT NULL,
    shed INTEGER NOT NULL, dropped INTEGER NOT NULL, score_total INTEGER NOT NULL, score_squares TEXT NOT NULL,
    bins BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS seconds_by_second ON seconds (second);
"""

log = logging.getLogger("router")


class ObservationFileError(ClaimsError):
    """The file of observations cannot be read."""


@dataclass(frozen=True, slots=True)
class Second:
    """What one version did in one second.

    Attributes:
        second: its begin, in seconds since 1970 UTC.
        version: of the model.
        observations: of the requests that it was given.
        shed: requests that were refused because it had enough to do.
        dropped: copies of requests that were not made because it had enough to do.
    """

    second: int
    version: int
    observations: Observations
    shed: int = 0
    dropped: int = 0


class ObservationWriter:
    """Writes seconds to a file, by one thread at a time.

    What cannot be written is kept for some minutes and tried again, for nothing that happens here may keep a request
    from being answered.

    Args:
        path: of the file.
        keep_days: what is older is removed.
    """

    def __init__(self, path: Path, keep_days: float = KEEP_DAYS) -> None:
        self._path = path
        self._keep_seconds = 86400 * keep_days
        self._waiting: deque[tuple[object, ...]] = deque(maxlen=_WAITING)
        self._connection: sqlite3.Connection | None = None
        self._pruned = 0.0
        self._failing = False

    def write(self, seconds: Sequence[Second]) -> None:
        """Write seconds, with those that could not be written before."""
        self._waiting.extend(_row(second) for second in seconds)
        if not self._waiting:
            return
        try:
            self._write()
        except sqlite3.Error as error:
            if not self._failing:
                log.error("observations cannot be written to %s: %s", self._path, error)
            self._failing = True
            self.close()
            # An OperationalError passes: the disk is full, say.
            if not isinstance(error, sqlite3.OperationalError):
                self._set_aside()
        else:
            self._failing = False
            self._waiting.clear()

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _write(self) -> None:
        connection = self._open()
        with connection:
            connection.executemany(
                "INSERT INTO seconds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._waiting
            )
            now = time.time()
            if now - self._pruned > _PRUNE_SECONDS:
                oldest = int(now - self._keep_seconds)
                connection.execute("DELETE FROM seconds WHERE second < ?", (oldest,))
                self._pruned = now

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=5, check_same_thread=False)
            # Readers then never wait for the writer, nor it for them, and a commit needs no flush to disk.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_CREATE)
        return self._connection

    def _set_aside(self) -> None:
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        damaged = self._path.with_suffix(".damaged")
        if self._path.exists():
            self._path.replace(damaged)
            log.error("%s is damaged: kept as %s, a new one is begun", self._path, damaged.name)


def read_window(path: Path, since: datetime, now: datetime) -> Window:
    """Add up the seconds that began at or after a moment; nothing where there is no file yet.

    Raises:
        ObservationFileError: the file cannot be read.
    """
    total: dict[int, Observations] = {}
    try:
        for chunk in _chunks(path, math.ceil(since.timestamp())):
            for version in {row[0] for row in chunk}:
                own = [row for row in chunk if row[0] == version]
                total[version] = total.get(version, Observations()) + _observations(own)
    except sqlite3.Error as error:
        raise ObservationFileError(
            f"{path} cannot be read: {error}. Where it is damaged, the router begins a new one within seconds"
        ) from None
    return Window(since, max(since, now), dict(sorted(total.items())))


_Row = tuple[int, int, int, int, str, bytes]


def _chunks(path: Path, second: int) -> Iterator[list[_Row]]:
    if not path.exists():
        return
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", 5, uri=True)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'seconds'").fetchone():
            return
        cursor = connection.execute(
            "SELECT version, requests, errors, score_total, score_squares, bins FROM seconds "
            "WHERE second >= ?",
            (second,),
        )
        while chunk := cursor.fetchmany(_CHUNK):
            yield chunk


def _row(second: Second) -> tuple[object, ...]:
    found = second.observations
    counts = {
        **found.latencies.counts,
        **{_LATENCY_BINS + index: count for index, count in found.scores.counts.items()},
    }
    bins = np.array(list(counts.items()), dtype=_PAIR).tobytes()
    return (
        *(second.second, second.version, found.requests, found.errors),
        *(second.shed, second.dropped, found.score_moments.total),
        # As text: it may be above what SQLite's integers hold.
        *(str(found.score_moments.squares), bins),
    )


def _observations(rows: Sequence[_Row]) -> Observations:
    pairs = np.frombuffer(b"".join(row[5] for row in rows), dtype=_PAIR)
    # Sums of counts stay exact as floats: they are far below 2^53.
    counts = np.bincount(pairs["bin"], weights=pairs["count"], minlength=_BINS).astype(np.int64)
    latencies, scores = counts[:_LATENCY_BINS], counts[_LATENCY_BINS:]
    moments = Moments(
        int(scores.sum()), sum(row[3] for row in rows), sum(int(row[4]) for row in rows)
    )
    return Observations(
        sum(row[1] for row in rows),
        sum(row[2] for row in rows),
        _histogram(latencies),
        _histogram(scores),
        moments,
    )


def _histogram(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Histogram:
    return Histogram({int(index): int(counts[index]) for index in np.flatnonzero(counts)})
