"""A server that takes telemetry as a test wants it: as usual, with an error, late, or never."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "00000000-0000-0000-0000-000000000001"


class Ingestion:
    """Collects envelopes.

    Attributes:
        envelopes: all that were taken.
        status: that is answered; nothing is taken with another than 200.
        delay: seconds before an answer.
        requests: how many there were.
        hanging: requests that come while it is set wait.
        go_on: until this is set.
    """

    def __init__(self) -> None:
        self.envelopes: list[dict[str, Any]] = []
        self.requests = 0
        self.status = 200
        self.delay = 0.0
        self.hanging = threading.Event()
        self.go_on = threading.Event()
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                own.requests += 1
                if own.hanging.is_set():
                    own.go_on.wait(60)
                time.sleep(own.delay)
                status = own.status
                if status == 200:
                    own.envelopes += json.loads(body)
                # Whoever gave up waiting has closed the connection.
                with suppress(OSError):
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(b"{}")
                    self.wfile.flush()

            def log_message(self, *_: Any) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def text(self) -> str:
        """The connection string."""
        address = f"http://127.0.0.1:{self._server.server_port}/"
        return f"InstrumentationKey={KEY};IngestionEndpoint={address}"

    def content(self, kind: str) -> list[dict[str, Any]]:
        """What was taken of a kind: ``Event``, ``Metric``, ``Exception`` or ``Message``."""
        return [
            envelope["data"]["baseData"]
            for envelope in list(self.envelopes)
            if envelope["data"]["baseType"] == f"{kind}Data"
        ]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Events of this name."""
        return [event for event in self.content("Event") if event["name"] == name]

    def stop(self) -> None:
        """Listen no more."""
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
