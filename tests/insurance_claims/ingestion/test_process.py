"""A dropped file: what is taken of it, what is put aside and why, and what is refused as a whole."""

from __future__ import annotations

import codecs
import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insurance_claims import schema
from insurance_claims.data.load import read_table
from insurance_claims.data.validate import canonical, check, validate
from insurance_claims.ingestion import blocks
from insurance_claims.ingestion.process import CURATED, QUARANTINE, Outcome, process_file

Drop = Callable[..., Path]
PART = "arrival=2026-01-02/a.parquet"


def taken(path: Path, max_bad: float = 0.05, rows: int = 64) -> tuple[Outcome, Path, Path]:
    """Process a file in small blocks; its outcome, its good rows and its bad ones."""
    output = path.parent / "out"
    outcome = process_file(path, output, PART, max_bad, rows)
    return outcome, output / CURATED / PART, output / QUARANTINE / PART


def rows_of(path: Path) -> pa.Table:
    """A Parquet file alone: what its folder's name says of a partition is no column."""
    with pq.ParquetFile(path) as file:
        return file.read()


@pytest.mark.parametrize("name", ["claims.csv", "claims.csv.gz", "claims.parquet", "ä b.csv"])
@pytest.mark.parametrize("rows", [64, 100_000])
def test_a_good_file_is_taken_as_validation_reads_it(
    tmp_path: Path, claims: pd.DataFrame, name: str, rows: int
) -> None:
    path = tmp_path / name
    if name.endswith(".parquet"):
        claims.to_parquet(path)
    else:
        claims.to_csv(path, index=False)
    outcome, curated, quarantine = taken(path, rows=rows)
    assert (outcome.status, outcome.severity, outcome.rows, outcome.bad) == (
        *("accepted", "info"),
        *(300, 0),
    )
    found = rows_of(curated).to_pandas()
    pd.testing.assert_frame_equal(found, check(read_table(path)))
    assert not quarantine.exists()


SPOILED = [
    ("ps_ind_01", "99", "range"),
    ("ps_ind_01", "1.5", "fraction"),
    ("ps_ind_01", "-1", "no value may be missing"),
    ("ps_ind_02_cat", "7", "category"),
    ("ps_ind_02_cat", "", "empty"),
    ("ps_reg_03", "many", "no number"),
    ("ps_reg_03", "inf", "range"),
    ("target", "2", "neither 0 nor 1"),
    ("id", "-5", "negative"),
    ("id", "x", "no number"),
    ("id", "1e300", "too large"),
]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(("column", "value", "reason"), SPOILED)
def test_a_bad_row_is_put_aside_with_its_reason(
    tmp_path: Path, claims: pd.DataFrame, kind: str, column: str, value: str, reason: str
) -> None:
    table = claims.astype(str)
    table.loc[70, column] = value
    path = tmp_path / f"claims.{kind}"
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    outcome, curated, quarantine = taken(path)
    assert (outcome.status, outcome.severity, outcome.bad) == ("accepted", "warning", 1)
    assert outcome.reasons == {column: 1}
    aside = rows_of(quarantine).to_pylist()
    assert [row["row"] for row in aside] == [72 if kind == "csv" else 71]
    assert column in aside[0]["reasons"]
    assert reason in aside[0]["reasons"]
    assert (aside[0][column] or "") == value
    kept = rows_of(curated).to_pandas()
    pd.testing.assert_frame_equal(kept, check(canonical(claims.drop(index=70))))


def test_good_rows_keep_the_contract_and_bad_ones_do_not(drop: Drop, claims: pd.DataFrame) -> None:
    table = claims.astype(str)
    for position, (column, value, _) in enumerate(SPOILED):
        table.loc[position * 11, column] = value
    path = drop(table)
    _, curated, quarantine = taken(path, max_bad=0.5)
    assert validate(rows_of(curated).to_pandas()).ok
    aside = rows_of(quarantine).to_pandas()
    assert len(aside) == len(SPOILED)
    for position in range(len(aside)):
        row = aside.iloc[[position]][list(schema.COLUMNS)]
        one = drop(row, f"row{position}.csv")
        assert not validate(read_table(one), require_target=False).ok


def test_lines_that_are_no_rows_are_put_aside_whole(drop: Drop, claims: pd.DataFrame) -> None:
    path = drop(claims)
    lines = path.read_text().splitlines()
    lines[5] += ",9"
    lines[6] = "1,2"
    lines[7] = '"' + lines[7]
    path.write_text("\n".join([*lines[:9], "", *lines[9:], ""]))
    outcome, curated, quarantine = taken(path)
    assert (outcome.rows, outcome.bad, outcome.reasons) == (300, 3, {"line": 3})
    aside = rows_of(quarantine).to_pylist()
    assert [(row["row"], row["line"]) for row in aside] == [
        (6, lines[5]),
        (7, "1,2"),
        (8, lines[7]),
    ]
    assert pq.read_metadata(curated).num_rows == 297


