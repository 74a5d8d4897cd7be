"""A file's rows over HTTP: in several requests, each row with what `mlops labels add` knows it by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insurance_claims.data.synthesize import write_synthetic
from ml_service import scoring_client
from ml_service.platforms.base import Endpoint, PlatformError
from ml_service.scoring_client import score_file
from tests.http_server import running


class _Scores(BaseHTTPRequestHandler):
    """Answers as a scoring server does: request 0, 1, 2 and so on."""

    requests = 0

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["data"]
        good = self.headers["Authorization"] == "Bearer key"
        content = {
            "result": [0.5] * len(rows),
            "model": {"name": "claims", "version": 7},
            "request_id": f"request-{_Scores.requests}",
        }
        _Scores.requests += 1
        self.send_response(200 if good else 401)
        self.end_headers()
        self.wfile.write(json.dumps(content if good else {"error": "who are you?"}).encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """Of a server."""
    with running(_Scores) as address:
        yield f"{address}/score"


def test_each_row_has_its_score_and_the_id_for_its_label(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring_client, "_ROWS", 4)
    monkeypatch.setattr(_Scores, "requests", 0)
    file = tmp_path / "claims.csv"
    write_synthetic(file, 10, seed=1)
    endpoint = Endpoint("staging", url, {7: 100}, "healthy", {}, "key")
    (tmp_path / "scores.csv").write_text(score_file(endpoint, file, lambda line: None))
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert scores["id"].tolist() == pd.read_csv(file)["id"].tolist()
    assert set(scores["score"]) == {0.5} and set(scores["model_version"]) == {7}
    places = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)]
    assert scores["row_id"].tolist() == [f"request-{number}:{row}" for number, row in places]


def test_an_answer_that_is_none_is_told(url: str, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "claims.csv", 10, seed=1)
    stranger = Endpoint("staging", url, {7: 100}, "healthy", {}, "another")
    with pytest.raises(PlatformError, match="answered 401: .*who are you"):
        score_file(stranger, tmp_path / "claims.csv", lambda line: None)
