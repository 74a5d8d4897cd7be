"""The commands of feedback: what they print, and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring.collected import open_place
from ml_service.cli import drift, labels, monitor, retrain
from ml_service.cli.app import app
from ml_service.settings import settings
from tests.ml_service.feedback.collecting import StandIn, collect


@pytest.fixture
def collected(tmp_path: Path, standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where rows are collected, as the environment says; commands get the stand-in for a platform."""
    folder = tmp_path / "collected"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MLOPS_COLLECT", str(folder))
    monkeypatch.delenv("APPLICATIONINSIGHTS_CONNECTION_STRING", raising=False)
    monkeypatch.setenv("DATASET_NAME", "claims")
    settings.cache_clear()
    for module in (drift, labels, retrain):
        monkeypatch.setattr(module, "open_platform", lambda name: standin.platform)
    yield folder
    settings.cache_clear()


def _mlops(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_from_collected_rows_to_a_report_labels_and_a_decision(
    collected: Path, trained: Path, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    known = collect(
        open_place(str(collected)),
        trained / "model",
        2_000,
        at=now - timedelta(minutes=5),
        shift=1.0,
    )
    file, page = tmp_path / "labels.csv", tmp_path / "drift.html"
    known.to_csv(file, index=False)
    added = _mlops("labels", "add", str(file))
    assert added.exit_code == 0 and "2,000 labels: 2,000 added" in added.output
    assert json.loads(_mlops("labels", "add", str(file), "--json").stdout)["known"] == 2_000
    shown = _mlops("monitor", "drift", "--html", str(page))
    assert shown.exit_code == 0 and "ps_reg_02" in shown.output
    assert page.is_file()
    failing = _mlops("monitor", "drift", "--json", "--fail-if-drifted")
    assert failing.exit_code == drift.DRIFTED
    found = json.loads(failing.stdout)
    assert found["windows"][0]["rows"] == found["outcomes"][0]["performance"]["rows"] == 2_000
    decided = _mlops("retrain", "--if-needed", "--dry-run")
    assert decided.exit_code == 0 and "no retraining is needed" in decided.output


def test_a_window_without_traffic_says_so_and_leaves_no_report(
    collected: Path, trained: Path, tmp_path: Path
) -> None:
    page = tmp_path / "drift.html"
    nothing = _mlops("monitor", "drift", "--html", str(page))
    assert nothing.exit_code == 1
    assert isinstance(nothing.exception, ClaimsError)
    assert "there is nothing to compare" in str(nothing.exception)
    collect(open_place(str(collected)), trained / "model", 2_000)
    window = ("--since", "2026-11-20T00:00", "--until", "2026-11-20T12:00", "--html", str(page))
    assert "nothing was collected from 2026-11-20" in str(
        _mlops("monitor", "drift", *window).exception
    )
    assert not page.exists()


def test_a_time_that_is_none_is_wrong_use(collected: Path) -> None:
    result = _mlops("monitor", "drift", "--since", "yesterday")
    assert result.exit_code == 2 and "not 'yesterday'" in result.output


def test_monitor_alone_still_starts_the_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    monkeypatch.setattr(monitor, "_receive", lambda *arguments: begun.append(arguments[1:]))
    monkeypatch.setattr(monitor, "open_platform", lambda name: type("P", (), {"name": "local"})())
    assert _mlops("monitor", "--port", "0", "--days", "2").exit_code == 0
    assert begun == [(0, timedelta(days=2))]
    assert _mlops("monitor", "drift", "--help").exit_code == 0
    assert len(begun) == 1
