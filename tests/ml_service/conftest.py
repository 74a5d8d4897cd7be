"""Small models to serve, and endpoints that are gone at the end whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from insurance_claims import schema
from insurance_claims.model import load_model, save_model
from ml_service.platforms.local.endpoints import LocalEndpoints
from ml_service.platforms.local.supervision import Supervisor
from ml_service.smoke_test import example_rows

MODEL_NAME = "claims"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders 1, 2 and 3: sound models that score differently, with golden predictions. 4 cannot be loaded."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(5)
    columns = [rng.uniform(item.minimum, item.maximum, 2000) for item in schema.FEATURES]
    rows = np.column_stack(columns)
    claims = (rng.random(len(rows)) < 0.03 + 0.05 * (rows[:, 0] > 3)).astype(float)
    for version in (1, 2, 3):
        settings = {"objective": "binary", "num_threads": 1, "seed": version, "verbosity": -1}
        settings["feature_fraction"] = 0.5
        booster = lgb.train(settings, lgb.Dataset(rows, claims), 20)
        target = folder / str(version)
        target.mkdir()
        save_model(target, booster.model_to_string(), {})
        golden = example_rows(20)
        scores = load_model(target).predict(np.array(golden)).tolist()
        (target / "golden.json").write_text(json.dumps({"rows": golden, "scores": scores}))
    (folder / "4").mkdir()
    save_model(folder / "4", "tree\nno model at all\n", {})
    return folder


@contextmanager
def local_endpoints(home: Path, models: Path) -> Iterator[LocalEndpoints]:
    """Endpoints below a folder; every process of theirs is gone afterwards."""
    endpoints = LocalEndpoints(home, lambda version: models / str(version), MODEL_NAME)
    try:
        yield endpoints
    finally:
        for environment in ("staging", "production"):
            with suppress(Exception):
                endpoints.remove(environment, print)
            Supervisor(home / "endpoints" / environment).kill_strays()


@pytest.fixture
def endpoints(tmp_path: Path, models: Path) -> Iterator[LocalEndpoints]:
    """Endpoints of one test."""
    with local_endpoints(tmp_path / "state", models) as found:
        yield found


@pytest.fixture(scope="module")
def shared_endpoints(
    tmp_path_factory: pytest.TempPathFactory, models: Path
) -> Iterator[LocalEndpoints]:
    """Endpoints that the tests of a module share, for starting a model server takes seconds."""
    with local_endpoints(tmp_path_factory.mktemp("shared") / "state", models) as found:
        yield found
