"""Training on a cluster of two workers: as good a model as of one process, with the same parameters."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow.parquet as pq
import pytest

from insurance_claims import schema
from insurance_claims.dask_cluster import ClusterError
from insurance_claims.data.dataset import read_dataset_manifest, read_parts
from insurance_claims.data.prepare import write_dataset
from insurance_claims.data.split import split_table
from insurance_claims.data.synthesize import synthesize
from insurance_claims.errors import DataError, ParametersError
from insurance_claims.evaluate.metrics import gini, log_loss
from insurance_claims.files import read_json
from insurance_claims.model import load_model
from insurance_claims.parameters import Parameters, TrainingParameters, load_parameters
from insurance_claims.training import train as step
from insurance_claims.training.blocks import read_block, share
from insurance_claims.training.on_dask import stop_early, train_on_dask
from insurance_claims.training.train import read_rows, train

ROWS = 12_000
TOLERANCE = 0.02
"""Of the Gini on the holdout: a tenth of what the model is worth on these rows."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of synthetic rows, many claims among them."""
    table, _ = synthesize(ROWS, seed=1, claim_rate=0.2)
    folder = tmp_path_factory.mktemp("prepared") / "dataset"
    version = {
        "name": "synthetic",
        "version": 1,
        "sha256": "ab" * 32,
        "rows": ROWS,
        "claim_rate": 0.2,
        "schema_version": schema.SCHEMA_VERSION,
    }
    split = load_parameters().split
    write_dataset(split_table(table, split), version, split, folder)
    return folder


@pytest.fixture(scope="module")
def manifest(dataset: Path) -> dict[str, Any]:
    return read_dataset_manifest(dataset)


def quick(**changes: Any) -> TrainingParameters:
    """The shipped parameters with fewer rounds, the number of which the validation split chooses."""
    known = {"learning_rate": 0.1, "early_stopping_rounds": 20, "cross_validate_below": 0}
    return load_parameters().training.model_copy(update={**known, **changes})


def parameters_of(text: str) -> dict[str, str]:
    """What a model's text says of LightGBM's parameters."""
    lines = text.partition("\nparameters:")[2].partition("end of parameters")[0].splitlines()
    pairs = (line.strip("[]").partition(": ") for line in lines if line)
    return {name: value for name, _, value in pairs}


def test_two_workers_train_as_good_a_model_with_the_same_parameters(
    dask: Any, dataset: Path, manifest: dict[str, Any]
) -> None:
    said: list[str] = []
    # Aliases and values that are not the defaults: they have to reach the workers.
    chosen = quick(lightgbm={**quick().lightgbm, "reg_alpha": 0.5, "min_child_weight": 0.01})
    alone = train(read_rows(dataset, manifest), chosen, lambda line: None)
    together = train_on_dask(dataset, manifest, chosen, dask, said.append)
    holdout = read_parts(dataset, manifest, ("holdout",))
    ginis, losses = [], []
    for model in (alone, together):
        scores = lgb.Booster(model_str=model.text).predict(holdout.features)
        ginis.append(gini(holdout.target, scores))
        losses.append(log_loss(holdout.target, scores))
    assert min(ginis) > 0.2
    assert abs(ginis[0] - ginis[1]) < TOLERANCE
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert together.engine == {"engine": "dask", "workers": 2}
    assert together.rounds.method == "validation"
    assert together.rounds.metrics["gini"] == pytest.approx(
        alone.rounds.metrics["gini"], abs=TOLERANCE
    )
    curves = together.rounds.curves
    assert len(curves["log_loss"]) == len(curves["auc"]) >= together.rounds.best
    rows = manifest["rows"]["train"] + manifest["rows"]["validation"]
    assert f"training {together.rounds.best} rounds on all {rows} rows" in said
    counts = next(line for line in together.text.splitlines() if line.startswith("internal_count="))
    assert int(counts.split("=")[1].split()[0]) > 0.7 * rows
    one, two = parameters_of(alone.text), parameters_of(together.text)
    differing = {name for name in one | two if one.get(name) != two.get(name)}
    assert differing == {"tree_learner", "num_machines", "num_threads", "num_iterations"}
    assert (two["num_machines"], two["lambda_l1"], two["machines"]) == ("2", "0.5", "")
    assert "127.0.0.1" not in together.text
    ignored = [schema.FEATURE_NAMES.index(name) for name in chosen.ignored_features]
    split = lgb.Booster(model_str=together.text).feature_importance()
    assert not split[ignored].any()


