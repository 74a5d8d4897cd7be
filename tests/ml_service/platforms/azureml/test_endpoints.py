"""Endpoints through the real SDK, against containers that really serve: deployed, changed, split, broken, removed."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from insurance_claims import registry, schema
from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json
from insurance_claims.model import load_model
from ml_service.platforms.azureml import deployment
from ml_service.platforms.azureml.endpoints import AzureEndpoints
from ml_service.platforms.azureml.models import AzureModels
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Endpoint, PlatformError
from ml_service.scoring_client import score_file
from ml_service.settings import AzureSettings, Settings
from ml_service.smoke_test import example_rows, load_golden, smoke_test

if TYPE_CHECKING:
    from tests.azureml_emulator.process import EmulatorProcess

pytestmark = pytest.mark.slow
BODY = json.dumps({"data": example_rows(1)}).encode()


def quiet(line: str) -> None:
    """Takes progress that a test does not look at."""


@pytest.fixture(scope="module")
def workspace(azure: str) -> AzureWorkspace:
    """An empty workspace of the emulator."""
    return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate({}))


@pytest.fixture(scope="module")
def endpoints(workspace: AzureWorkspace, models: Path) -> Iterator[AzureEndpoints]:
    """Nothing deployed; the model's versions 1 to 4 are registered, of which 4 cannot be loaded."""
    name = workspace.settings.model_name
    client = workspace.mlflow
    experiment = client.create_experiment("endpoints")
    with pytest.MonkeyPatch.context() as patch:
        # MLflow uploads to the workspace that its whole process tracks to, as a step does.
        patch.setenv("MLFLOW_TRACKING_URI", workspace.workspace.get_mlflow_tracking_uri())
        for version in ("1", "2", "3", "4"):
            run = client.create_run(experiment)
            client.log_artifacts(run.info.run_id, str(models / version), "model")
            client.set_terminated(run.info.run_id)
            tags = {registry.MODEL_SHA256: read_json(models / version / "model.json")["sha256"]}
            source = f"{run.info.artifact_uri}/model"
            registry.register(
                client, name, run.info.run_id, source, {**tags, "data_sha256": version}
            )
    made = AzureEndpoints(workspace, AzureModels(workspace, name))
    yield made
    for endpoint in made.list():
        made.remove(endpoint.environment, quiet)


@pytest.fixture
def staging(endpoints: AzureEndpoints) -> Endpoint:
    """Version 1 on staging: deployed once, and again only where a test changed it."""
    return endpoints.deploy("staging", 1, quiet)


@pytest.fixture
def production(endpoints: AzureEndpoints) -> Endpoint:
    """Version 1 on production, with all traffic and no other version."""
    return endpoints.deploy("production", 1, quiet)


def ask(endpoint: Endpoint, key: str | None = None) -> tuple[int, str]:
    """Status and model version of an answer."""
    headers = {"Authorization": f"Bearer {key or endpoint.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(endpoint.url, BODY, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, str(json.load(response)["model"]["version"])
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


@contextmanager
def load(endpoint: Endpoint) -> Iterator[Counter[tuple[int, str]]]:
    """Requests one after the other while the block runs: what came back, counted."""
    counts: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.02):
            counts[ask(endpoint)] += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


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


def test_a_canary_gets_its_share_and_no_more(
    endpoints: AzureEndpoints, production: Endpoint
) -> None:
    with load(production) as counts:
        canary = endpoints.set_traffic("production", {1: 90, 2: 10})
    assert {status for status, _ in counts} == {200}
    assert (canary.traffic, canary.state) == ({1: 90, 2: 10}, "healthy")
    served = Counter(ask(canary)[1] for _ in range(200))
    # Binomial: 4.7 standard deviations of 4.24 around 20.
    assert 1 <= served["2"] <= 40, served
    assert served["1"] + served["2"] == 200
    back = endpoints.set_traffic("production", {1: 100})
    assert (back.traffic, set(back.models)) == ({1: 100, 2: 0}, {1, 2})
    assert {ask(back) for _ in range(30)} == {(200, "1")}
    with load(back) as counts:
        promoted = endpoints.deploy("production", 2, quiet)
    assert {status for status, _ in counts} == {200}
    assert (promoted.traffic, promoted.models) == ({2: 100}, {2: "healthy"})
    assert (promoted.url, promoted.key) == (production.url, production.key)


def test_a_canary_that_does_not_start_changes_nothing(
    endpoints: AzureEndpoints, production: Endpoint
) -> None:
    with load(production) as counts, pytest.raises(PlatformError, match="not a LightGBM model"):
        endpoints.set_traffic("production", {1: 90, 4: 10})
    assert set(counts) == {(200, "1")}
    assert endpoints.get("production") == production


def test_a_split_needs_kubernetes(endpoints: AzureEndpoints, staging: Endpoint) -> None:
    with pytest.raises(PlatformError, match="AKS"):
        endpoints.set_traffic("staging", {1: 90, 2: 10})
    assert endpoints.set_traffic("staging", {1: 100}) == staging


@pytest.mark.parametrize(
    ("traffic", "reason"),
    [
        ({1: 99}, "sum to 99"),
        ({1: 150, 2: -50}, "0 to 100"),
        ({1: True, 2: 99}, "whole numbers"),
        ({}, "sum to 0"),
    ],
)
def test_shares_that_are_refused(
    endpoints: AzureEndpoints, traffic: Mapping[int, int], reason: str
) -> None:
    with pytest.raises(PlatformError, match=reason):
        endpoints.set_traffic("production", traffic)


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
        endpoints.set_traffic("staging", {1: 100})


def test_unknown_environments_and_versions(endpoints: AzureEndpoints) -> None:
    calls: list[Callable[[], object]] = [
        lambda: endpoints.deploy("nowhere", 1, quiet),
        lambda: endpoints.get("nowhere"),
        lambda: endpoints.logs("nowhere"),
        lambda: endpoints.remove("nowhere", quiet),
        lambda: endpoints.set_traffic("nowhere", {1: 100}),
    ]
    for call in calls:
        with pytest.raises(PlatformError, match="staging, production"):
            call()
    with pytest.raises(ClaimsError, match="no version 99"):
        endpoints.deploy("staging", 99, quiet)
