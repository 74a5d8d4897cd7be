"""`mlops monitor collected`: what it does, and what it needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from insurance_claims import schema
from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring.collected import ROWS, open_place, partition
from insurance_claims.monitoring.conversion import rows_table
from insurance_claims.monitoring.spool import Origin, Spool, to_bytes
from ml_service.cli.app import app
from ml_service.settings import SettingsError, settings

NOW = datetime.now(UTC)
ROW = to_bytes([[column.minimum for column in schema.FEATURES]])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where rows are collected: of four days ago, and in a spool."""
    found = tmp_path / "collected"
    monkeypatch.setenv("MLOPS_COLLECT", str(found))
    monkeypatch.delenv("MLOPS_COLLECT_SPOOL", raising=False)
    settings.cache_clear()
    before = NOW - timedelta(days=4)
    seen = [(before.timestamp(), "before", ROW, to_bytes([0.25]))]
    name = f"{partition(before.date().isoformat(), 3)}/101500-1.parquet"
    open_place(str(found)).write(name, rows_table(seen, ("claims", 3), frozenset()))
    spool = Spool(found / ".spool", Origin("claims", 3, ()))
    spool.append([(NOW.timestamp(), "left", ROW, to_bytes([0.25]))])
    spool.release()
    yield found
    settings.cache_clear()


def test_rows_are_kept_up_and_kept_for_ever_where_nothing_else_is_said(folder: Path) -> None:
    shown = CliRunner().invoke(app, ["monitor", "collected"])
    assert shown.exit_code == 0, shown.output
    assert "1 rows had been left in spools, 1 files were merged into 1" in shown.stdout
    assert len(open_place(str(folder)).names(ROWS)) == 3


def test_days_beyond_the_setting_are_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_COLLECTED_DAYS", "3")
    shown = CliRunner().invoke(app, ["monitor", "collected", "--json"])
    assert json.loads(shown.stdout) == {
        "adopted": 1,
        "merged": 0,
        "written": 0,
        "replaced": 0,
        "expired": 1,
        "problems": [],
    }
    [name] = open_place(str(folder)).names(ROWS)
    assert NOW.date().isoformat() in name


def test_without_a_place_or_with_no_number_of_days_it_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_COLLECTED_DAYS", "0")
    with pytest.raises(SettingsError, match="MLOPS_COLLECTED_DAYS"):
        CliRunner().invoke(app, ["monitor", "collected"], catch_exceptions=False)
    monkeypatch.delenv("MLOPS_COLLECTED_DAYS")
    monkeypatch.setenv("MLOPS_COLLECT", "")
    settings.cache_clear()
    with pytest.raises(ClaimsError, match="set MLOPS_COLLECT"):
        CliRunner().invoke(app, ["monitor", "collected"], catch_exceptions=False)
