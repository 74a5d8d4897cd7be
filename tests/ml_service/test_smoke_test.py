"""The smoke test against the real server, and against servers that each break one promise."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from insurance_claims import schema
from ml_service.platforms.base import Endpoint
from ml_service.platforms.local.endpoints import LocalEndpoints
from ml_service.platforms.local.probe import free_port
from ml_service.smoke_test import (
    Golden,
    SmokeReport,
    SmokeTestError,
    bad_requests,
    example_rows,
    load_golden,
    smoke_test,
)

KEY = "the-key-of-these-tests"
NAMES = schema.FEATURE_NAMES


@pytest.fixture(scope="module")
def served(shared_endpoints: LocalEndpoints) -> Endpoint:
    return shared_endpoints.deploy("staging", 1, print)


def test_the_real_server_passes(served: Endpoint, models: Path) -> None:
    golden = load_golden(models / "1" / "golden.json")
    said: list[str] = []
    report = smoke_test(served.url, served.key, golden, 1, said.append, latency_requests=50)
    assert report.ok, report.describe()
    assert report.latency is not None and report.latency.requests == 50
    assert 0 < report.latency.p50_ms <= report.latency.p95_ms <= report.latency.p99_ms
    assert f"all {len(report.checks)} checks passed" in report.describe()
    assert served.key not in report.describe() + "".join(said)


def test_the_real_server_with_the_wrong_expectations(served: Endpoint, models: Path) -> None:
    golden = load_golden(models / "2" / "golden.json")
    report = smoke_test(served.url, served.key, golden, 2, print, latency_requests=2)
    assert failed(report) == {"golden predictions", "model version"}


def failed(report: SmokeReport) -> set[str]:
    return {check.name for check in report.checks if not check.passed}


class Promises:
    """A small server that keeps every promise, unless ``breaks`` names one."""

    def __init__(self, breaks: str) -> None:
        self.breaks = breaks
        self.stopped = threading.Event()
        self.requests = 0

    def answer(self, body: bytes, authorization: str) -> tuple[int, bytes]:
        self.requests += 1
        if self.breaks == "hangs":
            self.stopped.wait(60)
        if self.breaks == "starts late" and self.requests < 3:
            return 503, b"not yet"
        if self.breaks == "repeats the key":
            return 418, authorization.encode()
        if self.breaks != "authentication" and authorization != f"Bearer {KEY}":
            return 401, b'{"error": {"message": "who are you?"}}'
        try:
            rows = self._rows(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            content = {"error": {"message": f"wrong: {error}"}}
            if self.breaks == "reason":
                content = {"error": {"message": ""}}
            status = {"bad requests": 500, "accepts": 200}.get(self.breaks, 400)
            return status, json.dumps(content).encode()
        scores = [self._score(row) for row in rows]
        if self.breaks == "shape":
            scores = scores[:1]
        version = 8 if self.breaks == "version" else 7
        answer = {"result": scores, "model": {"name": "claims", "version": version}}
        return 200, json.dumps(answer).encode()

    def _score(self, row: list[float]) -> float:
        score = (sum(value * (1 + number % 7) for number, value in enumerate(row)) % 97) / 97
        shift = {"shifted": 1e-6, "NaN": float("nan"), "range": 5.0}.get(self.breaks, 0.0)
        return score + shift

    def _rows(self, body: bytes) -> list[list[float]]:
        def refuse(literal: str) -> float:
            raise ValueError(literal)

        data = json.loads(body, parse_constant=refuse)["data"]
        if not isinstance(data, list) or not data:
            raise ValueError("data")
        if isinstance(data[0], dict):
            if any(set(row) != set(NAMES) for row in data):
                raise ValueError("names")
            in_order = self.breaks != "forms"
            data = [[row[name] for name in (NAMES if in_order else row)] for row in data]
        for row in data:
            if len(row) != len(NAMES) or any(type(value) not in (int, float) for value in row):
                raise ValueError("row")
        return data


@contextmanager
def serving(promises: Promises) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(404 if promises.breaks == "health" else 200, b"Healthy")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if promises.breaks == "redirects":
                self._send(302, b"", "http://127.0.0.1:1/score")
            else:
                self._send(*promises.answer(body, self.headers.get("Authorization", "")))

        def _send(self, status: int, body: bytes, location: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            # Whoever asked may have given up.
            with suppress(OSError):
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/score"
    finally:
        promises.stopped.set()
        server.shutdown()
        server.server_close()


def run(breaks: str, **options: Any) -> SmokeReport:
    rows = example_rows(5)
    golden = Golden(rows, [Promises("")._score(row) for row in rows])
    with serving(Promises(breaks)) as url:
        return smoke_test(url, KEY, golden, 7, print, latency_requests=5, **options)


REFUSALS = {f"refuses {name}" for name in bad_requests()}


@pytest.mark.parametrize(
    ("breaks", "expected"),
    [
        ("", set()),
        ("starts late", set()),
        ("shifted", {"golden predictions"}),
        ("NaN", {"shape", "request by name", "golden predictions", "model version"}),
        ("range", {"shape", "golden predictions"}),
        ("shape", {"shape", "golden predictions"}),
        ("bad requests", REFUSALS),
        ("accepts", REFUSALS),
        ("reason", REFUSALS),
        ("authentication", {"no key", "wrong key"}),
        ("version", {"model version"}),
        ("health", {"health"}),
        ("forms", {"request by name"}),
    ],
)
def test_each_broken_promise_is_found(breaks: str, expected: set[str]) -> None:
    report = run(breaks)
    assert failed(report) == expected, report.describe()
    assert report.ok is not bool(expected)


def test_a_server_that_hangs_is_given_up() -> None:
    began = time.monotonic()
    report = run("hangs", timeout_s=0.3, start_timeout_s=1.0)
    # Far below the minute that the server would take for a single request.
    assert time.monotonic() - began < 20
    assert not report.ok and report.latency is None
    assert "no answer in time; tried for 1 s" in report.describe()
    assert failed(report) == {check.name for check in report.checks}


def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}/score"
    report = smoke_test(url, KEY, None, None, print, start_timeout_s=0.2)
    assert not report.ok
    assert "no answer" in report.describe()


@pytest.mark.parametrize("breaks", ["redirects", "repeats the key"])
def test_the_key_stays_here(breaks: str) -> None:
    report = run(breaks)
    assert not report.ok
    assert KEY not in report.describe() + repr(report)


@pytest.mark.parametrize("url", ["", "localhost:5001/score", "ftp://host/score", "http:///score"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(SmokeTestError, match="address"):
        smoke_test(url, KEY, None, None, print)


def test_example_rows_are_legal_and_differ() -> None:
    rows = example_rows(40)
    for row in rows:
        for value, column in zip(row, schema.FEATURES, strict=True):
            assert column.lower <= value <= column.upper
            assert not column.is_integer or value == int(value)
    assert len({tuple(row) for row in rows[:7]}) == 7


def _golden(change: Callable[[dict[str, Any]], object]) -> str:
    content: dict[str, Any] = {"rows": example_rows(2), "scores": [0.1, 0.2]}
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        ("{", "not JSON"),
        ("[]", "golden"),
        (_golden(lambda content: content.pop("rows")), "'rows' is missing"),
        (_golden(lambda content: content["scores"].pop()), "2 rows, 1 scores"),
        (_golden(lambda content: content["rows"][1].pop()), "row 1"),
        (_golden(lambda content: content["rows"][0].__setitem__(3, "x")), "row 0"),
        (_golden(lambda content: content["scores"].__setitem__(0, None)), "score"),
        (_golden(lambda content: content.update(rows=[], scores=[])), "0 rows"),
    ],
)
def test_golden_files_that_are_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "golden.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SmokeTestError, match=re.escape(reason)):
        load_golden(file)
