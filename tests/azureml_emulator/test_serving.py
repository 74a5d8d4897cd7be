"""The emulator's models and web services, asked through the SDK: what is refused, and what a crash leaves."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import psutil
import pytest

import insurance_claims
from insurance_claims.model import save_model
from ml_service.smoke_test import example_rows

if TYPE_CHECKING:
    from tests.azureml_emulator.process import EmulatorProcess

pytestmark = pytest.mark.slow
BODY = json.dumps({"data": example_rows(1)}).encode()


@pytest.fixture(scope="module")
def workspace(azure: str) -> Any:
    """An empty workspace of the emulator, as the SDK's ``Workspace``."""
    from ml_service.platforms.azureml.workspace import AzureWorkspace
    from ml_service.settings import AzureSettings, Settings

    found = AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate({}))
    return found.workspace


@pytest.fixture(scope="module")
def models(workspace: Any) -> list[Any]:
    """Two registered versions of one model folder, ``outputs/model``."""
    from azureml.core import Model

    rows = np.array(example_rows(200))
    claims = (rows[:, 0] > np.median(rows[:, 0])).astype(float)
    settings = {"objective": "binary", "num_threads": 1, "verbosity": -1}
    folder = Path("outputs/model")
    folder.mkdir(parents=True)
    booster = lgb.train(settings, lgb.Dataset(rows, claims), 3)
    save_model(folder, booster.model_to_string(), {})
    return [
        Model.register(workspace, str(folder), "claims", tags={"number": str(number)})
        for number in (1, 2)
    ]


@pytest.fixture(scope="module")
def inference(models: list[Any]) -> Any:
    """The model package with its scoring script."""
    from azureml.core import Environment
    from azureml.core.model import InferenceConfig

    source = Path("source")
    package = Path(insurance_claims.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, source / package.name, ignore=ignored)
    script = f"{package.name}/scoring/score.py"
    return InferenceConfig(script, source_directory=str(source), environment=Environment("serving"))


@pytest.fixture(scope="module")
def single(workspace: Any, models: list[Any], inference: Any) -> Iterator[Any]:
    """Version 1 on a container instance."""
    from azureml.core import Model
    from azureml.core.webservice import AciWebservice

    wanted = AciWebservice.deploy_configuration(cpu_cores=1, memory_gb=1, auth_enabled=True)
    service = Model.deploy(workspace, "single", models[:1], inference, wanted)
    service.wait_for_deployment()
    yield service
    service.delete()


@pytest.fixture(scope="module")
def split(workspace: Any, models: list[Any], inference: Any) -> Iterator[Any]:
    """An endpoint: ``one`` is its default version with 60%, ``two`` has 40%."""
    from azureml.core import Model
    from azureml.core.webservice import AksEndpoint

    wanted = AksEndpoint.deploy_configuration(version_name="one", traffic_percentile=100)
    endpoint = Model.deploy(workspace, "split", models[:1], inference, wanted)
    endpoint.wait_for_deployment()
    endpoint.update_version("one", traffic_percentile=60)
    endpoint.compute_name = "aks"
    endpoint.create_version(
        "two", models=models[1:], inference_config=inference, traffic_percentile=40
    )
    endpoint.wait_for_deployment()
    yield endpoint
    endpoint.delete()


def ask(service: Any, key: str) -> tuple[int, int]:
    """Status and model version of an answer."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(service.scoring_uri, BODY, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, int(json.load(response)["model"]["version"])
    except urllib.error.HTTPError as error:
        with error:
            return error.code, 0


def until(condition: Callable[[], bool]) -> None:
    """Wait until it is true."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_models_are_found_by_name_version_and_tags(
    workspace: Any, models: list[Any], tmp_path: Path
) -> None:
    from azureml.core import Model

    assert [model.id for model in models] == ["claims:1", "claims:2"]
    assert Model(workspace, "claims").version == 2
    assert [model.version for model in Model.list(workspace, tags=[["number", "1"]])] == [1]
    assert [model.version for model in Model.list(workspace, latest=True)] == [2]
    models[0].add_tags({"checked": "yes"})
    assert Model(workspace, "claims", version=1).tags == {"number": "1", "checked": "yes"}
    folder = Path(models[0].download(str(tmp_path)))
    assert (folder / "model.txt").read_bytes() == Path("outputs/model/model.txt").read_bytes()
    for wanted in ({"name": "claims", "version": 9}, {"name": "nothing"}):
        with pytest.raises(Exception, match="(?i)not ?found"):
            Model(workspace, **wanted)


