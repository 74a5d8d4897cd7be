"""Rows that are kept in a container of Azure Storage, in a real Azurite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from insurance_claims import schema
from insurance_claims.monitoring import collected
from insurance_claims.monitoring.collected import CollectionError, open_place
from insurance_claims.monitoring.collection import Collecting, Collector
from insurance_claims.monitoring.upkeep import keep_up
from tests.azurite import AzuriteProcess, azurite

__all__ = ["azurite"]

ROWS = [[column.minimum for column in schema.FEATURES]] * 2


def test_rows_are_kept_in_blobs_and_read_back(
    azurite: AzuriteProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in azurite.environment.items():
        monkeypatch.setenv(name, value)
    container = azurite.container()
    location = f"{azurite.url}/{container.container_name}"
    found = Collector(Collecting(location, seconds=3600, spool=tmp_path), ("claims", 3), None)
    found.answered("one", ROWS, [0.25, 0.5])
    assert found.close(30)
    assert not list(tmp_path.rglob("*.spool"))
    # What a writer leaves that was killed between making a blob and filling it.
    container.upload_blob("rows/day=2026-11-21/model_version=3/empty.parquet", b"")
    place = open_place(location)
    [name] = place.names(collected.ROWS)
    assert place.read(name, ["score", "row", "no such"]).to_pylist() == [
        {"row": 0, "score": 0.25},
        {"row": 1, "score": 0.5},
    ]
    assert place.names("labels") == []
    later = datetime.now(UTC) + timedelta(days=2)
    assert keep_up(place, tmp_path, None, later).merged == 1
    assert keep_up(place, tmp_path, None, later).replaced == 1
    [merged] = place.names(collected.ROWS)
    assert place.read(merged).num_rows == 2
    assert keep_up(place, tmp_path, 1, later).expired == 1
    assert place.names(collected.ROWS) == []
    place.remove(merged)
    container.upload_blob(f"{name}.torn.parquet", b"PAR1 torn")
    with pytest.raises(CollectionError, match="torn"):
        place.read(f"{name}.torn.parquet")
    with pytest.raises(CollectionError, match="none.parquet"):
        place.read("rows/none.parquet")


def test_an_account_that_is_down_is_told_without_its_login(
    azurite: AzuriteProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in azurite.environment.items():
        monkeypatch.setenv(name, value)
    container = azurite.container().container_name
    with pytest.raises(CollectionError) as caught:
        open_place(f"{azurite.url}/{container}-gone").read("rows/one.parquet")
    assert azurite.key not in str(caught.value)
