"""Registration: only what the gate promoted, once, and only against the champion it was judged with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from insurance_claims import registry, schema
from insurance_claims.errors import RegistryError
from insurance_claims.model import load_model, save_model
from insurance_claims.register.register_model import register_challenger
from ml_service.platforms.local.platform import LocalPlatform

NAME = "claims"


def folders(
    tmp_path: Path, decision: str, seed: int = 1, champion: int | None = None
) -> dict[str, Path]:
    """The outputs of the steps before registration, with a real if tiny model."""
    where = {
        name: tmp_path / f"{seed}-{decision}" / name for name in ("dataset", "model", "evaluation")
    }
    for folder in where.values():
        folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    rows = draw.random((500, len(schema.FEATURE_NAMES)))
    data = lgb.Dataset(rows, draw.integers(0, 2, 500))
    booster = lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 3)
    metadata = {"parameters": {"seed": seed}, "data": {"name": "claims", "version": 1}}
    save_model(where["model"], booster.model_to_string(), metadata)
    write(
        where["dataset"] / "manifest.json",
        {
            "data": {"name": "claims", "version": 1, "sha256": "d"},
            "schema_version": "1",
            "split": {"salt": "s"},
        },
    )
    write(
        where["evaluation"] / "decision.json",
        {
            "decision": decision,
            "reasons": ["because."],
            "challenger": {"metrics": {"gini": {"value": 0.28}}},
            "champion": champion and {"version": champion},
        },
    )
    (where["evaluation"] / "model_card.md").write_text("# card")
    (where["evaluation"] / "plots").mkdir()
    return where


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def register(local: LocalPlatform, where: Mapping[str, Path]) -> dict[str, Any]:
    client = local.state.mlflow
    run = client.create_run("0")
    decision = json.loads((where["evaluation"] / "decision.json").read_text())
    return register_challenger(client, NAME, run.info.run_id, where, decision)


def versions(local: LocalPlatform) -> list[registry.ModelVersion]:
    return registry.versions(local.state.mlflow, NAME)


def test_a_promoted_model_becomes_the_champion_with_its_lineage(
    local: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_GIT_COMMIT", "abc")
    monkeypatch.setenv("BUILD_BUILDID", "77")
    where = folders(tmp_path, "promote")
    assert register(local, where) == {"registered": True, "name": NAME, "version": 1}
    (model,) = versions(local)
    assert model.champion
    assert model.tags["git_commit"] == "abc"
    assert model.tags["build_id"] == "77"
    assert json.loads(model.tags["parameters"])["training"] == {"seed": 1}
    to = tmp_path / "to"
    to.mkdir()
    folder = registry.fetch(model, to)
    golden = json.loads((folder / "golden.json").read_text())
    again = load_model(folder).predict(np.array(golden["rows"]))
    assert again.tolist() == golden["scores"]


def test_why_it_was_trained_is_in_the_lineage(local: LocalPlatform, tmp_path: Path) -> None:
    where = folders(tmp_path, "promote")
    client = local.state.mlflow
    run = client.create_run("0")
    decision = json.loads((where["evaluation"] / "decision.json").read_text())
    register_challenger(client, NAME, run.info.run_id, where, decision, reason="drift in 2 of 3")
    (model,) = versions(local)
    assert model.tags["training_reason"] == "drift in 2 of 3"


def test_a_refused_model_is_not_registered(local: LocalPlatform, tmp_path: Path) -> None:
    result = register(local, folders(tmp_path, "refuse"))
    assert result == {"registered": False, "name": NAME, "reasons": ["because."]}
    assert versions(local) == []


def test_a_champion_that_changed_meanwhile_is_not_replaced(
    local: LocalPlatform, tmp_path: Path
) -> None:
    register(local, folders(tmp_path, "promote", seed=1))
    late = folders(tmp_path, "promote", seed=2, champion=None)
    with pytest.raises(RegistryError, match="version 1 became champion.*run the pipeline again"):
        register(local, late)
    assert [model.version for model in versions(local)] == [1]
    register(local, folders(tmp_path, "promote", seed=3, champion=1))
    assert [(m.version, m.champion) for m in versions(local)] == [(2, True), (1, False)]


@pytest.mark.parametrize("moment", ["register", "promote"])
def test_killed_at_any_moment_a_second_attempt_completes(
    local: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    where = folders(tmp_path, "promote")
    real = getattr(registry, moment)

    def killed_after(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry, moment, killed_after)
        with pytest.raises(KeyboardInterrupt):
            register(local, where)
    assert register(local, where)["version"] == 1
    assert [(m.version, m.champion) for m in versions(local)] == [(1, True)]


def test_outside_a_pipeline_it_says_how_to_run_it(tmp_path: Path) -> None:
    where = folders(tmp_path, "promote")
    arguments = [f"--{name}={path}" for name, path in where.items()]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_RUN_ID"}
    result = subprocess.run(
        [sys.executable, "-m", "insurance_claims.register.register_model", *arguments]
        + ["--model-name=x", f"--output={tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 1
    assert "error: MLFLOW_RUN_ID is not set" in result.stderr
    assert not (tmp_path / "out").exists()
