"""Which version answers a request, and what happens when it does not: without sockets, servers are functions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from ml_service.platforms.local import admission, forwarding
from ml_service.platforms.local.exchange import Answer, BackendGone
from ml_service.platforms.local.forwarding import Forwarder, Refusal, ScoreRequest
from ml_service.platforms.local.observation_store import ObservationWriter
from ml_service.platforms.local.recording import Recorder
from ml_service.platforms.local.routes import Backend, Routes

Serve = Callable[[], Awaitable[Answer]]
REQUEST = ScoreRequest([], b"{}")
SCORES = Answer(200, [], b'{"result": [0.5]}')
FAILS = Answer(500, [], b'{"error": "a bug"}')


class Noted(Recorder):
    """Counts what it is told."""

    def __init__(self) -> None:
        super().__init__(ObservationWriter(Path("never written")))
        self.seen: Counter[tuple[str, int]] = Counter()

    def answered(self, version: int, milliseconds: float, answer: Answer) -> None:
        assert milliseconds >= 0
        self.seen["failed" if answer.status >= 500 else "answered", version] += 1

    def failed(self, version: int) -> None:
        self.seen["failed", version] += 1

    def shed(self, version: int) -> None:
        self.seen["shed", version] += 1

    def dropped(self, version: int) -> None:
        self.seen["dropped", version] += 1


class Place:
    """A forwarder, and the versions that it knows. The port of a version is its number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen = Noted()
        self.forwarder = Forwarder(self.seen, timeout_seconds=0.2, workers=1)
        monkeypatch.setattr(admission, "BURST", 2)
        monkeypatch.setattr(admission, "STANDING", 2)
        self.servers: dict[int, Serve] = {}
        self.got: Counter[int] = Counter()
        monkeypatch.setattr(forwarding, "exchange", self._exchange)

    def route(
        self,
        servers: Mapping[int, Serve],
        weights: Mapping[int, int],
        mirror: Mapping[int, int] | None = None,
        standby: int | None = None,
    ) -> None:
        self.servers = dict(servers)
        copies = mirror or {}
        backends = {
            version: Backend(version, weights.get(version, 0), copies.get(version, 0))
            for version in servers
        }
        self.forwarder.routes = Routes(1, backends, standby=standby)

    async def ask(self, request: ScoreRequest = REQUEST) -> tuple[int, int | None]:
        """Status, and the version that answered, if one did."""
        try:
            version, answer = await self.forwarder.forward(request)
        except Refusal as refusal:
            return refusal.status, None
        return answer.status, version

    async def _exchange(self, port: int, *rest: object) -> Answer:
        self.got[port] += 1
        return await self.servers[port]()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(monkeypatch)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(20):
            return await coroutine

    return asyncio.run(limited())


async def scores() -> Answer:
    return SCORES


async def fails() -> Answer:
    return FAILS


async def hangs() -> Answer:
    await asyncio.sleep(3600)
    return SCORES


async def gone() -> Answer:
    raise BackendGone("port 1: connection refused")


async def bad_request() -> Answer:
    return Answer(400, [], b"{}")


@pytest.mark.parametrize("canary", [fails, hangs, gone])
def test_what_one_version_fails_another_answers(place: Place, canary: Serve) -> None:
    place.route({1: scores, 2: canary}, {1: 1, 2: 99})

    async def ask() -> list[tuple[int, int | None]]:
        return [await place.ask() for _ in range(4)]

    assert run(ask()) == [(200, 1)] * 4
    assert place.seen.seen["failed", 2] == place.got[2] > 0
    assert place.seen.seen["answered", 1] == 4
    assert not place.forwarder.in_flight()


@pytest.mark.parametrize("canary", [fails, hangs, gone])
def test_the_standby_answers_where_it_has_no_traffic_any_more(place: Place, canary: Serve) -> None:
    place.route({1: scores, 2: canary}, {2: 100}, standby=1)
    assert run(place.ask()) == (200, 1)
    # No other version without traffic does.
    place.route({1: scores, 2: canary, 3: scores}, {2: 100})
    assert run(place.ask())[0] >= 500
    assert place.got[3] == 0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (fails, gone, (500, 1)),
        (fails, hangs, (500, 1)),
        (gone, fails, (503, None)),
        (hangs, fails, (504, None)),
    ],
)
def test_when_all_fail_the_client_gets_what_the_first_said(
    place: Place, first: Serve, second: Serve, expected: tuple[int, int | None]
) -> None:
    place.route({1: first, 2: second}, {1: 100}, standby=2)
    assert run(place.ask()) == expected
    assert place.got[1] >= 1 and place.got[2] >= 1


