"""Retraining: what becomes a data version, what is asked of the pipeline, and what is left alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from insurance_claims.data.content import read_version
from insurance_claims.data.split import assign
from insurance_claims.monitoring.collected import Place
from insurance_claims.parameters import load_parameters
from ml_service.feedback.labels import add_labels
from ml_service.feedback.retraining import (
    HISTORY,
    Feedback,
    Retraining,
    RetrainingError,
    last_retraining,
    retrain,
)
from ml_service.platforms.base import RunStatus
from tests.ml_service.feedback.collecting import DATA, LIMITS, NOW, StandIn, collect

HOUR = timedelta(hours=1)


def _retrain(
    place: Place,
    standin: StandIn,
    *,
    if_needed: bool = True,
    dry_run: bool = False,
    now: datetime = NOW,
) -> Retraining:
    feedback = Feedback(standin.platform, place, DATA, "claims", LIMITS)
    return retrain(
        feedback, lambda line: None, if_needed=if_needed, dry_run=dry_run, clock=lambda: now
    )


@pytest.fixture
def moved(place: Place, standin: StandIn, trained: Path, tmp_path: Path) -> pd.DataFrame:
    """Two days of another population, with their labels."""
    found = [
        collect(place, trained / "model", 2_000, at=NOW - hours * HOUR, seed=seed, shift=1.0)
        for hours, seed in ((1, 5), (25, 6))
    ]
    labels = pd.concat(found, ignore_index=True)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    add_labels(place, standin.documents, tmp_path / "labels.csv")
    return labels


@pytest.mark.usefixtures("moved")
def test_drift_makes_a_data_version_with_the_labelled_rows_and_trains_on_it(
    place: Place, standin: StandIn, moved: pd.DataFrame
) -> None:
    done = _retrain(place, standin)
    assert done.data is not None and done.run is not None
    assert (done.data.version, done.data.rows) == (2, 12_000)
    [parameters] = standin.runs
    assert (parameters["data_version"], parameters["model_name"]) == ("2", "claims")
    assert parameters["reason"].startswith("drift in 2 of the newest 3 windows: ")
    assert done.run.status is RunStatus.COMPLETED
    before, _ = read_version(standin.data.fetch(standin.data.get(DATA, "1")))
    after, _ = read_version(standin.data.fetch(done.data))
    assert after["target"].sum() == before["target"].sum() + moved["target"].sum()
    assert after["id"].is_unique
    parts = pd.Series(assign(after["id"].to_numpy()[8_000:], load_parameters().split))
    assert parts.value_counts(normalize=True)["holdout"] == pytest.approx(0.2, abs=0.05)


@pytest.mark.usefixtures("moved")
def test_a_dry_run_says_so_and_does_nothing(place: Place, standin: StandIn) -> None:
    done = _retrain(place, standin, dry_run=True)
    assert done.decision.retrain and done.run is None
    assert standin.runs == [] and len(standin.data.list(DATA)) == 1
    assert last_retraining(standin.documents) is None


@pytest.mark.usefixtures("moved")
def test_the_second_one_waits_even_where_the_first_one_failed(
    place: Place, standin: StandIn
) -> None:
    standin.error = "step train failed"
    assert _retrain(place, standin).run is not None
    assert last_retraining(standin.documents) == NOW
    again = _retrain(place, standin, now=NOW + HOUR)
    assert again.run is None and again.decision.held_back
    standin.documents.append(HISTORY, b'{"time": "2026-1')
    assert last_retraining(standin.documents) == NOW


@pytest.mark.usefixtures("moved")
def test_rows_that_are_known_are_not_learnt_twice(place: Place, standin: StandIn) -> None:
    assert _retrain(place, standin, if_needed=False).run is not None
    with pytest.raises(RetrainingError, match="no labelled row is new"):
        _retrain(place, standin, if_needed=False)
    assert len(standin.data.list(DATA)) == 2


def test_rows_without_labels_are_nothing_to_learn_from(
    place: Place, standin: StandIn, trained: Path
) -> None:
    for hours, seed in ((1, 5), (25, 6)):
        collect(place, trained / "model", 2_000, at=NOW - hours * HOUR, seed=seed, shift=1.0)
    done = _retrain(place, standin)
    assert done.decision.reasons and "mlops labels add" in done.decision.held_back
    assert standin.runs == []


def test_rows_of_a_clock_that_is_ahead_are_no_reason_yet(
    place: Place, standin: StandIn, trained: Path
) -> None:
    for hours, seed in ((1, 5), (25, 6)):
        collect(place, trained / "model", 2_000, at=NOW + hours * HOUR, seed=seed, shift=1.0)
    assert not _retrain(place, standin, dry_run=True).decision.reasons
    assert _retrain(place, standin, dry_run=True, now=NOW + 26 * HOUR).decision.reasons


def test_windows_without_traffic_are_no_reason(
    place: Place, standin: StandIn, trained: Path
) -> None:
    # One of the newest three windows has rows of another population; in the others nobody asked.
    collect(place, trained / "model", 2_000, at=NOW - 40 * HOUR, shift=1.0)
    assert _retrain(place, standin).decision.describe() == "no retraining is needed"


def test_rows_like_before_are_no_reason(place: Place, standin: StandIn, trained: Path) -> None:
    collect(place, trained / "model", 2_000)
    assert _retrain(place, standin).decision.describe() == "no retraining is needed"


def test_rows_with_a_column_left_out_cannot_be_learnt_from(
    place: Place, standin: StandIn, moved: pd.DataFrame
) -> None:
    for name in place.names("rows"):
        place.write(name, place.read(name).drop_columns(["ps_car_13"]))
    with pytest.raises(RetrainingError, match="ps_car_13 was not kept"):
        _retrain(place, standin)


def test_rows_outside_the_contract_are_left_out(
    place: Place, standin: StandIn, moved: pd.DataFrame
) -> None:
    name = place.names("rows")[0]
    table = place.read(name).to_pandas()
    table.loc[:9, "ps_reg_01"] = 1.7
    import pyarrow as pa

    place.write(name, pa.Table.from_pandas(table, preserve_index=False))
    done = _retrain(place, standin)
    assert done.data is not None and done.data.rows == 12_000 - 10
