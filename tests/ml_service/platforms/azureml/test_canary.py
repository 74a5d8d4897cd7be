"""Versions beside each other on an emulated AKS endpoint: started, given traffic, taken back, and what goes wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from ml_service.platforms.azureml import deployment, operations
from ml_service.platforms.azureml.endpoints import AzureEndpoints
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Endpoint, PlatformError, Routing
from tests.ml_service.platforms.azureml.clients import ask, load, quiet

if TYPE_CHECKING:
    from tests.azureml_emulator.process import EmulatorProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def canary(endpoints: AzureEndpoints) -> Endpoint:
    """Version 2 beside version 1, which answers everything. Containers are kept from test to test."""
    found = endpoints.get("production")
    if found is None or found.models.get(1) != "healthy":
        endpoints.deploy("production", 1, quiet)
    endpoints.start_version("production", 2)
    until(lambda: endpoints.health("production", 2)[0] == "healthy")
    endpoints.set_routing("production", Routing({1: 100}))
    ready = endpoints.get("production")
    assert ready is not None
    assert (ready.traffic, ready.state) == ({1: 100, 2: 0}, "healthy")
    return ready


def until(condition: Callable[[], bool]) -> None:
    """Wait until it is true."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def writes(emulator: EmulatorProcess) -> list[str]:
    """Methods of the calls that changed services since this was asked last."""
    calls, refused = emulator.calls()
    assert refused == []
    assert [call for call in calls if call["status"] == 501] == []
    return [
        call["method"]
        for call in calls
        if call["method"] in ("PATCH", "DELETE") and "/services/" in call["path"]
    ]


def test_a_canary_comes_gets_its_share_and_is_promoted(
    endpoints: AzureEndpoints, production: Endpoint
) -> None:
    with load(production) as counts:
        endpoints.start_version("production", 2)
        assert endpoints.health("production", 2)[0] == "starting"
        endpoints.start_version("production", 2)
        assert endpoints.traffic("production") == {1: 100}
        until(lambda: endpoints.health("production", 2) == ("healthy", None))
    assert set(counts) == {(200, "1")}
    with load(production) as counts:
        endpoints.set_routing("production", Routing({1: 90, 2: 10}))
        assert endpoints.traffic("production") == {1: 90, 2: 10}
        served = Counter(ask(production)[1] for _ in range(200))
        with pytest.raises(PlatformError, match="version 2 answers 10% of the requests"):
            endpoints.stop_version("production", 2)
        endpoints.set_routing("production", Routing({2: 100}))
        assert endpoints.traffic("production") == {2: 100}
        assert {ask(production) for _ in range(10)} == {(200, "2")}
        endpoints.stop_version("production", 1)
        endpoints.stop_version("production", 1)
    # Binomial: 4.7 standard deviations of 4.24 around 20.
    assert 1 <= served["2"] <= 40, served
    assert {status for status, _ in counts} == {200}
    after = endpoints.get("production")
    assert after is not None
    assert (after.traffic, after.models, after.state) == ({2: 100}, {2: "healthy"}, "healthy")
    assert (after.url, after.key) == (production.url, production.key)
    assert endpoints.health("production", 1)[0] == "unhealthy"
    with load(after) as counts:
        again = endpoints.deploy("production", 1, quiet)
    assert {status for status, _ in counts} == {200}
    assert (again.traffic, again.url, again.key) == ({1: 100}, after.url, after.key)


def test_a_canary_that_never_answers_says_why_and_gets_nothing(
    endpoints: AzureEndpoints, canary: Endpoint
) -> None:
    with load(canary) as counts:
        endpoints.start_version("production", 4)
        until(lambda: endpoints.health("production", 4)[0] != "starting")
        health, reason = endpoints.health("production", 4)
        assert health == "unhealthy"
        assert "not a LightGBM model" in str(reason)
        with pytest.raises(PlatformError, match="version 4 .* cannot answer 10% .*unhealthy"):
            endpoints.set_routing("production", Routing({1: 90, 4: 10}))
        found = endpoints.get("production")
        assert found is not None
        assert (found.state, found.traffic) == ("healthy", {1: 100, 2: 0, 4: 0})
        endpoints.stop_version("production", 4)
    assert set(counts) == {(200, "1")}
    assert endpoints.get("production") == canary