def test_the_step_says_in_model_json_what_trained_it(
    dask: Any, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def connect(*arguments: Any) -> Any:
        asked.append(arguments)
        return nullcontext(dask)

    def parameters(path: Path) -> Parameters:
        return load_parameters().model_copy(update={"training": quick(max_rounds=30)})

    monkeypatch.setattr(step, "dask_client", connect)
    monkeypatch.setattr(step, "load_parameters", parameters)
    words = ["--dataset", str(dataset), "--engine", "dask", "--scheduler", "tcp://somewhere:8786"]
    step.main(step._parser().parse_args([*words, "--output", str(tmp_path / "model")]))
    assert asked == [("tcp://somewhere:8786", 2)]
    metadata = load_model(tmp_path / "model").metadata
    assert (metadata["engine"], metadata["workers"]) == ("dask", 2)
    assert metadata["best_iteration"] <= 30


def test_the_local_engine_is_said_as_well(dataset: Path, tmp_path: Path) -> None:
    arguments = argparse.Namespace(
        dataset=dataset, engine="local", scheduler=None, output=tmp_path / "model"
    )
    arguments.parameters = tmp_path / "parameters.yml"
    text = (Path(step.__file__).parents[1] / "parameters.yml").read_text()
    text = text.replace("max_rounds: 3000", "max_rounds: 5")
    arguments.parameters.write_text(text)
    step.main(arguments)
    assert read_json(tmp_path / "model" / "model.json")["engine"] == "local"


@pytest.mark.parametrize(
    ("losses", "best", "enough"),
    [
        ([3.0, 2.0, 1.0], 3, False),
        ([3.0, 1.0, 2.0, 2.0], 2, False),
        ([3.0, 1.0, 2.0, 2.0, 2.0], 2, True),
        ([3.0, 1.0, 1.0, 1.0, 1.0, 0.5], 2, True),
        ([1.0], 1, False),
    ],
)
def test_rounds_are_those_of_early_stopping(losses: list[float], best: int, enough: bool) -> None:
    assert stop_early(losses, patience=3) == (best, enough)


@pytest.mark.parametrize("group", [100, 999, 10_000])
def test_shares_are_all_rows_once(dataset: Path, tmp_path: Path, group: int) -> None:
    table = pq.read_table(dataset / "train.parquet")
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=group)
    bounds = [share(table.num_rows, number, 3) for number in range(3)]
    blocks = [read_block(tmp_path, "train", *bound) for bound in bounds]
    assert {len(target) for _, target in blocks} <= {stop - start for start, stop in bounds}
    features = np.concatenate([features for features, _ in blocks])
    expected = table.select(schema.FEATURE_NAMES).to_pandas().to_numpy(float)
    np.testing.assert_array_equal(features, expected)
    target = np.concatenate([target for _, target in blocks])
    np.testing.assert_array_equal(target, table[schema.TARGET].to_numpy())


def test_rows_that_are_not_there_or_no_numbers_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Every worker has to find the dataset under the same path"):
        read_block(tmp_path, "train", 0, 10)
    table = pq.read_table(dataset / "train.parquet").slice(0, 10)
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(DataError, match="fewer rows than its manifest says"):
        read_block(tmp_path, "train", 0, 11)
    position = table.column_names.index("ps_reg_03")
    broken = table.set_column(position, "ps_reg_03", [[None] * 10])
    pq.write_table(broken.cast(table.schema), tmp_path / "train.parquet")
    with pytest.raises(DataError, match="holds nulls"):
        read_block(tmp_path, "train", 0, 10)
    pq.write_table(table.drop_columns(["ps_reg_03"]), tmp_path / "train.parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read_block(tmp_path, "train", 0, 10)


def test_what_cannot_be_trained_is_refused(
    dask: Any, dataset: Path, manifest: dict[str, Any], tmp_path: Path
) -> None:
    one_class = {**manifest, "claims": {**manifest["claims"], "validation": 0}}
    with pytest.raises(DataError, match="holds only one class"):
        train_on_dask(dataset, one_class, quick(), dask, print)
    with pytest.raises(ParametersError, match="num_leafs"):
        train_on_dask(dataset, manifest, quick(lightgbm={"num_leafs": 3}), dask, print)
    with pytest.raises(DataError, match="train.parquet cannot be read"):
        train_on_dask(tmp_path, manifest, quick(), dask, print)


def test_a_worker_that_dies_ends_training(
    dask: Any, dataset: Path, manifest: dict[str, Any]
) -> None:
    # The last test: the other worker waits for the dead one until the cluster is closed.
    first, _ = dask.run(os.getpid).values()
    kill = threading.Timer(0.7, os.kill, (first, signal.SIGKILL))

    def log(line: str) -> None:
        if line.endswith("rounds on the train split"):
            kill.start()

    endless = quick(max_rounds=100_000, early_stopping_rounds=25_000)
    with pytest.raises(ClusterError, match="lost a worker while it was training"):
        train_on_dask(dataset, manifest, endless, dask, log)
