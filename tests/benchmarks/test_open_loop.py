"""The open loop sends at its rate whatever the server does, and counts each wait from when a request was to start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import open_loop
from benchmarks.open_loop import NO_ANSWER, Answers, Target

Handle = Callable[[int, asyncio.StreamWriter], Awaitable[None]]
SCORES = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
REFUSES = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"


def _answers(handle: Handle, drive: Callable[[Target], Awaitable[Answers]]) -> tuple[Answers, int]:
    """What a server gives that handles its n-th request by a function; and how many connections it had."""

    async def run() -> tuple[Answers, int]:
        requests, connections = 0, 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal requests, connections
            connections += 1
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert b"Authorization: Bearer secret\r\n" in head
                    assert await reader.readexactly(5) == b"[[1]]"
                    requests += 1
                    await handle(requests, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, asyncio.timeout(30):
            found = await drive(Target(f"http://127.0.0.1:{port}/score", "secret", b"[[1]]"))
        return found, connections

    return asyncio.run(run())


def _at_rate(rate: float, seconds: float) -> Callable[[Target], Awaitable[Answers]]:
    return lambda target: open_loop._drive(target, rate, seconds, None)


async def _scores(number: int, writer: asyncio.StreamWriter) -> None:
    del number
    writer.write(SCORES)


def test_requests_start_evenly_and_each_is_counted() -> None:
    found, _ = _answers(_scores, _at_rate(200, 0.5))
    assert np.allclose(np.sort(found.start), np.arange(100) / 200)
    assert (found.status == 200).all()
    assert not found.retry_after.any()
    assert (found.latency_ms >= found.late_ms).all()


def test_a_server_that_stops_does_not_stop_the_client() -> None:
    going_on = asyncio.Event()

    async def stops(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 50:
            going_on.set()
        await going_on.wait()
        writer.write(SCORES)

    # Nobody is answered before the fiftieth request is there: who waited for answers would send it never.
    found, connections = _answers(stops, _at_rate(200, 0.25))
    assert (found.status == 200).all()
    assert connections == 50
    # The first was to start 49 intervals of 5 ms before the last.
    first = found.latency_ms[np.argmin(found.start)]
    assert first >= 240
    assert first > found.latency_ms[np.argmax(found.start)]


def test_refusals_and_broken_connections_are_told_apart() -> None:
    async def mixed(number: int, writer: asyncio.StreamWriter) -> None:
        if number % 3 == 0:
            writer.close()
        else:
            writer.write(SCORES if number % 3 == 1 else REFUSES)

    found, _ = _answers(mixed, _at_rate(300, 0.1))
    assert [int((found.status == status).sum()) for status in (200, 503, NO_ANSWER)] == [10, 10, 10]
    assert np.array_equal(found.retry_after, found.status == 503)
    assert found.quantile(200, 0.5) > 0
    assert np.isnan(found.quantile(404, 0.5))


def test_connections_are_kept() -> None:
    found, connections = _answers(
        _scores, lambda target: open_loop._drive(target, None, 0.1, connections=3)
    )
    assert connections == 3
    assert len(found.status) > 3
    assert (found.status == 200).all()


def test_nobody_there_is_no_answer() -> None:
    async def refused(target: Target) -> Answers:
        return await open_loop._drive(
            Target("http://127.0.0.1:1/score", "secret", target.body), 100, 0.05, None
        )

    found, connections = _answers(_scores, refused)
    assert connections == 0
    assert (found.status == NO_ANSWER).all()


def test_more_in_flight_than_is_allowed_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_loop, "_MOST_CONNECTIONS", 2)
    monkeypatch.setattr(open_loop, "_PATIENCE_SECONDS", 0.5)

    async def never(*_: Any) -> None:
        await asyncio.sleep(0.2)

    found, connections = _answers(never, _at_rate(1000, 0.01))
    assert connections == 2
    assert (found.status == NO_ANSWER).all()


def test_the_process_of_its_own_gives_back_what_it_saw() -> None:
    nowhere = Target("http://127.0.0.1:1/score", "secret", b"{}")
    with open_loop.generator() as client:
        assert len(client.at_rate(nowhere, 100, 0.05).result(30).status) == 5


def test_parts_follow_each_other() -> None:
    one = Answers(
        start=np.array([0.0, 1.0]),
        late_ms=np.array([0.0, 1.0]),
        latency_ms=np.array([5.0, 6.0]),
        status=np.array([200, 503]),
        retry_after=np.array([False, True]),
        seconds=2.5,
    )
    both = open_loop.in_a_row([one, one, one])
    assert both.start.tolist() == [0.0, 1.0, 2.5, 3.5, 5.0, 6.0]
    assert both.status.tolist() == [200, 503] * 3
    assert both.latency_ms.tolist() == [5.0, 6.0] * 3
    assert both.retry_after.tolist() == [False, True] * 3
    assert both.seconds == 7.5
