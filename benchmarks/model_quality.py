"""How good the shipped recipe's models are.

Two questions. On synthetic rows, whose true probabilities are known: what share of the Gini that
anyone could reach does a model reach on the frozen holdout? On Kaggle's rows, where they are at
hand: what does the recipe gain over the baseline of the OpenHack's notebook, when both are trained
and judged on the same rows? The recipe's settings were chosen on synthetic rows of other seeds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.data.load import read_table
from insurance_claims.data.split import PARTS, assign
from insurance_claims.data.synthesize import synthesize
from insurance_claims.evaluate.metrics import gini
from insurance_claims.parameters import Parameters, TrainingParameters, load_parameters
from insurance_claims.training.recipe import Matrix, stratified_folds
from insurance_claims.training.train import TrainingRows, train

SYNTHETIC_SEED = 2017
REAL_DATA = Path(__file__).resolve().parents[2] / "shared/data/porto_seguro_train.csv"
FOLDS = 5
BASELINE = {
    "objective": "binary",
    "metric": "auc",
    "learning_rate": 0.02,
    "num_leaves": 60,
    "feature_fraction": 0.7,
    "min_data_in_leaf": 100,
    "min_sum_hessian_in_leaf": 1,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
BASELINE_ROUNDS = 500
BASELINE_PATIENCE = 20
BASELINE_VALIDATION = 0.2


@dataclass(frozen=True)
class Paired:
    """Mean difference of two recipes over repeated cross-validation, with its interval."""

    mean: float
    low: float
    high: float


def corrected_interval(
    differences: Sequence[float], judged_per_trained: float, confidence: float = 0.95
) -> Paired:
    """Interval of a mean difference over repeated cross-validation.

    Folds share training rows, so the plain t interval is too narrow; the variance is enlarged as in Nadeau and Bengio,
    "Inference for the Generalization Error", Machine Learning 52 (2003).

    Args:
        differences: one for each fold of each repeat, at least two.
        judged_per_trained: rows judged on for each row trained on: 1/4 with five folds.
        confidence: of the interval.
    """
    from scipy.stats import t

    values = np.asarray(differences, dtype=np.float64)
    variance = (1 / len(values) + judged_per_trained) * values.var(ddof=1)
    half = float(t.ppf((1 + confidence) / 2, len(values) - 1) * np.sqrt(variance))
    mean = float(values.mean())
    return Paired(mean, mean - half, mean + half)


def attainable_share(rows: int, parameters: Parameters) -> tuple[float, float, float]:
    """Train on synthetic rows and judge on their holdout.

    Returns:
        Gini of the model, Gini of the true probabilities on the same rows, seconds of training.
    """
    table, truth = synthesize(rows, SYNTHETIC_SEED)
    part = assign(table[schema.ID].to_numpy(), parameters.split)
    train_part, validation_part, holdout_part = PARTS
    features, target = _matrix(table)
    learn = part != holdout_part
    pool = TrainingRows(features[learn], target[learn], (part == validation_part)[learn])
    start = time.perf_counter()
    model = train(pool, parameters.training, _silent)
    seconds = time.perf_counter() - start
    score = lgb.Booster(model_str=model.text).predict(features[~learn])
    return gini(target[~learn], np.asarray(score)), gini(target[~learn], truth[~learn]), seconds


def against_baseline(
    features: Matrix, target: Matrix, repeats: int, parameters: TrainingParameters
) -> tuple[list[float], list[float]]:
    """Gini of the recipe and of the baseline, on each fold of a repeated stratified cross-validation."""
    ours: list[float] = []
    theirs: list[float] = []
    for repeat in range(repeats):
        for learn, judge in stratified_folds(target, FOLDS, seed=1000 + repeat):
            score = _recipe_scores(features, target, learn, judge, parameters)
            ours.append(gini(target[judge], score))
            score = _baseline_scores(features, target, learn, judge, parameters.threads)
            theirs.append(gini(target[judge], score))
            print(f"  fold {len(ours)}: {ours[-1]:.4f} against {theirs[-1]:.4f}", flush=True)
    return ours, theirs


def _recipe_scores(
    features: Matrix,
    target: Matrix,
    learn: NDArray[np.int64],
    judge: NDArray[np.int64],
    parameters: TrainingParameters,
) -> Matrix:
    # Used only where claims are plenty; the rows are in no order that matters.
    validation = np.arange(len(learn)) % FOLDS == 0
    rows = TrainingRows(features[learn], target[learn], validation)
    text = train(rows, parameters, _silent).text
    return np.asarray(lgb.Booster(model_str=text).predict(features[judge]))


def _baseline_scores(
    features: Matrix,
    target: Matrix,
    learn: NDArray[np.int64],
    judge: NDArray[np.int64],
    threads: int,
) -> Matrix:
    settings = {**BASELINE, "num_threads": threads}
    order = np.random.default_rng(0).permutation(learn)
    stop, fit = np.split(order, [round(BASELINE_VALIDATION * len(order))])
    data = lgb.Dataset(features[fit], target[fit], params=settings)
    booster = lgb.train(
        settings,
        data,
        num_boost_round=BASELINE_ROUNDS,
        valid_sets=[lgb.Dataset(features[stop], target[stop], reference=data, params=settings)],
        callbacks=[lgb.early_stopping(BASELINE_PATIENCE, verbose=False)],
    )
    return np.asarray(booster.predict(features[judge]))


def _matrix(table: pd.DataFrame) -> tuple[Matrix, Matrix]:
    features = table[list(schema.FEATURE_NAMES)].to_numpy(np.float64)
    return features, table[schema.TARGET].to_numpy(np.float64)


def _silent(line: str) -> None:
    return None


def _synthetic_table(rows: int, parameters: Parameters) -> None:
    model, attainable, seconds = attainable_share(rows, parameters)
    print(f"\n## Share of the attainable Gini, {rows:,} synthetic rows\n")
    print("| model's Gini on the holdout | true probabilities' Gini | share | training |")
    print("|---|---|---|---|")
    print(f"| {model:.4f} | {attainable:.4f} | {model / attainable:.3f} | {seconds:.0f} s |")


def _real_table(path: Path, repeats: int, parameters: Parameters) -> None:
    if not path.is_file():
        print(f"\nNo real rows at {path}: set MLOPS_REAL_DATA to Kaggle's train.csv to compare.")
        return
    features, target = _matrix(read_table(path))
    print(f"\n## Against the OpenHack baseline, {len(target):,} real rows\n")
    ours, theirs = against_baseline(features, target, repeats, parameters.training)
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    paired = corrected_interval(differences, 1 / (FOLDS - 1))
    print("\n| cross-validation | recipe | baseline | difference (95 % interval) | folds won |")
    print("|---|---|---|---|---|")
    print(
        f"| {repeats} x {FOLDS} folds | {np.mean(ours):.4f} | {np.mean(theirs):.4f} "
        f"| {paired.mean:+.4f} ({paired.low:+.4f} to {paired.high:+.4f}) "
        f"| {sum(d > 0 for d in differences)} of {len(differences)} |"
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and repeats")
    parser.add_argument("--only", choices=["synthetic", "real"], help="one of the two tables")
    arguments = parser.parse_args()
    parameters = load_parameters()
    if arguments.only != "real":
        _synthetic_table(60_000 if arguments.quick else 595_212, parameters)
    if arguments.only != "synthetic":
        path = Path(os.environ.get("MLOPS_REAL_DATA", REAL_DATA))
        _real_table(path, 1 if arguments.quick else 3, parameters)


if __name__ == "__main__":
    main()
