"""Labels that say what rows cost."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from insurance_claims import schema
from insurance_claims.monitoring.collected import Place
from insurance_claims.problem import Problem
from ml_service.feedback.labels import LabelError, add_labels, read_labels
from tests.ml_service.feedback.collecting import StandIn


@pytest.fixture(autouse=True)
def _costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "PROBLEM", Problem.REGRESSION)


def _file(folder: Path, costs: list[float]) -> Path:
    table = pd.DataFrame({"request_id": "5-0", "row": range(len(costs)), "target": costs})
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def test_costs_are_kept_to_the_cent(place: Place, standin: StandIn, tmp_path: Path) -> None:
    report = add_labels(place, standin.documents, _file(tmp_path, [0, 1234.56, 0, 20]))
    assert (report.added, report.claims) == (4, 2)
    assert read_labels(place)["target"].tolist() == [0, 1234.56, 0, 20]
    add_labels(place, standin.documents, _file(tmp_path, [0, 1234.56, 0, 20, 3]))
    with pytest.raises(LabelError, match="1 rows have two costs"):
        add_labels(place, standin.documents, _file(tmp_path, [0, 1234.57]))


@pytest.mark.parametrize("wrong", [-0.5, float("inf"), float("nan")])
def test_what_no_claim_costs_is_refused(
    place: Place, standin: StandIn, tmp_path: Path, wrong: float
) -> None:
    with pytest.raises(LabelError, match="a number from 0"):
        add_labels(place, standin.documents, _file(tmp_path, [5.5, wrong]))
    assert read_labels(place).empty
