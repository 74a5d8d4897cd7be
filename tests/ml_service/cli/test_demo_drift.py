"""``mlops demo-drift``: whole, and where it cannot end in a recovered model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from insurance_claims.errors import ClaimsError
from ml_service.cli import demo_drift
from ml_service.feedback import traffic
from ml_service.settings import settings

ROOT = Path(__file__).resolve().parents[3]
WINDOW = "4"
ROWS = "20000"


def _demo(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    ours = ("MLOPS_", "MLFLOW_", "APPLICATIONINSIGHTS_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, "-m", "ml_service", "demo-drift", *options],
        cwd=ROOT,
        env={**inherited, "MLOPS_HOME": str(home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


def _running(home: Path) -> Iterator[list[str]]:
    """Commands of processes whose state is there."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("MLOPS_HOME", "").startswith(str(home)):
                yield process.cmdline()
        except psutil.Error:
            continue


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_begins_anew_and_ends_recovered_with_nothing_running(tmp_path: Path) -> None:
    left = tmp_path / "demo-drift" / "collected" / "rows" / "nonsense"
    left.mkdir(parents=True)
    done = _demo(tmp_path, "--rows", ROWS, "--window", WINDOW)
    printed = done.stdout
    assert done.returncode == 0, printed[-5000:] + done.stderr[-5000:]
    assert not left.exists()
    assert "retraining, because:\n- drift in " in printed
    assert "production answers at" in printed and "(version 2 100%)" in printed
    assert "\nRecovered: " in printed
    picture = tmp_path / "demo-drift" / "demo-drift.png"
    assert f"the picture: {picture}" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "demo-drift" / "drift.html").is_file()
    assert list(_running(tmp_path)) == []


class _Traffic:
    """Every request is answered at once, until it is stopped."""

    def __init__(self, *_: object) -> None:
        self.shift = 0.0
        self.failed = 0
        self.stopped = False
        self._answered = 0

    @property
    def answered(self) -> int:
        self._answered += 0 if self.stopped else 1000
        return self._answered

    def start(self) -> None:
        pass

    def write_labels(self, file: Path, *parts: slice) -> int:
        return self._answered

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, ...]]]:
    """The commands that a demonstration gives, none of which does anything; version 1 stays the champion."""
    given: list[tuple[str, ...]] = []

    def platform(_: str) -> Any:
        models = SimpleNamespace(champion=lambda: SimpleNamespace(version=1))
        return SimpleNamespace(
            models=models, endpoints=SimpleNamespace(get=lambda _: SimpleNamespace())
        )

    monkeypatch.setenv("MLOPS_HOME", str(tmp_path))
    monkeypatch.setenv("MLOPS_COLLECT", "elsewhere")
    monkeypatch.setattr(demo_drift, "run_shown", lambda *words, code=0: given.append(words))
    monkeypatch.setattr(demo_drift, "open_platform", platform)
    monkeypatch.setattr(demo_drift, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(demo_drift, "_wait_for_alert", lambda: None)
    monkeypatch.setattr(traffic, "Traffic", _Traffic)
    settings.cache_clear()
    yield given
    settings.cache_clear()


def test_a_gate_that_refuses_the_retrained_model_ends_it_with_everything_stopped(
    commands: list[tuple[str, ...]], tmp_path: Path
) -> None:
    before = dict(os.environ)
    with pytest.raises(ClaimsError, match="the gate refused the retrained model"):
        demo_drift.demo_drift(rows=1000, window=1)
    names = [" ".join(words[:2]) for words in commands]
    assert names[-2:] == ["retrain --if-needed", "down"]
    assert names.count("deploy production") == 1
    assert list((tmp_path / "demo-drift").glob("*.png")) == []
    assert dict(os.environ) == before


def test_a_first_model_that_the_gate_refuses_ends_it(
    commands: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo-drift" / "collected").mkdir(parents=True)
    models = SimpleNamespace(champion=lambda: None)
    monkeypatch.setattr(demo_drift, "open_platform", lambda _: SimpleNamespace(models=models))
    with pytest.raises(ClaimsError, match="refused the first model, of 1,000 rows: .* --rows"):
        demo_drift.demo_drift(rows=1000, window=1)
    names = [" ".join(words[:2]) for words in commands]
    # What an earlier one left running is stopped before its state is removed.
    assert names == ["down", "data synthesize", "data add", "run training", "down"]
    assert not (tmp_path / "demo-drift" / "collected").exists()


def test_an_endpoint_that_answers_no_more_ends_it(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Traffic, "answered", 7)
    monkeypatch.setattr(demo_drift, "_STALLED_SECONDS", 0.01)
    monkeypatch.setattr(demo_drift, "_LOOK_SECONDS", 0.02)
    with pytest.raises(ClaimsError, match="no request is answered any more"):
        demo_drift.demo_drift(rows=1000, window=1)
    assert commands[-1] == ("down",)


def _judged(mark: datetime, *found: tuple[int, float | None]) -> list[dict[str, Any]]:
    """Outcomes: of each stretch its version and its Gini. The first one is of a minute before the mark."""
    return [
        {
            "version": version,
            "since": (mark + timedelta(minutes=number - 1)).isoformat(),
            "performance": {"gini": None if gini is None else {"value": gini}},
        }
        for number, (version, gini) in enumerate(found)
    ]


def test_ginis_are_those_before_the_mark_after_it_and_of_the_new_version() -> None:
    mark = datetime(2026, 11, 21, 12, tzinfo=UTC)
    marks = demo_drift._Marks({"other customers": mark})
    outcomes = _judged(mark, (1, 0.25), (1, 0.1), (1, None), (1, 0.06), (2, 0.24))
    assert demo_drift._ginis(outcomes, marks) == pytest.approx((0.25, 0.08, 0.24))
    with pytest.raises(ClaimsError, match="too few claims"):
        demo_drift._ginis(outcomes[:-1], marks)
