"""The doctor: each fault is found, and says what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ml_service import doctor
from ml_service.settings import SettingsError, settings


def test_a_fit_machine_is_fit(home: Path) -> None:
    findings = doctor.examine()
    assert [finding.describe() for finding in findings if not finding.ok] == []
    assert len(findings) == 6


def test_another_python_is_found() -> None:
    finding = doctor.python_version((3, 12))
    assert not finding.ok
    assert "install Python 3.11" in finding.describe()
    assert doctor.python_version((3, 11)).ok


def test_packages_that_differ_from_the_lock_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "local.txt"
    lock.write_text("numpy==1.0.0 \\\n    --hash=sha256:0\nno-such-package==1.0\n")
    finding = doctor.packages(lock)
    assert not finding.ok
    assert "the lock says 1.0.0" in finding.detail
    assert "no-such-package is missing" in finding.detail
    assert not doctor.packages(tmp_path / "nowhere.txt").ok


def test_a_misspelt_name_in_dotenv_is_found(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# MODEL=x\nMODEL_NAME=x\nMLOPS_HOUSE=/tmp\n")
    finding = doctor.dotenv(path)
    assert not finding.ok
    assert finding.detail == "nothing reads MLOPS_HOUSE"
    path.write_text("MODEL_NAME=x\n")
    assert doctor.dotenv(path).ok


def test_a_damaged_database_is_found(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE t (x)")
    assert doctor.state_folder(tmp_path).ok
    database.write_bytes(b"not a database" * 100)
    finding = doctor.state_folder(tmp_path)
    assert not finding.ok
    assert "damaged" in finding.detail


def test_a_state_folder_that_is_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not doctor.state_folder(tmp_path / "file").ok


def test_wrong_settings_are_listed_at_once_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_NAME", "a b")
    monkeypatch.setenv("MLOPS_PLATFORM", "moon")
    settings.cache_clear()
    try:
        with pytest.raises(SettingsError) as caught:
            settings()
        assert "MODEL_NAME" in str(caught.value)
        assert "MLOPS_PLATFORM" in str(caught.value)
        assert "moon" not in str(caught.value)
        assert not all(finding.ok for finding in doctor.examine())
    finally:
        settings.cache_clear()
