"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from insurance_claims.errors import ClaimsError
from insurance_claims.files import whole_file, whole_folder, write_whole


def test_a_folder_appears_when_all_is_written(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as aside:
        (aside / "a.txt").write_text("1")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "a.txt").read_text() == "1"


def test_an_empty_folder_is_replaced_and_another_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as aside:
        (aside / "a.txt").write_text("1")
    with pytest.raises(ClaimsError, match="exists already"):
        with whole_folder(tmp_path / "out"):
            pass
    assert (tmp_path / "out" / "a.txt").read_text() == "1"


def test_nothing_is_left_of_a_folder_that_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        with whole_folder(tmp_path / "out") as aside:
            (aside / "a.txt").write_text("1")
            raise RuntimeError("half way")
    assert list(tmp_path.iterdir()) == []


def test_a_mount_point_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "mounted"
    target.mkdir()
    inode = target.stat().st_ino
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == target)
    with pytest.raises(RuntimeError):
        with whole_folder(target) as aside:
            (aside / "a.txt").write_text("half")
            raise RuntimeError("half way")
    assert list(target.iterdir()) == []
    with whole_folder(target) as aside:
        (aside / "sub").mkdir()
        (aside / "sub" / "a.txt").write_text("1")
    assert (target / "sub" / "a.txt").read_text() == "1"
    assert target.stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == ["mounted"]


def test_a_file_that_failed_leaves_the_old_one(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError):
        with whole_file(tmp_path / "a.txt") as file:
            file.write(b"new")
            raise RuntimeError("half way")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
