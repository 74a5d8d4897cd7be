"""What the real scoring server sends, from several workers, and that a sink that hangs costs no request."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lightgbm as lgb
import numpy as np
import psutil
import pytest

from insurance_claims import schema, telemetry
from insurance_claims.model import save_model
from insurance_claims.monitoring import collection, wire
from insurance_claims.monitoring.collected import open_place
from insurance_claims.monitoring.observations import Observations
from insurance_claims.monitoring.spool import spools
from ml_service.platforms.local.serving_command import HOST, server_command
from tests.insurance_claims.ingestion_server import Ingestion

ROW = [column.minimum for column in schema.FEATURES]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ENTRY = """
from insurance_claims.scoring import score
from insurance_claims.scoring.scorer import Scorer

sound = Scorer.score

def failing(self, body, request_id):
    if b"please fail" in body:
        raise KeyError("a row of somebody")
    return sound(self, body, request_id)

Scorer.score = failing
init, run = score.init, score.run
"""


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: claims, version 7."""
    generator = np.random.default_rng(7)
    rows = np.column_stack([generator.uniform(c.minimum, c.maximum, 300) for c in schema.FEATURES])
    data = lgb.Dataset(rows, (rows[:, 0] > 3).astype(float))
    booster = lgb.train({"objective": "binary", "num_threads": 1, "verbose": -1}, data, 5)
    folder = tmp_path_factory.mktemp("models") / "claims" / "7"
    folder.mkdir(parents=True)
    save_model(folder, booster.model_to_string(), {})
    return folder


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    """An endpoint that takes everything."""
    server = Ingestion()
    yield server
    server.stop()


@contextmanager
def _serving(model_dir: Path, folder: Path, text: str, workers: int) -> Iterator[int]:
    """The port of a server, which has ended by itself after the block."""
    entry = folder / "entry.py"
    entry.write_text(ENTRY)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    argv, environment = server_command(model_dir, port, workers=workers, entry_script=entry)
    # Nothing is sent before the end.
    own = {
        telemetry.CONNECTION: text,
        "MLOPS_ENVIRONMENT": "staging",
        "MLOPS_TELEMETRY_SECONDS": "3600",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            argv,
            env={**os.environ, **environment, **own},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(process, port, folder / "log")
        yield port
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "log").read_text()
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            if _call(port, None, "GET", "/")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def _wait_for(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def _call(
    port: int, body: bytes | None, method: str = "POST", path: str = "/score", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read()
    finally:
        connection.close()


def _body(rows: int) -> bytes:
    return json.dumps({"data": [ROW] * rows}).encode()


def test_every_request_is_counted_by_the_end_whichever_worker_had_it(
    ingestion: Ingestion, model_dir: Path, tmp_path: Path
) -> None:
    scores: list[float] = []
    with _serving(model_dir, tmp_path, ingestion.text, 2) as port:
        for number in range(40):
            status, _, content = _call(port, _body(1 + number % 2))
            assert status == 200
            scores += json.loads(content)["result"]
        assert _call(port, b"not JSON")[0] == 400
        assert _call(port, json.dumps({"data": [ROW[:-1]]}).encode())[0] == 400
        traceparent = f"00-{TRACE}-00f067aa0ba902b7-01"
        status, headers, _ = _call(port, b"please fail", traceparent=traceparent)
        assert status == 500
        status, headers, _ = _call(port, _body(1), traceparent=traceparent)
        assert headers["traceparent"].startswith(f"00-{TRACE}-")
        assert headers["traceparent"] != traceparent
        assert "traceparent" not in _call(port, _body(1), traceparent="nonsense")[1]
        scores += scores[:1] * 2
    events = ingestion.events(wire.EVENT)
    total = sum((wire.decode(event["properties"]) for event in events), Observations())
    direct = Observations.of([], scores)
    assert (total.requests, total.errors) == (45, 1)
    assert (total.scores, total.score_moments) == (direct.scores, direct.score_moments)
    assert total.latencies.total == 44
    # One event a worker that had requests.
    assert 1 <= len({event["properties"]["process"] for event in events}) == len(events) <= 2
    for event in events:
        properties = event["properties"]
        assert (properties["environment"], properties[wire.MODEL_VERSION]) == ("staging", "7")
    refused = [json.loads(event["properties"]["refused"]) for event in events]
    assert sum(found.get("body", 0) for found in refused) == 1
    assert sum(found.get("row", 0) for found in refused) == 1
    [exception] = ingestion.content("Exception")
    assert exception["properties"]["trace_id"] == TRACE
    assert exception["exceptions"][0]["typeName"] == "KeyError"
    assert "somebody" not in json.dumps(exception)


def test_a_sink_that_hangs_costs_no_request_no_row_and_lets_the_server_end(
    ingestion: Ingestion, model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingestion.hanging.set()
    monkeypatch.setenv(collection.LOCATION, str(tmp_path / "collected"))
    monkeypatch.setenv(collection.SECONDS, "3600")
    with _serving(model_dir, tmp_path, ingestion.text, 1) as port:
        # A bug is sent at once: a worker's sending thread waits for the sink from then on.
        assert _call(port, b"please fail")[0] == 500
        assert [_call(port, _body(1))[0] for _ in range(40)] == [200] * 40
    assert ingestion.requests >= 1 and not ingestion.envelopes
    place = open_place(str(tmp_path / "collected"))
    [name] = place.names("rows")
    rows = place.read(name)
    assert (rows.num_rows, set(rows["model_version"].to_pylist())) == (40, {7})
    assert len(set(rows["request_id"].to_pylist())) == 40


def test_a_worker_that_is_killed_loses_no_row_that_was_put_aside(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(collection.LOCATION, str(tmp_path / "collected"))
    monkeypatch.setenv(collection.SECONDS, "3600")
    place, folder = open_place(str(tmp_path / "collected")), tmp_path / "collected" / ".spool"
    with _serving(model_dir, tmp_path, "", 1) as port:
        answered = [_call(port, _body(2))[1]["x-ms-request-id"] for _ in range(30)]
        last = answered[-1].encode()
        _wait_for(lambda: any(last in path.read_bytes() for path in spools(folder)))
        assert not place.names("rows")
        [server] = [p for p in psutil.Process().children() if f"{HOST}:{port}" in p.cmdline()]
        [worker] = server.children()
        worker.kill()
        # The server replaces the worker, and the new one makes a file of what it finds.
        _wait_for(lambda: place.names("rows"))
        [name] = place.names("rows")
        rows = place.read(name)
        assert sorted(rows["request_id"].to_pylist()) == sorted([*answered, *answered])
        assert _call(port, _body(1))[0] == 200
