"""Labels: kept whole, once, and never against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring.collected import Place
from ml_service.feedback.labels import LabelError, LabelReport, add_labels, read_labels, with_labels
from ml_service.feedback.rows import read_all
from tests.ml_service.feedback.collecting import StandIn, collect


@pytest.fixture
def labels(place: Place, trained: Path) -> pd.DataFrame:
    """Those of 500 collected rows."""
    return collect(place, trained / "model", 500)


def _add(place: Place, standin: StandIn, table: pd.DataFrame, file: Path) -> LabelReport:
    table.to_csv(file, index=False)
    return add_labels(place, standin.documents, file)


def test_labels_are_kept_and_joined_with_their_rows(
    place: Place, standin: StandIn, labels: pd.DataFrame, tmp_path: Path
) -> None:
    report = _add(place, standin, labels.iloc[:400], tmp_path / "labels.csv")
    assert (report.rows, report.added, report.known, report.unknown) == (400, 400, 0, 0)
    assert report.claims == labels["target"][:400].sum() > 0
    rows = with_labels(read_all(place).table, read_labels(place))
    assert len(rows) == 400
    assert rows["target"].sum() == report.claims


def test_labels_that_come_twice_count_once(
    place: Place, standin: StandIn, labels: pd.DataFrame, tmp_path: Path
) -> None:
    twice = pd.concat([labels, labels.iloc[:10]])
    assert _add(place, standin, twice, tmp_path / "one.csv").known == 10
    report = _add(place, standin, labels.iloc[::-1], tmp_path / "two.csv")
    assert (report.added, report.known) == (0, 500)
    assert len(place.names("labels")) == 1
    assert len(read_labels(place)) == 500


def test_labels_of_unknown_requests_are_kept_counted_and_wait_for_their_rows(
    place: Place, standin: StandIn, trained: Path, tmp_path: Path
) -> None:
    unknown = pd.DataFrame({"request_id": "5-0", "row": range(250), "target": [0, 1] * 125})
    report = _add(place, standin, unknown, tmp_path / "labels.csv")
    assert (report.added, report.unknown) == (250, 250)
    assert "belong to no collected row" in report.describe()
    collect(place, trained / "model", 250)
    assert len(with_labels(read_all(place).table, read_labels(place))) == 250


def test_contradictions_are_refused_and_nothing_is_kept_of_the_file(
    place: Place, standin: StandIn, labels: pd.DataFrame, tmp_path: Path
) -> None:
    _add(place, standin, labels.iloc[:100], tmp_path / "one.csv")
    other = labels.iloc[50:].assign(target=1 - labels["target"])
    with pytest.raises(LabelError, match=r"contradicts labels that are known: 50 rows .*5-0:50"):
        _add(place, standin, other, tmp_path / "two.csv")
    both = pd.concat([labels.iloc[200:], other.iloc[200:201]])
    with pytest.raises(LabelError, match=r"contradicts itself: 1 rows are both 0 and 1"):
        _add(place, standin, both, tmp_path / "three.csv")
    assert len(read_labels(place)) == 100


def test_rows_can_be_named_in_one_column_and_single_rows_without_a_number(
    place: Place, standin: StandIn, labels: pd.DataFrame, tmp_path: Path
) -> None:
    names = labels["request_id"] + ":" + labels["row"].astype(str)
    table = pd.DataFrame({"row_id": names, "target": labels["target"]})
    assert _add(place, standin, table, tmp_path / "one.csv").unknown == 0
    single = labels[labels["row"] == 0].drop(columns="row")
    report = _add(place, standin, single, tmp_path / "two.csv")
    assert (report.known, report.unknown) == (2, 0)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("target", 2, "target is not 0 or 1 in 1 rows .row 3."),
        ("target", "claim", "target is not 0 or 1"),
        ("target", 0.5, "target is not 0 or 1"),
        ("row", -1, "request_id is not the id of a request"),
        ("row", "first", "row is not a whole number from 0"),
        ("request_id", None, "request_id is not the id of a request"),
    ],
)
def test_values_that_cannot_be_are_refused(
    place: Place,
    standin: StandIn,
    labels: pd.DataFrame,
    tmp_path: Path,
    column: str,
    value: object,
    message: str,
) -> None:
    values: Any = labels[column].tolist()
    values[2] = value
    wrong = labels.assign(**{column: values})
    with pytest.raises(LabelError, match=message):
        _add(place, standin, wrong, tmp_path / "labels.csv")
    assert place.names("labels") == []


def test_a_file_without_the_columns_is_refused(
    place: Place, standin: StandIn, labels: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(LabelError, match="no column target"):
        _add(place, standin, labels.drop(columns="target"), tmp_path / "labels.csv")
    with pytest.raises(ClaimsError, match="does not exist"):
        add_labels(place, standin.documents, tmp_path / "nowhere.csv")


def test_ids_that_are_numbers_are_texts(place: Place, standin: StandIn, tmp_path: Path) -> None:
    table = pd.DataFrame({"request_id": [1, 2], "row": [0, 0], "target": [0, 1]})
    _add(place, standin, table, tmp_path / "labels.csv")
    assert read_labels(place)["request_id"].tolist() == ["1", "2"]