def test_rows_with_the_same_id_are_all_put_aside(drop: Drop, claims: pd.DataFrame) -> None:
    table = claims.copy()
    table.loc[250, "id"] = table.loc[3, "id"]
    outcome, curated, quarantine = taken(drop(table))
    assert (outcome.bad, outcome.reasons) == (2, {"id": 2})
    aside = rows_of(quarantine).to_pylist()
    assert [row["row"] for row in aside] == [5, 252]
    assert pq.read_metadata(curated).num_rows == 298
    assert [path.name for path in curated.parent.iterdir()] == [curated.name]


def test_too_many_bad_rows_refuse_the_file(drop: Drop, claims: pd.DataFrame) -> None:
    table = claims.copy()
    table.loc[:15, "ps_ind_01"] = 99
    accepted, curated, _ = taken(drop(table), max_bad=0.06)
    assert accepted.status == "accepted"
    outcome, curated, quarantine = taken(drop(table), max_bad=0.05)
    assert (outcome.status, outcome.severity, outcome.part) == ("quarantined", "error", None)
    assert outcome.bad == 16
    assert "no more than 5.0%" in outcome.reason
    assert not curated.exists()
    assert pq.read_metadata(quarantine).num_rows == 16


def test_an_added_column_is_reported_and_carried(drop: Drop, claims: pd.DataFrame) -> None:
    table = claims.assign(region=pd.Series(["São Paulo", None, "7"] * 100, dtype=object))
    outcome, curated, _ = taken(drop(table))
    assert (outcome.status, outcome.severity, outcome.added) == ("accepted", "warning", ("region",))
    assert "region" in outcome.reason
    found = rows_of(curated).column("region").to_pylist()
    assert found[:4] == ["São Paulo", "", "7", "São Paulo"]


def test_the_order_of_columns_does_not_matter(drop: Drop, claims: pd.DataFrame) -> None:
    outcome, curated, _ = taken(drop(claims[claims.columns[::-1]]))
    assert outcome.severity == "info"
    pd.testing.assert_frame_equal(rows_of(curated).to_pandas(), canonical(claims))


def test_a_byte_order_mark_is_no_part_of_the_first_name(drop: Drop, claims: pd.DataFrame) -> None:
    path = drop(claims)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert taken(path)[0].severity == "info"


def spoil_latin_1(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", "ä\n".encode("latin-1"), 3))


def cut(path: Path) -> None:
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed[: len(packed) // 2])


def as_parquet(path: Path, change: Callable[[bytes], bytes]) -> None:
    table = pa.Table.from_pandas(pd.read_csv(path))
    pq.write_table(table, path)
    path.write_bytes(change(path.read_bytes()))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "0 bytes"),
    "blank": (lambda path: path.write_bytes(b"\n\n"), "neither column names nor rows"),
    "header only": (lambda path: path.write_bytes(path.read_bytes().split(b"\n")[0]), "no rows"),
    "semicolons": (
        lambda path: path.write_text(path.read_text().replace(",", ";")),
        "semicolon",
    ),
    "latin-1": (spoil_latin_1, "not UTF-8"),
    "utf-16": (lambda path: path.write_text(path.read_text(), "utf-16"), "not UTF-8"),
    "removed column": (
        lambda path: pd.read_csv(path).drop(columns="ps_car_13").to_csv(path, index=False),
        "lacks 1 of the 59 columns of the data contract: ps_car_13",
    ),
    "column twice": (
        lambda path: path.write_text(path.read_text().replace("ps_ind_03", "ps_ind_01", 1)),
        "more than once",
    ),
    "no header": (
        lambda path: path.write_bytes(path.read_bytes().split(b"\n", 1)[1]),
        "no column names",
    ),
    "zip": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99)), "zip archive"),
    "truncated gzip": (cut, "truncated gzip"),
    "damaged parquet": (lambda path: as_parquet(path, lambda data: data[:-9]), "damaged Parquet"),
    "one endless line": (lambda path: path.write_bytes(b"x" * (2 << 20)), "no CSV file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_is_refused_whole(drop: Drop, claims: pd.DataFrame, case: str) -> None:
    spoil, reason = REFUSED[case]
    path = drop(claims)
    spoil(path)
    outcome, curated, quarantine = taken(path)
    assert (outcome.status, outcome.severity, outcome.part) == ("quarantined", "error", None)
    assert reason in outcome.reason
    assert path.name in outcome.reason
    assert not re.search(r"\n|Traceback", outcome.reason)
    assert not curated.exists()
    assert not quarantine.exists()


def test_a_zip_bomb_is_not_unpacked(
    drop: Drop, claims: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "RATIO_FROM", 1 << 20)
    path = drop(claims)
    line = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(gzip.compress(line[0] + line[1] * 40_000))
    outcome, curated, _ = taken(path)
    assert "unpacks to more than 100 times its size" in outcome.reason
    assert not curated.exists()


def test_a_file_of_too_many_rows_is_refused(
    drop: Drop, claims: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MAX_ROWS", 299)
    assert "more than 299 rows" in taken(drop(claims))[0].reason


def test_a_damaged_page_is_noticed(tmp_path: Path, claims: pd.DataFrame) -> None:
    path = tmp_path / "claims.parquet"
    pq.write_table(pa.Table.from_pandas(claims), path, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[600:640] = bytes(40)
    path.write_bytes(data)
    outcome, curated, _ = taken(path)
    assert outcome.status == "quarantined"
    assert not curated.exists()