@pytest.mark.parametrize(
    "routing",
    [
        Routing({1: 100}, mirror={2: 10}),
        Routing({1: 90, 2: 10}, sticky_header="x-customer"),
    ],
)
@pytest.mark.parametrize("environment", ["production", "staging"])
def test_what_the_front_end_cannot_do_is_refused_and_changes_nothing(
    endpoints: AzureEndpoints, emulator: EmulatorProcess, environment: str, routing: Routing
) -> None:
    emulator.calls()
    for call in (endpoints.check_routing, endpoints.set_routing):
        with pytest.raises(PlatformError, match=f"{environment} .*(copy|pin) requests.*plan"):
            call(environment, routing)
    assert writes(emulator) == []
    endpoints.check_routing(environment, Routing({1: 90, 2: 10}))


def test_a_version_that_is_not_served_gets_no_requests(
    endpoints: AzureEndpoints, canary: Endpoint, emulator: EmulatorProcess
) -> None:
    emulator.calls()
    with pytest.raises(PlatformError, match="version 3 is not served in production"):
        endpoints.set_routing("production", Routing({1: 90, 3: 10}))
    assert writes(emulator) == []
    assert endpoints.get("production") == canary


@pytest.mark.parametrize(
    "fault",
    [
        {"method": "PATCH", "path": "/services/", "cut": True, "times": 2},
        {"method": "PATCH", "path": "/services/", "lost": True},
        {"method": "PATCH", "path": "/services/", "status": 409, "times": 2},
        {"method": "GET", "path": "/operations/", "cut": True, "times": 2},
    ],
)
def test_traffic_arrives_where_it_should_whatever_happens_on_the_way(
    endpoints: AzureEndpoints, canary: Endpoint, fault: dict[str, Any], emulator: EmulatorProcess
) -> None:
    emulator.fault(**fault)
    with load(canary) as counts:
        endpoints.set_routing("production", Routing({1: 50, 2: 50}))
        assert endpoints.traffic("production") == {1: 50, 2: 50}
        endpoints.set_routing("production", Routing({1: 100}))
    assert {status for status, _ in counts} == {200}
    assert endpoints.traffic("production") == {1: 100}


def test_a_change_that_stays_half_done_is_completed_by_the_same_again(
    endpoints: AzureEndpoints,
    canary: Endpoint,
    fault: Callable[..., None],
    emulator: EmulatorProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operations, "_PAUSE_SECONDS", 0)
    # Its first change goes through, all others do not.
    fault(method="PATCH", path="/services/", delay=0.0)
    fault(method="PATCH", path="/services/", status=409, times=50)
    with load(canary) as counts:
        with pytest.raises(PlatformError, match="gets 50% of the traffic"):
            endpoints.set_routing("production", Routing({1: 50, 2: 50}))
        assert endpoints.traffic("production") == {1: 100}
        emulator.clear_faults()
        endpoints.set_routing("production", Routing({1: 50, 2: 50}))
    assert {status for status, _ in counts} == {200}
    assert endpoints.traffic("production") == {1: 50, 2: 50}
    endpoints.set_routing("production", Routing({1: 100}))


def test_a_version_whose_containers_die_is_unhealthy_and_may_lose_its_traffic(
    endpoints: AzureEndpoints,
    canary: Endpoint,
    workspace: AzureWorkspace,
    emulator: EmulatorProcess,
) -> None:
    endpoints.set_routing("production", Routing({1: 90, 2: 10}))
    folder = emulator.folder / "workspaces" / workspace.azure.workspace_name / "containers"
    models = list(folder.glob("*/azureml-models/*/2"))
    assert len(models) == 1
    # What starts again finds no model.
    (models[0] / "model" / "model.txt").unlink()
    container = models[0].parents[2]
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(container / "azureml-app"):
                process.kill()
        except psutil.Error:
            continue
    until(lambda: endpoints.health("production", 2)[0] == "unhealthy")
    found = endpoints.get("production")
    assert found is not None
    assert (found.state, found.models[1]) == ("unhealthy", "healthy")
    assert "version 2: its state is Unhealthy" in str(found.reason)
    endpoints.set_routing("production", Routing({1: 100}))
    assert {ask(canary) for _ in range(20)} == {(200, "1")}
    endpoints.start_version("production", 2)
    until(lambda: endpoints.health("production", 2) == ("healthy", None))


