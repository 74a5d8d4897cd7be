"""The model and the rows that the benchmarks of serving share: of usual size, trained on noise."""

from __future__ import annotations

from pathlib import Path

import joblib  # type: ignore[import-untyped]
import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.model import save_model

TREES, LEAVES = 300, 31
PICKLE = "classifier.joblib"
_ROWS = 20_000


def make_rows(count: int = _ROWS, seed: int = 1) -> NDArray[np.float64]:
    """Rows that the schema allows, uniform between each feature's ends; shape (count, 57)."""
    generator = np.random.default_rng(seed)
    columns = [
        np.round(
            generator.uniform(column.minimum, column.maximum, count), 0 if column.is_integer else 2
        )
        for column in schema.FEATURES
    ]
    return np.column_stack(columns)


def make_model(model_dir: Path, trees: int = TREES, leaves: int = LEAVES) -> NDArray[np.float64]:
    """Train on noise, for scoring takes as long as with a model that knows something.

    Args:
        model_dir: becomes a model folder; beside it comes the classifier as a pickle.
        trees: how many.
        leaves: of each tree, at most.

    Returns:
        The rows that it was trained on.
    """
    rows = make_rows()
    claims = np.random.default_rng(2).random(len(rows)) < 0.02 + 0.02 * (rows[:, 0] > 3)
    classifier = lgb.LGBMClassifier(
        n_estimators=trees, num_leaves=leaves, random_state=1, n_jobs=1, verbose=-1
    )
    classifier.fit(rows, claims, feature_name=list(schema.FEATURE_NAMES))
    model_dir.mkdir(parents=True)
    save_model(model_dir, classifier.booster_.model_to_string(), {})
    joblib.dump(classifier, model_dir.parent / PICKLE)
    return rows
