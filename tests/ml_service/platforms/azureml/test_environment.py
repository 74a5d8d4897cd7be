from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from ml_service.platforms.azureml import environment as module
from ml_service.platforms.azureml.environment import (
    BASE_IMAGE,
    conda_file,
    content_version,
    scoring_environment,
    training_environment,
)
from ml_service.platforms.base import PlatformError
from tests.azureml_emulator.process import EmulatorProcess
from tests.ml_service.platforms.azureml.conftest import no_wait

if TYPE_CHECKING:
    from ml_service.platforms.azureml.workspace import AzureWorkspace


def test_the_training_environment_is_the_conda_file_on_the_pinned_image(
    connect: Callable[..., AzureWorkspace], lines: list[str]
) -> None:
    made = training_environment(connect(), lines.append)
    assert made.name == "insurance_claims"
    assert made.docker.base_image == BASE_IMAGE
    wanted = yaml.safe_load(conda_file("training").read_text())
    assert made.python.conda_dependencies.as_dict()["dependencies"] == wanted["dependencies"]
    assert made.inferencing_stack_version is None
    assert "registered" in lines[0]


def test_the_scoring_environment_can_serve(
    connect: Callable[..., AzureWorkspace], lines: list[str]
) -> None:
    made = scoring_environment(connect(AML_ENV_NAME_SCORING="serving"), lines.append)
    assert made.name == "serving"
    assert made.inferencing_stack_version == "latest"


def test_the_same_content_is_reused_and_another_is_another_version(
    connect: Callable[..., AzureWorkspace],
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = training_environment(connect(), lines.append)
    lines.clear()
    assert training_environment(connect(), lines.append).version == first.version
    assert lines == [f"environment insurance_claims {first.version}: reused"]

    changed = tmp_path / "conda.yml"
    changed.write_text(conda_file("training").read_text() + "# changed\n")
    monkeypatch.setattr(module, "conda_file", lambda room: changed)
    assert training_environment(connect(), lines.append).version != first.version


def test_a_version_is_of_the_file_the_image_and_the_server() -> None:
    versions = {
        content_version(b"a", "image", None),
        content_version(b"b", "image", None),
        content_version(b"a", "other", None),
        content_version(b"a", "image", "latest"),
    }
    assert len(versions) == 4
    assert all(len(version) == 16 for version in versions)


def test_a_process_looks_it_up_once(
    connect: Callable[..., AzureWorkspace], emulator: EmulatorProcess, lines: list[str]
) -> None:
    workspace = connect()
    training_environment(workspace, lines.append)
    emulator.calls()
    training_environment(workspace, lines.append)
    assert [call for call in emulator.calls()[0] if "/environments/" in str(call["path"])] == []


def test_a_rebuild_builds_the_image_and_waits(
    connect: Callable[..., AzureWorkspace], lines: list[str]
) -> None:
    workspace = connect(AML_REBUILD_ENVIRONMENT="true")
    made = training_environment(workspace, lines.append, no_wait)
    assert lines[-1] == f"environment insurance_claims {made.version}: image built"
    assert made.get_image_details(workspace.workspace)["imageExistsInRegistry"]


def test_an_image_that_cannot_be_built_shows_the_end_of_the_log(
    connect: Callable[..., AzureWorkspace], fault: Callable[..., None], lines: list[str]
) -> None:
    fault(kind="image-build", message="No matching distribution found for nothing==1.0")
    with pytest.raises(PlatformError) as caught:
        training_environment(connect(AML_REBUILD_ENVIRONMENT="true"), lines.append, no_wait)
    assert "was not built (Failed)" in str(caught.value)
    assert "  ERROR: No matching distribution found for nothing==1.0" in str(caught.value)
    training_environment(connect(AML_REBUILD_ENVIRONMENT="true"), lines.append, no_wait)
    assert lines[-1].endswith("image built")


def test_a_failure_that_passes_is_waited_out(
    connect: Callable[..., AzureWorkspace], fault: Callable[..., None], lines: list[str]
) -> None:
    fault(path="/environments/", status=500, times=2)
    assert training_environment(connect(), lines.append, no_wait).name == "insurance_claims"


def test_a_refused_registration_is_told(
    connect: Callable[..., AzureWorkspace], fault: Callable[..., None], lines: list[str]
) -> None:
    fault(path="/environments/fresh", method="PUT", status=403, message="no write")
    with pytest.raises(PlatformError, match="registering environment fresh: .*may not do that"):
        training_environment(connect(AML_ENV_NAME="fresh"), lines.append)
