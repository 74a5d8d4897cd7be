"""The registry of a workspace: lineage, one champion, and files that are those that were registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from insurance_claims import registry
from insurance_claims.errors import RegistryError
from insurance_claims.files import sha256_of_file
from insurance_claims.registry import ModelVersion
from ml_service.platforms.azureml.models import AzureModels
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import PlatformError
from ml_service.settings import AzureSettings, Settings

if TYPE_CHECKING:
    from tests.azureml_emulator.process import EmulatorProcess


@pytest.fixture(scope="module")
def workspace(azure: str) -> AzureWorkspace:
    """An empty workspace."""
    return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate({}))


def register(
    workspace: AzureWorkspace, name: str, content: str, folder: Path, tags: Mapping[str, str]
) -> ModelVersion:
    """Register a model folder with this text, as a step does."""
    folder.mkdir(exist_ok=True)
    (folder / "model.txt").write_text(content)
    (folder / "plots").mkdir(exist_ok=True)
    (folder / "plots" / "a.svg").write_text("<svg/>")
    client = workspace.mlflow
    run = client.create_run("0").info
    with pytest.MonkeyPatch.context() as patch:
        # MLflow uploads to the workspace that its whole process tracks to, as a step does.
        patch.setenv("MLFLOW_TRACKING_URI", workspace.workspace.get_mlflow_tracking_uri())
        client.log_artifacts(run.run_id, str(folder), "model")
    source = f"{run.artifact_uri}/model"
    lineage = {"model_sha256": sha256_of_file(folder / "model.txt"), "data_sha256": "d", **tags}
    return registry.register(client, name, run.run_id, source, lineage)


def stored(workspace: AzureWorkspace, emulator: EmulatorProcess, model: ModelVersion) -> Path:
    """The folder in which the emulator keeps a model's files."""
    folder = emulator.make_workspace(workspace.azure.workspace_name)
    return folder / "blobs/azureml/ExperimentRun" / f"dcid.{model.run_id}" / "model"


def test_versions_carry_their_lineage_and_one_is_the_champion(
    workspace: AzureWorkspace, tmp_path: Path
) -> None:
    models = AzureModels(workspace, "lineage")
    assert models.list() == []
    assert models.champion() is None
    for number in (1, 2):
        tags = {"git_commit": f"c{number}"}
        assert register(workspace, "lineage", f"tree {number}", tmp_path, tags).version == number
    assert [model.version for model in models.list()] == [2, 1]
    assert models.get(1).tags["git_commit"] == "c1"
    assert models.get("latest").version == 2
    for version in (2, 1):
        promoted = models.promote(version, f"for {version}")
        assert (promoted.version, promoted.champion) == (version, True)
        assert promoted.tags["champion_reason"] == f"for {version}"
        assert models.get("champion").version == version
        assert [model.version for model in models.list() if model.champion] == [version]


def test_a_version_that_is_not_there_is_named(workspace: AzureWorkspace, tmp_path: Path) -> None:
    models = AzureModels(workspace, "missing")
    with pytest.raises(RegistryError, match="missing has no version latest; it has: none"):
        models.get("latest")
    register(workspace, "missing", "tree", tmp_path, {})
    for ask in (models.get, models.fetch, lambda number: models.promote(number, "?")):
        with pytest.raises(RegistryError, match="missing has no version 7; it has: 1"):
            ask(7)


def test_the_files_are_fetched_once_and_whole(
    workspace: AzureWorkspace, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    models = AzureModels(workspace, "fetched")
    model = register(workspace, "fetched", "tree", tmp_path / "model", {})
    plot = stored(workspace, emulator, model) / "plots" / "a.svg"
    plot.unlink()
    with pytest.raises(PlatformError, match="fetching version 1 of model fetched"):
        models.fetch(1)
    plot.write_text("<svg/>")
    kept = workspace.cache / "models" / "fetched"
    assert [path.name for path in kept.iterdir() if path.is_dir()] == []

    folder = models.fetch(1)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert found == ["model.txt", "plots/a.svg"]
    assert (folder / "model.txt").read_text() == "tree"
    emulator.calls()
    assert models.fetch(1) == folder
    calls, _ = emulator.calls()
    assert not [call for call in calls if "/blob/" in str(call["path"])]

    (folder / "model.txt").write_text("another tree")
    with pytest.raises(PlatformError, match="not the model that was registered as version 1"):
        models.fetch(1)


def test_files_that_were_tampered_with_in_the_workspace_are_refused(
    workspace: AzureWorkspace, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    models = AzureModels(workspace, "tampered")
    model = register(workspace, "tampered", "tree", tmp_path, {})
    file = stored(workspace, emulator, model) / "model.txt"
    assert file.read_text() == "tree"
    file.write_text("forged")
    with pytest.raises(PlatformError, match="the workspace's copy .* is not the model that was"):
        models.fetch(1)
    assert not (workspace.cache / "models" / "tampered" / "1").exists()


def test_a_version_from_elsewhere_cannot_be_fetched(workspace: AzureWorkspace) -> None:
    registry.register(workspace.mlflow, "elsewhere", "", "https://example.test/model", {})
    with pytest.raises(PlatformError, match="fetching version 1 of model elsewhere"):
        AzureModels(workspace, "elsewhere").fetch(1)


def test_a_version_without_its_model_file_is_refused(workspace: AzureWorkspace) -> None:
    run = workspace.mlflow.create_run("0")
    source = f"{run.info.artifact_uri}/model"
    registry.register(workspace.mlflow, "hollow", run.info.run_id, source, {"model_sha256": "x"})
    with pytest.raises(PlatformError, match="fetching version 1 of model hollow.*No files"):
        AzureModels(workspace, "hollow").fetch(1)
    assert not (workspace.cache / "models" / "hollow" / "1").exists()


def test_a_login_that_may_not_read_is_told_so(
    workspace: AzureWorkspace, emulator: EmulatorProcess
) -> None:
    emulator.fault(method="GET", path="/model-versions/search", status=403)
    with pytest.raises(PlatformError, match="listing the versions of model claims"):
        AzureModels(workspace, "claims").list()


def test_no_call_was_one_that_azure_lacks(
    workspace: AzureWorkspace, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    from tests.azureml_emulator.services.mlflow_api import NOT_ANSWERED

    emulator.calls()
    models = AzureModels(workspace, "calls")
    register(workspace, "calls", "tree", tmp_path, {})
    models.promote(1, "first")
    models.fetch(1)
    calls, _ = emulator.calls()
    assert calls
    assert [call["path"] for call in calls if call["route"] == NOT_ANSWERED] == []
