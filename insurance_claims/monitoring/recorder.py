"""What one scoring worker does, counted beside the requests and sent every few seconds.

A request costs one append to a list. Adding up, and making text of it, happens in a thread.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import weakref
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import numpy as np
import psutil

from insurance_claims import schema
from insurance_claims.monitoring import wire
from insurance_claims.monitoring.observations import LARGEST_SCORE, Observations
from insurance_claims.monitoring.trace import Trace
from insurance_claims.scoring.request import RequestError, Scores
from insurance_claims.telemetry import Emitter, TelemetrySettingError

SECONDS = "MLOPS_TELEMETRY_SECONDS"
"""Variable: seconds from one event to the next."""

_DEFAULT_SECONDS = 5.0
_EXCEPTIONS = 10
"""The most exceptions that are sent in full between two events; all of them are counted."""

_FEATURES = frozenset(schema.FEATURE_NAMES)


class Recorder:
    """Counts requests and sends one event for each stretch of time in which there were any.

    Args:
        emitter: sends them.
        model: name and version of the model that answers.
        seconds: from one event to the next.
    """

    def __init__(self, emitter: Emitter, model: tuple[str, int], seconds: float) -> None:
        self._emitter = emitter
        self._model = {"model_name": model[0], wire.MODEL_VERSION: str(model[1])}
        self._seconds = seconds
        self._begin()
        own = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _begin(own))
        atexit.register(self.send)

    def _begin(self) -> None:
        self._seen: list[tuple[float, int, Scores | None, str | None]] = []
        self._sending = threading.Lock()
        self._since = datetime.now(UTC)
        self._process = psutil.Process()
        self._cpu = _cpu_seconds(self._process)
        self._exceptions = 0
        threading.Thread(target=self._run, name="recorder", daemon=True).start()

    def answered(self, began: float, scores: Scores) -> None:
        """A request was answered with scores.

        Args:
            began: ``perf_counter`` when it came in.
            scores: one a row.
        """
        self._seen.append((perf_counter() - began, 200, scores, None))

    def refused(self, began: float, error: RequestError) -> None:
        """A request was answered with 4xx."""
        self._seen.append((perf_counter() - began, error.status, None, reason(error)))

    def failed(
        self, began: float, error: BaseException, request_id: str, trace: Trace | None
    ) -> None:
        """A request was not answered, because of a bug or too late. Its content is not sent."""
        self._seen.append((perf_counter() - began, 500, None, None))
        self._exceptions += 1
        if self._exceptions <= _EXCEPTIONS:
            properties = {**self._model, "request_id": request_id}
            self._emitter.exception(error, properties, trace, with_message=False)

    def send(self) -> None:
        """Hand what was seen since the last time to the emitter."""
        with self._sending:
            # Not another list in its place: a request that holds the old one would append to it and be lost.
            count = len(self._seen)
            seen = self._seen[:count]
            del self._seen[:count]
            self._exceptions = 0
            since, self._since = self._since, datetime.now(UTC)
            until = self._since
        window = _Window(seen)
        seconds = (until - since).total_seconds()
        self._send_metrics(window, seconds)
        if seen:
            properties = {
                **self._model,
                wire.START: since.isoformat(),
                wire.END: until.isoformat(),
                **wire.encode(window.observations),
                "statuses": _json(window.statuses),
                "refused": _json(window.refused),
            }
            measurements = {"rows": float(window.observations.score_moments.count)}
            self._emitter.event(wire.EVENT, properties, measurements)

    def _send_metrics(self, window: _Window, seconds: float) -> None:
        cpu = _cpu_seconds(self._process)
        metrics = {
            "process_memory_mb": self._process.memory_info().rss / 2**20,
            "process_cpu_percent": 100 * (cpu - self._cpu) / max(seconds, 1e-3),
        }
        self._cpu = cpu
        observations = window.observations
        if observations.requests:
            metrics["requests"] = observations.requests
            metrics["errors"] = observations.errors
            metrics["refused"] = sum(window.refused.values())
        if window.p95 is not None:
            metrics["latency_p95_ms"] = window.p95
        if observations.score_moments.count:
            metrics["score_mean"] = observations.score_moments.mean
        if self._emitter.dropped:
            metrics["telemetry_dropped"] = self._emitter.dropped
        for name, value in metrics.items():
            self._emitter.metric(name, value, self._model)

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._seconds):
            self.send()


class _Window:
    """Requests, added up."""

    def __init__(self, seen: list[tuple[float, int, Scores | None, str | None]]) -> None:
        self.statuses: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        latencies: list[float] = []
        scores: list[float] = []
        errors = 0
        for seconds, status, given, why in seen:
            self.statuses[str(status)] += 1
            found = given.tolist() if isinstance(given, np.ndarray) else given or []
            if status >= 500 or (found and not (min(found) >= 0 and max(found) <= LARGEST_SCORE)):
                errors += 1
                continue
            latencies.append(1000 * seconds)
            scores += found
            if why is not None:
                self.refused[why] += 1
        self.p95 = float(np.quantile(latencies, 0.95)) if latencies else None
        self.observations = Observations.of(np.array(latencies), np.array(scores), errors)


def interval(environ: Mapping[str, str] = os.environ) -> float:
    """Seconds from one event to the next: MLOPS_TELEMETRY_SECONDS, or 5.

    Raises:
        TelemetrySettingError: the variable is not a number from 0.05 to 3600.
    """
    text = environ.get(SECONDS) or str(_DEFAULT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.05 <= seconds <= 3600:
        raise TelemetrySettingError(f"{SECONDS} is {text!r}: expected seconds from 0.05 to 3600")
    return seconds


def reason(error: RequestError) -> str:
    """Why a request was refused, in one of a few words that hold nothing of what was sent.

    ``method``, ``size``, ``body`` (not JSON, or no rows), ``row`` (one is malformed), ``column NAME`` (a value that
    cannot be), ``unknown column``.
    """
    if error.status == 405:
        return "method"
    if error.status == 413:
        return "size"
    if error.column is None:
        return "body" if error.row is None else "row"
    return f"column {error.column}" if error.column in _FEATURES else "unknown column"


def _begin(own: weakref.ref[Recorder]) -> None:
    recorder = own()
    if recorder is not None:
        recorder._begin()


def _cpu_seconds(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _json(counts: Counter[str]) -> str:
    return json.dumps(dict(sorted(counts.items())), separators=(",", ":"))
