"""Clients of a deployed model, for tests that change it meanwhile."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ml_service.platforms.base import Endpoint
from ml_service.smoke_test import example_rows

BODY = json.dumps({"data": example_rows(1)}).encode()


def quiet(line: str) -> None:
    """Takes progress that a test does not look at."""


def ask(endpoint: Endpoint, key: str | None = None) -> tuple[int, str]:
    """Status and model version of an answer."""
    headers = {"Authorization": f"Bearer {key or endpoint.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(endpoint.url, BODY, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, str(json.load(response)["model"]["version"])
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


@contextmanager
def load(endpoint: Endpoint) -> Iterator[Counter[tuple[int, str]]]:
    """Requests one after the other while the block runs: what came back, counted."""
    counts: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.02):
            counts[ask(endpoint)] += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()
