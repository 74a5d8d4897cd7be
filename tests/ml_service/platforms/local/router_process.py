"""The router as a process of its own, and small servers for it that misbehave on demand."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from insurance_claims.monitoring.observations import Observations
from ml_service.platforms.local import probe
from ml_service.platforms.local.observation_store import OBSERVATIONS_FILE, read_window
from ml_service.platforms.local.routes import Backend, Routes, read_routes, write_routes

KEY = "the-key-of-these-tests"
LIMIT = 5000
TIMEOUT = 1.0


class Server(ThreadingHTTPServer):
    """A model server: ``behaviour`` is how it answers, ``answer`` what it says where it scores."""

    daemon_threads = True

    def __init__(self, behaviour: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = behaviour
        self.answer = b'{"result": [0.25]}'
        self.requests: list[dict[str, str]] = []
        self.stopped = Event()

    @property
    def port(self) -> int:
        return self.server_port


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._send(200, b"Healthy")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append({name.lower(): value for name, value in self.headers.items()})
        behaviour = self.server.behaviour
        if behaviour.startswith("sometimes"):
            behaviour = "fails" if len(self.server.requests) % 2 else "scores"
        if behaviour == "resets":
            self.connection.close()
        elif behaviour == "breaks off":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        elif behaviour == "talks rubbish":
            self.wfile.write(b"no HTTP at all\r\n\r\n")
        elif behaviour == "hangs":
            self.server.stopped.wait(30)
        elif behaviour == "fails":
            self._send(500, b'{"error": {"message": "a bug"}}')
        elif behaviour == "scores":
            self._send(200, self.server.answer)
        elif behaviour == "refuses":
            self._send(400, b'{"error": {"message": "no"}}', {"x-ms-own": "kept"})
        else:
            self._send(200, body)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


class Running:
    """The router process and what the tests do with it."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.port = port
        self.process = process

    def route(
        self,
        backends: Mapping[int, tuple[int, ...]],
        sticky_header: str | None = None,
        standby: int | None = None,
    ) -> None:
        """Version to (port, weight) or (port, weight, mirror); returns when the router goes by it."""
        before = read_routes(self.folder / "routes.json").revision
        entries = {key: Backend(*value) for key, value in backends.items()}
        routes = Routes(before + 1, entries, sticky_header, standby)
        write_routes(self.folder / "routes.json", routes)
        self.wait(lambda said: said["revision"] == before + 1)

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for _ in range(200):
            said = probe.ready(self.port, KEY)
            if said and condition(said):
                return said
            time.sleep(0.05)
        raise AssertionError(f"the router did not get there: {said}")

    def observed(self, since: datetime, version: int, requests: int) -> Observations:
        """What a version did, once it was given so many requests."""
        for _ in range(100):
            window = read_window(self.folder / OBSERVATIONS_FILE, since, datetime.now(UTC))
            if window.of(version).requests >= requests:
                return window.of(version)
            time.sleep(0.1)
        raise AssertionError(f"{window} has not {requests} requests of version {version}")

    def begin(self) -> datetime:
        """The begin of a second in which no request was made before."""
        time.sleep(1.01 - time.time() % 1)
        return datetime.fromtimestamp(int(time.time()), UTC)

    def ask(
        self,
        method: str = "POST",
        path: str = "/score",
        body: Any = b'{"data": []}',
        key: str | None = KEY,
        **headers: str,
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers in lower case, JSON of the answer. ``x_model_version="1"`` sends x-model-version."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, sent, encode_chunked=not isinstance(body, bytes))
            response = connection.getresponse()
            given = {name.lower(): value for name, value in response.getheaders()}
            return response.status, given, json.loads(response.read())
        finally:
            connection.close()


Serve = Callable[..., Server]


@contextmanager
def running_router(folder: Path, *options: str) -> Iterator[Running]:
    """A router process with nothing to route to yet."""
    (folder / "key").write_text(KEY + "\n")
    write_routes(folder / "routes.json", Routes(1, {}))
    port = probe.free_port()
    argv = [sys.executable, "-m", "ml_service.platforms.local.router", "--state", str(folder)]
    argv += ["--port", str(port), "--max-body-bytes", str(LIMIT), "--timeout", str(TIMEOUT)]
    process = subprocess.Popen([*argv, *options], stderr=subprocess.DEVNULL, text=True)
    try:
        running = Running(folder, port, process)
        running.wait(lambda said: True)
        yield running
    finally:
        process.kill()
        process.wait()


@contextmanager
def servers() -> Iterator[Serve]:
    """Starts model servers by behaviour; all are stopped at the end."""
    started: list[Server] = []

    def start(behaviour: str = "echoes") -> Server:
        server = Server(behaviour)
        started.append(server)
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    yield start
    for server in started:
        server.stopped.set()
        server.shutdown()
        server.server_close()
