"""What each version did, collected in memory by the router and written down once a second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field

import orjson

from insurance_claims.monitoring.observations import LARGEST_SCORE, Observations
from ml_service.platforms.local.exchange import Answer
from ml_service.platforms.local.observation_store import ObservationWriter, Second

_EARLY_SECONDS = 0.002
"""Timers of uvloop count in whole milliseconds: without it, a second's requests might be noted under the one before."""

log = logging.getLogger("router")


@dataclass(slots=True)
class _Tally:
    """One version's requests of the present second; ``latencies`` in milliseconds."""

    latencies: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    errors: int = 0
    shed: int = 0
    dropped: int = 0


class Recorder:
    """Collects what happens to requests. Called on the event loop alone.

    Args:
        writer: keeps what was collected.
    """

    def __init__(self, writer: ObservationWriter) -> None:
        self.totals: dict[str, Counter[int]] = {"shed": Counter(), "dropped_copies": Counter()}
        self._writer = writer
        self._began = time.time()
        self._tallies: defaultdict[int, _Tally] = defaultdict(_Tally)

    def answered(self, version: int, milliseconds: float, answer: Answer) -> None:
        """A server answered. 5xx and a score that is no probability are its errors, a bad request's 4xx is not."""
        tally = self._tallies[version]
        if answer.status < 400:
            scores = scores_of(answer.body)
            if scores is None:
                tally.errors += 1
                return
            tally.scores.extend(scores)
        elif answer.status >= 500:
            tally.errors += 1
            return
        tally.latencies.append(milliseconds)

    def failed(self, version: int) -> None:
        """A server gave no answer, or not in time."""
        self._tallies[version].errors += 1

    def shed(self, version: int) -> None:
        """A request was refused because a version had enough to do. The version knows nothing of it."""
        self._tallies[version].shed += 1
        self.totals["shed"][version] += 1

    def dropped(self, version: int) -> None:
        """A copy of a request was not made because a version had enough to do."""
        self._tallies[version].dropped += 1
        self.totals["dropped_copies"][version] += 1

    async def run(self, stop: asyncio.Event) -> None:
        """Write each second until ``stop`` is set, and then once more."""
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(1 - time.time() % 1 + _EARLY_SECONDS):
                    await stop.wait()
            began, tallies = self._take()
            try:
                await asyncio.to_thread(self._write, began, tallies)
            except Exception:
                # Requests are answered whatever becomes of the figures.
                log.exception("the observations of a second are lost")

    def _take(self) -> tuple[float, dict[int, _Tally]]:
        began, tallies = self._began, self._tallies
        # A clock that is set back must not make new requests older than they are.
        self._began = max(began, time.time())
        self._tallies = defaultdict(_Tally)
        return began, tallies

    def _write(self, began: float, tallies: dict[int, _Tally]) -> None:
        seconds = []
        for version, tally in tallies.items():
            if tally.shed:
                log.warning("version %d: %d requests refused in a second", version, tally.shed)
            observations = Observations.of(tally.latencies, tally.scores, tally.errors)
            seconds.append(Second(int(began), version, observations, tally.shed, tally.dropped))
        self._writer.write(seconds)


def scores_of(body: bytes) -> list[float] | None:
    """The scores of an answer; None where they are not all what a score may be, or there are none."""
    try:
        scores = orjson.loads(body)["result"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return None
    if not isinstance(scores, list) or not scores or not set(map(type, scores)) <= {float, int}:
        return None
    return scores if min(scores) >= 0 and max(scores) <= LARGEST_SCORE else None
