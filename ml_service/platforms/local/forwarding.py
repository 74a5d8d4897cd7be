"""Hands requests to model servers: which version, how long, how many at once, and what happens when one fails.

Scoring changes nothing, so a request that a version failed is given to another one, and a copy of a request may be
given to a version that is only watched.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_service.platforms.local.admission import Admission
from ml_service.platforms.local.exchange import Answer, BackendGone, exchange
from ml_service.platforms.local.recording import Recorder
from ml_service.platforms.local.routes import Routes

SERVED_BY = "x-served-by-version"

_ATTEMPTS = 3
"""So that a request that kills its server does not go on for ever."""

_PATIENCE_SECONDS = 10.0
"""For a whole answer while there is another version to ask: clients wait some 30 s, and want an answer by then."""

_SILENT_SECONDS = 0.1
"""A server that is full and answers nothing for so long is stuck: a busy one answers a row a millisecond."""

log = logging.getLogger("router")


class Refusal(Exception):
    """A request that the router answers itself: status, message, more headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What a client sent.

    Attributes:
        headers: that the server gets.
        body: of the request.
        asked: the version that has to answer, as the client wrote it.
        sticky: value of the header that pins requests to a version.
    """

    headers: Sequence[tuple[str, str]]
    body: bytes
    asked: str | None = None
    sticky: str | None = None


@dataclass(slots=True)
class _Load:
    """What a version has to do: requests in hand, and when it last answered or began to have any."""

    admission: Admission
    in_flight: int = 0
    heard: float = 0.0
    answered: float | None = None


class Forwarder:
    """Hands requests on, by routes that may be replaced at any time.

    Args:
        recorder: is told what each version did.
        timeout_seconds: for a server's whole answer.
        workers: of a version: what works on requests at the same time.
    """

    def __init__(self, recorder: Recorder, timeout_seconds: float, workers: int) -> None:
        self.routes = Routes(0, {})
        self._recorder = recorder
        self._timeout_seconds = timeout_seconds
        self._random = random.Random()
        self._loads: defaultdict[int, _Load] = defaultdict(lambda: _Load(Admission(workers)))
        self._copies: set[asyncio.Task[None]] = set()

    def in_flight(self) -> dict[int, int]:
        """Versions that have requests in hand, and how many."""
        return {version: load.in_flight for version, load in self._loads.items() if load.in_flight}

    def answered(self) -> dict[int, float]:
        """Versions that have answered at all, and how many seconds ago they last did."""
        now = time.perf_counter()
        return {
            version: now - load.answered
            for version, load in self._loads.items()
            if load.answered is not None
        }

    async def forward(self, request: ScoreRequest) -> tuple[int, Answer]:
        """Have a request answered; a copy of it goes to every version that is to get one.

        Returns:
            The version that answered, and its answer. Where all fail, what the first one said.

        Raises:
            Refusal: no version may answer it, the version is full, or the first that was tried gave no answer.
        """
        version = self._first(request)
        try:
            return await self._answered(version, request)
        finally:
            if request.asked is None:
                self._mirror(request)

    async def _answered(self, version: int, request: ScoreRequest) -> tuple[int, Answer]:
        first: tuple[int, Answer | Refusal] | None = None
        tried: list[int] = []
        gone: list[int] = []
        while True:
            tried.append(version)
            last = len(tried) == _ATTEMPTS
            others = [] if last else self._others(request, tried)
            seconds = self._timeout_seconds
            if others:
                seconds = min(seconds, _PATIENCE_SECONDS)
            outcome = await self._attempt(version, request, seconds)
            if isinstance(outcome, Answer) and outcome.status < 500:
                return version, outcome
            first = first or (version, outcome)
            if isinstance(outcome, Refusal) and outcome.status == 503:
                gone.append(version)
            # Looked up anew: a deployment may have changed the routes meanwhile. Where there is no other version, once
            # more one that was gone: a gunicorn whose worker died goes on to listen.
            others = [] if last else self._others(request, tried) or self._still_routed(gone)
            if not others:
                break
            version = others[0]
        if isinstance(first[1], Refusal):
            raise first[1]
        return first[0], first[1]

    def _first(self, request: ScoreRequest) -> int:
        backends = self.routes.backends
        if not backends:
            raise Refusal(503, "no model is deployed here", {"Retry-After": "5"})
        if (asked := request.asked) is not None:
            version = int(asked) if asked.isascii() and asked.isdecimal() else -1
            if version not in backends:
                known = ", ".join(map(str, sorted(backends)))
                raise Refusal(404, f"version {asked[:20]} is not deployed here; deployed: {known}")
        else:
            version = self.routes.choose(self._random, request.sticky)
        if self._has_room(version):
            return version
        load = self._loads[version]
        if time.perf_counter() - load.heard > _SILENT_SECONDS:
            if others := self._others(request, [version]):
                return others[0]
        # Given to another version it would only fill that one too, and change the shares.
        self._recorder.shed(version)
        message = f"version {version} has {load.in_flight} requests in hand, and takes no more now"
        raise Refusal(503, f"{message}: try again", {"Retry-After": "1"})

    def _others(self, request: ScoreRequest, tried: Sequence[int]) -> list[int]:
        if request.asked is not None:
            return []
        return [
            version
            for version in self.routes.answering()
            if version not in tried and self._has_room(version)
        ]

    def _still_routed(self, versions: Sequence[int]) -> list[int]:
        return [version for version in versions if version in self.routes.backends]

    def _has_room(self, version: int) -> bool:
        load = self._loads[version]
        return load.admission.admits(load.in_flight, time.perf_counter())

    async def _attempt(
        self, version: int, request: ScoreRequest, seconds: float
    ) -> Answer | Refusal:
        load = self._loads[version]
        port = self.routes.backends[version].port
        began = time.perf_counter()
        if not load.in_flight:
            load.heard = began
        load.in_flight += 1
        try:
            async with asyncio.timeout(seconds):
                answer = await exchange(port, "POST", "/score", request.headers, request.body)
        except TimeoutError:
            message = f"version {version} did not answer within {seconds:g} s"
            log.error(message)
            self._recorder.failed(version)
            return Refusal(504, message, {SERVED_BY: str(version)})
        except BackendGone as error:
            log.warning("version %d: %s", version, error)
            self._recorder.failed(version)
            message = f"no model server answers (version {version}: {error}); try again"
            return Refusal(503, message, {"Retry-After": "2"})
        finally:
            load.in_flight -= 1
        load.heard = load.answered = time.perf_counter()
        self._recorder.answered(version, 1000 * (load.heard - began), answer)
        return answer

    def _mirror(self, request: ScoreRequest) -> None:
        for version, backend in self.routes.backends.items():
            if backend.mirror and self._random.random() * 100 < backend.mirror:
                copy = asyncio.create_task(self._copy(version, request))
                self._copies.add(copy)
                copy.add_done_callback(self._copies.discard)

    async def _copy(self, version: int, request: ScoreRequest) -> None:
        if version in self.routes.backends and self._has_room(version):
            await self._attempt(version, request, self._timeout_seconds)
        else:
            self._recorder.dropped(version)
