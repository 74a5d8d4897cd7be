"""Local endpoints with the real server, router and supervisor: deployed, killed, damaged, and found again."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from insurance_claims.files import read_json
from ml_service.platforms.base import Endpoint, PlatformError, Routing
from ml_service.platforms.local.endpoints import LocalEndpoints
from ml_service.platforms.local.routes import read_routes
from ml_service.platforms.local.supervision import Supervisor
from ml_service.smoke_test import example_rows
from tests.ml_service.platforms.local.light_load import light_load

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
BODY = json.dumps({"data": example_rows(1)}).encode()
COMMAND = """
import sys
from pathlib import Path
from ml_service.platforms.local.endpoints import LocalEndpoints
home, models, version = sys.argv[1:]
endpoints = LocalEndpoints(Path(home), lambda version: Path(models) / str(version), "claims")
endpoints.deploy("staging", int(version), lambda line: print(line, flush=True))
"""


class Place:
    """Endpoints of the module, and where their state is."""

    def __init__(self, endpoints: LocalEndpoints, models: Path) -> None:
        self.endpoints = endpoints
        self.folder = endpoints.folder("staging")
        self.supervisor = Supervisor(self.folder)
        self._models = models

    def command(self, version: int) -> subprocess.Popen[str]:
        """Deploy from a process of its own."""
        home = str(self.folder.parent.parent)
        argv = [sys.executable, "-c", COMMAND, home, str(self._models), str(version)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def get(self) -> Endpoint:
        endpoint = self.endpoints.get("staging")
        assert endpoint is not None
        return endpoint

    def deploy(self, version: int) -> Endpoint:
        return self.endpoints.deploy("staging", version, print)

    def healthy(self) -> Endpoint:
        """The endpoint, once it is healthy again."""
        for _ in range(400):
            if (endpoint := self.get()).state == "healthy":
                return endpoint
            time.sleep(0.1)
        raise AssertionError(f"{self.get()}\n{self.endpoints.logs('staging')}")

    def processes(self, part: str) -> list[psutil.Process]:
        """Processes with this word on their command line, parents first."""
        found = []
        for process in self.supervisor.strays():
            with suppress(psutil.Error):
                if part in " ".join(process.cmdline()):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())


@pytest.fixture(scope="module")
def place(shared_endpoints: LocalEndpoints, models: Path) -> Place:
    """Version 1, deployed by a process that has ended."""
    place = Place(shared_endpoints, models)
    done = place.command(1)
    output, _ = done.communicate(timeout=200)
    assert done.returncode == 0, output
    return place


def ask(endpoint: Endpoint, version: int | None = None) -> tuple[int, str | None]:
    """Status, and the version that answered."""
    parts = urlsplit(endpoint.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    headers = {"Authorization": f"Bearer {endpoint.key}"}
    if version is not None:
        headers["x-model-version"] = str(version)
    try:
        connection.request("POST", "/score", BODY, headers)
        response = connection.getresponse()
        content = json.loads(response.read())
        served = response.getheader("x-served-by-version")
        if response.status == 200:
            assert str(content["model"]["version"]) == served
        return response.status, served
    finally:
        connection.close()


def load(endpoint: Endpoint) -> AbstractContextManager[Counter[str]]:
    """Light load from one client."""
    return light_load(lambda: ask(endpoint)[0], 0.02)


def test_an_endpoint_outlives_its_command_and_is_found(place: Place) -> None:
    endpoint = place.get()
    assert (endpoint.state, endpoint.reason) == ("healthy", None)
    assert (endpoint.traffic, endpoint.models) == ({1: 100}, {1: "healthy"})
    assert [found.environment for found in place.endpoints.list()] == ["staging"]
    assert ask(endpoint) == (200, "1")
    assert urlsplit(endpoint.url).hostname == "127.0.0.1"
    listening = {
        connection.laddr.ip
        for process in place.supervisor.strays()
        for connection in process.net_connections("inet")
    }
    assert listening == {"127.0.0.1"}


def test_the_key_is_kept_to_its_owner(place: Place) -> None:
    endpoint = place.get()
    assert len(endpoint.key) >= 40
    assert endpoint.key not in repr(endpoint)
    assert stat.S_IMODE((place.folder / "key").stat().st_mode) == 0o600
    for process in place.supervisor.strays():
        assert endpoint.key not in " ".join([*process.cmdline(), *process.environ().values()])
    assert endpoint.key not in place.endpoints.logs("staging", 1000)
    programs = list((place.folder / "programs").iterdir())
    assert len(programs) == 2
    # They hold variables of the servers.
    assert {stat.S_IMODE(file.stat().st_mode) for file in programs} == {0o600}
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700


def test_a_server_knows_its_environment(place: Place) -> None:
    servers = place.processes("gunicorn")
    assert {process.environ()["MLOPS_ENVIRONMENT"] for process in servers} == {"staging"}


def test_what_the_deployer_has_in_its_environment_stays_there(place: Place) -> None:
    assert "PYTEST_CURRENT_TEST" in os.environ
    for process in place.supervisor.strays():
        assert "PYTEST_CURRENT_TEST" not in process.environ()


def test_deploying_what_serves_already_does_nothing(place: Place) -> None:
    place.healthy()
    before = {process.pid for process in place.supervisor.strays()}
    said: list[str] = []
    place.endpoints.deploy("staging", 1, said.append)
    assert ["already" in line for line in said] == [True]
    assert {process.pid for process in place.supervisor.strays()} == before


def test_logs_name_each_process(place: Place) -> None:
    logs = place.endpoints.logs("staging", 5)
    assert logs.startswith("==> router <==")
    assert "==> model-1 <==" in logs
    assert len(logs.splitlines()) <= 3 * 6


@pytest.mark.parametrize("environment", ["Staging", "", "../staging"])
def test_an_unknown_environment(endpoints: LocalEndpoints, environment: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: endpoints.deploy(environment, 1, print),
        lambda: endpoints.get(environment),
        lambda: endpoints.logs(environment),
        lambda: endpoints.remove(environment, print),
        lambda: endpoints.set_routing(environment, Routing({1: 100})),
        lambda: endpoints.start_version(environment, 1),
        lambda: endpoints.stop_version(environment, 1),
        lambda: endpoints.traffic(environment),
        lambda: endpoints.health(environment, 1),
        lambda: endpoints.observed(environment, BEGIN),
    ]
    for call in calls:
        with pytest.raises(PlatformError, match="staging, production"):
            call()


def test_nothing_deployed(endpoints: LocalEndpoints) -> None:
    assert endpoints.get("staging") is None
    assert endpoints.list() == []
    assert endpoints.logs("staging") == ""
    endpoints.remove("staging", print)
    endpoints.stop_version("staging", 1)
    assert endpoints.traffic("staging") == {}
    assert endpoints.observed("staging", BEGIN).versions == {}
    assert endpoints.health("staging", 1) == ("unhealthy", "version 1 is not served in staging")
    changes: list[Callable[[], None]] = [
        lambda: endpoints.set_routing("staging", Routing({1: 100})),
        lambda: endpoints.start_version("staging", 1),
    ]
    for change in changes:
        with pytest.raises(PlatformError, match="nothing is deployed to staging"):
            change()


def test_a_damaged_model_is_refused_before_anything_starts(tmp_path: Path, models: Path) -> None:
    copy = tmp_path / "damaged"
    copy.mkdir()
    for file in (models / "1").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with (copy / "model.txt").open("a") as model:
        model.write("x")
    endpoints = LocalEndpoints(tmp_path, lambda version: copy, "claims")
    with pytest.raises(PlatformError, match="sha256 differs"):
        endpoints.deploy("staging", 1, print)
    assert not Supervisor(endpoints.folder("staging")).strays()
    with pytest.raises(PlatformError, match="not a model folder"):
        LocalEndpoints(tmp_path, lambda version: tmp_path, "claims").deploy("staging", 1, print)


@pytest.mark.slow
def test_a_model_that_does_not_load_leaves_the_old_one_serving(place: Place) -> None:
    before = place.healthy()
    with load(before) as counts, pytest.raises(PlatformError, match="not a LightGBM model"):
        place.deploy(4)
    assert set(counts) == {"200"}
    assert place.get() == before
    assert not place.processes("/4")
    assert [folder.name for folder in (place.folder / "models" / "claims").iterdir()] == ["1"]


def test_a_first_model_that_does_not_load_leaves_nothing(endpoints: LocalEndpoints) -> None:
    with pytest.raises(PlatformError, match="not a LightGBM model"):
        endpoints.deploy("staging", 4, print)
    assert endpoints.get("staging") is None
    assert not Supervisor(endpoints.folder("staging")).strays()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "master", "router"])
def test_what_is_killed_under_load_comes_back(place: Place, victim: str) -> None:
    before = place.healthy()
    routes = read_routes(place.folder / "routes.json")
    part = "ml_service.platforms.local.router" if victim == "router" else "gunicorn"
    # A master is older than its workers.
    found = place.processes(part)
    process = found[-1] if victim == "worker" else found[0]
    with load(before) as counts:
        wait_for(lambda: counts["200"] > 5)
        process.kill()
        process.wait(10)
        after = place.healthy()
        served = counts["200"]
        wait_for(lambda: counts["200"] > served + 5)
    assert (after.traffic, after.url, after.key) == (before.traffic, before.url, before.key)
    assert read_routes(place.folder / "routes.json") == routes
    allowed = {
        # Its requests are sent again; the listening socket is the master's.
        "worker": {"200"},
        "master": {"200", "503"},
        "router": {"200", "ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected"},
    }
    assert set(counts) <= allowed[victim], counts


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_an_update_fails_no_request(place: Place) -> None:
    before = place.healthy()
    with load(before) as counts:
        after = place.deploy(2)
        served = counts["200"]
        wait_for(lambda: counts["200"] > served + 5)
    assert set(counts) == {"200"}
    assert (after.traffic, after.models, after.state) == ({2: 100}, {2: "healthy"}, "healthy")
    assert (after.url, after.key) == (before.url, before.key)
    assert ask(after) == (200, "2")
    assert not place.processes("model-1.")
    assert [folder.name for folder in (place.folder / "models" / "claims").iterdir()] == ["2"]


@pytest.mark.slow
def test_all_killed_and_ports_taken(place: Place) -> None:
    before = place.healthy()
    [version] = before.traffic
    ports = [read_json(place.folder / "endpoint.json")["port"]]
    ports += [item.port for item in read_routes(place.folder / "routes.json").backends.values()]
    # As after a power cut: pid file and socket are left, and somebody else has the ports.
    found = place.supervisor.strays()
    for process in sorted(found, key=lambda process: process.create_time()):
        process.kill()
    psutil.wait_procs(found, timeout=10)
    assert (place.folder / "supervisord.pid").exists()
    gone = place.get()
    assert gone.state == "unhealthy" and gone.key == before.key
    assert "do not run" in (gone.reason or "") and "deploy" in (gone.reason or "")
    with ExitStack() as stack:
        for port in ports:
            taken = stack.enter_context(socket.socket())
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.listen()
        after = place.deploy(version)
    assert (after.state, after.traffic, after.key) == ("healthy", before.traffic, before.key)
    assert urlsplit(after.url).port not in ports
    assert ask(after) == (200, str(version))


@pytest.mark.slow
def test_without_its_supervisor_it_is_unhealthy_until_the_next_deployment(place: Place) -> None:
    before = place.healthy()
    [version] = before.traffic
    supervisors = place.processes("supervisord")
    old = place.supervisor.strays()
    supervisors[0].kill()
    supervisors[0].wait(10)
    assert place.get().state == "unhealthy"
    after = place.deploy(version)
    assert (after.state, after.url, after.key) == ("healthy", before.url, before.key)
    assert not [process for process in old if process.is_running()]


@pytest.mark.slow
def test_broken_routes_are_told_and_replaced(place: Place) -> None:
    endpoint = place.healthy()
    [version] = endpoint.traffic
    (place.folder / "routes.json").write_text("{")
    assert place.get().state == "unhealthy"
    assert "routes.json" in (place.get().reason or "")
    # The router goes on with the last good ones.
    assert ask(endpoint) == (200, str(version))
    after = place.deploy(version)
    assert (after.state, after.traffic) == ("healthy", endpoint.traffic)


@pytest.mark.slow
def test_a_deployment_that_is_killed_halfway(place: Place) -> None:
    place.deploy(2)
    command = place.command(3)
    assert command.stdout is not None
    for line in command.stdout:
        if "starting a server for version 3" in line:
            break
    wait_for(lambda: bool(place.processes("model-3.") or place.processes("gunicorn")[1:]))
    command.send_signal(signal.SIGKILL)
    command.wait()
    command.stdout.close()
    assert place.get().traffic == {2: 100}
    assert ask(place.get()) == (200, "2")
    after = place.deploy(1)
    assert (after.state, after.traffic, set(after.models)) == ("healthy", {1: 100}, {1})
    assert set(place.supervisor.states()) == {"router", "model-1"}
    assert [folder.name for folder in (place.folder / "models" / "claims").iterdir()] == ["1"]


@pytest.mark.slow
def test_two_deployments_at_once(place: Place) -> None:
    commands = [place.command(version) for version in (2, 3)]
    outputs = [command.communicate(timeout=200)[0] for command in commands]
    assert [command.returncode for command in commands] == [0, 0], outputs
    assert sum("waiting" in output and "another command" in output for output in outputs) == 1
    endpoint = place.healthy()
    assert list(endpoint.traffic.values()) == [100]
    assert len(place.supervisor.states()) == 2


@pytest.mark.slow
def test_removal_leaves_nothing_behind(tmp_path: Path, models: Path) -> None:
    # Too long for a Unix socket, and with all that a configuration file might trip over.
    home = tmp_path / "a path; with 100% 'odd' \"names\" # and more" / ("x" * 100)
    home.mkdir(parents=True)
    endpoints = LocalEndpoints(home, lambda version: models / str(version), "claims")
    supervisor = Supervisor(endpoints.folder("production"))
    try:
        endpoint = endpoints.deploy("production", 1, print)
        assert ask(endpoint) == (200, "1")
        processes = supervisor.strays()
        assert len(processes) >= 4
        endpoints.remove("production", print)
        assert not [process for process in processes if process.is_running()]
        assert endpoints.get("production") is None
        assert not endpoints.folder("production").exists()
    finally:
        supervisor.kill_strays()
