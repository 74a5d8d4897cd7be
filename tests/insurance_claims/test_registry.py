"""The registry on a real MLflow store: one champion, whole lineage, no version twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from insurance_claims import registry
from insurance_claims.errors import RegistryError
from ml_service.platforms.local.platform import LocalPlatform

NAME = "claims"


@pytest.fixture
def client(local: LocalPlatform) -> MlflowClient:
    return local.state.mlflow


def register(client: MlflowClient, sha256: str) -> registry.ModelVersion:
    run = client.create_run("0")
    tags = {"model_sha256": sha256, "data_sha256": "d", "parameters_sha256": "p"}
    return registry.register(client, NAME, run.info.run_id, "file:///nowhere", tags)


def test_versions_are_integers_newest_first(client: MlflowClient) -> None:
    for number in range(1, 12):
        assert register(client, f"sha{number}").version == number
    assert [v.version for v in registry.versions(client, NAME)] == list(range(11, 0, -1))
    assert registry.get(client, NAME, "latest").version == 11


def test_the_same_model_is_registered_once(client: MlflowClient) -> None:
    assert register(client, "same") == register(client, "same")
    assert len(registry.versions(client, NAME)) == 1


def test_there_is_one_champion_and_it_can_go_back(client: MlflowClient) -> None:
    register(client, "a")
    register(client, "b")
    assert registry.champion(client, NAME) is None
    for number in (1, 2, 1):
        registry.promote(client, NAME, number, f"for {number}")
        champion = registry.champion(client, NAME)
        assert champion is not None
        assert champion.version == number
        assert champion.tags["champion_reason"] == f"for {number}"
        assert [v.version for v in registry.versions(client, NAME) if v.champion] == [number]


def test_what_is_not_there_is_named(client: MlflowClient) -> None:
    assert registry.versions(client, NAME) == []
    with pytest.raises(RegistryError, match="claims has no version latest; it has: none"):
        registry.get(client, NAME, "latest")
    register(client, "a")
    with pytest.raises(RegistryError, match="claims has no version champion; it has: 1"):
        registry.get(client, NAME, "champion")
    with pytest.raises(RegistryError, match="no version 7"):
        registry.promote(client, NAME, 7, "?")


def test_the_files_come_back(client: MlflowClient, tmp_path: Path) -> None:
    run = client.create_run("0")
    (tmp_path / "model.txt").write_text("tree")
    client.log_artifact(run.info.run_id, str(tmp_path / "model.txt"), "model")
    source = f"{client.get_run(run.info.run_id).info.artifact_uri}/model"
    made = registry.register(client, NAME, run.info.run_id, source, {"model_sha256": "x"})
    to = tmp_path / "to"
    to.mkdir()
    assert (registry.fetch(made, to) / "model.txt").read_text() == "tree"
