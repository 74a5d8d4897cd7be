"""score.py in the real inference server, under gunicorn: whatever is sent, an answer in JSON, and never a 500."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insurance_claims import schema
from insurance_claims.model import MODEL_FILE, load_model
from insurance_claims.parameters import load_parameters
from ml_service.platforms.local.serving_command import HOST, server_command

LIMITS = load_parameters().scoring
ROW: list[Any] = [column.minimum for column in schema.FEATURES]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: Any


@dataclass(frozen=True)
class Server:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def call(
        self,
        body: bytes | Iterator[bytes] | None,
        method: str = "POST",
        path: str = "/score",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        # A body that is an iterator is sent in chunks.
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, _strict_json(response.read()))
        finally:
            connection.close()

    def score(self, content: Any, **headers: str) -> Answer:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call(
            json.dumps(content).encode(), headers={"content-type": "application/json", **names}
        )

    def workers(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return found


def _strict_json(body: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON: {body!r}")

    return json.loads(body, parse_constant=refuse)


def _start(model_dir: Path, log: Path, request_seconds: int = 30) -> Server:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    argv, environment = server_command(model_dir, port, request_seconds=request_seconds)
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv,
            cwd="/",
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return Server(port, process, log)


def _wait_until_healthy(server: Server) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and server.process.poll() is None:
        try:
            connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(server.log.read_text())


@pytest.fixture(scope="module")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = _start(model_dir, tmp_path_factory.mktemp("server") / "log")
    try:
        _wait_until_healthy(server)
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=60)


@pytest.fixture(autouse=True)
def no_worker_dies(server: Server, request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test sends, the worker that answered before is the one that answers afterwards."""
    before = [worker.pid for worker in server.workers()]
    yield
    assert server.score({"data": [ROW]}).status == 200
    if "kills" not in request.node.name:
        assert [worker.pid for worker in server.workers()] == before
        assert "Traceback" not in server.log.read_text()


def test_scores_are_those_of_the_model(
    server: Server, model_dir: Path, rows: list[list[float]]
) -> None:
    expected = load_model(model_dir).predict(np.array(rows)).tolist()
    named = [dict(zip(schema.FEATURE_NAMES, row, strict=True)) for row in rows]
    assert server.score({"data": rows}).content["result"] == expected
    assert server.score({"data": named}).content["result"] == expected
    assert server.score({"data": rows[:1]}).content["result"] == expected[:1]


def test_an_answer_says_which_model_gave_it(server: Server) -> None:
    answer = server.score({"data": [ROW]})
    assert answer.status == 200
    assert answer.content["model"] == {"name": "claims", "version": 3}
    assert answer.headers["x-model-version"] == "3"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("content", [{"data": [ROW]}, {"data": []}])
def test_a_request_id_is_repeated_or_made(server: Server, content: Any) -> None:
    for name in ("x_ms_request_id", "x_ms_client_request_id", "x_request_id"):
        answer = server.score(content, **{name: "order-4711"})
        assert answer.content["request_id"] == "order-4711"
        assert answer.headers["x-ms-request-id"] == "order-4711"
    first, second = (server.score(content) for _ in range(2))
    assert first.content["request_id"] == first.headers["x-ms-request-id"]
    assert len(first.content["request_id"]) == 36
    assert first.content["request_id"] != second.content["request_id"]


