"""The training step: what it reads, what it writes, and that it repeats itself."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from insurance_claims import schema
from insurance_claims.data.prepare import write_dataset
from insurance_claims.data.dataset import read_dataset_manifest
from insurance_claims.data.split import split_table
from insurance_claims.data.synthesize import synthesize
from insurance_claims.errors import ClaimsError
from insurance_claims.evaluate.metrics import gini
from insurance_claims.model import load_model
from insurance_claims.parameters import PARAMETERS_FILE, load_parameters
from insurance_claims.training.train import main, read_rows, train

ROWS = 4000
CLAIM_RATE = 0.2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of synthetic rows, many claims among them so that little is enough to learn from."""
    table, _ = synthesize(ROWS, seed=1, claim_rate=CLAIM_RATE)
    folder = tmp_path_factory.mktemp("prepared") / "dataset"
    version = {
        "name": "synthetic",
        "version": 1,
        "sha256": "ab" * 32,
        "rows": ROWS,
        "claim_rate": CLAIM_RATE,
        "schema_version": schema.SCHEMA_VERSION,
    }
    split = load_parameters().split
    write_dataset(split_table(table, split), version, split, folder)
    return folder


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that the step wrote."""
    folder = tmp_path_factory.mktemp("trained")
    parameters = write_parameters(folder)
    done = run_step(dataset, folder / "model", parameters)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder / "model"


def write_parameters(folder: Path, **training: Any) -> Path:
    """The shipped parameters, made quick."""
    content = yaml.safe_load(PARAMETERS_FILE.read_text())
    quick = {"threads": 1, "folds": 3, "learning_rate": 0.2}
    content["training"] |= {**quick, **training}
    path = folder / "parameters.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def run_step(
    dataset: Path, output: Path, parameters: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insurance_claims.training.train", "--dataset", str(dataset)]
    command += ["--output", str(output), "--parameters", str(parameters)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return subprocess.run(command, capture_output=True, text=True, env=clean | environment)


def copy_of(dataset: Path, to: Path) -> Path:
    return Path(shutil.copytree(dataset, to / "dataset"))


def rewrite(path: Path, column: str, values: pa.Array | None) -> None:
    """Replace a column of a Parquet file, or drop it."""
    table = pq.read_table(path)
    position = table.column_names.index(column)
    table = table.remove_column(position)
    if values is not None:
        table = table.add_column(position, column, values)
    pq.write_table(table, path)


def refusal(dataset: Path, tmp_path: Path, **training: Any) -> str:
    """What the step says where it must refuse; checks that it leaves nothing behind."""
    output = tmp_path / "out" / "model"
    arguments = argparse.Namespace(
        dataset=dataset,
        output=output,
        parameters=write_parameters(tmp_path, **training),
        engine="local",
        scheduler=None,
    )
    with pytest.raises(ClaimsError) as refused:
        main(arguments)
    assert not output.parent.exists() or not list(output.parent.iterdir())
    return str(refused.value)


def test_model_folder_is_whole_and_takes_raw_rows_of_all_features(
    trained: Path, dataset: Path
) -> None:
    model = load_model(trained)
    holdout = pq.read_table(dataset / "holdout.parquet").to_pandas()
    rows = holdout[list(schema.FEATURE_NAMES)].to_numpy(np.float64)
    assert (rows == schema.MISSING).any()
    scores = model.predict(rows)
    assert ((scores > 0) & (scores < 1)).all()
    assert gini(holdout[schema.TARGET], scores) > 0.15
    assert scores.mean() == pytest.approx(holdout[schema.TARGET].mean(), rel=0.15)


def test_model_json_says_how_it_was_made(trained: Path) -> None:
    metadata = load_model(trained).metadata
    expected = load_parameters(trained.parent / "parameters.yml").training.model_dump(mode="json")
    assert metadata["parameters"] == expected
    assert metadata["data"] == {
        "name": "synthetic",
        "version": 1,
        "sha256": "ab" * 32,
        "rows": ROWS,
    }
    assert metadata["method"] == "cross_validation"
    assert metadata["best_iteration"] == load_model(trained).booster.num_trees()
    metrics = metadata["metrics"]
    assert metrics["gini"] == pytest.approx(2 * metrics["auc"] - 1)
    assert 0.1 < metrics["gini"] < 0.6
    assert 0.3 < metrics["log_loss"] < 0.5


def test_ignored_features_change_no_score(trained: Path, dataset: Path) -> None:
    model = load_model(trained)
    rows = read_rows(dataset, read_dataset_manifest(dataset)).features
    changed = rows.copy()
    ignored = load_parameters().training.ignored_features
    for name in ignored:
        changed[:, schema.FEATURE_NAMES.index(name)] = 3
    assert len(ignored) == 20
    np.testing.assert_array_equal(model.predict(rows), model.predict(changed))
    used = set(np.array(schema.FEATURE_NAMES)[model.booster.feature_importance() > 0])
    assert used and not used & set(ignored)


def test_another_process_in_another_place_without_the_holdout_writes_the_same_text(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    moved = copy_of(dataset, tmp_path)
    (moved / "holdout.parquet").unlink()
    done = run_step(
        moved, tmp_path / "again", trained.parent / "parameters.yml", OMP_NUM_THREADS="2"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "model.txt").read_bytes() == (trained / "model.txt").read_bytes()


def test_another_seed_writes_another_text(trained: Path, dataset: Path, tmp_path: Path) -> None:
    parameters = load_parameters(write_parameters(tmp_path, seed=1)).training
    text = train(
        read_rows(dataset, read_dataset_manifest(dataset)), parameters, lambda line: None
    ).text
    assert text != (trained / "model.txt").read_text()


def test_step_exits_1_with_the_reason_and_no_traceback(dataset: Path, tmp_path: Path) -> None:
    done = run_step(
        dataset, tmp_path / "model", write_parameters(tmp_path, lightgbm={"num_leafs": 4})
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "num_leafs" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()


def test_threads_change_no_tree(trained: Path, dataset: Path, tmp_path: Path) -> None:
    parameters = write_parameters(tmp_path, threads=2)
    done = run_step(dataset, tmp_path / "model", parameters, OMP_THREAD_LIMIT="2")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "model" / "model.txt").read_text()
    first = (trained / "model.txt").read_text()
    assert text.split("\nparameters:")[0] == first.split("\nparameters:")[0]
    assert text.replace("[num_threads: 2]", "[num_threads: 1]") == first


def test_text_holds_no_path(trained: Path, dataset: Path) -> None:
    text = (trained / "model.txt").read_text()
    assert "num_leaves" in text
    assert str(dataset) not in text and str(trained.parent) not in text


def test_progress_is_printed(trained: Path) -> None:
    lines = (trained.parent / "stdout.txt").read_text().splitlines()
    assert any(
        line.startswith("round 50 of at most") and "binary_logloss" in line for line in lines
    )
    assert any("3-fold cross-validation" in line for line in lines)


def test_plenty_of_claims_choose_rounds_on_the_validation_split(
    dataset: Path, tmp_path: Path
) -> None:
    rows = read_rows(dataset, read_dataset_manifest(dataset))
    claims = int(rows.target.sum())
    methods = {}
    for limit in (claims, claims + 1):
        path = write_parameters(tmp_path, cross_validate_below=limit, max_rounds=20)
        model = train(rows, load_parameters(path).training, lambda line: None)
        methods[limit] = model.rounds.method
        assert len(model.rounds.curves["log_loss"]) >= model.rounds.best
        # Refitted on all rows, whichever way the rounds were chosen.
        counts = [line for line in model.text.splitlines() if line.startswith("internal_count=")]
        assert int(counts[0].split("=")[1].split()[0]) > 0.7 * len(rows.target)
    assert methods == {claims: "validation", claims + 1: "cross_validation"}


def test_mlflow_gets_parameters_curve_metrics_and_importance(
    dataset: Path, tmp_path: Path, database: Path
) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{shutil.copy(database, tmp_path)}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("training", artifact_location=str(tmp_path / "artifacts"))
    run_id = client.create_run(experiment).info.run_id
    done = run_step(
        dataset,
        tmp_path / "model",
        write_parameters(tmp_path),
        MLFLOW_TRACKING_URI=uri,
        MLFLOW_RUN_ID=run_id,
    )
    assert done.returncode == 0, done.stderr
    run = client.get_run(run_id)
    metadata = load_model(tmp_path / "model").metadata
    assert run.data.params["lightgbm.num_leaves"] == str(
        metadata["parameters"]["lightgbm"]["num_leaves"]
    )
    assert run.data.metrics["gini"] == pytest.approx(metadata["metrics"]["gini"])
    curve = client.get_metric_history(run_id, "curve_log_loss")
    lowest = min(curve, key=lambda point: point.value)
    assert lowest.step == metadata["best_iteration"] < len(curve)
    folder = tmp_path / "artifacts" / run_id / "artifacts" / "importance"
    assert (folder / "importance.png").read_bytes().startswith(b"\x89PNG")
    shares = json.loads((folder / "importance.json").read_text())
    assert set(shares) == set(schema.FEATURE_NAMES)
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("lightgbm", "reason"),
    [
        ({"num_leafs": 4}, "num_leafs"),
        ({"num_leaves": "many"}, "num_leaves"),
        ({"num_leaves": 1}, "num_leaves"),
        ({"min_data_in_leaf": 20, "min_data": 30}, "min_data"),
        ({"bagging_fraction": 1.5}, "bagging_fraction"),
        ({"n_estimators": 5}, "n_estimators"),
        ({"objective": "regression"}, "objective"),
        ({"n_jobs": 4}, "n_jobs"),
    ],
)
def test_settings_that_lightgbm_does_not_take_are_refused(
    dataset: Path, tmp_path: Path, lightgbm: dict[str, Any], reason: str
) -> None:
    said = refusal(dataset, tmp_path, lightgbm=lightgbm)
    assert "training" in said and reason in said


@pytest.mark.parametrize("key", ["ignored_features", "categorical_features"])
def test_unknown_feature_in_the_parameters_is_refused(
    dataset: Path, tmp_path: Path, key: str
) -> None:
    assert "ps_nothing" in refusal(dataset, tmp_path, **{key: ["ps_nothing"]})


def test_too_few_claims_for_the_folds_are_refused(dataset: Path, tmp_path: Path) -> None:
    broken = copy_of(dataset, tmp_path)
    for split, claims in (("train", 1), ("validation", 1)):
        path = broken / f"{split}.parquet"
        rows = pq.read_metadata(path).num_rows
        target = np.zeros(rows, dtype=np.int64)
        target[:claims] = 1
        rewrite(path, schema.TARGET, pa.array(target))
    said = refusal(broken, tmp_path)
    assert "2 claims" in said and "3 folds" in said


def test_validation_split_of_one_class_is_refused(dataset: Path, tmp_path: Path) -> None:
    broken = copy_of(dataset, tmp_path)
    path = broken / "validation.parquet"
    rows = pq.read_metadata(path).num_rows
    rewrite(path, schema.TARGET, pa.array(np.zeros(rows, dtype=np.int64)))
    assert "one class" in refusal(broken, tmp_path, cross_validate_below=0)


@pytest.mark.parametrize("file", ["train.parquet", "validation.parquet", "manifest.json"])
def test_missing_and_damaged_files_are_refused(dataset: Path, tmp_path: Path, file: str) -> None:
    broken = copy_of(dataset, tmp_path)
    (broken / file).write_bytes(b"half of i")
    assert file in refusal(broken, tmp_path)
    (broken / file).unlink()
    assert file in refusal(broken, tmp_path)


def test_missing_column_and_nan_are_refused(dataset: Path, tmp_path: Path) -> None:
    broken = copy_of(dataset, tmp_path)
    path = broken / "train.parquet"
    values = pq.read_table(path, columns=["ps_reg_03"])["ps_reg_03"].to_numpy().copy()
    values[5] = np.nan
    rewrite(path, "ps_reg_03", pa.array(values))
    assert "ps_reg_03" in refusal(broken, tmp_path)
    rewrite(path, "ps_reg_03", None)
    assert "lacks ps_reg_03" in refusal(broken, tmp_path)


def test_manifest_of_another_schema_is_refused(dataset: Path, tmp_path: Path) -> None:
    broken = copy_of(dataset, tmp_path)
    manifest = json.loads((broken / "manifest.json").read_text())
    (broken / "manifest.json").write_text(json.dumps({**manifest, "schema_version": "0"}))
    assert "schema 0" in refusal(broken, tmp_path)
    (broken / "manifest.json").write_text(json.dumps({"schema_version": "1"}))
    assert "does not describe a dataset" in refusal(broken, tmp_path)
