"""Batch scoring through the real SDK: every row of a data version, with the registered model's own scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from insurance_claims import registry, schema
from insurance_claims.model import load_model, save_model
from ml_service.platforms.base import RunStatus
from ml_service.settings import AzureSettings, Settings

if TYPE_CHECKING:
    from ml_service.platforms.azureml.data import AzureData
    from ml_service.platforms.azureml.pipelines import AzurePipelines
    from ml_service.platforms.azureml.workspace import AzureWorkspace


@pytest.fixture(scope="module")
def workspace(azure: str) -> AzureWorkspace:
    """An empty workspace."""
    from ml_service.platforms.azureml.workspace import AzureWorkspace

    return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate({}))


@pytest.fixture(scope="module")
def data(workspace: AzureWorkspace) -> AzureData:
    """The workspace's data versions."""
    from ml_service.platforms.azureml.data import AzureData

    return AzureData(workspace)


@pytest.fixture(scope="module")
def pipelines(workspace: AzureWorkspace, data: AzureData) -> AzurePipelines:
    """The workspace's pipelines."""
    from ml_service.platforms.azureml.pipelines import AzurePipelines

    return AzurePipelines(workspace, data, {})


@pytest.fixture(scope="module")
def model(workspace: AzureWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that is registered as version 1."""
    rng = np.random.default_rng(5)
    columns = [rng.uniform(item.minimum, item.maximum, 1000) for item in schema.FEATURES]
    rows = np.column_stack(columns)
    claims = (rng.random(len(rows)) < 0.03 + 0.05 * (rows[:, 0] > 3)).astype(float)
    settings = {"objective": "binary", "num_threads": 1, "seed": 1, "verbosity": -1}
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, lgb.train(settings, lgb.Dataset(rows, claims), 20).model_to_string(), {})
    client = workspace.mlflow
    run = client.create_run("0").info
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", workspace.workspace.get_mlflow_tracking_uri())
        client.log_artifacts(run.run_id, str(folder), "model")
    tags = {"model_sha256": json.loads((folder / "model.json").read_text())["sha256"]}
    name = workspace.settings.model_name
    registry.register(client, name, run.run_id, f"{run.artifact_uri}/model", tags)
    return folder


def test_every_row_gets_the_models_score(
    workspace: AzureWorkspace, data: AzureData, pipelines: AzurePipelines, model: Path, root: Path
) -> None:
    from ml_service.platforms.azureml.batch import OUTPUT, SCORES_FILE, STEP, AzureBatch

    version, _ = data.add(workspace.settings.dataset_name, root / "data" / "sample.csv", print)
    batch = AzureBatch(workspace, pipelines)
    published = batch.publish("1", print)
    assert batch.publish("1", print) == published
    result = pipelines.run(published, {"model_version": "1"}, print)
    assert result.error is None, pipelines.logs(result.id)
    lines = (pipelines.output(result.id, STEP, OUTPUT) / SCORES_FILE).read_text().splitlines()
    table = pd.read_parquet(data.fetch(version) / "data.parquet")
    rows = table[list(schema.FEATURE_NAMES)].to_numpy(dtype=np.float64)
    scores = load_model(model).predict(rows).tolist()
    expected = [f"{name},{score!r},1" for name, score in zip(table["id"], scores, strict=True)]
    assert sorted(lines) == sorted(expected)
    assert len(lines) == version.rows

    refused = pipelines.run(published, {}, print)
    assert refused.status is RunStatus.FAILED
    assert refused.error is not None and "has no version champion; it has: 1" in refused.error