def test_an_odd_request_id_is_repeated_and_a_long_one_refused(server: Server) -> None:
    odd = server.score({"data": [ROW]}, x_ms_request_id='ü "\\ {}')
    assert odd.content["request_id"] == 'ü "\\ {}'
    assert server.score({"data": [ROW]}, x_ms_request_id="x" * 101).status == 431


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        ([ROW], {}, "expected an object"),
        ({}, {}, "no 'data'"),
        ({"rows": [ROW]}, {}, "no 'data'"),
        ({"data": [ROW], "x": 1}, {}, "unknown keys"),
        ({"data": []}, {}, "empty"),
        ({"data": [ROW] * (LIMITS.max_rows + 1)}, {}, f"the limit is {LIMITS.max_rows}"),
        ({"data": [ROW, ROW[1:]]}, {"row": 1}, "56 values"),
        ({"data": [[*ROW, 1]]}, {"row": 0}, "58 values"),
        ({"data": ROW}, {"row": 0}, "put brackets"),
        ({"data": [["a", *ROW[1:]]]}, {"row": 0, "column": "ps_ind_01"}, "text ('a')"),
        ({"data": [[True, *ROW[1:]]]}, {"row": 0, "column": "ps_ind_01"}, "true or false"),
        ({"data": [[None, *ROW[1:]]]}, {"row": 0, "column": "ps_ind_01"}, "null"),
        ({"data": [[[0], *ROW[1:]]]}, {"row": 0, "column": "ps_ind_01"}, "a list"),
        ({"data": [[float("nan"), *ROW[1:]]]}, {"row": 0, "column": "ps_ind_01"}, "nan"),
        ({"data": [[float("inf"), *ROW[1:]]]}, {"row": 0, "column": "ps_ind_01"}, "inf"),
        ({"data": [[1e308, *ROW[1:]]]}, {"row": 0, "column": "ps_ind_01"}, "1e+308"),
        ({"data": [{"ps_ind_01": 1}]}, {"row": 0, "column": "ps_ind_02_cat"}, "not given"),
        ({"data": [{"nothing": 1}]}, {"row": 0, "column": "nothing"}, "no such feature"),
        ({"data": [ROW, {}]}, {"row": 1}, "use one form"),
    ],
)
def test_a_bad_request_gets_400_and_the_reason(
    server: Server, content: Any, place: dict[str, Any], reason: str
) -> None:
    answer = server.score(content, x_ms_request_id="me")
    assert answer.status == 400
    error = answer.content["error"]
    assert reason in error.pop("message")
    assert error == place
    assert answer.content["request_id"] == "me"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"1e999"])
def test_a_body_that_is_not_json_gets_400(server: Server, body: bytes) -> None:
    answer = server.call(body)
    assert answer.status == 400
    assert "body" in answer.content["error"]["message"]


@pytest.mark.parametrize(
    "content_type", [None, "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]
)
def test_the_content_type_does_not_matter(server: Server, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert server.call(json.dumps({"data": [ROW]}).encode(), headers=headers).status == 200


def test_a_body_in_chunks(server: Server) -> None:
    body = json.dumps({"data": [ROW] * 100}).encode()
    answer = server.call(body[start : start + 1000] for start in range(0, len(body), 1000))
    assert answer.status == 200
    assert len(answer.content["result"]) == 100


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_gets_413(server: Server, chunked: bool) -> None:
    # Up to its last byte the limit holds a request that would be answered.
    body = json.dumps({"data": [ROW]}).encode().ljust(LIMITS.max_body_bytes)
    for more, status in [(b"", 200), (b" ", 413), (b" " * LIMITS.max_body_bytes, 413)]:
        sent: Any = iter([piece for piece in (body, more) if piece]) if chunked else body + more
        answer = server.call(sent)
        assert answer.status == status
    assert f"limit of {LIMITS.max_body_bytes} bytes" in answer.content["error"]["message"]


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_another_method_gets_405(server: Server, method: str) -> None:
    answer = server.call(None, method)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert "use POST" in answer.content["error"]["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_method_that_the_server_itself_refuses_gets_405_in_json(
    server: Server, method: str
) -> None:
    answer = server.call(b"{}", method)
    assert answer.status == 405
    assert "not allowed" in answer.content["message"]


def _raw(server: Server, data: bytes, finish: bool) -> bytes:
    with socket.create_connection((HOST, server.port), timeout=60) as client:
        client.sendall(data)
        if finish:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    ("framing", "reason"),
    [
        (b"Content-Length: 100\r\n\r\n{", b"breaks off after 1 of 100 bytes"),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{\r\n0\r\n\r\n", b"cannot be read to its end"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", b"cannot be read to its end"),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n", b"cannot be read"),
    ],
)
def test_a_body_that_breaks_off_gets_400(server: Server, framing: bytes, reason: bytes) -> None:
    answer = _raw(server, b"POST /score HTTP/1.1\r\nHost: x\r\n" + framing, finish=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert reason in answer


def test_a_sender_that_goes_away_does_no_harm(server: Server) -> None:
    for _ in range(20):
        with socket.create_connection((HOST, server.port), timeout=60) as client:
            client.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")


_odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.integers(), max_size=2),
)
_changes = st.lists(st.tuples(st.integers(0, len(ROW) - 1), _odd), max_size=3)


