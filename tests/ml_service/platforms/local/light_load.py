"""Requests one after the other while something else happens."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def light_load(send: Callable[[], int], pause: float) -> Iterator[Counter[str]]:
    """Light load from one client: what came back, counted by status, or by the error's name.

    Args:
        send: makes one request and returns its status.
        pause: seconds between requests.
    """
    counts: Counter[str] = Counter()
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(pause):
            try:
                counts[str(send())] += 1
            except (OSError, http.client.HTTPException) as error:
                counts[type(error).__name__] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()
