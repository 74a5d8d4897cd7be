"""Versions: the same rows are the same version, and nothing else is."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insurance_claims import schema
from insurance_claims.data.content import content_sha256, read_version, write_version
from insurance_claims.data.load import read_table
from insurance_claims.data.validate import canonical, check
from insurance_claims.errors import DataError

MakeTable = Callable[..., pd.DataFrame]


@pytest.mark.parametrize("extra", [False, True])
def test_every_format_has_the_same_hash(tmp_path: Path, table: pd.DataFrame, extra: bool) -> None:
    if extra:
        table["place"] = ["São Paulo", "Rio", "", "NA"] * 50
        table["day"] = ["2020-01-01", "2020-01-02"] * 100
        table["price"] = np.where(np.arange(200) % 3 == 0, np.nan, 1.5)
    table.to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    table.to_parquet(tmp_path / "a.parquet")
    hashes = {
        content_sha256(check(read_table(tmp_path / name)))
        for name in ("a.csv", "a.csv.gz", "a.parquet")
    }
    assert hashes == {content_sha256(table)}


def test_the_hash_of_known_rows_never_changes() -> None:
    """A change here makes every stored version unreadable."""
    columns: dict[str, Any] = {"id": [1, 2], "target": [0, 1]}
    columns |= {feature.name: [feature.minimum, feature.maximum] for feature in schema.FEATURES}
    columns |= {"note": ["ü", None]}
    assert content_sha256(pd.DataFrame(columns)) == (
        "2b620bcb0ba27e1995e3d9171558f4967d2f0505f6510041edd1a9c794717120"
    )


def test_what_means_the_same_has_the_same_hash(table: pd.DataFrame) -> None:
    same = table[list(reversed(table.columns))].set_index(np.arange(200) + 9)
    same = same.astype({"ps_ind_01": np.int8, "ps_ind_03": np.float64, "id": object})
    same["ps_reg_01"] = same["ps_reg_01"].where(same["ps_reg_01"] != 0, -0.0)
    assert content_sha256(same) == content_sha256(table)


@settings(max_examples=60)
@given(row=st.integers(0, 19), column=st.sampled_from(schema.COLUMNS), bit=st.integers(0, 51))
def test_any_changed_value_changes_the_hash(
    make_table: MakeTable, row: int, column: str, bit: int
) -> None:
    table = canonical(make_table(20))
    changed = table.copy()
    values = changed[column].to_numpy(copy=True)
    # One bit of the value, down to the last of a fraction.
    values.view(np.int64)[row] ^= 1 << bit
    changed[column] = values
    assert content_sha256(changed) != content_sha256(table)


@settings(max_examples=40)
@given(order=st.permutations(range(12)))
def test_the_order_of_rows_is_content(make_table: MakeTable, order: list[int]) -> None:
    table = make_table(12)
    same = content_sha256(table.iloc[order]) == content_sha256(table)
    assert same == (order == sorted(order))


def test_rows_added_left_out_or_other_columns_change_the_hash(table: pd.DataFrame) -> None:
    tables = [
        table,
        table.head(199),
        table.drop(columns="target"),
        table.assign(extra=1),
        table.assign(extra=1.0),
        table.assign(extra="1"),
        table.assign(extra=None),
        table.assign(extra=""),
        table.assign(other=1),
    ]
    assert len({content_sha256(one) for one in tables}) == len(tables)


@settings(max_examples=100)
@given(
    first=st.lists(st.none() | st.text(max_size=4), min_size=4, max_size=4),
    second=st.lists(st.none() | st.text(max_size=4), min_size=4, max_size=4),
)
def test_texts_do_not_run_into_each_other(
    make_table: MakeTable, first: list[str | None], second: list[str | None]
) -> None:
    table = make_table(4)
    one = table.assign(note=pd.Series(first, dtype=object))
    other = table.assign(note=pd.Series(second, dtype=object))
    assert (content_sha256(one) == content_sha256(other)) == (first == second)


def test_a_version_comes_back_as_it_was(tmp_path: Path, table: pd.DataFrame) -> None:
    table["note"] = ["a", None] * 100
    manifest = write_version(
        table,
        tmp_path,
        name="claims",
        version=7,
        created="2026-01-02T03:04:05+00:00",
        source="x.csv",
    )
    assert manifest == {
        "name": "claims",
        "version": 7,
        "sha256": content_sha256(table),
        "rows": 200,
        "claim_rate": 0.25,
        "created": "2026-01-02T03:04:05+00:00",
        "source": "x.csv",
        "schema_version": schema.SCHEMA_VERSION,
    }
    back, read = read_version(tmp_path)
    assert read == manifest
    pd.testing.assert_frame_equal(back, table)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.parquet", "manifest.json"]


def test_a_changed_value_is_found(version: Path) -> None:
    table = pd.read_parquet(version / "data.parquet")
    table["ps_car_13"] = table["ps_car_13"].where(table.index != 1234, 0.5)
    table.to_parquet(version / "data.parquet")
    with pytest.raises(DataError, match="was changed after it was written"):
        read_version(version)


def test_a_changed_hash_is_found(version: Path) -> None:
    _edit(version, sha256="0" * 64)
    with pytest.raises(DataError, match="was changed after it was written"):
        read_version(version)


def test_another_schema_is_refused(version: Path) -> None:
    _edit(version, schema_version="0")
    with pytest.raises(DataError, match="made for schema 0"):
        read_version(version)


def test_a_damaged_folder_is_refused(version: Path) -> None:
    whole = (version / "data.parquet").read_bytes()
    (version / "data.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        read_version(version)
    (version / "data.parquet").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_version(version)
    for content, message in (
        ("{", "is not JSON"),
        ("[]", "does not describe"),
        ("{}", "does not describe"),
    ):
        (version / "manifest.json").write_text(content)
        with pytest.raises(DataError, match=message):
            read_version(version)
    shutil.rmtree(version)
    with pytest.raises(DataError, match="does not exist"):
        read_version(version)


def _edit(version: Path, **changes: str) -> None:
    path = version / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda columns: columns[:5] + ("ps_new", *columns[6:]), "ps_ind_04_cat, ps_new"),
        (lambda columns: columns[:3] + columns[4:] + columns[3:4], "in another order"),
    ],
)
def test_a_schema_that_changed_is_not_taken_for_damage(
    version: Path, monkeypatch: pytest.MonkeyPatch, change: Any, names: str
) -> None:
    monkeypatch.setattr("insurance_claims.data.content.COLUMNS", change(schema.COLUMNS))
    monkeypatch.setitem(schema.BY_NAME, "ps_new", schema.BY_NAME["ps_ind_01"])
    with pytest.raises(DataError, match=rf"other columns than schema.py names now \({names}\)"):
        read_version(version)
