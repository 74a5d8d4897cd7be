"""The dashboard over HTTP: what its panels say of what was sent, and what it refuses."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from insurance_claims.errors import ClaimsError
from insurance_claims.monitoring import wire
from insurance_claims.monitoring.observations import Observations
from ml_service.monitoring.connection import folder_of
from ml_service.monitoring.dashboard.panels import Operations
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Kind
from tests.ml_service.monitoring.conftest import RunningSink
from tests.ml_service.monitoring.dashboard.conftest import LENGTH
from tests.ml_service.monitoring.dashboard.generated import (
    CANARY,
    PRODUCTION,
    event,
    judged,
    observations,
    training,
)

PANELS = (
    *("scoring", "resources", "training", "drift", "performance"),
    *("alerts", "deployments", "rollout"),
)


def get(sink: RunningSink, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """Ask, in the name of any host."""
    connection = http.client.HTTPConnection(urlsplit(sink.connection.endpoint).netloc, timeout=30)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), content


def ask(sink: RunningSink, panel: str, **query: str) -> Any:
    """The content of a panel."""
    status, _, content = get(sink, f"/api/{panel}?{urlencode(query)}")
    assert status == 200, content
    return json.loads(content)


def until(true: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Wait until something is true; says whether it came to be."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _production(sink: RunningSink, name: str) -> Any:
    versions = ask(sink, "scoring", range=name)["versions"]
    totals = versions.get(str(PRODUCTION), {}).get("totals")
    # Sums of floating point numbers depend on their order.
    return totals and {**totals, "score_mean": round(totals["score_mean"], 12)}


def _requests(sink: RunningSink, name: str) -> dict[str, int]:
    versions = ask(sink, "scoring", range=name)["versions"]
    return {number: found["totals"]["requests"] for number, found in versions.items()}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningSink]:
    """A sink of one test, with nothing in it."""
    sink = RunningSink(tmp_path)
    yield sink
    sink.stop()


def test_scoring_says_what_was_sent(shown: RunningSink) -> None:
    found = ask(shown, "scoring", range="1h")
    sent = [
        (int(event.properties[wire.MODEL_VERSION]), wire.decode(event.properties))
        for event in shown.store.events(wire.EVENT, datetime(2020, 1, 1, tzinfo=UTC))
        if event.properties[wire.ENVIRONMENT] == "production"
    ]
    assert list(found["versions"]) == [str(PRODUCTION), str(CANARY)]
    assert found["environments"] == ["production", "staging"]
    for version in (PRODUCTION, CANARY):
        expected = sum((seen for which, seen in sent if which == version), Observations())
        totals = found["versions"][str(version)]["totals"]
        assert totals["requests"] == expected.requests
        assert totals["errors"] == expected.errors
        assert totals["rows"] == expected.score_moments.count
        assert totals["score_mean"] == pytest.approx(expected.score_moments.mean)
        assert len(found["versions"][str(version)]["p95"]) == len(found["times"])
    one, two = (found["versions"][key] for key in found["versions"])
    assert two["totals"]["p95"] > one["totals"]["p95"]
    answered = [pair for pair in zip(one["share"], two["share"], strict=True) if None not in pair]
    assert answered and all(sum(pair) == pytest.approx(100) for pair in answered)


def test_days_are_answered_from_sums_that_follow_the_store(shown: RunningSink) -> None:
    hour = _production(shown, "1h")
    assert hour is not None
    for name in ("24h", "7d"):
        assert until(lambda: _production(shown, name) == hour)


def test_an_environment_can_be_chosen(shown: RunningSink) -> None:
    found = ask(shown, "scoring", range="1h", environment="staging")
    assert found["versions"][str(PRODUCTION)]["totals"]["requests"] == 1
    marks = ask(shown, "deployments", range="1h", environment="staging")["marks"]
    assert [mark["environment"] for mark in marks] == ["staging"]


def test_resources_are_by_process_with_thresholds(shown: RunningSink) -> None:
    found = ask(shown, "resources", range="1h")
    assert found["process_cpu_percent"]["threshold"] == 90
    for metric in found.values():
        assert list(metric["processes"]) == ["4711", "4712"]
        assert metric["threshold"] > max(metric["processes"]["4711"]["values"]) > 0


def test_runs_are_put_together_from_their_steps(shown: RunningSink) -> None:
    newest, failed, oldest = ask(shown, "training", range="1h")["runs"]
    assert [step["name"] for step in newest["steps"]] == [
        "prepare",
        "train",
        "evaluate",
        "register",
    ]
    assert (newest["outcome"], newest["seconds"]) == ("completed", 43)
    assert (oldest["id"], failed["outcome"]) == ("f00d00000001", "failed")
    assert failed["steps"][1]["error"] == "ValidationError: column ps_ind_01 is gone"


def test_a_step_without_an_end_is_running_and_after_a_while_it_is_not(own: RunningSink) -> None:
    now = datetime.now(UTC)
    for run, ago in (("young", 1), ("old", 100)):
        own.store.add([*training(now - timedelta(minutes=ago), run)][:3])
    runs = ask(own, "training", range="24h")["runs"]
    assert [(run["id"], run["outcome"]) for run in runs] == [
        ("young", "running"),
        ("old", "no end"),
    ]


def test_drift_is_the_newest_of_each_feature_largest_first(own: RunningSink) -> None:
    now = datetime.now(UTC)
    for ago, psi in ((3, 0.9), (2, 0.02)):
        figures = {"psi": psi, "ks": 0.1, "expected_psi": 0.01}
        moment = now - timedelta(days=ago)
        own.store.add([event(moment, "drift", figures, feature="a", model_version="3")])
    figures = {"psi": 0.4, "ks": 0.1, "expected": 0.01}
    own.store.add([event(now, "drift", figures, feature="b", model_version="3")])
    found = ask(own, "drift", range="15m")["versions"]["3"]
    assert [(row["feature"], row["psi"], row["expected"]) for row in found] == [
        ("b", 0.4, 0.01),
        ("a", 0.02, 0.01),
    ]


def test_performance_is_what_was_said_last_of_each_stretch(own: RunningSink) -> None:
    now = datetime.now(UTC)
    hour, day = timedelta(hours=1), timedelta(days=1)
    own.store.add(
        [
            # Judged once, and then again in stretches that begin elsewhere; what was long ago was not judged again.
            judged(now - day, 3, now - 90 * day, now - 89 * day, 0.25),
            judged(now - day, 3, now - 9 * hour, now - 5 * hour, 0.20),
            judged(now - day, 3, now - 5 * hour, now - 4 * hour, 0.21),
            judged(now - hour, 3, now - 9 * hour, now - 7 * hour, 0.22),
            judged(now - hour, 3, now - 6 * hour, now - 4 * hour, 0.23),
            # A single request takes no time.
            judged(now - day, 4, now - hour, now - hour, 0.26),
            judged(now - hour, 4, now - hour, now - hour, 0.27),
            event(now, "performance", {"gini": 0.9}, model_version="3", since="yesterday"),
        ]
    )
    found = ask(own, "performance", range="15m")["versions"]
    assert [row["gini"] for row in found["3"]] == [0.25, 0.22, 0.23]
    assert [row["gini"] for row in found["4"]] == [0.27]
    newest = found["3"][-1]
    assert newest["until"] - newest["since"] == 2 * 3.6e6
    assert (newest["gini_before"], newest["rows"], newest["gini_low"]) == (
        0.27,
        12_000,
        0.23 - 0.05,
    )


def test_alerts_that_were_resolved_do_not_stand(shown: RunningSink) -> None:
    found = ask(shown, "alerts", range="15m")
    assert [(row["name"], row["key"]) for row in found["fired"]] == [("drift", "ps_car_13")]
    assert [row["state"] for row in found["rows"]] == ["fired", "resolved", "fired"]


def test_deployments_are_those_of_the_audit_log_and_those_that_were_sent(own: RunningSink) -> None:
    now = datetime.now(UTC)
    own.store.add([event(now, "deployment", environment="staging", model_version="9")])
    [mark] = ask(own, "deployments", range="1h")["marks"]
    assert (mark["environment"], mark["version"], mark["what"]) == ("staging", "9", "deployment")


def test_deployments_and_the_rollout_of_the_platform_are_shown(shown: RunningSink) -> None:
    whats = [(m["what"], m["version"]) for m in ask(shown, "deployments", range="1h")["marks"]]
    assert sorted(whats) == [("deployed", "3"), ("deployed", "4"), ("rollout begun", "4")]
    assert ask(shown, "deployments", range="15m")["marks"] == []
    [rollout] = ask(shown, "rollout")["rollouts"]
    assert [figure["name"] for figure in rollout["figures"]] == ["requests", "latency p95 ratio"]


def test_a_platform_that_cannot_be_asked_is_said_and_the_rest_answers(tmp_path: Path) -> None:
    def fail() -> list[Any]:
        raise ClaimsError("the audit log cannot be read")

    sink = RunningSink(tmp_path, operations=Operations(fail, fail))
    try:
        for panel in ("deployments", "rollout"):
            status, _, content = get(sink, f"/api/{panel}")
            assert (status, json.loads(content)) == (503, {"error": "the audit log cannot be read"})
        assert ask(sink, "scoring")["versions"] == {}
    finally:
        sink.stop()


def test_without_telemetry_every_panel_is_empty(own: RunningSink) -> None:
    found = {panel: ask(own, panel, range="7d") for panel in PANELS}
    assert found["scoring"]["versions"] == {} and len(found["scoring"]["times"]) > 300
    assert found["resources"]["process_memory_mb"]["processes"] == {}
    assert found["training"] == {"runs": []}
    assert found["drift"] == {"versions": {}}
    assert found["performance"] == {"versions": {}}
    assert found["alerts"] == {"fired": [], "rows": []}
    assert found["deployments"] == {"marks": []}
    assert found["rollout"] == {"rollouts": []}


def test_events_of_the_future_are_left_out_and_said(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ahead = now + timedelta(hours=5)
    seen = Observations.of([1.0], [0.1])
    Store(folder_of(tmp_path)).add(
        [observations(now - timedelta(minutes=1), 1, seen), observations(ahead, 2, seen)]
    )
    own = RunningSink(tmp_path)
    assert list(ask(own, "scoring", range="1h")["versions"]) == ["1"]
    later = (ahead + timedelta(minutes=1)).isoformat()

    def seen_later() -> bool:
        return list(ask(own, "scoring", since=now.isoformat(), until=later)["versions"]) == ["2"]

    # What is asked for days is added up every few seconds.
    assert until(seen_later)
    assert abs(ask(own, "status")["ahead"] / 1000 - ahead.timestamp()) <= 60
    own.stop()


def test_two_monitors_of_one_state_say_the_same(own: RunningSink) -> None:
    moment = datetime.now(UTC) - timedelta(minutes=5)
    seen = Observations.of([4.0] * 9, [0.03] * 9)
    own.store.add([observations(moment, version, seen) for version in (PRODUCTION, CANARY)])
    other = RunningSink(own.home)
    try:
        assert other.connection.key == own.connection.key
        for sink in (own, other):
            for name in ("1h", "24h"):
                # Both add up to the same sums: each event once.
                assert until(lambda: _requests(sink, name) == {"3": 9, "4": 9})
        own.store.add([observations(moment, PRODUCTION, seen)])
        for sink in (own, other):
            assert until(lambda: _requests(sink, "24h") == {"3": 18, "4": 9})
    finally:
        other.stop()


@pytest.mark.parametrize("query", ["range=1y", "since=2026-01-01", "since=b&until=a"])
def test_a_time_that_cannot_be_shown_is_refused_with_a_reason(
    shown: RunningSink, query: str
) -> None:
    status, _, content = get(shown, f"/api/scoring?{query}")
    assert status == 400 and json.loads(content)["error"]


@pytest.mark.parametrize("path", ["/api/nothing", "/static/nothing.js", "/static/..%2fweb.py"])
def test_what_there_is_not_is_not_found(shown: RunningSink, path: str) -> None:
    assert get(shown, path)[0] == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8600", "[::1", "", "10.0.0.1"]
)
def test_a_name_that_dns_may_have_pointed_here_is_refused(shown: RunningSink, host: str) -> None:
    for path in ("/", "/static/main.js", "/api/scoring", "/api/status"):
        status, _, content = get(shown, path, host or "_")
        assert status in (400, 421) and b"version" not in content


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9999", "localhost:80", "[::1]:80"])
def test_this_machine_is_answered_by_each_of_its_names(shown: RunningSink, host: str) -> None:
    assert get(shown, "/api/status", host)[0] == 200


def test_no_other_origin_is_let_in_and_no_script_from_elsewhere(shown: RunningSink) -> None:
    for path in ("/", "/static/main.js", "/static/plotly.min.js", "/api/scoring"):
        status, headers, _ = get(shown, path)
        assert status == 200, path
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Content-Security-Policy"].startswith("default-src 'self';")


def test_the_key_of_the_sink_is_nowhere_on_the_page(shown: RunningSink) -> None:
    paths = ["/", "/static/main.js", *(f"/api/{panel}" for panel in (*PANELS, "status"))]
    assert all(shown.connection.key.encode() not in get(shown, path)[2] for path in paths)


def test_looking_changes_nothing(shown: RunningSink) -> None:
    before = len(list(shown.store.records(Kind.EVENT, datetime.now(UTC) - 2 * LENGTH)))
    for panel in PANELS:
        ask(shown, panel)
    assert len(list(shown.store.records(Kind.EVENT, datetime.now(UTC) - 2 * LENGTH))) == before
