"""A model and what it was trained on, made once; and a place for what it is asked."""

from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import pytest

from insurance_claims import schema
from insurance_claims.data.synthesize import synthesize
from insurance_claims.model import save_model
from insurance_claims.monitoring.collected import Place, open_place
from ml_service.platforms.local.data import LocalData
from ml_service.platforms.local.state import State
from tests.ml_service.feedback.collecting import DATA, StandIn


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a platform with 8,000 rows of data, and a model folder that was trained on them."""
    home = tmp_path_factory.mktemp("trained")
    table, _ = synthesize(8_000, 1)
    table.to_parquet(home / "claims.parquet")
    LocalData(State(home)).add(DATA, home / "claims.parquet", lambda line: None)
    rows = table[list(schema.FEATURE_NAMES)].to_numpy(dtype=float)
    settings = {"objective": "binary", "num_threads": 1, "verbosity": -1, "seed": 1}
    settings |= {"num_leaves": 4, "learning_rate": 0.1}
    booster = lgb.train(settings, lgb.Dataset(rows, table[schema.TARGET]), 40)
    (home / "model").mkdir()
    save_model(home / "model", booster.model_to_string(), {})
    return home


@pytest.fixture
def standin(trained: Path, tmp_path: Path) -> StandIn:
    """A platform with that data, and that model as version 3; what it keeps is its own."""
    return StandIn(trained, tmp_path / "documents")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where rows are collected."""
    return open_place(str(tmp_path / "collected"))
