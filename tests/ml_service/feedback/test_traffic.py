"""Traffic of a demonstration: what was asked, and what becomes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims import schema
from ml_service.feedback.traffic import Traffic
from ml_service.platforms.base import Endpoint
from tests.http_server import running


class _Scores(BaseHTTPRequestHandler):
    """Answers every second request, and keeps what it was asked."""

    asked: list[Any] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body["data"])
        number = len(self.asked)
        failed = number % 2 == 0
        answer = b"no" if failed else json.dumps({"request_id": f"request-{number}"}).encode()
        self.send_response(500 if failed else 200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """Of a server."""
    with running(_Scores) as address:
        yield f"{address}/score"


def test_labels_are_of_the_requests_that_were_answered(url: str, tmp_path: Path) -> None:
    traffic = Traffic(Endpoint("staging", url, {1: 100}, "healthy", {}, "key"), 0.001)
    traffic.start()
    end = time.monotonic() + 60
    while traffic.answered < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    traffic.stop()
    assert traffic.failed >= 2
    rows = traffic.write_labels(tmp_path / "labels.csv")
    labels = pd.read_csv(tmp_path / "labels.csv")
    assert len(labels) == rows
    assert labels["request_id"].unique().tolist()[:3] == ["request-1", "request-3", "request-5"]
    assert set(labels["target"]) == {0, 1}
    per_request = labels.groupby("request_id").size()
    assert set(per_request) == {len(_Scores.asked[0])}
    assert {len(row) for row in _Scores.asked[0]} == {len(schema.FEATURE_NAMES)}
    parts = slice(1), slice(2, None)
    assert traffic.write_labels(tmp_path / "parts.csv", *parts) == rows - per_request.iloc[0]
    assert "request-3" not in set(pd.read_csv(tmp_path / "parts.csv")["request_id"])
