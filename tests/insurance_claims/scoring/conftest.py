"""A small model and valid rows for the scoring tests."""

from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from insurance_claims import schema
from insurance_claims.model import save_model


@pytest.fixture(scope="session")
def rows() -> list[list[float]]:
    """500 rows that the contract allows, with missing values where it allows them."""
    generator = np.random.default_rng(7)
    columns = []
    for column in schema.FEATURES:
        values = generator.uniform(column.minimum, column.maximum, 500)
        values = np.round(values, 0 if column.is_integer else 2)
        if column.missing_allowed:
            values[generator.random(500) < 0.2] = schema.MISSING
        columns.append(values)
    result: list[list[float]] = np.column_stack(columns).tolist()
    return result


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]]) -> Path:
    """A model folder at ``<name>/<version>``: claims, version 3."""
    table = np.array(rows)
    claims = (table[:, 0] + np.arange(len(table)) % 3 > 4).astype(int)
    settings = {"objective": "binary", "num_threads": 1, "verbose": -1, "min_data_in_leaf": 5}
    booster = lgb.train(settings, lgb.Dataset(table, claims), 20)
    folder = tmp_path_factory.mktemp("models") / "claims" / "3"
    folder.mkdir(parents=True)
    save_model(folder, booster.model_to_string(), {})
    return folder
