"""What is emitted, and that an endpoint that is down, hangs or fails holds nothing up."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from insurance_claims import telemetry
from insurance_claims.errors import ClaimsError
from insurance_claims.telemetry import Connection, Emitter, LogHandler, TelemetrySettingError
from tests.insurance_claims.ingestion_server import KEY, Ingestion

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    """An endpoint that takes everything."""
    server = Ingestion()
    yield server
    server.stop()


def _emitter(server: Ingestion, **environ: str) -> Emitter:
    return Emitter(Connection.parse(server.text), "training", environ)


def test_everything_carries_the_ids_of_build_run_step_and_trace(ingestion: Ingestion) -> None:
    emitter = _emitter(
        ingestion,
        BUILD_BUILDID="20261121.4",
        MLOPS_PIPELINE_RUN_ID="run-1",
        MLFLOW_RUN_ID="step-1",
        MLOPS_ENVIRONMENT="staging",
        TRACEPARENT=f"00-{'a' * 32}-{'b' * 16}-01",
    )
    emitter.event("one", {"own": "1"})
    emitter.metric("two", 2.0)
    emitter.message("three")
    emitter.exception(ValueError("four"))
    assert emitter.flush(20)
    assert len(ingestion.envelopes) == 4
    for envelope in ingestion.envelopes:
        properties = envelope["data"]["baseData"]["properties"]
        assert properties["build_id"] == "20261121.4"
        assert properties["pipeline_run_id"] == "run-1"
        assert properties["step_run_id"] == "step-1"
        assert properties["environment"] == "staging"
        assert properties["trace_id"] == "a" * 32
        assert properties["process"] == str(os.getpid())
        assert envelope["tags"]["ai.operation.id"] == "a" * 32
        assert envelope["iKey"] == KEY
    ids = {e["data"]["baseData"]["properties"][telemetry.ITEM_ID] for e in ingestion.envelopes}
    assert len(ids) == 4


def test_nothing_is_sent_or_imported_where_no_connection_is_set() -> None:
    assert telemetry.emitter("training", {}) is None
    program = (
        "import sys, insurance_claims.step, insurance_claims.telemetry as t, threading;"
        "assert t.emitter('training', {}) is None;"
        "assert threading.active_count() == 1;"
        "assert not [m for m in sys.modules if m.startswith(('opencensus', 'azure'))]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        f"InstrumentationKey={KEY}",
        "InstrumentationKey=secret;IngestionEndpoint=http://127.0.0.1:1/",
        f"InstrumentationKey={KEY};IngestionEndpoint=ftp://127.0.0.1/",
    ],
)
def test_a_connection_string_that_cannot_be_used_is_refused_without_repeating_it(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TelemetrySettingError) as refused:
        Connection.parse(text)
    assert text not in str(refused.value)
    # Work goes on without telemetry.
    assert telemetry.emitter("training", {telemetry.CONNECTION: text}) is None
    assert "no telemetry is sent" in caplog.text and "secret" not in caplog.text


def test_a_connection_string_of_azure_is_read_and_written(ingestion: Ingestion) -> None:
    text = (
        f"InstrumentationKey={KEY.upper()};IngestionEndpoint=https://westeurope-5.in.example.com/;"
        "LiveEndpoint=https://live.example.com/;ApplicationId=1;"
    )
    connection = Connection.parse(text)
    assert connection.endpoint == "https://westeurope-5.in.example.com"
    assert Connection.parse(connection.text) == connection
    assert KEY not in repr(connection)


def test_secrets_are_hidden_and_a_bugs_message_is_kept_back(
    ingestion: Ingestion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SP_APP_SECRET", "hush-hush-hush")
    emitter = _emitter(ingestion)
    emitter.message("login with hush-hush-hush failed")
    emitter.exception(ClaimsError("no access with hush-hush-hush"))
    emitter.exception(ValueError("row [1, 2, 3] is bad"), with_message=False)
    emitter.exception(ClaimsError("the model is gone"), with_message=False)
    assert emitter.flush(20)
    [message] = ingestion.content("Message")
    assert message["message"] == "login with [hidden] failed"
    shown = [found["exceptions"][0]["message"] for found in ingestion.content("Exception")]
    assert shown == ["no access with [hidden]", "ValueError", "the model is gone"]


def test_a_log_is_sent_from_warnings_on(ingestion: Ingestion) -> None:
    emitter = _emitter(ingestion)
    log = logging.getLogger("claims.test")
    handler = LogHandler(emitter)
    log.addHandler(handler)
    log.info("not this")
    log.warning("rows are missing: %d", 3)
    log.removeHandler(handler)
    assert emitter.flush(20)
    [message] = ingestion.content("Message")
    assert (message["message"], message["severityLevel"]) == ("rows are missing: 3", 2)
    assert message["properties"]["logger"] == "claims.test"


@pytest.mark.parametrize("status", [500, 503, 429])
def test_what_was_not_taken_is_sent_again(ingestion: Ingestion, status: int) -> None:
    emitter = _emitter(ingestion)
    ingestion.status = status
    emitter.event("kept")
    assert not emitter.flush(20)
    ingestion.status = 200
    assert emitter.flush(20)
    assert len(ingestion.events("kept")) == 1
    assert emitter.dropped == 0


def test_what_is_refused_for_good_is_not_sent_again(ingestion: Ingestion) -> None:
    emitter = _emitter(ingestion)
    ingestion.status = 400
    emitter.event("bad")
    assert emitter.flush(20)
    assert ingestion.requests == 1


def test_a_slow_endpoint_gets_everything(ingestion: Ingestion) -> None:
    emitter = _emitter(ingestion)
    ingestion.delay = 0.2
    for number in range(500):
        emitter.event("slow", {"number": str(number)})
    assert emitter.flush(20)
    assert len(ingestion.events("slow")) == 500


def test_a_hanging_endpoint_costs_a_bounded_queue_and_drops_are_counted(
    ingestion: Ingestion,
) -> None:
    emitter = _emitter(ingestion)
    ingestion.hanging.set()
    for number in range(10_000):
        emitter.event("many", {"number": str(number)})
    assert not emitter.flush(0.1)
    # The queue, and a batch that is on its way.
    assert 10_000 - 4096 - 200 <= emitter.dropped <= 10_000 - 4096


EXIT = """
import sys
from insurance_claims import telemetry
emitter = telemetry.emitter("training")
for _ in range(300):
    emitter.event("last words")
