"""How a model is trained: the number of rounds is chosen first, then every row is trained on.

Rows that only decide when to stop teach the model nothing, and the fewer claims there are, the more
that costs and the less they can decide. Where claims are few, the rounds are therefore chosen by
cross-validation over all rows; where there are plenty, the validation split alone says the same for
a fifth of the work. Both end in a refit on all of these rows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import DataError, ParametersError
from insurance_claims.parameters import TrainingParameters

Matrix = NDArray[np.float64]
Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
Log = Callable[[str], None]

PROGRESS_EVERY = 50
"""Rounds between two lines of progress."""

AUC = "auc"

_REFUSALS = ("Unknown parameter", "will be ignored", "will be overridden")
"""LightGBM only warns where it passes over a setting; a person who wrote it down wants to know."""


@dataclass(frozen=True)
class Rounds:
    """What cross-validation, or the validation split, said.

    Attributes:
        best: number of rounds with the lowest loss.
        method: ``cross_validation`` or ``validation``.
        curves: the loss after each round, mean over folds, then other metrics; they go on past ``best`` until training
            stopped.
        auc_std: standard deviation of the AUC over folds after ``best`` rounds; 0 for one split, or without an AUC.
    """

    best: int
    method: str
    curves: Mapping[str, Sequence[float]]
    auc_std: float

    @property
    def metrics(self) -> dict[str, float]:
        """Figures after the best round, on rows that the fold's model was not trained on."""
        found = {name: curve[self.best - 1] for name, curve in self.curves.items()}
        if AUC in found:
            found |= {"gini": 2 * found[AUC] - 1, "gini_fold_std": 2 * self.auc_std}
        return found

    def describe(self) -> str:
        """The metrics in one line."""
        return ", ".join(f"{name} {value:.5f}" for name, value in self.metrics.items())


def settings(parameters: TrainingParameters) -> dict[str, Any]:
    """LightGBM's parameters: what parameters.yml says, and what makes training repeatable."""
    return {
        **schema.PROBLEM.facts.lightgbm,
        "learning_rate": parameters.learning_rate,
        "seed": parameters.seed,
        "num_threads": parameters.threads,
        "deterministic": True,
        # Left to itself LightGBM times both layouts and takes the faster one: another one on another day.
        "force_col_wise": True,
        "verbosity": -1,
        **parameters.lightgbm,
    }


def check_settings(parameters: TrainingParameters) -> None:
    """Train one round on a few rows, to hear early of what LightGBM does not know or refuses.

    Raises:
        ParametersError: repeats what LightGBM said.
    """
    known_settings(parameters)


def known_settings(parameters: TrainingParameters) -> dict[str, str]:
    """Every parameter of LightGBM as it takes it, under its main name.

    Raises:
        ParametersError: LightGBM does not know one, or refuses it; repeats what it said.
    """
    heard = _Warnings()
    lgb.register_logger(heard)
    rows = np.arange(200 * len(schema.FEATURE_NAMES), dtype=np.float64).reshape(200, -1) % 7
    try:
        chosen = {**settings(parameters), "verbosity": 0}
        data = lgb.Dataset(rows, np.arange(200) % 2, params=chosen)
        text = lgb.train(chosen, data, num_boost_round=1).model_to_string()
    except (lgb.basic.LightGBMError, ValueError, TypeError) as error:
        raise ParametersError(f"training.lightgbm: LightGBM refuses it: {error}") from None
    finally:
        lgb.register_logger(logging.getLogger("lightgbm"))
    problems = [line for line in heard.lines if any(phrase in line for phrase in _REFUSALS)]
    if problems:
        raise ParametersError(
            "\n".join(["training.lightgbm: LightGBM does not take it:", *problems])
        )
    return dict(re.findall(r"^\[(\w+): (.*)\]$", text, flags=re.MULTILINE))


def dataset(rows: Matrix, target: Matrix, parameters: TrainingParameters) -> lgb.Dataset:
    """Bin the rows for LightGBM.

    Args:
        rows: shape (n, 57), features in the schema's order; -1 is a value like any other, below all
            that are legal, so that scoring can hand rows over as they come. Ignored features are
            overwritten with a constant: LightGBM then never splits on them, and the model still
            takes all features.
        target: shape (n,).
        parameters: of training.
    """
    ignore_features(rows, parameters)
    return lgb.Dataset(
        rows,
        target,
        feature_name=list(schema.FEATURE_NAMES),
        categorical_feature=list(parameters.categorical_features),
        params=settings(parameters),
    ).construct()


def periods_of(rows: Matrix) -> Matrix | None:
    """When each row is from, shape (n,); None where the schema names no period. To be asked before ``dataset``."""
    if schema.PERIOD is None:
        return None
    return rows[:, schema.FEATURE_NAMES.index(schema.PERIOD)].copy()


def ignore_features(rows: Matrix, parameters: TrainingParameters) -> None:
    """Overwrite ignored features, and the period, in place."""
    for name in (*parameters.ignored_features, *filter(None, [schema.PERIOD])):
        rows[:, schema.FEATURE_NAMES.index(name)] = 0


