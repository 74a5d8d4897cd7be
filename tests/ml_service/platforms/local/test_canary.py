"""The router as a process, with a canary beside production: what clients see, and what is observed of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_service.platforms.local import probe
from tests.ml_service.platforms.local.router_process import Running, Serve, running_router


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A router of versions with one worker each."""
    with running_router(tmp_path_factory.mktemp("state")) as running:
        yield running


def ask(router: Running, times: int, at_once: int = 1, **headers: str) -> Counter[tuple[int, str]]:
    """Status and version of so many requests."""

    def one(_: int) -> tuple[int, str]:
        status, given, _ = router.ask(**headers)
        return status, given.get("x-served-by-version", "")

    with ThreadPoolExecutor(at_once) as pool:
        return Counter(pool.map(one, range(times)))


@pytest.mark.parametrize("behaviour", ["sometimes fails", "hangs"])
def test_no_client_sees_a_canary_that_fails(router: Running, serve: Serve, behaviour: str) -> None:
    production, canary = serve("scores"), serve(behaviour)
    production.answer = b'{"result": [0.25]}'
    canary.answer = b'{"result": [0.75]}'
    since = router.begin()
    router.route({1: (production.port, 50), 2: (canary.port, 50)})
    times = 8 if behaviour == "hangs" else 60
    answers = ask(router, times, at_once=4)
    assert {status for status, _ in answers} == {200}
    given = len(canary.requests)
    observed = router.observed(since, 2, given)
    assert observed.requests == given > 0
    failed = given - answers[200, "2"]
    assert observed.errors == failed > 0
    assert observed.latencies.total == observed.scores.total == given - failed
    other = router.observed(since, 1, answers[200, "1"])
    assert (other.requests, other.errors) == (answers[200, "1"], 0)
    assert other.score_moments.mean == 0.25


def test_the_same_value_goes_to_the_same_version(router: Running, serve: Serve) -> None:
    backends = {1: (serve("scores").port, 50), 2: (serve("scores").port, 50)}
    router.route(backends, sticky_header="x-customer")
    versions = [ask(router, 3, x_customer=f"customer-{number}") for number in range(12)]
    assert all(len(found) == 1 for found in versions)
    assert len({version for found in versions for version in found}) == 2
    # Without the header it is left to chance.
    assert len(ask(router, 40)) == 2


def test_a_canary_that_only_gets_copies(router: Running, serve: Serve) -> None:
    production, canary = serve("scores"), serve("fails")
    router.route({1: (production.port, 100), 2: (canary.port, 0, 100)})
    since = router.begin()
    assert ask(router, 10) == {(200, "1"): 10}
    dropped = router.wait(lambda said: True)["dropped_copies"].get("2", 0)
    observed = router.observed(since, 2, 10 - dropped)
    assert observed.requests == observed.errors == len(canary.requests) == 10 - dropped > 0


def test_the_excess_is_refused_with_a_reason(router: Running, serve: Serve) -> None:
    hanging = serve("hangs")
    router.route({9: (hanging.port, 100)})
    since = router.begin()

    def one(_: int) -> tuple[int, str, str]:
        status, headers, content = router.ask()
        return status, headers.get("retry-after", ""), content["error"]["message"]

    with ThreadPoolExecutor(170) as pool:
        answers = list(pool.map(one, range(170)))
    refused = [answer for answer in answers if answer[0] == 503]
    assert {status for status, _, _ in answers} == {503, 504}
    assert all(retry == "1" and "requests in hand" in reason for _, retry, reason in refused)
    # They never reached it, and are no errors of it.
    given = len(answers) - len(refused)
    assert 0 < len(hanging.requests) <= given
    observed = router.observed(since, 9, given)
    assert observed.requests == observed.errors == given
    assert router.wait(lambda said: True)["shed"]["9"] == len(refused)


def test_what_a_killed_router_has_written_is_kept(tmp_path: Path, serve: Serve) -> None:
    server = serve("scores")
    with running_router(tmp_path) as killed:
        killed.route({1: (server.port, 100)})
        # From before the moment, and not observed.
        ask(killed, 3)
        since = killed.begin()
        ask(killed, 10)
        killed.observed(since, 1, 10)
        killed.process.kill()
        killed.process.wait()
    assert killed.observed(since, 1, 10).requests == 10
    with running_router(tmp_path) as another:
        another.route({1: (server.port, 100)})
        ask(another, 4)
        assert another.observed(since, 1, 14).requests == 14


def test_a_version_without_traffic_may_fail_and_the_endpoint_is_ready(
    router: Running, serve: Serve
) -> None:
    router.route({1: (serve().port, 100), 2: (probe.free_port(), 0)})
    status, _, content = router.ask("GET", "/ready")
    assert (status, content["ready"]) == (200, True)
    assert content["backends"]["1"]["state"] == "healthy"
    assert content["backends"]["2"]["state"] != "healthy"
