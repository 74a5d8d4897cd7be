"""Traffic for demonstrations: synthetic rows that are asked for at a steady pace, and what becomes of them."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from insurance_claims import schema
from insurance_claims.data.synthesize import synthesize
from ml_service.platforms.base import Endpoint

_ROWS_OF_A_REQUEST = 200
_POOL = 20_000
_TIMEOUT = 30.0


class Traffic(threading.Thread):
    """Asks an endpoint for scores until it is stopped.

    Args:
        endpoint: that answers.
        seconds: from one request to the next.

    Attributes:
        shift: of the population of rows; may be changed at any time.
        answered: requests that were answered with scores.
        failed: requests that were not.
    """

    def __init__(self, endpoint: Endpoint, seconds: float) -> None:
        super().__init__(name="traffic", daemon=True)
        self.shift = 0.0
        self.answered = 0
        self.failed = 0
        self._endpoint = endpoint
        self._seconds = seconds
        self._labels: list[tuple[str, list[int]]] = []
        self._ended = threading.Event()

    def run(self) -> None:
        """Ask, one request after another."""
        rows = _Rows()
        address = urlsplit(self._endpoint.url)
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._endpoint.key}",
        }
        while not self._ended.wait(self._seconds):
            body, target = rows.next(self.shift)
            connection = http.client.HTTPConnection(address.netloc, timeout=_TIMEOUT)
            try:
                connection.request("POST", address.path, body, headers)
                answer: Any = json.loads(connection.getresponse().read())
                self._labels.append((answer["request_id"], target))
                self.answered += 1
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                self.failed += 1
            finally:
                connection.close()

    def write_labels(self, file: Path, *parts: slice) -> int:
        """Write what became of rows as a file for ``mlops labels add``, and return how many they are.

        Args:
            file: to write.
            parts: of the requests that were answered; all of them where none is given.
        """
        known = [request for part in parts or [slice(None)] for request in self._labels[part]]
        lines = [
            f"{request_id},{row},{target}"
            for request_id, targets in known
            for row, target in enumerate(targets)
        ]
        file.write_text("\n".join(["request_id,row,target", *lines, ""]), encoding="utf-8")
        return len(lines)

    def stop(self) -> None:
        """Ask no more."""
        self._ended.set()
        self.join()


class _Rows:
    """Rows of a population, each asked for once."""

    def __init__(self) -> None:
        self._seed = 1000
        self._shift: float | None = None
        self._requests: Iterator[tuple[bytes, list[int]]] = iter(())

    def next(self, shift: float) -> tuple[bytes, list[int]]:
        """The body of a request, and the outcome of each of its rows."""
        found = next(self._requests, None) if shift == self._shift else None
        if found is None:
            self._seed += 1
            self._shift, self._requests = shift, _requests(self._seed, shift)
            found = next(self._requests)
        return found


def _requests(seed: int, shift: float) -> Iterator[tuple[bytes, list[int]]]:
    table, _ = synthesize(_POOL, seed, shift=shift)
    rows = table[list(schema.FEATURE_NAMES)].to_numpy(dtype=float)
    target = table[schema.TARGET].to_numpy()
    for start in range(0, _POOL, _ROWS_OF_A_REQUEST):
        part = slice(start, start + _ROWS_OF_A_REQUEST)
        yield json.dumps({"data": rows[part].tolist()}).encode(), target[part].tolist()
