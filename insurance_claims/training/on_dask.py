"""Training on a Dask cluster, through ``lightgbm.dask``: for more rows than one machine's memory holds.

Each worker reads its share of the train rows from the dataset folder, and all of the validation rows: then each knows
the learning curve by itself. ``lightgbm.dask`` has no early stopping, so rounds are trained until it is seen where that
would have stopped, twice as many each time. Few claims are not cross-validated.

Workers find bins on their own rows and add up their histograms, so that the model is as good as one of the local
engine, but not the same, and not the same each time.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from importlib import import_module
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import lightgbm as lgb
import numpy as np

from insurance_claims import schema
from insurance_claims.dask_cluster import ClusterError
from insurance_claims.errors import ClaimsError
from insurance_claims.parameters import TrainingParameters
from insurance_claims.training import recipe
from insurance_claims.training.blocks import read_block, share
from insurance_claims.training.importance import importance
from insurance_claims.training.recipe import Log, Matrix, Rounds
from insurance_claims.training.trained import TrainedModel

T = TypeVar("T")
Block: TypeAlias = tuple[Matrix, Matrix]

_WRAPPED = (
    *("boosting", "num_leaves", "max_depth", "bin_construct_sample_cnt", "min_gain_to_split"),
    *("min_sum_hessian_in_leaf", "min_data_in_leaf", "bagging_fraction", "bagging_freq"),
    *("feature_fraction", "lambda_l1", "lambda_l2"),
)
"""Parameters that the estimators of ``lightgbm.dask`` set to defaults of their own, under other names."""

_NETWORK = {"machines": "", "local_listen_port": "12400"}
"""What a model's text says of a cluster that is gone when it is used, and LightGBM's defaults for it."""

_FIRST_TRY = 4
"""Rounds to train at first, in times of early stopping's patience."""

_LOOK_EVERY = 1.0
"""Seconds after which to see whether the cluster still has its workers."""

