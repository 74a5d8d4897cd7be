"""Collected rows, read back: those of a stretch of time, each once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from insurance_claims.monitoring.collected import (
    MODEL_VERSION,
    REQUEST_ID,
    ROW,
    ROWS,
    TIME,
    CollectionError,
    Place,
    open_place,
    partition,
    row_schema,
)
from ml_service.settings import settings

if TYPE_CHECKING:
    import pandas as pd

KEY = [REQUEST_ID, ROW]
"""What identifies a scored row, whichever versions scored it."""


@dataclass(frozen=True)
class CollectedRows:
    """Rows in order of time.

    Attributes:
        table: time, request_id, row, model_name, model_version, score and the features that were kept.
        doubles: rows that were left out because they were kept before.
        unreadable: what is wrong with files that were left out.
    """

    table: pd.DataFrame
    doubles: int
    unreadable: tuple[str, ...]

    @property
    def versions(self) -> list[int]:
        """Model versions that answered any of them."""
        return sorted({int(version) for version in self.table[MODEL_VERSION].unique()})


def collected_place() -> Place:
    """Where rows are collected, as MLOPS_COLLECT says.

    Raises:
        CollectionError: it says nothing, or what cannot be used.
    """
    location = settings().collect
    if location is None:
        raise CollectionError(
            "no scored rows are collected: set MLOPS_COLLECT to a folder or a container, and deploy again "
            "(docs/feedback.md)"
        )
    return open_place(location)


def read_rows(
    place: Place,
    since: datetime,
    until: datetime,
    version: int | None = None,
    columns: Sequence[str] = (),
) -> CollectedRows:
    """Rows that were scored from one moment until before another.

    Args:
        place: where they are kept.
        since: first moment, UTC.
        until: first moment that does not count any more.
        version: of the model that answered; None for all.
        columns: to read besides the key, version and time; none of them: all.
    """
    import pyarrow as pa

    wanted = [TIME, MODEL_VERSION, *KEY, *columns] if columns else None
    tables, unreadable = [], []
    for folder in _folders(since, until, version):
        for name in place.names(folder):
            try:
                tables.append(place.read(name, wanted))
            except CollectionError as error:
                unreadable.append(str(error))
    tables = tables or [row_schema(frozenset()).empty_table()]
    table: pd.DataFrame = pa.concat_tables(tables, promote_options="default").to_pandas()
    inside = (table[TIME] >= since) & (table[TIME] < until)
    table = table[inside].sort_values(TIME, kind="stable")
    once = table.drop_duplicates([MODEL_VERSION, *KEY]).reset_index(drop=True)
    return CollectedRows(once, len(table) - len(once), tuple(unreadable))


def read_all(place: Place, columns: Sequence[str] = ()) -> CollectedRows:
    """All rows that were ever kept; as ``read_rows``."""
    names = place.names(ROWS)
    days = sorted({part for name in names for part in name.split("/") if part.startswith("day=")})
    if not days:
        moment = datetime.now(UTC)
        return read_rows(place, moment, moment, columns=columns)
    first, last = (_moment(day.removeprefix("day=")) for day in (days[0], days[-1]))
    return read_rows(place, first, last + timedelta(days=1), columns=columns)


def _folders(since: datetime, until: datetime, version: int | None) -> Iterator[str]:
    day = since.astimezone(UTC).date()
    while day <= until.astimezone(UTC).date():
        text = day.isoformat()
        yield f"{ROWS}/day={text}" if version is None else partition(text, version)
        day += timedelta(days=1)


def _moment(day: str) -> datetime:
    try:
        return datetime.fromisoformat(day).replace(tzinfo=UTC)
    except ValueError:
        raise CollectionError(
            f"{ROWS}/day={day} is no day of collected rows: remove what does not belong there"
        ) from None


def key_of(table: Any) -> Any:
    """Request id and row number as one text a row, for joining."""
    return table[REQUEST_ID].astype(str) + ":" + table[ROW].astype("int64").astype(str)