def test_a_request_is_tried_three_times_at_most(place: Place) -> None:
    place.route(dict.fromkeys(range(5), fails), dict.fromkeys(range(5), 20))
    assert run(place.ask())[0] == 500
    assert place.got.total() == 3
    place.got.clear()
    place.route({1: gone}, {1: 100})
    assert run(place.ask())[0] == 503
    assert place.got.total() == 3


def test_a_bad_request_is_nobodys_fault(place: Place) -> None:
    place.route({1: bad_request, 2: scores}, {1: 100}, standby=2)
    assert run(place.ask()) == (400, 1)
    assert place.seen.seen == {("answered", 1): 1}


@pytest.mark.parametrize(("canary", "status"), [(fails, 500), (hangs, 504), (gone, 503)])
def test_who_asks_for_a_version_stays_with_it(place: Place, canary: Serve, status: int) -> None:
    place.route({1: scores, 2: canary}, {1: 100})
    assert run(place.ask(ScoreRequest([], b"{}", asked="2")))[0] == status
    assert place.got[1] == 0


def test_a_full_version_refuses_and_no_other_gets_the_request(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_SILENT_SECONDS", 3600)
    statuses = _fill(place)
    assert statuses == [200, 200, 503]
    assert place.seen.seen["shed", 1] == 1
    assert place.seen.seen["failed", 1] == 0
    assert place.got == {1: 2}


def test_a_full_version_that_is_silent_is_passed_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_SILENT_SECONDS", -1)
    assert _fill(place) == [200, 200, 200]
    assert place.seen.seen["shed", 1] == 0
    assert place.got == {1: 2, 2: 1}


def _fill(place: Place) -> list[int]:
    """Two requests that version 1 holds, and a third; the statuses of all."""

    async def fill() -> list[int]:
        finish = asyncio.Event()

        async def waits() -> Answer:
            await finish.wait()
            return SCORES

        place.route({1: waits, 2: scores}, {1: 100}, standby=2)
        held = [asyncio.create_task(place.ask()) for _ in range(2)]
        while place.got[1] < 2:
            await asyncio.sleep(0)
        third, _ = await place.ask()
        finish.set()
        return [*(status for status, _ in await asyncio.gather(*held)), third]

    found: list[int] = run(fill())
    return found


def test_a_full_version_takes_requests_again(place: Place) -> None:
    _fill(place)
    assert run(place.ask()) == (200, 1)


def test_copies_are_made_behind_the_answer_and_their_answers_reach_nobody(place: Place) -> None:
    place.route({1: scores, 2: fails}, {1: 100}, mirror={2: 100})

    async def ask() -> list[tuple[int, int | None]]:
        answers = [await place.ask() for _ in range(5)]
        while place.seen.seen["failed", 2] < 5:
            await asyncio.sleep(0)
        return answers

    assert run(ask()) == [(200, 1)] * 5
    assert place.got == {1: 5, 2: 5}
    # Not even where there is no other answer.
    place.route({1: fails, 2: scores}, {1: 100}, mirror={2: 100}, standby=2)
    assert run(place.ask()) == (500, 1)


def test_copies_beyond_what_a_version_takes_are_dropped(place: Place) -> None:
    place.route({1: scores, 2: hangs}, {1: 100}, mirror={2: 100})

    async def ask() -> list[tuple[int, int | None]]:
        answers = [await place.ask() for _ in range(6)]
        while place.seen.seen["failed", 2] < 2:
            await asyncio.sleep(0.01)
        return answers

    assert run(ask()) == [(200, 1)] * 6
    assert (place.got[2], place.seen.seen["dropped", 2]) == (2, 4)
    assert place.seen.seen["shed", 2] == 0


def test_a_share_of_the_requests_is_copied(place: Place) -> None:
    place.route({1: scores, 2: scores}, {1: 100}, mirror={2: 25})

    async def ask() -> None:
        for _ in range(400):
            await place.ask()
            await place.ask(ScoreRequest([], b"{}", asked="1"))
        await asyncio.sleep(0.05)

    run(ask())
    # Binomial: six standard deviations of 8.7 around 100; who asks for a version asks no other.
    assert 48 <= place.got[2] <= 152


def test_nobody_is_asked_where_nothing_is_deployed(place: Place) -> None:
    assert run(place.ask()) == (503, None)
