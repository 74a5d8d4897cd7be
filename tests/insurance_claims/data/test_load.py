"""Files that can be read, and the sentence that is said of those that cannot."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insurance_claims.data.load import read_table
from insurance_claims.errors import DataError

SMALL = b"id,target,x\n7,0,1.5\n9,1,2\n"


def _write(tmp_path: Path, content: bytes, name: str = "claims.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def _error(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "name", ["claims.csv", "claims.csv.gz", "claims.parquet", "claims.parquet.gz"]
)
def test_reads_every_format_to_the_same_table(
    tmp_path: Path, table: pd.DataFrame, name: str
) -> None:
    path = tmp_path / name
    if ".parquet" in name:
        table.to_parquet(tmp_path / "plain", index=False)
    else:
        table.to_csv(tmp_path / "plain", index=False)
    content = (tmp_path / "plain").read_bytes()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    pd.testing.assert_frame_equal(read_table(path), table)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + SMALL,
        SMALL.replace(b"\n", b"\r\n"),
        SMALL.rstrip(b"\n"),
        b"\n\n" + SMALL,
        SMALL.replace(b"\n", b"\n\n"),
        gzip.compress(SMALL[:12]) + gzip.compress(SMALL[12:]),
    ],
    ids=[
        "byte order mark",
        "windows",
        "no last newline",
        "blank above",
        "blank between",
        "two gzips",
    ],
)
def test_accepts_what_common_tools_write(tmp_path: Path, content: bytes) -> None:
    expected = pd.DataFrame({"id": [7, 9], "target": [0, 1], "x": [1.5, 2.0]})
    pd.testing.assert_frame_equal(read_table(_write(tmp_path, content)), expected)


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    assert len(read_table(_write(tmp_path, gzip.compress(SMALL), "claims.csv"))) == 2


def test_a_column_with_one_text_is_read_as_text(tmp_path: Path) -> None:
    read = read_table(_write(tmp_path, b"id,a,b,c\n1,2,2020-01-01,true\n2,x,2020-01-02,false\n"))
    assert read["a"].tolist() == ["2", "x"]
    assert read["b"].tolist() == ["2020-01-01", "2020-01-02"]
    assert read["c"].tolist() == ["true", "false"]


def test_nothing_in_a_column_of_numbers_is_nan(tmp_path: Path) -> None:
    read = read_table(_write(tmp_path, b"id,a\n1,\n2,NaN\n3,4\n"))
    assert read["a"].isna().tolist() == [True, True, False]


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    assert "does not exist" in _error(tmp_path / "claims_10GB" / "train_595212000_rows.csv.gz")
    assert "cannot be read: File name too long" in _error(tmp_path / ("x" * 300))


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "is a folder" in _error(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in _error(tmp_path / "pipe")


def test_a_file_without_read_permission(tmp_path: Path) -> None:
    path = _write(tmp_path, SMALL)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "Permission denied" in _error(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    assert "is empty" in _error(_write(tmp_path, content))


def test_names_without_rows(tmp_path: Path, table: pd.DataFrame) -> None:
    assert "no rows" in _error(_write(tmp_path, b"id,target,x\n"))
    table.head(0).to_parquet(tmp_path / "none.parquet")
    assert "no rows" in _error(tmp_path / "none.parquet")


def test_not_utf8_says_where(tmp_path: Path) -> None:
    message = _error(_write(tmp_path, "id,name\n1,Ana\n2,João\n".encode("latin-1")))
    assert "not UTF-8" in message and "line 3" in message and "0xe3" in message
    assert "UTF-16" in _error(_write(tmp_path, SMALL.decode().encode("utf-16")))
    assert "byte 0x00" in _error(_write(tmp_path, SMALL.decode().encode("utf-16-le")))


def test_a_gzip_that_is_damaged(tmp_path: Path, table: pd.DataFrame) -> None:
    whole = gzip.compress(table.to_csv(index=False).encode())
    for length in (3, len(whole) // 2, len(whole) - 1):
        assert "truncated" in _error(_write(tmp_path, whole[:length], "cut.csv.gz"))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    assert "damaged gzip" in _error(_write(tmp_path, bytes(flipped), "flipped.csv.gz"))


def test_a_name_that_promises_another_format(tmp_path: Path) -> None:
    assert "is not gzip" in _error(_write(tmp_path, SMALL, "claims.csv.gz"))
    assert "is not Parquet" in _error(_write(tmp_path, SMALL, "claims.parquet"))
    assert "is not Parquet" in _error(_write(tmp_path, gzip.compress(SMALL), "claims.parquet.gz"))
    assert "zip archive" in _error(_write(tmp_path, b"PK\x03\x04rest", "train.csv"))


def test_a_parquet_file_that_is_truncated(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_parquet(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for length in (4, len(whole) // 2, len(whole) - 1):
        assert "damaged Parquet" in _error(_write(tmp_path, whole[:length], "cut.parquet"))


def test_ragged_rows_say_their_lines(tmp_path: Path) -> None:
    message = _error(_write(tmp_path, b"id,target,x\n1,0,1\n2,0\n\n3,1,1,1\n4,0,0\n"))
    assert "3 columns" in message and "2 lines have" in message
    assert "line 3 has 2, line 5 has 4" in message
    below = _error(_write(tmp_path, b"\nid,target,x\n1,0,1\n2,0\n"))
    assert "1 line has" in below and "line 4 has 2" in below


def test_an_open_quote(tmp_path: Path) -> None:
    assert "line 3" in _error(_write(tmp_path, b'id,target,x\n1,0,1\n2,"0,1\n3,1,1\n'))


def test_columns_that_share_a_name(tmp_path: Path) -> None:
    message = _error(_write(tmp_path, b"id,x,y,x,id\n1,2,3,4,5\n"))
    assert "2 columns more than once: 'id', 'x'" in message


@pytest.mark.parametrize(
    ("delimiter", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "vertical bar")]
)
def test_another_delimiter_is_named(tmp_path: Path, delimiter: str, name: str) -> None:
    content = SMALL.decode().replace(",", delimiter).encode()
    assert f"separates columns by {name}" in _error(_write(tmp_path, content))


def test_a_file_without_column_names(tmp_path: Path) -> None:
    assert "no column names" in _error(_write(tmp_path, b"7,0,1.5\n9,1,2\n"))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text("ab,;\"'\n\r01.-", max_size=80).map(str.encode))
def test_whatever_the_bytes_there_is_a_table_or_one_message(tmp_path: Path, content: bytes) -> None:
    path = _write(tmp_path, content, "claims")
    try:
        assert len(read_table(path)) > 0
    except DataError as error:
        assert str(path) in str(error)
