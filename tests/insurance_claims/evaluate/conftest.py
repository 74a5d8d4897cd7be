"""Small real models on synthetic customers, shared by the tests of the gate and of its step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.data.synthesize import synthesize

Floats = NDArray[np.float64]
TRAINING_ROWS = 30_000
HOLDOUT_ROWS = 12_000


@dataclass(frozen=True)
class Customers:
    """Rows to train on and rows to judge on."""

    features: Floats
    target: Floats
    holdout: Floats
    outcome: Floats

    @property
    def groups(self) -> dict[str, Floats]:
        """Every feature of the holdout by name."""
        return dict(zip(schema.FEATURE_NAMES, self.holdout.T, strict=True))

    def train(self, features: Floats, target: Floats, **changed: Any) -> lgb.Booster:
        """A model of about the shipped recipe's quality for so few rows."""
        settings = {
            "objective": "binary",
            "learning_rate": 0.08,
            "num_leaves": 8,
            "min_data_in_leaf": 50,
            "feature_fraction": 0.5,
            "lambda_l2": 10.0,
            "num_threads": 1,
            "verbosity": -1,
            "deterministic": True,
            "force_col_wise": True,
            "seed": 1,
            **changed,
        }
        data = lgb.Dataset(features, target, feature_name=list(schema.FEATURE_NAMES))
        return lgb.train(settings, data, 60)


@pytest.fixture(scope="session")
def customers() -> Customers:
    table, _ = synthesize(TRAINING_ROWS + HOLDOUT_ROWS, 11)
    features = table[list(schema.FEATURE_NAMES)].to_numpy(np.float64)
    target = table[schema.TARGET].to_numpy(np.float64)
    cut = TRAINING_ROWS
    return Customers(features[:cut], target[:cut], features[cut:], target[cut:])


@pytest.fixture(scope="session")
def good_model(customers: Customers) -> lgb.Booster:
    return customers.train(customers.features, customers.target)


@pytest.fixture(scope="session")
def score(customers: Customers) -> Callable[[lgb.Booster], Floats]:
    """Scores of a model on the holdout."""

    def scores(model: lgb.Booster) -> Floats:
        return np.asarray(model.predict(customers.holdout, num_threads=1), dtype=np.float64)

    return scores