def test_a_model_in_use_is_not_deleted(models: list[Any], single: Any) -> None:
    del single
    # The SDK keeps the reason to itself.
    with pytest.raises(Exception, match="Response Code: 409"):
        models[0].delete()


def test_the_model_lies_where_azure_puts_it(
    emulator: EmulatorProcess, azure: str, single: Any
) -> None:
    del single
    containers = emulator.folder / "workspaces" / azure / "containers"
    assert [*containers.glob("*/azureml-models/claims/1/model/model.txt")]


def test_keys_are_changed(single: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = single.get_keys()
    assert (ask(single, first), ask(single, second)) == ((200, 1), (200, 1))
    monkeypatch.setattr("azureml.core.webservice.webservice.time.sleep", lambda _: None)
    single.regen_key("Primary")
    assert ask(single, first) == (401, 0)
    assert ask(single, single.get_keys()[0]) == (200, 1)
    assert single.get_keys()[1] == second


def test_a_name_is_taken_once(
    workspace: Any, models: list[Any], inference: Any, single: Any
) -> None:
    from azureml.core import Model

    with pytest.raises(Exception, match=f"{single.name} already exists"):
        Model.deploy(workspace, single.name, models[:1], inference)


def test_one_operation_at_a_time(models: list[Any], inference: Any, single: Any) -> None:
    single.update(models=models[:1], inference_config=inference)
    assert single.state == "Transitioning"
    with pytest.raises(Exception, match="operation in progress"):
        single.update(tags={"a": "b"})
    assert ask(single, single.get_keys()[0]) == (200, 1)
    single.wait_for_deployment()
    assert single.state == "Healthy"


def test_traffic_that_cannot_be_is_refused(split: Any) -> None:
    with pytest.raises(Exception, match="at most 100"):
        split.update_version("two", traffic_percentile=50)
    with pytest.raises(Exception, match="default version or has traffic"):
        split.delete_version("one")
    with pytest.raises(Exception, match="no version three"):
        split.update_version("three", traffic_percentile=0)


def test_services_live_on_when_the_emulator_is_killed(
    emulator: EmulatorProcess, single: Any, split: Any
) -> None:
    keys = {service.name: service.get_keys()[0] for service in (single, split)}
    [process] = [
        child
        for child in psutil.Process().children()
        if "tests.azureml_emulator" in child.cmdline()
    ]
    started = process.children(recursive=True)
    assert sum("gunicorn" in " ".join(child.cmdline()) for child in started) >= 6
    process.kill()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []
    with suppress(ProcessLookupError):
        emulator.stop()
    emulator.start()
    for service in (single, split):
        until(lambda service=service: _state(service) == "Healthy")  # type: ignore[misc]
    assert ask(single, keys["single"]) == (200, 1)
    assert {ask(split, keys["split"]) for _ in range(40)} == {(200, 1), (200, 2)}
    assert {name: item.traffic_percentile for name, item in split.versions.items()} == {
        "one": 60,
        "two": 40,
    }


def _state(service: Any) -> str:
    service.update_deployment_state()
    return str(service.state)


def test_a_killed_container_starts_again(single: Any) -> None:
    key = single.get_keys()[0]
    assert ask(single, key) == (200, 1)
    masters = [
        child
        for child in psutil.Process().children(recursive=True)
        if "gunicorn" in " ".join(child.cmdline())
    ]
    for master in masters:
        with suppress(psutil.Error):
            master.kill()
    until(lambda: ask(single, key) == (200, 1))
