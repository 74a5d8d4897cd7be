"""Requests for a canary to answer, and a plan that needs only seconds of them."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from insurance_claims.data.synthesize import golden_rows

QUICK_PLAN: dict[str, Any] = {
    "look_every_seconds": 0.5,
    "start_minutes": 2,
    "keep_warm_minutes": 60,
    "alpha": 0.2,
    "stages": [
        {"share": 50, "least_requests": 30, "least_minutes": 0.05, "most_minutes": 3},
        {"share": 100, "least_requests": 30, "least_minutes": 0, "most_minutes": 3},
    ],
    "limits": {
        "error_rate": 0.5,
        "latency_ratio": {},
        "score_psi": None,
        "score_ks": None,
        "score_mean": 1.0,
        "calibration": None,
    },
}
"""Needs seconds of traffic: for tests of what happens, not of when."""

_ROWS_OF_A_REQUEST = 40


class Client(threading.Thread):
    """Sends one request after another until it is stopped.

    Attributes:
        answers: how often each status came, or each kind of failure.
    """

    def __init__(self, url: str, key: str) -> None:
        super().__init__(daemon=True)
        self.answers: Counter[str] = Counter()
        self._host = urlsplit(url).netloc
        self._path = urlsplit(url).path
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
        }
        self._ended = threading.Event()

    def run(self) -> None:
        """Send requests."""
        rows = golden_rows(_ROWS_OF_A_REQUEST, seed=11).tolist()
        body = json.dumps({"data": rows})
        connection = http.client.HTTPConnection(self._host, timeout=30)
        while not self._ended.is_set():
            try:
                connection.request("POST", self._path, body, self._headers)
                response = connection.getresponse()
                response.read()
                self.answers[str(response.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.answers[type(error).__name__] += 1
                connection.close()
            time.sleep(0.02)
        connection.close()

    def stop(self) -> None:
        """Send no more, and wait for the last answer."""
        self._ended.set()
        self.join()