print("done", flush=True)
"""


@pytest.mark.parametrize("state", ["well", "down", "hanging", "failing"])
def test_a_process_ends_whatever_the_endpoint_does(
    ingestion: Ingestion, state: str, tmp_path: Path
) -> None:
    if state == "hanging":
        ingestion.hanging.set()
    elif state == "failing":
        ingestion.status = 500
    elif state == "down":
        ingestion.stop()
    environment = {**os.environ, "TMPDIR": str(tmp_path), telemetry.CONNECTION: ingestion.text}
    # Shorter than the time limit of one request, which a hanging endpoint uses up.
    limit = telemetry.EXIT_SECONDS + telemetry._SEND_SECONDS / 2
    program = "import time\n" + EXIT + "began = time.monotonic()\n"
    program += "import atexit; atexit._run_exitfuncs()\n"
    program += f"assert time.monotonic() - began < {limit}"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
    assert len(ingestion.events("last words")) == (300 if state == "well" else 0)
    # Nothing is put aside on the disk.
    assert list(tmp_path.iterdir()) == []


def test_a_forked_process_sends_its_own_and_not_what_waited_before(ingestion: Ingestion) -> None:
    emitter = _emitter(ingestion)
    ingestion.hanging.set()
    emitter.event("on its way")
    while ingestion.requests == 0:
        time.sleep(0.01)
    ingestion.hanging.clear()
    emitter.event("waiting")
    child = os.fork()
    if child == 0:
        emitter.event("child")
        os._exit(0 if emitter.flush(20) else 1)
    assert os.waitpid(child, 0)[1] == 0
    [event] = ingestion.content("Event")
    assert (event["name"], event["properties"]["process"]) == ("child", str(child))
    ingestion.go_on.set()
    assert emitter.flush(20)
    assert len(ingestion.events("on its way")) == len(ingestion.events("waiting")) == 1
