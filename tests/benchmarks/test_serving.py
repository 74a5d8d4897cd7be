"""The table of serving: its ratios are those of the same rounds, and its client counts what it should."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from benchmarks.load import Load, measure
from benchmarks.servers import EMPTY, OURS
from benchmarks.serving import HEADER, Round, lines, spread


def _round(answered: int, cpu_us: float, errors: int = 0) -> Round:
    return Round(Load(answered, 2.0, 1.0, 2.0, errors), cpu_us)


def test_a_ratio_is_of_the_rounds_not_of_the_medians() -> None:
    rounds = {
        OURS: [_round(100, 10), _round(900, 10), _round(200, 10)],
        EMPTY: [_round(200, 5), _round(300, 20, errors=2), _round(400, 5)],
    }
    ours, empty = lines(2, 1_000, rounds)
    assert ours.startswith(f"| 2 | 1,000 | {OURS} | 100 | 1.00 | 2.00 | 10 | 0 | 1.00 x")
    # 0.5, 3 and 0.5; the medians' ratio would be 200 to 300.
    assert empty.endswith("| 2 | 0.50 x (0.50 to 1.75) | 0.50 x (0.50 to 1.25) |")
    assert {line.count("|") for line in (ours, empty)} == {HEADER.split("\n")[0].count("|")}


def test_the_spread_is_that_of_the_quartiles() -> None:
    assert spread([5, 1, 2, 3, 4]) == "3.00 x (2.00 to 4.00)"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests = 0

    def do_POST(self) -> None:
        type(self).requests += 1
        good = self.rfile.read(int(self.headers["Content-Length"])) == b"[1]"
        self.send_response(200 if good and self.headers["x-key"] == "secret" else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


def test_what_is_not_answered_with_200_is_an_error() -> None:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/score"
        load = measure(url, b"[1]", 0.05, headers={"x-key": "secret"})
        assert (load.answered, load.errors) == (_Handler.requests, 0)
        assert load.requests_per_second == load.answered / load.seconds
        assert 0 < load.p50_ms <= load.p99_ms
        with pytest.raises(RuntimeError, match="not answer a single request with 200"):
            measure(url, b"[2]", 0.05)
        server.shutdown()
