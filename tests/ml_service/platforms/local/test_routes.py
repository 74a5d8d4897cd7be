"""routes.json, and which version a request goes to."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ml_service.platforms.local.routes import (
    Backend,
    Routes,
    RoutesError,
    read_routes,
    write_routes,
)

VALUES = [f"customer-{number}" for number in range(4000)]


def split(shares: dict[int, int], standby: int | None = None) -> Routes:
    backends = {version: Backend(1000 + version, share) for version, share in shares.items()}
    return Routes(1, backends, "x-customer", standby)


def chosen(routes: Routes) -> dict[str, int]:
    return {value: routes.choose(random.Random(), value) for value in VALUES}


def test_sticky_values_keep_their_version_and_its_share() -> None:
    routes = split({1: 75, 2: 25})
    first = chosen(routes)
    assert chosen(routes) == first
    # Binomial: six standard deviations of 27 around 1,000.
    assert 836 <= sum(version == 2 for version in first.values()) <= 1164


def test_sticky_values_are_the_same_on_every_machine() -> None:
    routes = split({1: 50, 2: 50})
    values = ("a", "b", "c", "\udcff")
    assert [routes.choose(random.Random(), value) for value in values] == [1, 1, 2, 1]


@pytest.mark.parametrize("others", [{}, {3: 10}])
def test_whoever_has_the_canary_keeps_it_as_its_share_grows(others: dict[int, int]) -> None:
    rest = 100 - sum(others.values())
    before: set[str] = set()
    for share in (10, 30, 50, rest):
        found = chosen(split({1: rest - share, 2: share, **others}))
        canary = {value for value, version in found.items() if version == 2}
        assert before < canary
        before = canary
    assert set(found.values()) == {2, *others}


def test_versions_without_traffic_get_none() -> None:
    routes = split({1: 0, 2: 100, 3: 0})
    assert set(chosen(routes).values()) == {2}
    assert {routes.choose(random.Random(7)) for _ in range(100)} == {2}


def test_the_standby_is_the_version_that_a_canary_joined() -> None:
    routes = Routes(1, {1: Backend(1001, 100), 2: Backend(1002, 0)})
    canary = routes.split({1: 90, 2: 10}, {}, "x-customer")
    assert (canary.revision, canary.sticky_header, canary.standby) == (2, "x-customer", 1)
    assert canary.answering() == [1, 2]
    promoted = canary.split({1: 50, 2: 50}, {}, None).split({2: 100}, {}, None)
    assert promoted.traffic() == {2: 100}
    assert promoted.answering() == [2, 1]
    back = promoted.split({1: 100}, {}, None)
    # What was rolled back answers nobody.
    assert back.answering() == [1]
    at_once = routes.split({2: 100}, {}, None)
    assert at_once.answering() == [2, 1]


def test_a_version_that_gets_copies_is_no_standby() -> None:
    routes = Routes(1, {1: Backend(1001, 0), 2: Backend(1002, 100)}, standby=1)
    assert routes.answering() == [2, 1]
    assert routes.split({2: 100}, {1: 50}, None).answering() == [2]


def test_a_standby_that_was_stopped_is_replaced() -> None:
    routes = Routes(1, {2: Backend(1002, 100), 3: Backend(1003, 0)}, standby=1)
    assert routes.answering() == [2]
    assert routes.split({3: 100}, {}, None).answering() == [3, 2]


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"revision": 1},
        {"revision": "1", "backends": {}},
        {"revision": 1, "backends": {"one": {"port": 1, "weight": 1}}},
        {"revision": 1, "backends": {"1": {"port": 0, "weight": 1}}},
        {"revision": 1, "backends": {"1": {"port": 80, "weight": 0.5}}},
        {"revision": 1, "backends": {"1": {"port": 80, "weight": True}}},
        {"revision": 1, "backends": {"1": {"port": 80, "weight": 0}}},
        {"revision": 1, "backends": {"1": {"port": 80, "weight": 1, "mirror": 101}}},
        {"revision": 1, "backends": {"1": {"port": 80, "weight": 1}}, "sticky_header": 5},
        {"revision": 1, "backends": {"1": {"port": 80, "weight": 1}}, "sticky_header": ""},
        {"revision": 1, "backends": {"1": {"port": 80, "weight": 1}}, "standby": "1"},
    ],
)
def test_routes_that_are_refused(tmp_path: Path, content: object) -> None:
    file = tmp_path / "routes.json"
    file.write_text(json.dumps(content))
    with pytest.raises(RoutesError, match="routes"):
        read_routes(file)


def test_routes_come_back_as_they_were_written(tmp_path: Path) -> None:
    backends = {1: Backend(1001, 90), 2: Backend(1003, 0, 25), 12: Backend(1002, 10)}
    routes = Routes(7, backends, "x-customer", 1)
    write_routes(tmp_path / "routes.json", routes)
    assert read_routes(tmp_path / "routes.json") == routes


def test_routes_without_what_is_optional(tmp_path: Path) -> None:
    content = {"revision": 1, "backends": {"1": {"port": 80, "weight": 1}}}
    (tmp_path / "routes.json").write_text(json.dumps(content))
    assert read_routes(tmp_path / "routes.json") == Routes(1, {1: Backend(80, 1)})