_LOST = (
    "the Dask cluster lost a worker while it was training, and LightGBM cannot go on without: run the command again, "
    "with more memory for workers where that was short"
)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows that a worker holds: a future of a Block, and how many."""

    worker: str
    block: Any
    rows: int


def train_on_dask(
    folder: Path,
    manifest: Mapping[str, Any],
    parameters: TrainingParameters,
    client: Any,
    log: Log,
) -> TrainedModel:
    """Choose the number of rounds on the validation rows, then train on these and the train rows.

    Args:
        folder: of the dataset; workers find it under the same path.
        manifest: of the dataset.
        parameters: of training.
        client: of the cluster, all of whose workers take part.
        log: takes a line of progress.

    Raises:
        DataError: the dataset cannot be read, or a split holds one class alone.
        ParametersError: LightGBM refuses its parameters.
        ClusterError: the cluster fails, or loses a worker.
    """
    for split in ("train", "validation"):
        recipe.refuse_one_class(manifest["claims"][split], manifest["rows"][split])
    cluster = _Cluster(client, parameters)
    folder = folder.resolve()
    train = cluster.read(folder, "train", manifest["rows"]["train"], apart=True)
    validation = cluster.read(folder, "validation", manifest["rows"]["validation"], apart=False)
    workers = len(cluster.workers)
    log(f"training on a Dask cluster: {workers} workers")
    rounds = _choose_rounds(cluster, train, validation, parameters, log)
    log(f"best after {rounds.best} rounds: {rounds.describe()}")
    both = cluster.join(train, validation)
    log(f"training {rounds.best} rounds on all {sum(piece.rows for piece in both)} rows")
    booster: lgb.Booster = cluster.fit(rounds.best, both, None).booster_
    text = _without_network(booster.model_to_string())
    engine = {"engine": "dask", "workers": workers}
    return TrainedModel(text, rounds, importance(booster), engine)


def stop_early(losses: Sequence[float], patience: int) -> tuple[int, bool]:
    """Where early stopping would have stopped.

    Args:
        losses: after each round.
        patience: rounds without a better one after which it stops.

    Returns:
        The number of rounds with the lowest loss until then, and whether it would have stopped within ``losses``.
    """
    best = 0
    for at, loss in enumerate(losses):
        if loss < losses[best]:
            best = at
        elif at - best >= patience:
            return best + 1, True
    return best + 1, False


def _choose_rounds(
    cluster: _Cluster,
    train: Sequence[_Piece],
    validation: Sequence[_Piece],
    parameters: TrainingParameters,
    log: Log,
) -> Rounds:
    most, patience = parameters.max_rounds, parameters.early_stopping_rounds
    names = schema.PROBLEM.facts.curves
    tried = min(_FIRST_TRY * patience, most)
    while True:
        log(f"training {tried} rounds on the train split")
        curves = cluster.fit(tried, train, validation).evals_result_["validation"]
        found = {ours: curves[theirs] for ours, theirs in names.items()}
        losses = next(iter(found.values()))
        best, enough = stop_early(losses, patience)
        if enough or tried == most:
            end = min(best + patience, tried)
            ended = {name: curve[:end] for name, curve in found.items()}
            return Rounds(best, "validation", ended, auc_std=0.0)
        tried = min(2 * tried, most)


class _Cluster:
    """The workers that there are when training begins."""

    def __init__(self, client: Any, parameters: TrainingParameters) -> None:
        self.workers = sorted(client.scheduler_info()["workers"])
        self._client = client
        self._parameters = parameters
        known = recipe.known_settings(parameters)
        _silence()
        self._settings = {
            **{name: known[name] for name in _WRAPPED},
            **recipe.settings(parameters),
            "tree_learner": "data",
        }
        # Each worker has threads of its own.
        del self._settings["num_threads"]

    def read(self, folder: Path, split: str, rows: int, apart: bool) -> list[_Piece]:
        """Have workers read a split: a share each, or all of it each."""
        pieces = []
        for number, worker in enumerate(self.workers):
            start, stop = share(rows, number, len(self.workers)) if apart else (0, rows)
            block = self._on(worker, _read, folder, split, start, stop, self._parameters)
            pieces.append(_Piece(worker, block, stop - start))
        for piece in pieces:
            # LightGBM does not look whether there are rows.
            if (error := piece.block.exception()) is not None:
                raise _failed(error)
        return pieces

    def join(self, train: Sequence[_Piece], validation: Sequence[_Piece]) -> list[_Piece]:
        """Each worker's share of the train rows together with its share of the validation rows."""
        pieces = []
        for number, (own, whole) in enumerate(zip(train, validation, strict=True)):
            start, stop = share(whole.rows, number, len(self.workers))
            block = self._on(own.worker, _joined, own.block, whole.block, start, stop)
            pieces.append(_Piece(own.worker, block, own.rows + stop - start))
        return pieces

    def fit(self, rounds: int, data: Sequence[_Piece], judged: Sequence[_Piece] | None) -> Any:
        """A fitted estimator.

        Args:
            rounds: to train.
            data: to train on.
            judged: what each worker judges on.
        """
        from lightgbm.dask import DaskLGBMRegressor

        # A regressor of whatever objective: a classifier would rename the classes by those that a worker has.
        estimator = DaskLGBMRegressor(client=self._client, n_estimators=rounds, **self._settings)
        features, target = self._arrays(data)
        more: dict[str, Any] = {
            "feature_name": list(schema.FEATURE_NAMES),
            "categorical_feature": list(self._parameters.categorical_features),
        }
        if judged is not None:
            rows, claims = self._arrays(judged)
            more |= {"eval_X": rows, "eval_y": claims, "eval_names": ["validation"]}
        return self._watched(lambda: estimator.fit(features, target, **more))

    def _arrays(self, pieces: Sequence[_Piece]) -> tuple[Any, Any]:
        """Features and target as Dask arrays of one block a worker."""
        arrays: Any = import_module("dask.array")
        width = len(schema.FEATURE_NAMES)
        features, targets = [], []
        for piece in pieces:
            rows = self._on(piece.worker, itemgetter(0), piece.block)
            claims = self._on(piece.worker, itemgetter(1), piece.block)
            features.append(arrays.from_delayed(rows, (piece.rows, width), float))
            targets.append(arrays.from_delayed(claims, (piece.rows,), float))
        return arrays.concatenate(features), arrays.concatenate(targets)

    def _on(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._client.submit(
            function, *arguments, workers=[worker], allow_other_workers=True, pure=False
        )

    def _watched(self, work: Callable[[], T]) -> T:
        """The result of work that waits for workers, for ever where one of them died."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        while not result.done():
            wait([result], _LOOK_EVERY)
            if set(self.workers) - set(self._client.scheduler_info()["workers"]):
                raise ClusterError(_LOST)
        if (error := result.exception()) is not None:
            raise _failed(error)
        return result.result()


def _failed(error: BaseException) -> ClaimsError:
    """What to say of an error on the cluster."""
    if isinstance(error, ClaimsError):
        return error
    said = " ".join(str(error).split())
    # How LightGBM puts it where it hears of it first.
    if "Socket" in said:
        return ClusterError(_LOST)
    return ClusterError(f"training on the Dask cluster failed: {type(error).__name__}: {said}")


def _read(folder: Path, split: str, start: int, stop: int, parameters: TrainingParameters) -> Block:
    # In the worker, before it trains.
    _silence()
    rows, target = read_block(folder, split, start, stop)
    recipe.ignore_features(rows, parameters)
    return rows, target


def _silence() -> None:
    """Keep what LightGBM says of its network, and of parameters that its estimators add, from the step's output."""
    logger = logging.getLogger("lightgbm")
    logger.setLevel(logging.ERROR)
    lgb.register_logger(logger)
    # LightGBM keeps the way to its logger for each thread, and knows it in the thread alone that imported it.
    library: Any = lgb.basic._LIB  # type: ignore[attr-defined]
    library.LGBM_RegisterLogCallback(library.callback)


def _joined(train: Block, validation: Block, start: int, stop: int) -> Block:
    return (
        np.concatenate([train[0], validation[0][start:stop]]),
        np.concatenate([train[1], validation[1][start:stop]]),
    )


def _without_network(text: str) -> str:
    for name, default in _NETWORK.items():
        text = re.sub(rf"^\[{name}: .*\]$", f"[{name}: {default}]", text, flags=re.MULTILINE)
    return text
