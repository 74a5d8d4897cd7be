"""Files, folders and patterns; formats by content; fingerprints that notice a change."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from insurance_claims.errors import DataError
from insurance_claims.scoring.batch.inputs import Format, find_inputs, look_at
from insurance_claims.scoring.batch.local_files import LocalFile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "in"
    names = ("b.csv", "a.parquet", "more/c.CSV.GZ", "_SUCCESS.csv", ".hidden/d.csv", "notes.txt")
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("x")
    return place


def found(folder: Path, *given: str) -> list[str]:
    paths = find_inputs([str(folder / name) for name in given], folder.parent / "out")
    return [Path(path.name).relative_to(folder).as_posix() for path in paths]


def test_files_folders_and_patterns(folder: Path) -> None:
    everything = ["a.parquet", "b.csv", "more/c.CSV.GZ"]
    assert found(folder, "") == everything
    assert found(folder, "b.csv", "") == ["b.csv", "a.parquet", "more/c.CSV.GZ"]
    assert found(folder, "*.csv") == ["_SUCCESS.csv", "b.csv"]
    assert found(folder, "**/*.GZ") == ["more/c.CSV.GZ"]
    assert found(folder, "notes.txt", "notes.txt") == ["notes.txt"]
    (folder / "odd[1].csv").write_text("x")
    assert found(folder, "odd[1].csv") == ["odd[1].csv"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere.csv", "nowhere.csv does not exist"),
        ("*.xlsx", r"no file matches .*\*.xlsx"),
        ("empty", "holds no file that ends in .csv, .csv.gz, .parquet"),
    ],
)
def test_what_stands_for_nothing_is_refused(folder: Path, name: str, reason: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=reason):
        found(folder, name)


def test_the_output_must_not_lie_in_an_input(folder: Path) -> None:
    with pytest.raises(DataError, match="would be scored again"):
        find_inputs([str(folder)], folder / "more" / "out")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"id,", Format.CSV),
        ("a.csv", gzip.compress(b"id,", mtime=0), Format.GZIP),
        ("a.dat", b"PAR1xxx", Format.PARQUET),
    ],
)
def test_the_content_says_the_format(
    tmp_path: Path, name: str, content: bytes, expected: Format
) -> None:
    (tmp_path / name).write_bytes(content)
    assert look_at(LocalFile(tmp_path / name)).format is expected


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"PK\x03\x04x", "zip archive or a workbook"),
        ("a.parquet", b"id,", "is not Parquet, though its name says so"),
        ("a.csv.gz", b"id,", "is not gzip, though its name says so"),
    ],
)
def test_what_cannot_be_data_is_refused(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason):
        look_at(LocalFile(tmp_path / name))


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="not a regular file"):
        look_at(LocalFile(tmp_path / "pipe.csv"))


def test_a_change_is_noticed_even_where_time_and_size_are_put_back(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,1")
    before = look_at(LocalFile(path))
    before.refuse_changes()
    assert look_at(LocalFile(path)).to_json() == before.to_json()
    path.write_text("id,2")
    os.utime(path, ns=(before.identity["modified_ns"], before.identity["modified_ns"]))
    with pytest.raises(DataError, match="was changed while it was read"):
        before.refuse_changes()
    assert look_at(LocalFile(path)).to_json() != before.to_json()
    path.unlink()
    with pytest.raises(DataError, match="does not exist any more"):
        before.refuse_changes()
