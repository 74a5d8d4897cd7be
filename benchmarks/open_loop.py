"""Requests at a fixed rate, whether or not the earlier ones were answered, from a process of its own.

A client that waits for each answer slows down with the server, and so neither overloads it nor counts the wait of the
requests that it did not send meanwhile. Here every request has a moment at which it was to start, and its latency
counts from there.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.load import post_request

NO_ANSWER = 0
"""In the place of a status: the connection failed, or there was no answer in time."""

_PATIENCE_SECONDS = 30.0
_MOST_CONNECTIONS = 5_000
"""Requests in flight; one more counts as not answered. Well above what a server may have in hand before it refuses."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and what they say."""

    url: str
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back; one entry a request, in no order.

    Attributes:
        start: seconds from the begin at which it was to start.
        late_ms: how much later the client itself sent it.
        latency_ms: from when it was to start to the whole answer.
        status: of HTTP, or ``NO_ANSWER``.
        retry_after: whether the answer says when to come again.
        seconds: that all took together.
    """

    start: NDArray[np.float64]
    late_ms: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    status: NDArray[np.int64]
    retry_after: NDArray[np.bool_]
    seconds: float

    def quantile(self, status: int, share: float) -> float:
        """A quantile of the latencies of the answers with a status, in ms; NaN where there are none.

        Without what the client was late itself, which on a machine that it shares with the servers is not their doing.
        """
        chosen = (self.latency_ms - self.late_ms)[self.status == status]
        return float(np.quantile(chosen, share)) if len(chosen) else float("nan")

    def least_rate(self, status: int, windows: int) -> float:
        """Answers with a status, each second, in the window of equal length that had the fewest of them."""
        answered = (self.start + self.latency_ms / 1000)[self.status == status]
        counts, edges = np.histogram(answered, bins=windows, range=(0, self.seconds))
        return float(counts.min() / (edges[1] - edges[0]))


def in_a_row(parts: Sequence[Answers]) -> Answers:
    """Answers that came one part after another, as if of one run."""
    ends = np.cumsum([part.seconds for part in parts])
    return Answers(
        np.concatenate(
            [part.start + end - part.seconds for part, end in zip(parts, ends, strict=True)]
        ),
        np.concatenate([part.late_ms for part in parts]),
        np.concatenate([part.latency_ms for part in parts]),
        np.concatenate([part.status for part in parts]),
        np.concatenate([part.retry_after for part in parts]),
        float(ends[-1]),
    )


class Generator:
    """A process that sends requests when it is told to."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def at_rate(self, target: Target, rate: float, seconds: float) -> Future[Answers]:
        """Send ``rate`` requests a second, evenly spaced."""
        return self._pool.submit(_run, target, rate, seconds, None)

    def in_turn(self, target: Target, connections: int, seconds: float) -> Future[Answers]:
        """Send the next request when one is answered, on so many connections: what can be answered at most."""
        return self._pool.submit(_run, target, None, seconds, connections)


@contextmanager
def generator() -> Iterator[Generator]:
    """Start the process; it ends with the block."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        yield Generator(pool)


class _Connection(asyncio.Protocol):
    """One connection that is kept; one request at a time."""

    def __init__(self) -> None:
        self.open = True
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bool]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.WriteTransport, transport)

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bool]]:
        """Send a request; the result is status and whether there is a Retry-After."""
        assert self._transport is not None, "connected"
        self._received = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or self._answer is None or self._answer.done():
            return
        lines = head.lower().split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines[1:])
        if len(body) >= int(headers[b"content-length"]):
            self._answer.set_result((int(lines[0].split()[1]), b"retry-after" in headers))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed before the answer"))

    def close(self) -> None:
        """Close it at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()


class _Client:
    def __init__(self, target: Target) -> None:
        address = urlsplit(target.url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        authorization = {"Authorization": f"Bearer {target.key}"}
        self._request = post_request(target.url, target.body, authorization)
        self._idle: list[_Connection] = []
        self._in_flight = 0
        self._begin = time.perf_counter()
        self.answers: list[tuple[float, float, float, int, bool]] = []

    def now(self) -> float:
        """Seconds since the begin."""
        return time.perf_counter() - self._begin

    async def one(self, start: float) -> None:
        """Send one request that was to start at a moment, and note what came."""
        sent = self.now()
        status, retry_after = NO_ANSWER, False
        self._in_flight += 1
        if self._in_flight <= _MOST_CONNECTIONS:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    status, retry_after = await self._ask()
        self._in_flight -= 1
        latency, late = 1000 * (self.now() - start), 1000 * (sent - start)
        self.answers.append((start, late, latency, status, retry_after))

    async def _ask(self) -> tuple[int, bool]:
        connection = await self._connection()
        try:
            found = await connection.ask(self._request)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return found

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._host, self._port)
        return connection

    def close(self) -> None:
        """Close what is open."""
        for connection in self._idle:
            connection.close()


def _run(target: Target, rate: float | None, seconds: float, connections: int | None) -> Answers:
    return uvloop.run(_drive(target, rate, seconds, connections))


async def _drive(
    target: Target, rate: float | None, seconds: float, connections: int | None
) -> Answers:
    client = _Client(target)
    if rate is not None:
        await _at_rate(client, rate, seconds)
    else:
        await asyncio.gather(*(_in_turn(client, seconds) for _ in range(connections or 1)))
    lasted = client.now()
    client.close()
    start, late, latency, status, retry_after = zip(*client.answers, strict=True)
    return Answers(
        np.array(start),
        np.array(late),
        np.array(latency),
        np.array(status),
        np.array(retry_after),
        lasted,
    )


async def _at_rate(client: _Client, rate: float, seconds: float) -> None:
    pending: set[asyncio.Task[None]] = set()
    for number in range(max(1, int(rate * seconds))):
        start = number / rate
        if (wait := start - client.now()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(client.one(start))
        pending.add(task)
        task.add_done_callback(pending.discard)
    await asyncio.gather(*pending)


async def _in_turn(client: _Client, seconds: float) -> None:
    while (start := client.now()) < seconds:
        await client.one(start)
