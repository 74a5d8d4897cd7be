"""The local store of telemetry: one SQLite file in WAL mode.

SQLite because the sink writes while dashboards, rollouts and alerts read from other processes: in WAL mode nobody waits
for anybody, a crash leaves it whole, and there is no server to run. DuckDB would add up columns faster, but lets only
one process open a file that is written to.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock

from ml_service.monitoring.telemetry import NOTHING, Event, Kind, Point, TelemetryError, once

FILE = "telemetry.db"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KINDS = tuple(Kind)
_WAIT_SECONDS = 10.0
_FETCHED = 1000
_PRUNED = 5000
_PROPERTY = re.compile(r"[\w.-]{1,150}")
_HAS_RECORDS = "SELECT 1 FROM sqlite_master WHERE name = 'by_name'"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    time INTEGER NOT NULL,
    arrived INTEGER NOT NULL,
    properties BLOB NOT NULL,
    measurements BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_name ON records (kind, name, time);
"""


class StoreFull(TelemetryError):
    """Nothing more can be written: the disk is full."""


class Store:
    """Telemetry on this machine. One object writes from one thread at a time; any number of others read.

    Args:
        folder: where the file is; made with the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._writer: sqlite3.Connection | None = None

    def add(self, events: Sequence[Event]) -> None:
        """Keep records, all or none of them.

        Raises:
            StoreFull: the disk is full.
            TelemetryError: the file cannot be written.
        """
        rows = [
            (
                _KINDS.index(event.kind),
                event.name,
                _number(event.time),
                _number(event.arrived or event.time),
                orjson.dumps(dict(event.properties)),
                orjson.dumps(dict(event.measurements)),
            )
            for event in events
        ]
        with self._writing() as database:
            database.executemany(
                "INSERT INTO records (kind, name, time, arrived, properties, measurements) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )

    def prune(self, before: datetime) -> bool:
        """Remove some of what arrived before a moment. Says whether there may be more: no call holds up writers long.

        Raises:
            TelemetryError: the file cannot be written.
        """
        with self._writing() as database:
            done = database.execute(
                # Ids grow with the time of arrival: no index of its own is needed.
                "DELETE FROM records WHERE id IN (SELECT id FROM records ORDER BY id LIMIT ?) AND arrived < ?",
                (_PRUNED, _number(before)),
            )
            return done.rowcount == _PRUNED

    def close(self) -> None:
        """Close the file for writing."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def events(
        self,
        name: str,
        since: datetime,
        until: datetime | None = None,
        where: Mapping[str, str] = NOTHING,
    ) -> Iterator[Event]:
        """See ``Telemetry``."""
        return self.records(Kind.EVENT, since, until, name, where)

    def records(
        self,
        kind: Kind,
        since: datetime,
        until: datetime | None = None,
        name: str | None = None,
        where: Mapping[str, str] = NOTHING,
    ) -> Iterator[Event]:
        """See ``Telemetry``."""
        condition, values = _condition(kind, since, until, name, where)
        query = (
            f"SELECT name, time, arrived, properties, measurements FROM records WHERE {condition} "
            "ORDER BY time, id"
        )
        rows = self._rows(query, values)
        return once(_event(kind, row) for row in rows)

    def arrivals(self, after: int, limit: int, names: Sequence[str]) -> Sequence[tuple[int, Event]]:
        """Records in the order in which they arrived, each with a number that grows; also what was sent twice.

        Args:
            after: number of the last one that is known; 0 for none.
            limit: the most that are given.
            names: that a record may have.
        """
        marks = ", ".join("?" * len(names))
        query = (
            "SELECT id, kind, name, time, arrived, properties, measurements FROM records "
            f"WHERE id > ? AND name IN ({marks}) ORDER BY id LIMIT ?"
        )
        rows = self._rows(query, [after, *names, limit])
        return [(number, _event(_KINDS[kind], tuple(row))) for number, kind, *row in rows]

    def series(
        self,
        metric: str,
        since: datetime,
        until: datetime,
        step: timedelta,
        by: str | None = None,
        where: Mapping[str, str] = NOTHING,
    ) -> Sequence[Point]:
        """See ``Telemetry``."""
        width = _width(step)
        condition, values = _condition(Kind.METRIC, since, until, metric, where)
        key = "''" if by is None else "coalesce(json_extract(properties, ?), '')"
        keys = [] if by is None else [_json_path(by)]
        query = (
            f"SELECT time / ? AS stretch, {key} AS key, sum(json_extract(measurements, '$.count')), "
            "sum(json_extract(measurements, '$.value')), min(json_extract(measurements, '$.minimum')), "
            f"max(json_extract(measurements, '$.maximum')) FROM records WHERE {condition} "
            "GROUP BY stretch, key ORDER BY stretch, key"
        )
        return [
            Point(_time(stretch * width), key, round(count), total, low, high)
            for stretch, key, count, total, low, high in self._rows(query, [width, *keys, *values])
        ]

    def _rows(self, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        if not self.path.exists():
            return
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT_SECONDS)) as database:
                database.execute("PRAGMA query_only = ON")
                if not database.execute(_HAS_RECORDS).fetchone():
                    # Another process is about to make it.
                    return
                cursor = database.execute(query, values)
                while rows := cursor.fetchmany(_FETCHED):
                    yield from rows
        except sqlite3.Error as error:
            raise TelemetryError(f"{self.path} cannot be read: {error}") from None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._writer is None:
                self._writer = self._open()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            if "full" in str(error) or getattr(error, "errno", None) == 28:
                raise StoreFull(f"{self.path}: the disk is full: free some space") from None
            raise TelemetryError(f"{self.path} cannot be written: {error}") from None

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = sqlite3.connect(
            self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        # SQLite does not wait where two processes turn on WAL in a new file at once: it says that the file is locked.
        with FileLock(self.path.with_suffix(".lock"), timeout=_WAIT_SECONDS, mode=0o600):
            database.execute("PRAGMA journal_mode = WAL")
        # A power cut may lose the last second, and never more than that.
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
        return database


def _condition(
    kind: Kind,
    since: datetime,
    until: datetime | None,
    name: str | None,
    where: Mapping[str, str],
) -> tuple[str, list[Any]]:
    parts = ["kind = ?", "time >= ?"]
    values: list[Any] = [_KINDS.index(kind), _number(since)]
    if until is not None:
        parts.append("time < ?")
        values.append(_number(until))
    if name is not None:
        parts.append("name = ?")
        values.append(name)
    for key, value in where.items():
        parts.append("json_extract(properties, ?) = ?")
        values += [_json_path(key), value]
    return " AND ".join(parts), values


def _json_path(name: str) -> str:
    return f'$."{property_name(name)}"'


def property_name(name: str) -> str:
    """The name of a property that is asked for, checked.

    Raises:
        TelemetryError: it has characters that no property of ours has.
    """
    if not _PROPERTY.fullmatch(name):
        raise TelemetryError(f"{name!r} is no name of a property: letters, digits, _ - . are")
    return name


def _width(step: timedelta) -> int:
    if step < timedelta(seconds=1):
        raise TelemetryError(f"a stretch of {step} is too short: take at least a second")
    return step // _MICROSECOND


def _event(kind: Kind, row: tuple[Any, ...]) -> Event:
    name, time, arrived, properties, measurements = row
    return Event(
        *(kind, _time(time), name, orjson.loads(properties), orjson.loads(measurements)),
        arrived=_time(arrived),
    )


def _number(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _time(number: int) -> datetime:
    return _EPOCH + number * _MICROSECOND