def choose_rounds(
    data: lgb.Dataset,
    target: Matrix,
    validation: NDArray[np.bool_],
    parameters: TrainingParameters,
    log: Log,
    periods: Matrix | None = None,
) -> Rounds:
    """Find how many rounds to train.

    Args:
        data: all rows, binned.
        target: shape (n,), of the same rows.
        validation: shape (n,), which of them are the validation split.
        parameters: of training.
        log: takes a line of progress.
        periods: shape (n,), when each row is from, where later periods are forecast.

    Raises:
        DataError: there are too few rows of a class.
    """
    claims = int((target > 0).sum())
    few = claims < parameters.cross_validate_below
    if few and periods is not None:
        folds = expanding_folds(periods, target, parameters.folds)
        log(f"{claims} claims: choosing the rounds on the newest {len(folds)} periods, one by one")
    elif few:
        log(f"{claims} claims: choosing the rounds by {parameters.folds}-fold cross-validation")
        folds = stratified_folds(target, parameters.folds, parameters.seed)
    else:
        log(f"{claims} claims: choosing the rounds on the validation split")
        folds = [(np.flatnonzero(~validation), np.flatnonzero(validation))]
        for part in folds[0]:
            refuse_one_class(int((target[part] > 0).sum()), len(part))
    curves: dict[str, dict[str, list[float]]] = {}
    lgb.cv(
        settings(parameters),
        data,
        num_boost_round=parameters.max_rounds,
        folds=folds,
        callbacks=[
            lgb.record_evaluation(curves),
            lgb.early_stopping(
                parameters.early_stopping_rounds, first_metric_only=True, verbose=False
            ),
            _progress(log),
        ],
    )
    names = schema.PROBLEM.facts.curves
    found = {ours: curves["valid"][f"{theirs}-mean"] for ours, theirs in names.items()}
    best = int(np.argmin(next(iter(found.values())))) + 1
    auc_std = curves["valid"][f"{AUC}-stdv"][best - 1] if AUC in found else 0.0
    return Rounds(best, "cross_validation" if few else "validation", found, auc_std)


def fit(data: lgb.Dataset, rounds: int, parameters: TrainingParameters, log: Log) -> lgb.Booster:
    """Train on all rows for a fixed number of rounds."""
    return lgb.train(settings(parameters), data, num_boost_round=rounds, callbacks=[_progress(log)])


def stratified_folds(target: Matrix, folds: int, seed: int) -> Folds:
    """Cut rows into folds with equal shares of claims.

    Args:
        target: shape (n,), above 0 for a claim.
        folds: how many.
        seed: of the assignment: the same rows in the same order fall into the same folds.

    Returns:
        One pair of row numbers a fold: to train on, to judge on.

    Raises:
        DataError: a class has fewer rows than there are folds.
    """
    claims = target > 0
    counts = {"claims": claims.sum()}
    if schema.PROBLEM.facts.binary:
        counts["rows without a claim"] = (~claims).sum()
    for name, count in counts.items():
        if count < folds:
            raise DataError(
                f"train and validation together hold {int(count)} {name}, too few for {folds} folds: "
                "add data, or lower training.folds"
            )
    draw = np.random.default_rng(seed)
    fold = np.empty(len(target), dtype=np.int64)
    for label in (False, True):
        members = draw.permutation(np.flatnonzero(claims == label))
        fold[members] = np.arange(len(members)) % folds
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]


def expanding_folds(periods: Matrix, target: Matrix, folds: int) -> Folds:
    """Judge each of the newest periods by what was known before it.

    Args:
        periods: shape (n,), larger for later ones.
        target: shape (n,), above 0 for a claim.
        folds: the most periods to judge on.

    Returns:
        One pair of row numbers a fold, the oldest period first: to train on, to judge on.

    Raises:
        DataError: a fold has nothing to learn from, or to be judged on.
    """
    judged = np.unique(periods)[1:][-folds:]
    found = [(np.flatnonzero(periods < one), np.flatnonzero(periods == one)) for one in judged]
    facts = schema.PROBLEM.facts
    for one, fold in zip(judged, found, strict=True):
        if not all(facts.tells_apart(int((target[part] > 0).sum()), len(part)) for part in fold):
            raise DataError(f"period {one:g}, or all before it, hold {facts.alike}: add data")
    return found


def refuse_one_class(claims: int, rows: int) -> None:
    """Make sure that a split has something to tell apart.

    Args:
        claims: rows with a claim.
        rows: all of them.

    Raises:
        DataError: it holds one class alone.
    """
    facts = schema.PROBLEM.facts
    if not facts.tells_apart(claims, rows):
        raise DataError(
            f"the train or the validation split holds {facts.alike}: add data, or raise "
            "training.cross_validate_below to cross-validate"
        )


def _progress(log: Log) -> Callable[[lgb.callback.CallbackEnv], None]:
    def report(env: lgb.callback.CallbackEnv) -> None:
        done = env.iteration + 1
        if done % PROGRESS_EVERY == 0:
            figures = "".join(
                f", {result.metric_name} {result.metric_value:.5f}"
                for result in env.evaluation_result_list or ()
            )
            log(f"round {done} of at most {env.end_iteration}{figures}")

    return report


class _Warnings:
    """Takes the place of LightGBM's logger, to hear its warnings."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        self.warning(message)

    def warning(self, message: str) -> None:
        self.lines.append(message.strip())
