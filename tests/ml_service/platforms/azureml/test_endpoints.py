"""Endpoints through the real SDK, against containers that really serve: deployed, changed, split, broken, removed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from insurance_claims import schema
from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json
from insurance_claims.model import load_model
from ml_service.platforms.azureml import deployment
from ml_service.platforms.azureml.endpoints import AzureEndpoints
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Endpoint, PlatformError, Routing
from ml_service.scoring_client import score_file
from ml_service.smoke_test import example_rows, load_golden, smoke_test
from tests.ml_service.platforms.azureml.clients import ask, load, quiet

if TYPE_CHECKING:
    from tests.azureml_emulator.process import EmulatorProcess

pytestmark = pytest.mark.slow


def test_a_deployed_version_passes_the_smoke_test(staging: Endpoint, models: Path) -> None:
    assert (staging.state, staging.reason) == ("healthy", None)
    assert (staging.traffic, staging.models) == ({1: 100}, {1: "healthy"})
    assert staging.key not in repr(staging)
    report = smoke_test(staging.url, staging.key, load_golden(models / "1/golden.json"), 1, quiet)
    assert report.ok, report.describe()
    assert ask(staging, key="wrong") == (401, "")


def test_a_file_is_scored_as_by_the_model(staging: Endpoint, models: Path, tmp_path: Path) -> None:
    rows = example_rows(30)
    table = pd.DataFrame(rows, columns=list(schema.FEATURE_NAMES))
    for column in schema.FEATURES:
        if column.is_integer:
            table[column.name] = table[column.name].astype(int)
    table.insert(0, schema.ID, range(30))
    table.to_csv(tmp_path / "rows.csv", index=False)
    lines = score_file(staging, tmp_path / "rows.csv", quiet).splitlines()[1:]
    scores = [float(line.split(",")[1]) for line in lines]
    expected = load_model(models / "1").predict(np.array(rows))
    assert scores == pytest.approx(expected.tolist(), abs=1e-12)


def test_deploying_what_serves_already_changes_nothing(
    endpoints: AzureEndpoints, emulator: EmulatorProcess, request: pytest.FixtureRequest
) -> None:
    for environment in ("staging", "production"):
        before = request.getfixturevalue(environment)
        calls_so_far, refused = emulator.calls()
        said: list[str] = []
        assert endpoints.deploy(environment, 1, said.append) == before
        assert [line for line in said if "serves" in line and "already" in line], said
        calls, more = emulator.calls()
        assert (refused, more) == ([], [])
        written = [
            call for call in calls if "/services" in call["path"] and call["method"] != "GET"
        ]
        assert {call["path"].rpartition("/")[2] for call in written} == {"listkeys"}
        assert not [call for call in calls_so_far + calls if call["status"] == 501]


def test_a_service_says_what_it_serves(
    endpoints: AzureEndpoints, workspace: AzureWorkspace, staging: Endpoint
) -> None:
    from azureml.core.webservice import Webservice

    service = Webservice(workspace.workspace, name=workspace.azure.aci_name)
    assert service.auth_enabled
    assert service.enable_app_insights
    assert service.tags["model_version"] == "1"
    assert len(service.tags["deployment_sha256"]) == 64
    assert service.tags["git_commit"]
    assert [model.id for model in service.models] == [f"{workspace.settings.model_name}:1"]
    printed = endpoints.logs("staging", 5000)
    assert "Worker with pid" in printed
    assert staging.key not in printed
    assert len(endpoints.logs("staging", 3).splitlines()) == 3


def test_a_server_knows_where_to_send_what_it_observes_and_nobody_else_is_told(
    endpoints: AzureEndpoints,
    workspace: AzureWorkspace,
    emulator: EmulatorProcess,
    staging: Endpoint,
) -> None:
    folder = emulator.folder / "workspaces" / workspace.azure.workspace_name / "containers"
    given = [read_json(file)["variables"] for file in folder.glob("*/container.json")]
    assert "staging" in {variables["MLOPS_ENVIRONMENT"] for variables in given}
    [connection] = {variables["APPLICATIONINSIGHTS_CONNECTION_STRING"] for variables in given}
    assert "InstrumentationKey=" in connection
    said: list[str] = []
    endpoints.deploy("staging", 2, said.append)
    printed = "\n".join([*said, endpoints.logs("staging", 5000), repr(staging)])
    assert connection not in printed
    assert connection.partition("InstrumentationKey=")[2].partition(";")[0] not in printed


def test_without_application_insights_requests_are_answered_and_nothing_is_seen(
    endpoints: AzureEndpoints, emulator: EmulatorProcess, fault: Callable[..., None]
) -> None:
    del emulator
    fault(method="GET", path="/Microsoft.Insights/components/", status=404, times=2)
    fresh = AzureEndpoints(endpoints._ws, endpoints._models)
    said: list[str] = []
    deployed = fresh.deploy("staging", 1, said.append)
    assert ask(deployed) == (200, "1")
    assert any("staging's service will send no telemetry" in line for line in said)
    with pytest.raises(PlatformError, match="Application Insights"):
        fresh.observed("staging", datetime.now(UTC))


def test_only_the_model_package_is_shipped(tmp_path: Path) -> None:
    deployment.copy_source(tmp_path / "source")
    assert [path.name for path in (tmp_path / "source").iterdir()] == ["insurance_claims"]
    shipped = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert shipped == {".py", ".yml", ".typed"}
    assert (tmp_path / "source" / deployment.ENTRY_SCRIPT).is_file()


def test_an_update_fails_no_request(endpoints: AzureEndpoints, staging: Endpoint) -> None:
    with load(staging) as counts:
        after = endpoints.deploy("staging", 2, quiet)
    assert {status for status, _ in counts} == {200}
    assert (after.traffic, after.state) == ({2: 100}, "healthy")
    assert (after.url, after.key) == (staging.url, staging.key)
    assert ask(after) == (200, "2")


def test_new_code_is_deployed_though_the_version_is_the_same(
    endpoints: AzureEndpoints, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for environment in ("staging", "production"):
        before = request.getfixturevalue(environment)
        monkeypatch.setattr(deployment, "source_sha256", lambda: "another")
        said: list[str] = []
        with load(before) as counts:
            after = endpoints.deploy(environment, 1, said.append)
        assert set(counts) == {(200, "1")}
        assert any("in place" in line for line in said)
        assert after.traffic == {1: 100}
        monkeypatch.undo()


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_failed_image_leaves_the_old_version_serving(
    endpoints: AzureEndpoints,
    emulator: EmulatorProcess,
    environment: str,
    request: pytest.FixtureRequest,
) -> None:
    before = request.getfixturevalue(environment)
    emulator.fault(kind="image-build", message="package nothing-here was not found")
    with load(before) as counts, pytest.raises(PlatformError) as caught:
        endpoints.deploy(environment, 2, quiet)
    assert f"deploying version 2 to {environment}: failed" in str(caught.value)
    assert "package nothing-here was not found" in str(caught.value)
    assert set(counts) == {(200, "1")}
    after = endpoints.get(environment)
    assert after is not None
    assert (after.traffic, after.url, after.key) == (before.traffic, before.url, before.key)
    assert (after.state, set(after.models)) == ("healthy", {1})


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_model_that_does_not_load_leaves_the_old_version_serving(
    endpoints: AzureEndpoints, environment: str, request: pytest.FixtureRequest
) -> None:
    before = request.getfixturevalue(environment)
    with load(before) as counts, pytest.raises(PlatformError) as caught:
        endpoints.deploy(environment, 4, quiet)
    first, *log = str(caught.value).splitlines()
    assert "not a LightGBM model" in first
    assert any("ModelError" in line for line in log)
    assert set(counts) == {(200, "1")}
    assert endpoints.get(environment) == before


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize("failure", ["image", "model"])
def test_a_first_deployment_that_fails_leaves_nothing(
    endpoints: AzureEndpoints, emulator: EmulatorProcess, environment: str, failure: str
) -> None:
    endpoints.remove(environment, quiet)
    if failure == "image":
        emulator.fault(kind="image-build")
    with pytest.raises(PlatformError, match=f"to {environment}: failed"):
        endpoints.deploy(environment, 1 if failure == "image" else 4, quiet)
    assert endpoints.get(environment) is None


def test_two_deployments_at_once_come_one_after_the_other(
    endpoints: AzureEndpoints, staging: Endpoint
) -> None:
    problems: list[ClaimsError] = []

    def deploy(version: int) -> None:
        try:
            endpoints.deploy("staging", version, quiet)
        except ClaimsError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=deploy, args=(version,)) for version in (2, 3)]
    with load(staging) as counts:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert problems == []
    assert {status for status, _ in counts} == {200}
    found = endpoints.get("staging")
    assert found is not None
    assert found.state == "healthy" and [*found.traffic] in ([2], [3])


def test_a_network_that_is_cut_for_a_moment_is_waited_for(
    endpoints: AzureEndpoints, emulator: EmulatorProcess, staging: Endpoint
) -> None:
    del staging
    emulator.fault(path="/operations/", cut=True, times=6)
    said: list[str] = []
    after = endpoints.deploy("staging", 3, said.append)
    assert after.traffic == {3: 100}
    assert any("asking again" in line for line in said)
    emulator.clear_faults()


def test_a_removed_endpoint_is_gone(endpoints: AzureEndpoints, staging: Endpoint) -> None:
    endpoints.remove("staging", quiet)
    assert endpoints.get("staging") is None
    assert "staging" not in [found.environment for found in endpoints.list()]
    assert endpoints.logs("staging") == ""
    assert ask(staging)[0] == 404
    endpoints.remove("staging", quiet)
    with pytest.raises(PlatformError, match="nothing is deployed to staging"):
        endpoints.set_routing("staging", Routing({1: 100}))
    assert endpoints.traffic("staging") == {}
    assert endpoints.health("staging", 1)[0] == "unhealthy"
    endpoints.stop_version("staging", 1)


def test_unknown_environments_and_versions(endpoints: AzureEndpoints) -> None:
    calls: list[Callable[[], object]] = [
        lambda: endpoints.deploy("nowhere", 1, quiet),
        lambda: endpoints.get("nowhere"),
        lambda: endpoints.logs("nowhere"),
        lambda: endpoints.remove("nowhere", quiet),
        lambda: endpoints.start_version("nowhere", 1),
        lambda: endpoints.stop_version("nowhere", 1),
        lambda: endpoints.traffic("nowhere"),
        lambda: endpoints.health("nowhere", 1),
        lambda: endpoints.set_routing("nowhere", Routing({1: 100})),
        lambda: endpoints.observed("nowhere", datetime.now(UTC)),
    ]
    for call in calls:
        with pytest.raises(PlatformError, match="staging, production"):
            call()
    with pytest.raises(ClaimsError, match="no version 99"):
        endpoints.deploy("staging", 99, quiet)
