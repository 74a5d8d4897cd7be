"""CSV files in chunks of lines: every line is accounted for, whatever is in it."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from insurance_claims.errors import DataError
from insurance_claims.scoring.batch import csv_lines
from insurance_claims.scoring.batch.checks import check_rows
from insurance_claims.scoring.batch.chunks import Chunk
from insurance_claims.scoring.batch.csv_lines import csv_ignored
from insurance_claims.scoring.batch.csv_reader import csv_chunks
from insurance_claims.scoring.batch.inputs import Format
from insurance_claims.scoring.batch.local_files import LocalFile

ROWS = 300


def write(path: Path, table: pd.DataFrame, **options: str) -> list[str]:
    """Write a CSV file and give its lines."""
    table.to_csv(path, index=False, **options)  # type: ignore[call-overload]
    return path.read_text().splitlines()


def read(path: Path, first: int = 0, rows: int = ROWS) -> list[Chunk]:
    return list(csv_chunks(LocalFile(path), Format.CSV, first, rows))


def scored(chunks: list[Chunk]) -> list[int]:
    return [number for chunk in chunks for number in check_rows(chunk, 2.0).ids.tolist()]


def test_chunks_hold_every_row_once_and_know_their_lines(
    tmp_path: Path, table: pd.DataFrame
) -> None:
    write(tmp_path / "a.csv", table)
    chunks = read(tmp_path / "a.csv")
    assert [chunk.table.num_rows for chunk in chunks] == [300, 300, 300, 100]
    assert [chunk.number for chunk in chunks] == [0, 1, 2, 3]
    assert [chunk.last for chunk in chunks] == [False, False, False, True]
    assert np.concatenate([chunk.rows for chunk in chunks]).tolist() == list(range(2, 1002))
    assert scored(chunks) == table["id"].tolist()


@pytest.mark.parametrize("rows", [3, 250, 999, 1000, 1001])
def test_chunks_end_where_the_file_does(tmp_path: Path, table: pd.DataFrame, rows: int) -> None:
    lines = write(tmp_path / "a.csv", table)
    (tmp_path / "b.csv").write_text("\n".join(lines))
    for name in ("a.csv", "b.csv"):
        chunks = read(tmp_path / name, rows=rows)
        assert len(chunks) == -(-1000 // rows)
        assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert scored(chunks) == table["id"].tolist()


def test_a_later_chunk_is_the_same_when_reading_begins_there(
    tmp_path: Path, table: pd.DataFrame
) -> None:
    write(tmp_path / "a.csv", table)
    everything, later = read(tmp_path / "a.csv"), read(tmp_path / "a.csv", first=2)
    assert [chunk.number for chunk in later] == [2, 3]
    for one, other in zip(everything[2:], later, strict=True):
        assert one.table.equals(other.table)
        assert one.rows.tolist() == other.rows.tolist()


def test_other_spellings_are_the_same_rows(tmp_path: Path, table: pd.DataFrame) -> None:
    lines = write(tmp_path / "a.csv", table)
    expected = table["id"].tolist()
    path = tmp_path / "b.csv"
    path.write_bytes(codecs.BOM_UTF8 + "\r\n".join(lines).encode())
    assert scored(read(path)) == expected
    write(path, table[table.columns[::-1]].assign(**{"more, of it": "x y"}))
    assert csv_ignored(LocalFile(path), Format.CSV) == ["more, of it"]
    assert scored(read(path)) == expected
    path.write_text("\n".join(",".join(f'"{v}"' for v in line.split(",")) for line in lines))
    assert scored(read(path)) == expected
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    assert (
        scored(list(csv_chunks(LocalFile(tmp_path / "a.csv.gz"), Format.GZIP, 0, ROWS))) == expected
    )


def test_bad_lines_are_known_by_their_number(tmp_path: Path, table: pd.DataFrame) -> None:
    lines = write(tmp_path / "a.csv", table)
    lines[10] = lines[10].replace(",", ",x", 3)
    lines[20] = "1,2,3"
    lines[30] = ""
    lines[40] += ",7"
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n\n")
    chunks = read(tmp_path / "a.csv")
    found = check_rows(chunks[0], 2.0)
    assert found.bad is not None
    assert found.bad["row"].to_pylist() == [11, 21, 41]
    assert found.bad["line"].to_pylist() == [None, "1,2,3", lines[40]]
    assert found.bad["reasons"][1].as_py() == "the line has 3 values, the header names 59 columns"
    assert scored(chunks) == table["id"].drop([9, 19, 29, 39]).tolist()


@pytest.mark.parametrize(
    ("odd", "bad"),
    [
        (b'7,"0', [11]),
        (b'"a\nb",' + b"1," * 57 + b"1", [11, 12]),
        (b"7,0\r1,2", [11]),
        (b"7,\xff\xfe", [11]),
        (b"7,0,\x00" + b",1" * 56, [11]),
        (b'7,"' + b"0" * 200_000, [11]),
    ],
    ids=["an open quote", "a line break", "a carriage return", "no UTF-8", "NUL", "a long value"],
)
def test_a_damaged_line_costs_no_other(
    tmp_path: Path, table: pd.DataFrame, odd: bytes, bad: list[int]
) -> None:
    write(tmp_path / "a.csv", table)
    lines = (tmp_path / "a.csv").read_bytes().splitlines()
    lines[10] = odd
    (tmp_path / "a.csv").write_bytes(b"\n".join(lines))
    chunks = read(tmp_path / "a.csv")
    assert scored(chunks) == table["id"].drop(9).tolist()
    found = check_rows(chunks[0], 2.0).bad
    assert found is not None
    assert found["row"].to_pylist() == bad


def test_long_lines_make_smaller_chunks(
    tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.csv", table)
    monkeypatch.setattr(csv_lines, "_PIECE", 8192)
    monkeypatch.setattr(csv_lines, "_MOST", 32768)
    chunks = read(tmp_path / "a.csv")
    assert max(chunk.table.num_rows for chunk in chunks) < ROWS
    assert scored(chunks) == table["id"].tolist()


def test_a_file_without_lines_is_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    header = write(tmp_path / "a.csv", table)[0]
    (tmp_path / "a.csv").write_bytes(header.encode() + b"\n" + b"1" * (5 << 20))
    with pytest.raises(DataError, match="holds a line of more than"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("cut", [-50, -3])
def test_a_truncated_gzip_file_is_said_to_be_one(
    tmp_path: Path, table: pd.DataFrame, cut: int
) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(table.to_csv(index=False).encode())[:cut])
    with pytest.raises(DataError, match="truncated gzip file"):
        list(csv_chunks(LocalFile(path), Format.GZIP, 0, ROWS))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("id;target;ps_ind_01\n1;2;3", "lacks 58 of the 58 columns"),
        ("7,0,1\n", "begins with '7,0,1'"),
        ("\n \n", "neither column names nor rows"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=reason):
        csv_ignored(LocalFile(tmp_path / "a.csv"), Format.CSV)


def test_a_column_twice_is_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    lines = write(tmp_path / "a.csv", table)
    (tmp_path / "a.csv").write_text(f"{lines[0]},ps_ind_01\n{lines[1]},5")
    with pytest.raises(DataError, match="1 columns more than once: ps_ind_01"):
        csv_ignored(LocalFile(tmp_path / "a.csv"), Format.CSV)
