"""A canary on a local endpoint with the real servers: started, given traffic, failing, killed, and stopped.

The tests run in order on one endpoint, with version 1 in production and version 3 beside it.
"""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from insurance_claims.monitoring.observations import Observations
from ml_service.platforms import base
from ml_service.platforms.base import Endpoint, PlatformError, Routing
from ml_service.platforms.local.endpoints import LocalEndpoints
from ml_service.platforms.local.programs import Serving
from ml_service.platforms.local.serving_command import SCORE_SCRIPT
from ml_service.platforms.local.supervision import Supervisor
from ml_service.smoke_test import example_rows
from tests.ml_service.platforms.local.light_load import light_load

pytestmark = pytest.mark.slow

WHERE = "production"
BODY = json.dumps({"data": example_rows(1)}).encode()
ROUTER = "ml_service.platforms.local.router"
SCRIPT = """
import os
from pathlib import Path
from azureml_inference_server_http.api.aml_request import rawhttp
from flask import Response
from insurance_claims.scoring import score

MODE = Path(__file__).with_name("mode")

def init():
    if MODE.read_text() == "dies":
        raise RuntimeError("as it was told")
    score.init()

@rawhttp
def run(request):
    if MODE.read_text() == "fails":
        return Response("{}", 500)
    return score.run(request)
"""


class Place:
    """The endpoint, and what version 3 is to do."""

    def __init__(self, endpoints: LocalEndpoints, mode: Path) -> None:
        # Type checkers see here that the class keeps the protocol.
        self.endpoints: base.Endpoints = endpoints
        self.supervisor = Supervisor(endpoints.folder(WHERE))
        self.models = endpoints.folder(WHERE) / "models" / "claims"
        self._mode = mode

    def canary(self, does: str) -> None:
        """``scores``, ``fails`` each request, or ``dies`` when it starts."""
        self._mode.write_text(does)

    def get(self) -> Endpoint:
        endpoint = self.endpoints.get(WHERE)
        assert endpoint is not None
        return endpoint

    def wait(self, version: int, health: str) -> str | None:
        """Why a version is as it is, once it is so; it must be starting until then."""
        for _ in range(600):
            found, reason = self.endpoints.health(WHERE, version)
            if found == health:
                return reason
            assert found == "starting", (found, reason)
            time.sleep(0.1)
        raise AssertionError(f"{found} {reason}\n{self.endpoints.logs(WHERE)}")

    def observed(self, since: datetime, enough: Callable[[Observations], bool]) -> Observations:
        """What version 3 did, once it is enough."""
        for _ in range(300):
            found = self.endpoints.observed(WHERE, since).of(3)
            if enough(found):
                return found
            time.sleep(0.1)
        raise AssertionError(found)

    def processes(self, part: str) -> list[psutil.Process]:
        """Processes with this word on their command line, parents first."""
        found = []
        for process in self.supervisor.strays():
            with suppress(psutil.Error):
                if part in " ".join(process.cmdline()):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())

    def servers(self, version: int) -> list[psutil.Process]:
        """gunicorn's master and worker of a version."""
        found = []
        for process in self.processes("gunicorn"):
            with suppress(psutil.Error):
                if process.environ()["AZUREML_MODEL_DIR"] == str(self.models / str(version)):
                    found.append(process)
        return found

    def load(self) -> AbstractContextManager[Counter[str]]:
        """Light load from one client."""
        endpoint = self.get()
        return light_load(lambda: ask(endpoint)[0], 0.01)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Place]:
    """Version 1 in production."""
    folder = tmp_path_factory.mktemp("canary")
    script = folder / "canary.py"
    script.write_text(SCRIPT)
    serving = Serving(entry_script=lambda version: script if version == 3 else SCORE_SCRIPT)
    endpoints = LocalEndpoints(
        folder / "state", lambda version: models / str(version), "claims", serving=serving
    )
    place = Place(endpoints, folder / "mode")
    place.canary("scores")
    try:
        endpoints.deploy(WHERE, 1, print)
        yield place
    finally:
        with suppress(Exception):
            endpoints.remove(WHERE, print)
        place.supervisor.kill_strays()


