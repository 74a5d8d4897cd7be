"""What a scoring worker counts and sends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import pytest

from insurance_claims.monitoring import wire
from insurance_claims.monitoring.observations import Observations
from insurance_claims.monitoring.recorder import Recorder, interval, reason
from insurance_claims.scoring.request import RequestError
from insurance_claims.telemetry import Connection, Emitter, TelemetrySettingError
from tests.insurance_claims.ingestion_server import Ingestion


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    """An endpoint that takes everything."""
    server = Ingestion()
    yield server
    server.stop()


@pytest.fixture
def emitter(ingestion: Ingestion) -> Emitter:
    """Sends to it."""
    environ = {"MLOPS_ENVIRONMENT": "production"}
    return Emitter(Connection.parse(ingestion.text), "scoring", environ)


@pytest.fixture
def recorder(emitter: Emitter) -> Recorder:
    """Sends when it is told to."""
    return Recorder(emitter, ("claims", 3), 3600)


def test_requests_scores_refusals_and_bugs_are_counted(
    ingestion: Ingestion, emitter: Emitter, recorder: Recorder
) -> None:
    many = [number / 1000 for number in range(1000)]
    began = perf_counter()
    recorder.answered(began, [0.25])
    recorder.answered(began - 1, [0.5, 0.75])
    recorder.answered(began, np.array(many))
    recorder.refused(began, RequestError("no", row=0, column="ps_ind_01"))
    recorder.refused(began, RequestError("no", status=413))
    recorder.failed(began, ValueError("row [1, 2]"), "request-1", None)
    recorder.send()
    assert emitter.flush(20)
    [event] = ingestion.events(wire.EVENT)
    found = wire.decode(event["properties"])
    assert (found.requests, found.errors) == (6, 1)
    expected = Observations.of([1.0], [0.25, 0.5, 0.75, *many])
    assert (found.scores, found.score_moments) == (expected.scores, expected.score_moments)
    assert found.latencies.total == 5
    assert Observations.of([1000.0], []).latencies.counts.keys() & found.latencies.counts.keys()
    properties = event["properties"]
    assert (properties["environment"], properties["model_name"]) == ("production", "claims")
    assert properties[wire.MODEL_VERSION] == "3"
    assert properties["process"] == str(os.getpid())
    assert json.loads(properties["statuses"]) == {"200": 3, "400": 1, "413": 1, "500": 1}
    assert json.loads(properties["refused"]) == {"column ps_ind_01": 1, "size": 1}
    assert properties[wire.START] < properties[wire.END]
    assert event["measurements"]["rows"] == 1003
    metrics = {
        m["metrics"][0]["name"]: m["metrics"][0]["value"] for m in ingestion.content("Metric")
    }
    assert (metrics["requests"], metrics["errors"]) == (6, 1)
    assert metrics["score_mean"] == pytest.approx(expected.score_moments.mean)
    assert metrics["process_memory_mb"] > 1 and metrics["process_cpu_percent"] >= 0


def test_windows_follow_each_other_and_add_up(
    ingestion: Ingestion, emitter: Emitter, recorder: Recorder
) -> None:
    for scores in ((0.1,), (0.2, 0.3), (), (0.4,)):
        if scores:
            recorder.answered(perf_counter(), scores)
        recorder.send()
    assert emitter.flush(20)
    events = ingestion.events(wire.EVENT)
    # A stretch without requests has no event.
    assert len(events) == 3
    total = sum((wire.decode(event["properties"]) for event in events), Observations())
    assert total.score_moments == Observations.of([], [0.1, 0.2, 0.3, 0.4]).score_moments
    for earlier, later in zip(events, events[1:], strict=False):
        assert earlier["properties"][wire.END] <= later["properties"][wire.START]


def test_an_answer_with_a_score_that_cannot_be_is_an_error(
    ingestion: Ingestion, emitter: Emitter, recorder: Recorder
) -> None:
    recorder.answered(perf_counter(), [0.5, 1.5])
    recorder.send()
    assert emitter.flush(20)
    [event] = ingestion.events(wire.EVENT)
    assert wire.decode(event["properties"]) == Observations.of([], [], errors=1)


def test_bugs_are_sent_without_what_was_in_the_request_and_not_without_end(
    ingestion: Ingestion, emitter: Emitter, recorder: Recorder
) -> None:
    for number in range(50):
        recorder.failed(perf_counter(), ValueError("row [1, 2]"), f"request-{number}", None)
    recorder.send()
    recorder.failed(perf_counter(), ValueError("later"), "request-50", None)
    recorder.send()
    assert emitter.flush(20)
    exceptions = ingestion.content("Exception")
    assert len(exceptions) == 11
    assert exceptions[0]["properties"]["request_id"] == "request-0"
    assert exceptions[0]["properties"][wire.MODEL_VERSION] == "3"
    assert "row" not in json.dumps([found["exceptions"] for found in exceptions])
    first, second = (wire.decode(e["properties"]) for e in ingestion.events(wire.EVENT))
    assert (first.errors, second.errors) == (50, 1)


def test_a_forked_worker_counts_for_itself(
    ingestion: Ingestion, emitter: Emitter, recorder: Recorder
) -> None:
    recorder.answered(perf_counter(), [0.1])
    child = os.fork()
    if child == 0:
        recorder.answered(perf_counter(), [0.2, 0.3])
        recorder.send()
        os._exit(0 if emitter.flush(20) else 1)
    assert os.waitpid(child, 0)[1] == 0
    recorder.send()
    assert emitter.flush(20)
    rows = {
        event["properties"]["process"]: event["measurements"]["rows"]
        for event in ingestion.events(wire.EVENT)
    }
    assert rows == {str(child): 2, str(os.getpid()): 1}


def test_events_come_by_themselves(ingestion: Ingestion, emitter: Emitter) -> None:
    recorder = Recorder(emitter, ("claims", 3), 0.05)
    recorder.answered(perf_counter(), [0.1])
    began = perf_counter()
    while not ingestion.events(wire.EVENT):
        assert perf_counter() - began < 30


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RequestError("no", status=405), "method"),
        (RequestError("no", status=413), "size"),
        (RequestError("not JSON"), "body"),
        (RequestError("56 values", row=4), "row"),
        (RequestError("99", row=4, column="ps_car_13"), "column ps_car_13"),
        (RequestError("no such feature", row=0, column="Anna Smith"), "unknown column"),
    ],
)
def test_reasons_hold_nothing_of_what_was_sent(error: RequestError, expected: str) -> None:
    assert reason(error) == expected


def test_the_interval_is_five_seconds_or_what_is_set() -> None:
    assert interval({}) == 5
    assert interval({"MLOPS_TELEMETRY_SECONDS": "0.5"}) == 0.5


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "1e9"])
def test_an_interval_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(TelemetrySettingError, match="MLOPS_TELEMETRY_SECONDS"):
        interval({"MLOPS_TELEMETRY_SECONDS": text})