def test_a_kill_of_the_service_loses_no_share(
    endpoints: AzureEndpoints, canary: Endpoint, emulator: EmulatorProcess
) -> None:
    endpoints.set_routing("production", Routing({1: 50, 2: 50}))
    emulator.kill()
    emulator.start()
    until(lambda: endpoints.health("production", 2)[0] == "healthy")
    until(lambda: endpoints.health("production", 1)[0] == "healthy")
    assert endpoints.traffic("production") == {1: 50, 2: 50}
    assert {ask(canary) for _ in range(40)} == {(200, "1"), (200, "2")}
    endpoints.set_routing("production", Routing({1: 100}))
    assert endpoints.traffic("production") == {1: 100}


def test_another_content_of_a_version_replaces_the_one_without_traffic(
    endpoints: AzureEndpoints,
    canary: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    emulator: EmulatorProcess,
) -> None:
    emulator.calls()
    monkeypatch.setattr(deployment, "source_sha256", lambda: "another")
    endpoints.start_version("production", 1)
    assert writes(emulator) == []
    endpoints.start_version("production", 2)
    assert writes(emulator) == ["PATCH", "PATCH"]
    assert endpoints.health("production", 2)[0] == "starting"
    until(lambda: endpoints.health("production", 2)[0] == "healthy")
    assert endpoints.traffic("production") == {1: 100}
    assert ask(canary) == (200, "1")


def test_what_versions_did_is_read_from_telemetry(
    endpoints: AzureEndpoints, canary: Endpoint
) -> None:
    before = datetime.now(UTC)
    # Windows of one second: the one in which this test begins is left out.
    until(
        lambda: (
            ask(canary) == (200, "1")
            and endpoints.observed("production", before).of(1).requests >= 3
        )
    )
    assert endpoints.observed("production", before).of(2).requests == 0
    endpoints.set_routing("production", Routing({1: 50, 2: 50}))
    began = datetime.now(UTC)
    sent = Counter(ask(canary)[1] for _ in range(40))
    until(lambda: endpoints.observed("production", before).of(2).requests == sent["2"])
    seen = endpoints.observed("production", before).of(2)
    assert (seen.errors, seen.scores.total, seen.latencies.total) == (0, sent["2"], sent["2"])
    window = endpoints.observed("production", began)
    assert window.start == began
    for version in (1, 2):
        assert window.of(version).requests <= sent[str(version)]
    assert endpoints.observed("staging", before).versions == {}


def test_nothing_is_started_beside_nothing(endpoints: AzureEndpoints) -> None:
    endpoints.remove("production", quiet)
    with pytest.raises(PlatformError, match="nothing is deployed to production"):
        endpoints.start_version("production", 1)
    with pytest.raises(PlatformError, match="nothing is deployed to production"):
        endpoints.set_routing("production", Routing({1: 100}))
    assert endpoints.get("production") is None


def test_container_instances_serve_one_version(
    endpoints: AzureEndpoints, staging: Endpoint
) -> None:
    endpoints.start_version("staging", 1)
    endpoints.set_routing("staging", Routing({1: 100}))
    endpoints.stop_version("staging", 2)
    assert endpoints.health("staging", 1) == ("healthy", None)
    assert endpoints.health("staging", 2)[0] == "unhealthy"
    calls: list[Callable[[], object]] = [
        lambda: endpoints.start_version("staging", 2),
        lambda: endpoints.set_routing("staging", Routing({1: 90, 2: 10})),
    ]
    for call in calls:
        with pytest.raises(
            PlatformError, match="one version, now 1, and cannot serve version 2 .*AKS"
        ):
            call()
    with pytest.raises(PlatformError, match="answers all requests of staging"):
        endpoints.stop_version("staging", 1)
    assert endpoints.traffic("staging") == {1: 100}
    assert endpoints.get("staging") == staging