def ask(endpoint: Endpoint, **headers: str) -> tuple[int, str | None]:
    """Status, and the version that answered."""
    parts = urlsplit(endpoint.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        key = {"Authorization": f"Bearer {endpoint.key}"}
        connection.request("POST", "/score", BODY, {**sent, **key})
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("x-served-by-version")
    finally:
        connection.close()


def next_second() -> datetime:
    """Wait for the begin of a second: what is asked from then on is observed from then on."""
    time.sleep(1.01 - time.time() % 1)
    return datetime.fromtimestamp(int(time.time()), UTC)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_version_starts_without_traffic(place: Place) -> None:
    place.endpoints.start_version(WHERE, 3)
    assert place.endpoints.traffic(WHERE) == {1: 100}
    with pytest.raises(PlatformError, match="version 3 in production is starting"):
        place.endpoints.set_routing(WHERE, Routing({1: 90, 3: 10}))
    place.wait(3, "healthy")
    servers = [process.pid for process in place.servers(3)]
    assert len(servers) == 2
    place.endpoints.start_version(WHERE, 3)
    assert [process.pid for process in place.servers(3)] == servers
    found = place.get()
    assert (found.traffic, found.models) == ({1: 100}, {1: "healthy", 3: "healthy"})
    assert {ask(found)[1] for _ in range(20)} == {"1"}


def test_a_version_that_is_not_served_gets_no_traffic(place: Place) -> None:
    for routing in (Routing({1: 50, 2: 50}), Routing({1: 100}, mirror={2: 10})):
        with pytest.raises(PlatformError, match="version 2 is not served .*served: 1, 3"):
            place.endpoints.set_routing(WHERE, routing)
    assert place.endpoints.traffic(WHERE) == {1: 100}


def test_shares_change_under_load_without_a_failed_request(place: Place) -> None:
    begin = next_second()
    with place.load() as counts:
        for share in (10, 50, 90):
            place.endpoints.set_routing(WHERE, Routing({1: 100 - share, 3: share}))
            seen = counts["200"]
            wait_for(lambda seen=seen: counts["200"] > seen + 20)  # type: ignore[misc]
        place.endpoints.set_routing(WHERE, Routing({3: 100}))
        place.endpoints.set_routing(WHERE, Routing({1: 60, 3: 40}, sticky_header="x-customer"))
    assert set(counts) == {"200"}
    assert place.endpoints.traffic(WHERE) == {1: 60, 3: 40}
    observed = place.observed(begin, lambda found: found.requests > 20)
    assert observed.errors == 0
    assert observed.scores.total == observed.latencies.total == observed.requests
    window = place.endpoints.observed(WHERE, begin)
    assert window.start == begin < window.end
    endpoint = place.get()
    for number in range(5):
        assert len({ask(endpoint, x_customer=str(number))[1] for _ in range(3)}) == 1


def test_a_canary_that_fails_is_seen_by_nobody_but_the_observer(place: Place) -> None:
    place.canary("fails")
    begin = next_second()
    endpoint = place.get()
    assert {ask(endpoint) for _ in range(40)} == {(200, "1")}
    assert ask(endpoint, x_model_version="3") == (500, "3")
    observed = place.observed(begin, lambda found: found.requests > 5)
    assert observed.errors == observed.requests
    # It answers, if only with errors.
    assert place.endpoints.health(WHERE, 3)[0] == "healthy"
    place.canary("scores")


def test_a_canary_that_only_gets_copies(place: Place) -> None:
    place.endpoints.set_routing(WHERE, Routing({1: 100}, mirror={3: 100}))
    begin = next_second()
    endpoint = place.get()
    assert {ask(endpoint) for _ in range(10)} == {(200, "1")}
    observed = place.observed(begin, lambda found: found.requests >= 10)
    assert (observed.requests, observed.errors, observed.scores.total) == (10, 0, 10)


def test_a_worker_of_the_canary_is_killed(place: Place) -> None:
    place.endpoints.set_routing(WHERE, Routing({1: 50, 3: 50}))
    with place.load() as counts:
        worker = place.servers(3)[-1]
        worker.kill()
        wait_for(lambda: len(place.servers(3)) == 2 and place.servers(3)[-1].pid != worker.pid)
        place.wait(3, "healthy")
        seen = counts["200"]
        wait_for(lambda: counts["200"] > seen + 10)
    assert set(counts) == {"200"}


def test_the_router_is_killed_and_observations_survive(place: Place) -> None:
    begin = next_second()
    with place.load() as counts:
        before = place.observed(begin, lambda found: found.requests > 10)
        [router] = place.processes(ROUTER)
        router.kill()
        router.wait(10)
        # Versions are as they were, and routes can be changed once there is a router again.
        assert place.endpoints.health(WHERE, 3) == ("healthy", None)
        place.endpoints.set_routing(WHERE, Routing({1: 40, 3: 60}))
        seen = counts["200"]
        wait_for(lambda: counts["200"] > seen + 20)
        after = place.observed(begin, lambda found: found.requests > before.requests)
    assert after.errors == 0
    assert {"500", "502", "503", "504"}.isdisjoint(counts), counts
    assert place.endpoints.traffic(WHERE) == {1: 40, 3: 60}


def test_a_version_with_traffic_is_not_stopped(place: Place) -> None:
    with pytest.raises(PlatformError, match="version 3 answers 60%"):
        place.endpoints.stop_version(WHERE, 3)
    assert place.endpoints.traffic(WHERE) == {1: 40, 3: 60}


def test_a_version_without_traffic_is_stopped(place: Place) -> None:
    with place.load() as counts:
        place.endpoints.set_routing(WHERE, Routing({1: 100}))
        for _ in range(2):
            place.endpoints.stop_version(WHERE, 3)
            assert place.servers(3) == []
    assert set(counts) == {"200"}
    assert place.get().models == {1: "healthy"}
    assert [folder.name for folder in place.models.iterdir()] == ["1"]
    assert place.endpoints.health(WHERE, 3)[0] == "unhealthy"


def test_a_version_that_dies_again_and_again_is_unhealthy(place: Place) -> None:
    place.canary("dies")
    place.endpoints.start_version(WHERE, 3)
    reason = place.wait(3, "unhealthy")
    assert "again and again" in (reason or "") and "as it was told" in (reason or "")
    with pytest.raises(PlatformError, match="version 3 in production is unhealthy"):
        place.endpoints.set_routing(WHERE, Routing({1: 90, 3: 10}))
    assert place.endpoints.health(WHERE, 1) == ("healthy", None)
    place.endpoints.stop_version(WHERE, 3)
    place.canary("scores")


def test_the_supervisor_is_killed_while_a_canary_has_traffic(place: Place) -> None:
    place.endpoints.start_version(WHERE, 3)
    place.wait(3, "healthy")
    place.endpoints.set_routing(WHERE, Routing({1: 50, 3: 50}))
    begin = next_second()
    with place.load() as counts:
        [supervisor] = place.processes("supervisord")
        supervisor.kill()
        supervisor.wait(10)
        assert place.endpoints.health(WHERE, 3) == ("healthy", None)
        place.observed(begin, lambda found: found.requests > 5)
        # Traffic can be taken away from a bad canary, but nothing can be started or stopped.
        place.endpoints.set_routing(WHERE, Routing({1: 100}))
        for change in (place.endpoints.start_version, place.endpoints.stop_version):
            with pytest.raises(PlatformError, match="supervisor of production does not run"):
                change(WHERE, 3)
        assert place.get().state == "unhealthy"
    assert set(counts) == {"200"}
    repaired = place.endpoints.deploy(WHERE, 1, print)
    assert (repaired.state, repaired.traffic, repaired.models) == (
        *("healthy", {1: 100}),
        {1: "healthy"},
    )
    assert place.endpoints.observed(WHERE, begin).of(3).requests > 5