def _changed(changes: list[tuple[int, Any]], by_name: bool) -> bytes:
    row = list(ROW)
    for index, value in changes:
        row[index] = value
    content = dict(zip(schema.FEATURE_NAMES, row, strict=True)) if by_name else row
    return json.dumps({"data": [ROW if not by_name else content, content]}).encode()


_json = st.recursive(
    _odd,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["data", "ps_ind_01", "x"]), inner)
    ),
    max_leaves=10,
)
_bodies = st.one_of(
    st.binary(max_size=100),
    _json.map(lambda value: json.dumps(value).encode()),
    _json.map(lambda value: json.dumps({"data": value}).encode()),
    st.builds(_changed, _changes, st.booleans()),
)


@pytest.mark.slow
def test_thousands_of_odd_bodies_never_get_a_500(server: Server) -> None:
    seen: dict[int, int] = {}

    @settings(
        max_examples=2000,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_bodies)
    def send(body: bytes) -> None:
        answer = server.call(body)
        seen[answer.status] = seen.get(answer.status, 0) + 1
        assert answer.status in (200, 400)
        assert answer.headers["content-type"] == "application/json"
        if answer.status == 200:
            assert all(0 <= score <= 1 for score in answer.content["result"])
        else:
            assert answer.content["error"]["message"]

    send()
    # Some were right after all, so that answers with scores were looked at too.
    assert seen[200] > 0
    assert seen[400] > 1000


@pytest.mark.slow
def test_kills_of_a_worker_under_load_are_made_good(server: Server) -> None:
    stop = threading.Event()
    answered = [0]

    def load() -> None:
        while not stop.is_set():
            try:
                answered[0] += server.score({"data": [ROW]}).status == 200
            except (OSError, http.client.HTTPException):
                # The request in the killed worker's hands is lost: the router sends it again.
                time.sleep(0.01)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            before = answered[0]
            _wait_for(lambda before=before: answered[0] > before + 20)
            (worker,) = server.workers()
            os.kill(worker.pid, signal.SIGKILL)
            _wait_for(lambda gone=worker.pid: gone not in [w.pid for w in server.workers()])
    finally:
        after = answered[0]
        _wait_for(lambda: answered[0] > after + 20)
        stop.set()
        for thread in threads:
            thread.join(timeout=60)
    assert len(server.workers()) == 1
    assert server.process.poll() is None


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_bad_model_stops_the_server_and_the_log_says_why(model_dir: Path, tmp_path: Path) -> None:
    bad = tmp_path / "claims" / "1"
    bad.mkdir(parents=True)
    shutil.copytree(model_dir, bad, dirs_exist_ok=True)
    with (bad / MODEL_FILE).open("a") as model:
        model.write("one line more\n")
    server = _start(bad, tmp_path / "log")
    assert server.process.wait(timeout=120) == 3
    assert "its sha256 differs" in server.log.read_text()


def test_a_slow_sender_is_told_and_sigterm_ends_the_server_in_good_order(
    model_dir: Path, tmp_path: Path
) -> None:
    server = _start(model_dir, tmp_path / "log", request_seconds=1)
    _wait_until_healthy(server)
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    answer = _raw(server, head, finish=False)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"cannot be read to its end: TimeoutError" in answer
    assert server.score({"data": [ROW]}).status == 200
    workers = server.workers()
    server.process.terminate()
    assert server.process.wait(timeout=60) == 0
    _wait_for(lambda: not any(_lives(worker) for worker in workers))
