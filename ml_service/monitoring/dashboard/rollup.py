"""Sums of telemetry by the minute and by the half hour, so that a page over days reads a few hundred rows.

They are kept in a file of their own beside the store, and only ever follow it: what is added, and how far the store was
read, is written in one transaction, so a crash neither loses nor doubles anything. Removed, the file is made anew.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

from filelock import FileLock

from insurance_claims.monitoring import wire
from insurance_claims.telemetry import ITEM_ID
from ml_service.monitoring.dashboard.cells import (
    GAUGES,
    PROCESS,
    REFUSED,
    Cell,
    cell_of,
    merged,
    total,
)
from ml_service.monitoring.dashboard.span import Span
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Kind, Point, TelemetryError

FILE = "rollup.db"
LEVELS = (60, 1800)
"""Seconds of the stretches that are added up; each is made of whole ones of the level before."""

_NAMES = (wire.EVENT, *GAUGES)
_READ = 5000
_AGAIN = 2000
"""Records before the last one that are looked at again: a sender that got no answer sends again soon."""

_WAIT_SECONDS = 10.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cells (
    level INTEGER, time INTEGER, environment TEXT, version INTEGER, content TEXT,
    PRIMARY KEY (level, time, environment, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gauges (
    level INTEGER, time INTEGER, metric TEXT, process TEXT, count INTEGER, total REAL, minimum REAL, maximum REAL,
    PRIMARY KEY (level, metric, time, process)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER);
INSERT OR IGNORE INTO progress VALUES (1, 0);
"""
_ADD_GAUGE = """
INSERT INTO gauges VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    count = count + excluded.count, total = total + excluded.total,
    minimum = min(minimum, excluded.minimum), maximum = max(maximum, excluded.maximum)
"""


class Rollup:
    """A source for steps of whole minutes; see ``Source``.

    Args:
        store: what is added up.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.path = store.path.with_name(FILE)
        self._making = threading.Lock()
        self._made = False

    def cells(self, span: Span) -> Iterator[Cell]:
        """See ``Source``."""
        query = (
            "SELECT time, environment, version, content FROM cells "
            "WHERE level = ? AND time >= ? AND time < ? ORDER BY time"
        )
        with self._open() as database:
            for time, environment, version, content in database.execute(query, _bounds(span)):
                yield _cell(time, environment, version, content)

    def gauge(self, metric: str, span: Span) -> Sequence[Point]:
        """See ``Source``."""
        width = int(span.step.total_seconds())
        query = (
            "SELECT time / ? * ? AS step, process, sum(count), sum(total), min(minimum), max(maximum) FROM gauges "
            "WHERE level = ? AND time >= ? AND time < ? AND metric = ? GROUP BY step, process ORDER BY step, process"
        )
        with self._open() as database:
            rows = database.execute(query, (width, width, *_bounds(span), metric)).fetchall()
        return [Point(_moment(step), *rest) for step, *rest in rows]

    def catch_up(self) -> bool:
        """Add up some of what arrived since the last time. Says whether there may be more.

        Raises:
            TelemetryError: the store cannot be read, or the sums cannot be written.
        """
        with self._open() as database, _transaction(database):
            [last] = database.execute("SELECT last FROM progress").fetchone()
            found = self._store.arrivals(max(last - _AGAIN, 0), _AGAIN + _READ, _NAMES)
            newest = found[-1][0] if found else 0
            if newest < last:
                # The store was made anew.
                database.execute("DELETE FROM cells")
                database.execute("DELETE FROM gauges")
                newest, found = 0, []
            new = list(_unseen(found, last))
            _add_cells(database, new)
            _add_gauges(database, new)
            database.execute("UPDATE progress SET last = ?", (newest,))
        return bool(newest != last)

    def prune(self, before: datetime) -> None:
        """Remove the sums of what was before a moment.

        Raises:
            TelemetryError: the sums cannot be written.
        """
        with self._open() as database:
            for table in ("cells", "gauges"):
                database.execute(f"DELETE FROM {table} WHERE time < ?", (_seconds(before),))

    def newest_after(self, moment: datetime) -> datetime | None:
        """See ``Source``."""
        query = "SELECT max(time) FROM cells WHERE level = ? AND time > ?"
        with self._open() as database:
            [time] = database.execute(query, (LEVELS[0], _seconds(moment))).fetchone()
        return None if time is None else _moment(time)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._making:
                if not self._made:
                    self._make()
                    self._made = True
            # A connection of its own each time: readers are in several threads.
            with closing(self._connect()) as database:
                yield database
        except (sqlite3.Error, OSError) as error:
            self._made = False
            raise TelemetryError(f"{self.path}: {error}; removed, it is made anew") from None

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)

    def _make(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (
            FileLock(self.path.with_suffix(".lock"), timeout=_WAIT_SECONDS, mode=0o600),
            closing(self._connect()) as database,
        ):
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(_SCHEMA)


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _unseen(found: Iterable[tuple[int, Event]], last: int) -> Iterator[Event]:
    seen: set[str] = set()
    for number, event in found:
        identity = event.properties.get(ITEM_ID)
        if number > last and (identity is None or identity not in seen):
            yield event
        if identity is not None:
            seen.add(identity)


def _add_cells(database: sqlite3.Connection, events: Iterable[Event]) -> None:
    cells = [cell for event in events if event.kind is Kind.EVENT and (cell := cell_of(event))]
    for level in LEVELS:
        groups: defaultdict[tuple[int, str, int], list[Cell]] = defaultdict(list)
        for cell in cells:
            time = _seconds(cell.time) // level * level
            groups[time, cell.environment, cell.version].append(cell)
        # What was added to a level is what is added to the next.
        cells = [_sum(*key, parts) for key, parts in groups.items()]
        for cell, key in zip(cells, groups, strict=True):
            _add_cell(database, (level, *key), cell)


def _add_cell(database: sqlite3.Connection, key: tuple[int, int, str, int], added: Cell) -> None:
    query = (
        "SELECT content FROM cells WHERE level = ? AND time = ? AND environment = ? AND version = ?"
    )
    before = database.execute(query, key).fetchone()
    if before is not None:
        added = _sum(*key[1:], [_cell(*key[1:], before[0]), added])
    content = {**wire.encode(added.observations), REFUSED: added.refused}
    database.execute(
        "INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?)", (*key, json.dumps(content))
    )


def _add_gauges(database: sqlite3.Connection, events: Iterable[Event]) -> None:
    rows = []
    for event in events:
        if event.kind is not Kind.METRIC:
            continue
        of = event.measurements
        figures = (round(of["count"]), of["value"], of["minimum"], of["maximum"])
        for level in LEVELS:
            time = _seconds(event.time) // level * level
            rows.append((level, time, event.name, event.properties.get(PROCESS, ""), *figures))
    database.executemany(_ADD_GAUGE, rows)


def _sum(time: int, environment: str, version: int, parts: Sequence[Cell]) -> Cell:
    refused = merged(part.refused for part in parts)
    observations = total([part.observations for part in parts])
    return Cell(_moment(time), environment, version, observations, refused)


def _cell(time: int, environment: str, version: int, content: str) -> Cell:
    found = json.loads(content)
    return Cell(_moment(time), environment, version, wire.decode(found), found[REFUSED])


def _bounds(span: Span) -> tuple[int, int, int]:
    """The coarsest level that the span's steps are made of, its first moment and its end."""
    step = int(span.step.total_seconds())
    level = max(level for level in LEVELS if step % level == 0)
    return level, _seconds(span.since), -((_EPOCH - span.until) // timedelta(seconds=1))


def _seconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)


def _moment(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)
