"""Where a row belongs: by its id, for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insurance_claims.data.split import PARTS, assign, claims_of, split_table, uniform
from insurance_claims.errors import DataError
from insurance_claims.parameters import SplitParameters, load_parameters

MakeTable = Callable[..., pd.DataFrame]
SPLIT = SplitParameters(salt="claims", holdout=0.2, validation=0.16)
IDS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=50, unique=True)


def test_known_values_never_change() -> None:
    """A change here moves holdout rows into training: old and new models could not be compared."""
    ids = np.array([0, 1, 2, 7, 9, 13, 1_488_027, 2**63 - 1])
    assert uniform(ids, "claims").tolist() == [
        0.9312963444871716,
        0.5341199161294096,
        0.9593251620841575,
        0.017562404433630774,
        0.7246084784454959,
        0.48048962173534104,
        0.7106554982955752,
        0.375808493463604,
    ]
    assert (
        assign(ids, SPLIT).tolist()
        == ["validation", "train", "validation", "holdout"] + ["train"] * 4
    )


def test_the_hash_is_splitmix64() -> None:
    """The first outputs of splitmix64.c for seed 1234567, as its author's reference prints them."""
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [_splitmix64_state(1234567, n) for n in range(3)] == known
    key = int.from_bytes(_sha256(b"claims")[:8], "little")
    for identity in (0, 7, 2**40 + 3):
        value = _splitmix64_state(identity ^ key, 0) >> 11
        assert uniform(np.array([identity]), "claims")[0] == value * 2.0**-53


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _splitmix64_state(seed: int, step: int) -> int:
    mask = 2**64 - 1
    z = (seed + (step + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@pytest.mark.parametrize("step", [1, 2, 3, 1024, 2**20])
@pytest.mark.parametrize("salt", ["claims", "", "another"])
def test_it_is_uniform_for_ids_in_a_row(salt: str, step: int) -> None:
    rows = 100_000
    place = uniform(np.arange(rows) * step, salt)
    assert place.min() >= 0 and place.max() < 1
    counts, _ = np.histogram(place, bins=100, range=(0, 1))
    chi_square = float(((counts - rows / 100) ** 2 / (rows / 100)).sum())
    # 99 degrees of freedom: 99.9999% of random samples are below 178, and too even is as odd.
    assert 40 < chi_square < 178
    assert abs(float(np.corrcoef(place[:-1], place[1:])[0, 1])) < 5 / np.sqrt(rows)


def test_the_shares_are_those_asked_for() -> None:
    labels = assign(np.arange(200_000), SPLIT)
    shares = {name: float((labels == name).mean()) for name in PARTS}
    assert shares == pytest.approx({"train": 0.64, "validation": 0.16, "holdout": 0.2}, abs=0.005)


def test_another_salt_is_another_split() -> None:
    ids = np.arange(100_000)
    other = assign(ids, SPLIT.model_copy(update={"salt": "other"})) == "holdout"
    both = float(((assign(ids, SPLIT) == "holdout") & other).mean())
    assert both == pytest.approx(0.2 * 0.2, abs=0.005)


@given(ids=IDS, data=st.data())
def test_order_does_not_matter(ids: list[int], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(ids))
    first = dict(zip(ids, assign(np.array(ids), SPLIT).tolist(), strict=True))
    assert assign(np.array(shuffled), SPLIT).tolist() == [first[identity] for identity in shuffled]


@given(ids=IDS, more=IDS)
def test_a_row_stays_where_it_is_as_data_grows(ids: list[int], more: list[int]) -> None:
    alone = assign(np.array(ids), SPLIT).tolist()
    assert assign(np.array(ids + more), SPLIT).tolist()[: len(ids)] == alone


@given(ids=IDS, holdout=st.floats(0.01, 0.4), validation=st.floats(0.01, 0.4))
def test_one_share_moves_no_row_of_the_other_part(
    ids: list[int], holdout: float, validation: float
) -> None:
    base = assign(np.array(ids), SplitParameters(salt="s", holdout=0.2, validation=validation))
    moved = assign(np.array(ids), SplitParameters(salt="s", holdout=holdout, validation=validation))
    assert ((base == "validation") == (moved == "validation")).all()
    smaller, larger = (moved, base) if holdout < 0.2 else (base, moved)
    assert not ((smaller == "holdout") & (larger != "holdout")).any()


def test_parts_are_disjoint_and_complete(make_table: MakeTable) -> None:
    table = make_table(2000)
    parts = split_table(table, load_parameters().split)
    assert set(parts) == set(PARTS)
    together = pd.concat(parts.values()).sort_values("id").reset_index(drop=True)
    pd.testing.assert_frame_equal(together, table)
    for part in parts.values():
        assert part["id"].is_monotonic_increasing
        assert part.index.equals(pd.RangeIndex(len(part)))
    assert sum(claims_of(parts).values()) == int(table["target"].sum())


def test_a_part_without_claims_is_refused_with_the_counts(make_table: MakeTable) -> None:
    table = make_table(2000)
    holdout = assign(table["id"].to_numpy(), SPLIT) == "holdout"
    table.loc[holdout, "target"] = 0
    with pytest.raises(DataError, match=rf"holdout has 0 claims in {holdout.sum()} rows"):
        split_table(table, SPLIT)
    table.loc[holdout, "target"] = 1
    with pytest.raises(
        DataError, match=rf"holdout has {holdout.sum()} claims in {holdout.sum()} rows"
    ):
        split_table(table, SPLIT)


def test_an_empty_part_is_refused(make_table: MakeTable) -> None:
    with pytest.raises(DataError, match="0 claims in 0 rows"):
        split_table(make_table(2), SPLIT)
