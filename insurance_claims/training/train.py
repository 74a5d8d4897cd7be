"""Train a model on a dataset folder's train and validation rows. The holdout is never opened."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from insurance_claims.dask_cluster import SCHEDULER, dask_client
from insurance_claims.data.dataset import read_dataset_manifest, read_parts
from insurance_claims.errors import ParametersError
from insurance_claims.files import whole_folder, write_json
from insurance_claims.model import save_model
from insurance_claims.parameters import TrainingParameters, load_parameters
from insurance_claims.step import run_step, step_parser
from insurance_claims.tracking import Tracker, tracker
from insurance_claims.training import recipe
from insurance_claims.training.importance import draw_importance, importance
from insurance_claims.training.recipe import Log, Matrix
from insurance_claims.training.trained import TrainedModel

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class TrainingRows:
    """What a model learns from.

    Attributes:
        features: shape (n, 57), in the schema's order.
        target: shape (n,).
        validation: shape (n,), which rows are of the validation split.
    """

    features: Matrix
    target: Matrix
    validation: NDArray[np.bool_]


def read_rows(folder: Path, manifest: dict[str, Any]) -> TrainingRows:
    """Read the train and validation rows of a dataset folder, in this order.

    Raises:
        DataError: the folder is not what prepare writes.
    """
    rows = read_parts(folder, manifest, SPLITS)
    return TrainingRows(rows.features, rows.target, np.arange(len(rows.target)) >= rows.counts[0])


def train(rows: TrainingRows, parameters: TrainingParameters, log: Log) -> TrainedModel:
    """Choose the number of rounds, then train on all rows.

    The same rows in the same order and the same parameters give the same text.

    Args:
        rows: what to learn from. Ignored features are overwritten in place, which saves a copy of all rows.
        parameters: of training.
        log: takes a line of progress.

    Raises:
        DataError: there are too few rows of a class.
        ParametersError: LightGBM refuses its parameters.
    """
    recipe.check_settings(parameters)
    try:
        periods = recipe.periods_of(rows.features)
        data = recipe.dataset(rows.features, rows.target, parameters)
        rounds = recipe.choose_rounds(data, rows.target, rows.validation, parameters, log, periods)
        log(f"best after {rounds.best} rounds: {rounds.describe()}")
        log(f"training {rounds.best} rounds on all {len(rows.target)} rows")
        booster = recipe.fit(data, rounds.best, parameters, log)
    except lgb.basic.LightGBMError as error:
        raise ParametersError(f"training.lightgbm: LightGBM fails with it: {error}") from None
    return TrainedModel(booster.model_to_string(), rounds, importance(booster))


def metadata(
    model: TrainedModel, parameters: TrainingParameters, manifest: dict[str, Any]
) -> dict[str, Any]:
    """What training adds to model.json."""
    data = manifest["data"]
    return {
        "parameters": parameters.model_dump(mode="json"),
        "best_iteration": model.rounds.best,
        "method": model.rounds.method,
        "metrics": model.rounds.metrics,
        **model.engine,
        "data": {key: data[key] for key in ("name", "version", "sha256", "rows")},
        "split": manifest["split"],
        **({"periods": manifest["periods"]} if "periods" in manifest else {}),
    }


def report(model: TrainedModel, parameters: TrainingParameters, to: Tracker) -> None:
    """Log what people look at: parameters, learning curve, metrics, feature importance."""
    flat = parameters.model_dump(mode="json")
    nested = flat.pop("lightgbm")
    to.log_params({**flat, **{f"lightgbm.{name}": value for name, value in nested.items()}})
    for name, curve in model.rounds.curves.items():
        to.log_curve(f"curve_{name}", curve)
    to.log_metrics({**model.rounds.metrics, "best_iteration": model.rounds.best})
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        write_json(folder / "importance.json", model.importance)
        draw_importance(model.importance, folder / "importance.png")
        to.log_files(folder, "importance")


def main(arguments: argparse.Namespace) -> None:
    """Run the step."""
    parameters = load_parameters(arguments.parameters).training
    manifest = read_dataset_manifest(arguments.dataset)
    with whole_folder(arguments.output) as output, tracker() as to:
        if arguments.engine == "dask":
            model = _train_on_dask(arguments, parameters, manifest)
        else:
            model = train(read_rows(arguments.dataset, manifest), parameters, _print)
        report(model, parameters, to)
        save_model(output, model.text, metadata(model, parameters, manifest))
    print(f"model of {model.rounds.best} rounds written to {arguments.output}", flush=True)


def _train_on_dask(
    arguments: argparse.Namespace, parameters: TrainingParameters, manifest: dict[str, Any]
) -> TrainedModel:
    # Only here: most models are trained without.
    from insurance_claims.training.on_dask import train_on_dask

    with dask_client(arguments.scheduler, parameters.threads) as client:
        return train_on_dask(arguments.dataset, manifest, parameters, client, _print)


def _print(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = step_parser("insurance_claims.training.train", __doc__)
    parser.add_argument(
        "--dataset", type=Path, required=True, metavar="DIR", help="folder written by prepare"
    )
    parser.add_argument(
        "--engine",
        choices=("local", "dask"),
        default="local",
        help="local, in this process, or dask, on a cluster (default: %(default)s)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help=f"of a running Dask scheduler (default: {SCHEDULER}, else as many processes on this machine as "
        "training.threads says)",
    )
    return parser


if __name__ == "__main__":
    run_step(_parser(), main)
