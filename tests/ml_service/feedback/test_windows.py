"""Windows against training data and outcomes over time; their telemetry and their report."""

from __future__ import annotations

from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from insurance_claims import schema
from insurance_claims.drift.features import SCORE
from insurance_claims.monitoring.collected import Place
from ml_service.feedback.events import tell
from ml_service.feedback.labels import with_labels
from ml_service.feedback.report import write_report
from ml_service.feedback.rows import read_all, read_rows
from ml_service.feedback.windows import Outcome, References, WindowReport, judge, outcomes
from ml_service.monitoring.connection import folder_of
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Kind
from tests.ml_service.feedback.collecting import LIMITS, NOW, VERSION, StandIn, collect

HOUR = timedelta(hours=1)
BETWEEN = (NOW - 2 * HOUR, NOW)


def _judged(place: Place, standin: StandIn) -> WindowReport:
    rows = read_rows(place, *BETWEEN).table
    return judge(rows, BETWEEN, References(standin.platform).of(VERSION), LIMITS)


def _outcomes(place: Place, standin: StandIn, labels: pd.DataFrame) -> list[Outcome]:
    rows = with_labels(read_all(place).table, labels)
    return outcomes(rows, References(standin.platform), LIMITS)


def test_rows_like_those_of_training_have_not_drifted(
    place: Place, standin: StandIn, trained: Path
) -> None:
    collect(place, trained / "model", 4_000)
    report = _judged(place, standin)
    assert (report.version, report.data, report.rows) == (VERSION, "claims 1", 4_000)
    assert [item.feature for item in report.features] == [SCORE, *schema.FEATURE_NAMES]
    assert report.drifted == []


def test_another_population_has(place: Place, standin: StandIn, trained: Path) -> None:
    collect(place, trained / "model", 4_000, shift=1.0)
    drifted = {item.feature for item in _judged(place, standin).drifted}
    assert {"ps_reg_02", SCORE} <= drifted


def test_few_rows_are_not_judged(place: Place, standin: StandIn, trained: Path) -> None:
    collect(place, trained / "model", LIMITS.minimum_rows - 1, shift=1.0)
    report = _judged(place, standin)
    assert (report.rows, report.features) == (LIMITS.minimum_rows - 1, ())


def test_features_that_were_not_kept_are_not_judged(
    place: Place, standin: StandIn, trained: Path
) -> None:
    collect(place, trained / "model", 2_000)
    rows = read_rows(place, *BETWEEN).table.drop(columns="ps_ind_01")
    rows.loc[:99, "ps_ind_03"] = float("nan")
    found = judge(rows, BETWEEN, References(standin.platform).of(VERSION), LIMITS).features
    assert len(found) == len(schema.FEATURE_NAMES)
    assert {item.feature for item in found} & {"ps_ind_01", "ps_ind_03"} == {"ps_ind_03"}


def test_performance_is_told_by_version_and_time(
    place: Place, standin: StandIn, trained: Path
) -> None:
    model = trained / "model"
    early = collect(place, model, 3_000, at=NOW - 50 * HOUR, seed=5)
    late = collect(place, model, 12_000, at=NOW - HOUR, seed=6, shift=1.0)
    other = collect(place, model, 1_000, at=NOW - HOUR, seed=7, version=4)
    found = _outcomes(place, standin, pd.concat([early, late, other]))
    assert [(item.version, item.performance.rows) for item in found] == [
        (VERSION, 3_000),
        (VERSION, 12_000),
        (4, 1_000),
    ]
    good, bad = (item.performance.gini for item in found[:2])
    assert good and bad and good.value > 0.15 > bad.value
    assert not found[0].shortfalls and found[1].shortfalls
    assert _outcomes(place, standin, early.iloc[:0]) == []


def test_both_are_sent_as_telemetry(
    place: Place,
    standin: StandIn,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("APPLICATIONINSIGHTS_CONNECTION_STRING", raising=False)
    labels = collect(place, trained / "model", 3_000, shift=1.0)
    report, found = _judged(place, standin), _outcomes(place, standin, labels)
    tell([report], found, LIMITS, tmp_path)
    store = Store(folder_of(tmp_path))
    events = {event.properties["feature"]: event for event in store.events("drift", NOW - HOUR)}
    assert events.keys() == {SCORE, *schema.FEATURE_NAMES}
    region = events["ps_reg_02"]
    assert (region.properties["model_version"], region.properties["drifted"]) == ("3", "true")
    assert region.measurements["psi"] > region.measurements["expected_psi"] > 0
    assert region.measurements["ks"] > region.measurements["expected_ks"] > 0
    assert region.measurements["rows"] == 3_000
    [metric] = store.records(Kind.METRIC, NOW - HOUR, name="drifted_features")
    assert metric.measurements["value"] == len(report.drifted) > 1
    [event] = store.events("performance", NOW - HOUR, where={"model_version": "3"})
    assert event.measurements["claims"] == labels["target"].sum()
    assert event.measurements["gini_low"] < event.measurements["gini"]
    [outcome] = found
    beyond = event.measurements["calibration_limit"] - event.measurements["calibration_by_chance"]
    assert beyond == pytest.approx(LIMITS.calibration_error)
    assert event.measurements["gini_before"] == outcome.gini_before == 0.25
    assert event.measurements["gini_limit"] == pytest.approx(0.25 - LIMITS.gini_loss)


class _Page(HTMLParser):
    """What a page refers to, and what is in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href")
        ]


def test_the_report_is_one_file_with_every_feature(
    place: Place, standin: StandIn, trained: Path, tmp_path: Path
) -> None:
    labels = collect(place, trained / "model", 12_000, seed=6, shift=1.0)
    report = _judged(place, standin)
    file = tmp_path / "drift.html"
    write_report(file, [report], _outcomes(place, standin, labels), NOW)
    text = file.read_text()
    page = _Page(text)
    # Everything that it shows is in it: what is referred to begins with #.
    assert all(address.startswith("#") for address in page.addresses)
    assert page.tags.count("svg") > 1 and "script" not in page.tags
    for item in report.features:
        assert f"<td>{item.feature}</td>" in text
    assert text.count('<tr class="drifted"><td>ps_') == len(
        [item for item in report.drifted if item.feature != SCORE]
    )
    assert "prefers-color-scheme: dark" in text and "when it was registered" in text
