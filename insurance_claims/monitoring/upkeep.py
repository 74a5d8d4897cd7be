"""Collected rows as time goes by: the many files of a day that is over become few, and days that are too old go.

Files are merged in two steps, some time apart: first the merged file is written, which names those that it was made of;
they are removed by the next upkeep. In between readers find rows twice and leave out the doubles; whoever is reading
loses nothing, and neither does anybody if a step is interrupted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_claims.monitoring.collected import ROWS, CollectionError, Place
from insurance_claims.monitoring.conversion import convert

if TYPE_CHECKING:
    import pyarrow as pa

_MERGED = "merged-"
_SOURCES = b"merged"
"""Key of a merged file's metadata: names of the files that it was made of."""
_MOST_ROWS = 250_000
"""A merged file is closed when it has so many: what is merged is held in memory."""
_LATE = timedelta(hours=2)
"""A day is over so much after midnight: its last spool has become a file by then."""
_DAY = re.compile(rf"{ROWS}/day=(\d{{4}}-\d\d-\d\d)/.+")


@dataclass
class Upkeep:
    """What was done.

    Attributes:
        adopted: rows that killed workers had left in spools.
        merged: files that were put together, and are removed next time.
        written: files that they became.
        replaced: files that were removed because a merged one holds their rows.
        expired: files that were removed because their day is too old.
        problems: what is wrong with files that were left as they are.
    """

    adopted: int = 0
    merged: int = 0
    written: int = 0
    replaced: int = 0
    expired: int = 0
    problems: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """One line, and one for each problem."""
        said = (
            f"{self.adopted:,} rows had been left in spools, {self.merged:,} files were merged into {self.written:,}, "
            f"{self.replaced:,} that had been merged before were removed, {self.expired:,} were too old"
        )
        return "\n".join([said, *(f"left as it is: {problem}" for problem in self.problems)])


def keep_up(place: Place, spool: Path, days: int | None, now: datetime) -> Upkeep:
    """Make files of what killed workers left, merge those of days that are over, and remove days that are too old.

    Args:
        place: where rows are kept.
        spool: folder of the workers' spools.
        days: to keep before today; None for all.
        now: UTC.

    Raises:
        CollectionError: files cannot be listed, written or removed. What was done stays done.
    """
    done = Upkeep()
    try:
        for converted in convert(spool, place):
            done.adopted += converted.rows
    except CollectionError as problem:
        done.problems.append(str(problem))
    oldest = None if days is None else now.date() - timedelta(days=days)
    folders: defaultdict[tuple[date, str], list[str]] = defaultdict(list)
    for name in place.names(ROWS):
        if found := _DAY.fullmatch(name):
            folders[date.fromisoformat(found[1]), name.rpartition("/")[0]].append(name)
    for (day, folder), names in sorted(folders.items()):
        if oldest is not None and day < oldest:
            _remove(place, names)
            done.expired += len(names)
        elif day < (now - _LATE).date():
            _merge(place, folder, names, done)
    return done


def _merge(place: Place, folder: str, names: list[str], done: Upkeep) -> None:
    merged = [name for name in names if name.startswith(f"{folder}/{_MERGED}")]
    single = sorted({*names} - {*merged})
    if not single:
        return
    covered = {f"{folder}/{name}" for file in merged for name in _sources(place, file, done)}
    replaced = [name for name in single if name in covered]
    _remove(place, replaced)
    done.replaced += len(replaced)
    for sources, table in _groups(place, (name for name in single if name not in covered), done):
        own = [name.rpartition("/")[2] for name in sources]
        digest = hashlib.sha256("\n".join(own).encode()).hexdigest()[:16]
        metadata = {**(table.schema.metadata or {}), _SOURCES: json.dumps(own).encode()}
        place.write(f"{folder}/{_MERGED}{digest}.parquet", table.replace_schema_metadata(metadata))
        done.merged += len(sources)
        done.written += 1


def _groups(
    place: Place, names: Iterable[str], done: Upkeep
) -> Iterator[tuple[list[str], pa.Table]]:
    import pyarrow as pa

    group: list[str] = []
    tables: list[pa.Table] = []
    for name in names:
        try:
            tables.append(place.read(name))
        except CollectionError as problem:
            done.problems.append(str(problem))
            continue
        group.append(name)
        if sum(table.num_rows for table in tables) >= _MOST_ROWS:
            yield group, pa.concat_tables(tables, promote_options="default")
            group, tables = [], []
    if group:
        yield group, pa.concat_tables(tables, promote_options="default")


def _sources(place: Place, name: str, done: Upkeep) -> list[str]:
    try:
        metadata = place.read(name, []).schema.metadata or {}
    except CollectionError as problem:
        # What it was made of stays, and is merged again.
        done.problems.append(str(problem))
        return []
    found: list[str] = json.loads(metadata.get(_SOURCES, b"[]"))
    return found


def _remove(place: Place, names: Iterable[str]) -> None:
    for name in names:
        place.remove(name)
