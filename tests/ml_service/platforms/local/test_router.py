"""The router as a process of its own: who may ask, what is passed on, and what comes back."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from ml_service.platforms.local import probe
from tests.ml_service.platforms.local.router_process import KEY, LIMIT, Running, Serve


@pytest.mark.parametrize("key", [None, "", "wrong", KEY[:-1], KEY + "x", "schl\xfcssel"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/score"), ("GET", "/ready")])
def test_without_the_right_key_nothing_is_answered(
    router: Running, serve: Serve, key: str | None, method: str, path: str
) -> None:
    server = serve()
    router.route({1: (server.port, 1)})
    status, headers, content = router.ask(method, path, key=key)
    assert status == 401
    assert "key" in content["error"]["message"]
    assert headers["x-ms-request-id"] == content["request_id"]
    assert not server.requests


def test_the_key_is_neither_on_the_command_line_nor_passed_on(
    router: Running, serve: Serve
) -> None:
    server = serve()
    router.route({1: (server.port, 1)})
    assert router.ask(traceparent="00-abc")[0] == 200
    [received] = server.requests
    assert "authorization" not in received
    assert received["traceparent"] == "00-abc"
    assert KEY not in " ".join(psutil.Process(router.process.pid).cmdline())


def test_liveness_needs_no_key(router: Running) -> None:
    assert router.ask("GET", "/", key=None)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/score", 405, "POST"),
        ("PUT", "/score", 405, "POST"),
        ("POST", "/", 405, "GET"),
        ("POST", "/ready", 405, "GET"),
        ("POST", "/other", 404, None),
        ("GET", "/score/", 404, None),
        ("POST", "//score", 404, None),
    ],
)
def test_other_paths_and_methods(
    router: Running, method: str, path: str, status: int, allow: str | None
) -> None:
    found, headers, content = router.ask(method, path)
    assert (found, headers.get("allow")) == (status, allow)
    assert content["error"]["message"]


def test_requests_are_split_by_weight(router: Running, serve: Serve) -> None:
    servers = [serve(), serve(), serve()]
    router.route({1: (servers[0].port, 75), 2: (servers[1].port, 25), 3: (servers[2].port, 0)})
    served = Counter(router.ask()[1]["x-served-by-version"] for _ in range(400))
    # Binomial: six standard deviations of 8.7 around 100.
    assert 48 <= served["2"] <= 152
    assert served["1"] == 400 - served["2"]
    assert not servers[2].requests


def test_one_version_on_demand(router: Running, serve: Serve) -> None:
    servers = [serve(), serve()]
    router.route({1: (servers[0].port, 100), 2: (servers[1].port, 0)})
    for _ in range(5):
        assert router.ask(x_model_version="2")[1]["x-served-by-version"] == "2"
    assert not servers[0].requests
    for unknown in ("3", "two", "-1", "1.0", ""):
        status, _, content = router.ask(x_model_version=unknown)
        assert status == 404
        assert "deployed: 1, 2" in content["error"]["message"]


def test_new_routes_are_taken_and_broken_ones_are_not(router: Running, serve: Serve) -> None:
    one, two = serve(), serve()
    router.route({1: (one.port, 1)})
    file = router.folder / "routes.json"
    good = file.read_text()
    for broken in ("{", '{"revision": 9}', good.replace('"weight": 1', '"weight": -1'), ""):
        assert broken != good
        file.write_text(broken)
        said = router.wait(lambda said: said["routes_error"] is not None)
        assert "routes.json" in said["routes_error"]
        assert router.ask()[1]["x-served-by-version"] == "1"
        file.write_text(good)
        router.wait(lambda said: said["routes_error"] is None)
    router.route({2: (two.port, 1)})
    assert router.ask()[1]["x-served-by-version"] == "2"


@pytest.mark.parametrize("behaviour", ["resets", "breaks off", "talks rubbish", "not there"])
def test_another_version_takes_over_from_one_that_is_gone(
    router: Running, serve: Serve, behaviour: str
) -> None:
    good = serve()
    port = probe.free_port() if behaviour == "not there" else serve(behaviour).port
    router.route({1: (port, 100), 2: (good.port, 0)}, standby=2)
    status, headers, content = router.ask(body=b'{"data": [1]}')
    assert (status, headers["x-served-by-version"], content) == (200, "2", {"data": [1]})
    # Who asked for version 1 gets no other.
    status, headers, content = router.ask(x_model_version="1")
    assert (status, headers["retry-after"]) == (503, "2")
    assert "version 1" in content["error"]["message"]


def test_nothing_deployed(router: Running) -> None:
    router.route({})
    status, headers, content = router.ask()
    assert (status, "retry-after" in headers) == (503, True)
    assert "no model" in content["error"]["message"]
    assert router.ask("GET", "/ready")[0] == 503


def test_ready_asks_every_server(router: Running, serve: Serve) -> None:
    router.route({1: (serve().port, 90), 2: (probe.free_port(), 10)})
    status, _, content = router.ask("GET", "/ready")
    assert status == 503
    assert content["backends"]["1"] == {"weight": 90, "mirror": 0, "state": "healthy"}
    assert content["backends"]["2"]["state"] != "healthy"
    router.route({1: (serve().port, 100)})
    assert router.ask("GET", "/ready")[0] == 200


def test_a_server_that_hangs(router: Running, serve: Serve) -> None:
    slow, good = serve("hangs"), serve()
    router.route({1: (slow.port, 100), 2: (good.port, 0)})
    status, headers, content = router.ask()
    assert (status, headers["x-served-by-version"]) == (504, "1")
    assert "1 s" in content["error"]["message"]
    assert router.ask(x_model_version="2")[0] == 200


def test_bodies_above_the_limit(router: Running, serve: Serve) -> None:
    server = serve()
    router.route({1: (server.port, 1)})
    fits = json.dumps("x" * (LIMIT - 2)).encode()
    assert len(fits) == LIMIT
    assert router.ask(body=fits)[0] == 200
    assert router.ask(body=fits + b" ")[0] == 413
    # In chunks nothing says beforehand how long it is.
    assert router.ask(body=iter([fits]), Transfer_Encoding="chunked")[0] == 200
    assert router.ask(body=iter([fits, b" "]), Transfer_Encoding="chunked")[0] == 413
    assert len(server.requests) == 2


def test_a_body_that_never_comes(router: Running, serve: Serve) -> None:
    router.route({1: (serve().port, 1)})
    with socket.create_connection(("127.0.0.1", router.port), timeout=20) as connection:
        connection.sendall(
            f"POST /score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            "Content-Length: 10\r\n\r\n{".encode()
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")
    assert router.ask()[0] == 200


def test_request_ids(router: Running, serve: Serve) -> None:
    server = serve()
    router.route({1: (server.port, 1)})
    assert router.ask(x_ms_request_id="mine-1")[1]["x-ms-request-id"] == "mine-1"
    assert server.requests[-1]["x-ms-client-request-id"] == "mine-1"
    made = {router.ask()[1]["x-ms-request-id"] for _ in range(3)}
    assert len(made) == 3
    # The inference server would refuse these.
    assert len(router.ask(x_ms_request_id="x" * 101)[1]["x-ms-request-id"]) == 36


def test_an_answer_comes_back_as_it_was(router: Running, serve: Serve) -> None:
    router.route({1: (serve("refuses").port, 1)})
    status, headers, content = router.ask()
    assert (status, headers["x-ms-own"]) == (400, "kept")
    assert content == {"error": {"message": "no"}}


@pytest.mark.parametrize("key", [None, ""])
def test_no_key_file_no_router(tmp_path: Path, key: str | None) -> None:
    if key is not None:
        (tmp_path / "key").write_text(key)
    argv = [sys.executable, "-m", "ml_service.platforms.local.router", "--state", str(tmp_path)]
    done = subprocess.run([*argv, "--port", "1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "key" in done.stderr
