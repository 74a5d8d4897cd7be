"""The synthetic data have the real columns' shape and difficulty, and are the same for the same seed."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.data import marginals, signal
from insurance_claims.data.synthesize import (
    FIRST_ID,
    golden_rows,
    synthesize,
    write_synthetic,
)
from insurance_claims.data.validate import validate
from insurance_claims.errors import DataError

ROWS = 200_000
SAMPLE_ROWS = 500
SAMPLE_SEED = 2
FRACTIONAL = ("ps_reg_03", "ps_car_12", "ps_car_13", "ps_car_14")
"""Columns of so many distinct values that a sample has not all of them."""

Floats = NDArray[np.float64]
Sample = tuple[pd.DataFrame, Floats]


@pytest.fixture(scope="module")
def sample() -> Sample:
    return synthesize(ROWS, seed=1)


def gini(target: NDArray[np.int64], score: Floats) -> float:
    """2 AUC - 1 by the rank sum, for scores without ties."""
    ranks = np.empty(len(score))
    ranks[np.argsort(score)] = np.arange(1, len(score) + 1)
    claims = int(target.sum())
    above = ranks[target == 1].sum() - claims * (claims + 1) / 2
    return float(2 * above / (claims * (len(target) - claims)) - 1)


def present(values: pd.Series[float]) -> pd.Series[float]:
    return values[values != schema.MISSING]


def test_the_table_has_kaggles_columns_and_types(sample: Sample) -> None:
    table, truth = sample
    assert tuple(table.columns) == schema.COLUMNS
    assert len(table) == len(truth) == ROWS
    for name in (schema.ID, schema.TARGET):
        assert table[name].dtype == np.int64
    for column in schema.FEATURES:
        assert table[column.name].dtype == (np.int64 if column.is_integer else np.float64)


def test_the_contract_accepts_it(sample: Sample) -> None:
    assert validate(sample[0]).describe().endswith("valid")


def test_the_contract_refuses_it_once_spoilt(sample: Sample) -> None:
    table = sample[0].head(1000).copy()
    table.loc[3, "ps_ind_01"] = 8
    assert [problem.column for problem in validate(table).problems] == ["ps_ind_01"]


def test_ids_ascend_with_kaggles_gaps(sample: Sample) -> None:
    ids = sample[0][schema.ID].to_numpy()
    gaps = np.diff(ids)
    assert ids[0] == FIRST_ID
    assert gaps.min() == 1
    # The real ids span 1,488,020 numbers for 595,212 rows.
    assert gaps.mean() == pytest.approx(2.5, rel=0.01)


@pytest.mark.parametrize("column", schema.FEATURES, ids=lambda column: column.name)
def test_a_column_looks_like_the_real_one(sample: Sample, column: schema.Column) -> None:
    values = present(sample[0][column.name])
    assert values.min() >= column.lower
    assert values.max() <= column.upper
    # The contract's figures are rounded to two decimals; five standard errors on top.
    deviation = (values - values.mean()).abs()
    error = 5 / np.sqrt(len(values))
    assert values.mean() == pytest.approx(column.mean, abs=0.0051 + error * values.std())
    spread_error = error * (deviation**2).std() / (2 * values.std())
    assert values.std() == pytest.approx(column.std, abs=0.0051 + spread_error)


@pytest.mark.parametrize("column", schema.FEATURES, ids=lambda column: column.name)
def test_a_column_has_about_as_many_values_as_the_real_one(
    sample: Sample, column: schema.Column
) -> None:
    found = present(sample[0][column.name]).nunique()
    if column.name in FRACTIONAL:
        assert 0.5 * column.cardinality < found < 1.1 * column.cardinality
    else:
        # A count's last values are too rare for every sample to hold them.
        rare = 3 if "_calc_" in column.name else 0
        assert column.cardinality - rare <= found <= column.cardinality


@pytest.mark.parametrize("column", schema.FEATURES, ids=lambda column: column.name)
def test_as_much_is_missing_as_in_the_real_data(sample: Sample, column: schema.Column) -> None:
    missing = int((sample[0][column.name] == schema.MISSING).sum())
    if column.missing_share is None:
        assert missing == 0
    else:
        expected = ROWS * column.missing_share
        assert abs(missing - expected) <= 5 * np.sqrt(expected * (1 - column.missing_share)) + 1


def test_columns_hang_together_as_the_real_ones_do(sample: Sample) -> None:
    table = sample[0]

    def ones(*numbers: int) -> pd.Series[int]:
        return table[[f"ps_ind_{number:02}_bin" for number in numbers]].sum(axis=1)

    assert set(ones(6, 7, 8, 9)) == {1}
    assert set(ones(16, 17, 18)) == {0, 1}
    assert (table["ps_ind_14"] == ones(10, 11, 12, 13)).all()
    assert table["ps_car_12"].corr(table["ps_car_13"], method="spearman") > 0.5
    assert table["ps_reg_01"].corr(table["ps_reg_02"], method="spearman") > 0.4
    without = pd.DataFrame({name: table[name] == schema.MISSING for name in marginals.missing()})
    assert without["ps_car_03_cat"].corr(without["ps_car_05_cat"]) > 0.5


def test_calc_columns_are_noise(sample: Sample) -> None:
    table, truth = sample
    calc = [name for name in schema.FEATURE_NAMES if "_calc_" in name]
    correlations = np.corrcoef(np.vstack([table[calc].to_numpy(dtype=float).T, truth]))
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 6 / np.sqrt(ROWS)


def test_claims_are_as_frequent_as_in_the_real_data(sample: Sample) -> None:
    table, truth = sample
    error = np.sqrt(schema.CLAIM_RATE / ROWS)
    assert table[schema.TARGET].mean() == pytest.approx(schema.CLAIM_RATE, abs=5 * error)
    assert truth.mean() == pytest.approx(schema.CLAIM_RATE, rel=0.005)


def test_the_truth_is_as_hard_to_find_as_in_the_real_data(sample: Sample) -> None:
    table, truth = sample
    assert 0.28 < gini(table[schema.TARGET].to_numpy(), truth) < 0.32


def test_the_truth_is_calibrated_in_every_decile(sample: Sample) -> None:
    table, truth = sample
    target = table[schema.TARGET].to_numpy()
    for rows in np.array_split(np.argsort(truth), 10):
        expected = truth[rows].sum()
        error = np.sqrt((truth[rows] * (1 - truth[rows])).sum())
        assert abs(target[rows].sum() - expected) < 4.5 * error


# Correlations with the target of 119,000 real rows, missing marker included.
@pytest.mark.parametrize(
    ("name", "real"),
    [
        ("ps_ind_01", 0.0238),
        ("ps_ind_05_cat", 0.0300),
        ("ps_ind_06_bin", -0.0325),
        ("ps_ind_07_bin", 0.0328),
        ("ps_ind_15", -0.0165),
        ("ps_ind_17_bin", 0.0367),
        ("ps_reg_02", 0.0417),
        ("ps_car_13", 0.0535),
    ],
)
def test_what_matters_is_what_matters_in_the_real_data(
    sample: Sample, name: str, real: float
) -> None:
    table, truth = sample
    covariance = np.cov(table[name].to_numpy(dtype=float), truth)[0, 1]
    spread = np.sqrt(schema.CLAIM_RATE * (1 - schema.CLAIM_RATE))
    assert covariance / (table[name].std() * spread) == pytest.approx(real, abs=0.012)


def test_missing_values_tell_something(sample: Sample) -> None:
    table, truth = sample
    assert truth[table["ps_car_07_cat"] == schema.MISSING].mean() > 1.2 * truth.mean()
    assert truth[table["ps_car_05_cat"] == schema.MISSING].mean() < 0.95 * truth.mean()


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5])
def test_another_claim_rate_is_kept(rate: float) -> None:
    table, truth = synthesize(100_000, seed=2, claim_rate=rate)
    assert truth.mean() == pytest.approx(rate, rel=0.02)
    assert table[schema.TARGET].mean() == pytest.approx(rate, abs=5 * np.sqrt(rate / 100_000))


def test_the_same_seed_is_the_same_table_and_a_longer_one_begins_with_it() -> None:
    table, truth = synthesize(20_000, seed=3)
    longer, longer_truth = synthesize(40_000, seed=3)
    pd.testing.assert_frame_equal(table, longer.head(20_000))
    np.testing.assert_array_equal(truth, longer_truth[:20_000])


def test_another_seed_is_another_table() -> None:
    features = list(schema.FEATURE_NAMES)
    same = (synthesize(1000, 3)[0][features] == synthesize(1000, 4)[0][features]).all(axis=1)
    assert not same.any()


def test_ids_can_go_on_where_another_table_ends() -> None:
    first, _ = synthesize(1000, seed=5)
    last = int(first[schema.ID].max())
    more, _ = synthesize(1000, seed=6, first_id=last + 1)
    assert more[schema.ID].min() == last + 1


def test_one_row() -> None:
    table, truth = synthesize(1, seed=0)
    assert table.shape == (1, 59)
    assert 0 < truth[0] < 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"rows": 0, "seed": 1}, "0 rows"),
        ({"rows": -5, "seed": 1}, "-5 rows"),
        ({"rows": 1, "seed": -1}, "seed -1"),
        ({"rows": 1, "seed": 1, "claim_rate": 0.0}, "claim rate 0.0"),
        ({"rows": 1, "seed": 1, "claim_rate": float("nan")}, "claim rate nan"),
        ({"rows": 1, "seed": 1, "first_id": -1}, "first id -1"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: dict[str, float], says: str) -> None:
    with pytest.raises(DataError, match=says):
        synthesize(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_file_holds_the_table(tmp_path: Path, ending: str) -> None:
    path, truth_path = tmp_path / f"new/data.{ending}", tmp_path / f"truth.{ending}"
    write_synthetic(path, 20_000, 7, truth_path)
    table, truth = synthesize(20_000, 7)

    def read(file: Path) -> pd.DataFrame:
        if ending == "parquet":
            return pd.read_parquet(file)
        return pd.read_csv(file, float_precision="round_trip")

    pd.testing.assert_frame_equal(read(path), table, check_exact=True)
    expected = pd.DataFrame({"id": table["id"], "probability": truth})
    pd.testing.assert_frame_equal(read(truth_path), expected, check_exact=True)
    assert sorted(item.name for item in tmp_path.rglob("*") if item.is_file()) == sorted(
        [path.name, truth_path.name]
    )


def test_a_csv_file_looks_like_kaggles(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "data.csv", 3, 1)
    lines = (tmp_path / "data.csv").read_text().splitlines()
    assert lines[0] == ",".join(schema.COLUMNS)
    assert len(lines) == 4
    assert '"' not in "".join(lines)
    write_synthetic(tmp_path / "data.csv.gz", 3, 1)
    packed = gzip.decompress((tmp_path / "data.csv.gz").read_bytes()).decode()
    assert packed.splitlines() == lines


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_the_same_seed_is_the_same_bytes(tmp_path: Path, ending: str) -> None:
    contents = []
    for number, seed in enumerate((1, 1, 2)):
        path = tmp_path / f"{number}.{ending}"
        write_synthetic(path, 1000, seed)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_a_file_in_many_pieces_holds_the_table(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "data.parquet", 140_000, 8)
    table, _ = synthesize(140_000, 8)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "data.parquet"), table)


@pytest.mark.parametrize("name", ["data.txt", "data", "data.parquet.gz"])
def test_an_unknown_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="has to end in"):
        write_synthetic(tmp_path / name, 10, 1)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_behind_where_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").mkdir()
    path = tmp_path / "data.csv"
    path.write_text("as it was")
    with pytest.raises(DataError, match=r"truth\.csv cannot be written: it is a folder"):
        write_synthetic(path, 10, 1, tmp_path / "truth.csv")
    assert path.read_text() == "as it was"
    assert sorted(os.listdir(tmp_path)) == ["data.csv", "truth.csv"]


def test_bad_arguments_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 rows"):
        write_synthetic(tmp_path / "data.csv", 0, 1)
    with pytest.raises(DataError, match="as data and as truth"):
        write_synthetic(tmp_path / "data.csv", 1, 1, tmp_path / "data.csv")
    assert list(tmp_path.iterdir()) == []


def test_golden_rows_begin_with_the_edges() -> None:
    rows = golden_rows(20, 57)
    assert rows.shape == (20, 57)
    assert rows[0].tolist() == [column.minimum for column in schema.FEATURES]
    assert rows[1].tolist() == [column.maximum for column in schema.FEATURES]
    allowed = np.array([column.missing_allowed for column in schema.FEATURES])
    assert ((rows[2] == schema.MISSING) == allowed).all()
    table, _ = synthesize(20, 57)
    assert rows[3:].tolist() == table[list(schema.FEATURE_NAMES)].to_numpy(float)[3:].tolist()
    np.testing.assert_array_equal(golden_rows(2, 57), rows[:2])


def test_golden_rows_keep_to_the_contract() -> None:
    table = pd.DataFrame(golden_rows(20, 57), columns=list(schema.FEATURE_NAMES))
    report = validate(table.assign(id=np.arange(20), target=np.arange(20) % 2))
    assert report.ok, report.describe()


@pytest.mark.parametrize(("mean", "std"), [(2.0, 1.5), (0.1, 0.4), (3.5, 2.9)])
def test_the_closest_distribution_has_the_moments(mean: float, std: float) -> None:
    support = np.arange(8, dtype=np.float64)
    weights = marginals.closest(support, np.ones(8), mean, std)
    assert weights.sum() == pytest.approx(1)
    assert weights @ support == pytest.approx(mean)
    assert np.sqrt(weights @ (support - mean) ** 2) == pytest.approx(std)


def test_impossible_moments_are_refused() -> None:
    with pytest.raises(ValueError, match="no distribution"):
        marginals.closest(np.arange(3, dtype=np.float64), np.ones(3), 0.99, 0.01)


def test_the_sample_in_the_repository_is_this_generators(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    write_synthetic(path, SAMPLE_ROWS, SAMPLE_SEED)
    assert (root / "data/sample.csv").read_bytes() == path.read_bytes()
    assert pd.read_csv(path)[schema.TARGET].sum() >= 20


def test_no_real_row_is_in_the_sample(root: Path, real_data: Path) -> None:
    features = list(schema.FEATURE_NAMES)
    real = pd.read_csv(real_data)[features].round(6)
    ours = pd.read_csv(root / "data/sample.csv")[features].round(6)
    assert real.merge(ours, on=features).empty
    assert len(ours.merge(ours, on=features)) == SAMPLE_ROWS


def test_a_shift_moves_the_population_and_what_makes_claims_likely() -> None:
    table, _ = synthesize(20_000, 1)
    moved, likely = synthesize(20_000, 1, shift=1.0)
    assert moved["ps_reg_02"].mean() > table["ps_reg_02"].mean() + 0.1
    assert np.array_equal(moved["ps_calc_01"], table["ps_calc_01"])
    assert validate(moved).ok
    rows = {name: moved[name].to_numpy() for name in schema.FEATURE_NAMES}
    unmoved = 1 / (1 + np.exp(-signal.claim_logit(rows)))
    assert gini(moved[schema.TARGET].to_numpy(), likely) > 0.05 + gini(
        moved[schema.TARGET].to_numpy(), unmoved
    )


@pytest.mark.parametrize("shift", [-0.1, 2.1, float("nan")])
def test_a_shift_that_cannot_be_is_refused(shift: float) -> None:
    with pytest.raises(DataError, match="is not between 0 and 2"):
        synthesize(10, 1, shift=shift)
