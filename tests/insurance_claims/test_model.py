"""A model folder is loaded whole and sound or not at all, and one row scores as many do."""

from __future__ import annotations

import gc
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from insurance_claims import schema
from insurance_claims.errors import ModelError
from insurance_claims.model import (
    METADATA_FILE,
    MODEL_FILE,
    Model,
    load_model,
    read_metadata,
    save_model,
)

WIDTH = len(schema.FEATURE_NAMES)


def _table(rows: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(11)
    table = generator.uniform(-1, 12, (rows, WIDTH))
    table[:, ::3] = np.round(table[:, ::3])
    table[generator.random(table.shape) < 0.1] = schema.MISSING
    return table


def _train(rounds: int = 60, **settings: Any) -> lgb.Booster:
    table = _table(3000)
    target = (np.random.default_rng(5).random(3000) < 0.1 + 0.02 * table[:, 3]).astype(int)
    fixed = {"objective": "binary", "num_threads": 1, "verbose": -1, "num_leaves": 31}
    return lgb.train({**fixed, **settings}, lgb.Dataset(table, target), rounds)


@pytest.fixture(scope="module")
def booster() -> lgb.Booster:
    return _train()


@pytest.fixture
def folder(tmp_path: Path, booster: lgb.Booster) -> Path:
    save_model(tmp_path, booster.model_to_string(), {"best_iteration": 60})
    return tmp_path


def test_a_saved_model_scores_as_before(folder: Path, booster: lgb.Booster) -> None:
    model = load_model(folder)
    table = _table(200)
    assert np.array_equal(model.predict(table), booster.predict(table, num_threads=1))
    assert model.metadata["best_iteration"] == 60
    assert model.metadata["features"] == list(schema.FEATURE_NAMES)


def test_one_row_scores_bit_for_bit_as_many_do(folder: Path) -> None:
    model = load_model(folder)
    table = _table(2000)
    # The ends of what a float can be, and whole rows that are missing.
    table[:6] = np.array([[-1.0], [0.0], [-0.0], [1e308], [-1e308], [5e-324]])
    single = np.array([model.predict_row(row) for row in table])
    assert np.array_equal(single, model.predict(table))
    assert len(set(single.tolist())) > 1000


def test_one_row_stops_at_the_best_iteration_as_many_do() -> None:
    trained = _train()
    full = Model(trained, {}).predict(_table(50))
    trained.best_iteration = 7
    model = Model(trained, {})
    single = np.array([model.predict_row(row) for row in _table(50)])
    assert np.array_equal(single, model.predict(_table(50)))
    assert not np.array_equal(single, full)


def test_one_row_may_be_a_list_or_an_array_of_any_kind(folder: Path) -> None:
    model = load_model(folder)
    table = np.asfortranarray(np.round(_table(20)))
    expected = model.predict(table).tolist()
    assert [model.predict_row(row) for row in table] == expected
    assert [model.predict_row(row) for row in table.tolist()] == expected
    assert [model.predict_row(row.astype(np.int64)) for row in table] == expected
    table.setflags(write=False)
    assert [model.predict_row(row) for row in table] == expected


@pytest.mark.parametrize("shape", [(56,), (58,), (0,), (1, 57)])
def test_one_row_of_another_length_is_refused(folder: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 57"):
        load_model(folder).predict_row(np.zeros(shape))


def test_threads_share_a_model(folder: Path) -> None:
    model = load_model(folder)
    table = _table(400)
    expected = model.predict(table).tolist()

    def score_all(_: int) -> list[float]:
        return [model.predict_row(row) for row in table]

    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(score_all, range(24)))


def test_models_come_and_go(folder: Path) -> None:
    row = _table(1)[0]
    expected = load_model(folder).predict_row(row)
    for _ in range(10):
        assert load_model(folder).predict_row(row) == expected
    gc.collect()


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / METADATA_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _replace_model(folder: Path, booster: lgb.Booster) -> None:
    save_model(folder, booster.model_to_string(), {})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / METADATA_FILE).unlink(), "not a model folder"),
        (lambda folder: (folder / METADATA_FILE).write_text("{"), "not JSON"),
        (lambda folder: (folder / METADATA_FILE).write_text("[]"), "does not describe"),
        (lambda folder: _edit(folder, format="pickle"), "does not describe"),
        (lambda folder: _edit(folder, schema_version="0"), "made for schema 0"),
        (lambda folder: _edit(folder, features=["a"]), "other features"),
        (lambda folder: _edit(folder, features=list(schema.FEATURE_NAMES)[::-1]), "other features"),
        (lambda folder: (folder / MODEL_FILE).unlink(), "cannot be read"),
        (lambda folder: (folder / MODEL_FILE).write_text("tree\n"), "sha256 differs"),
        (lambda folder: save_model(folder, "no model", {}), "not a LightGBM model"),
        (lambda folder: _replace_model(folder, _narrow()), "takes 3 features"),
        (lambda folder: _replace_model(folder, _three_classes()), "3 scores a row"),
    ],
)
def test_an_unsound_folder_is_refused(folder: Path, spoil: Any, reason: str) -> None:
    spoil(folder)
    with pytest.raises(ModelError, match=reason):
        load_model(folder)


def _narrow() -> lgb.Booster:
    table = _table(300)[:, :3]
    return lgb.train({"verbose": -1, "num_threads": 1}, lgb.Dataset(table, table[:, 0] > 5), 2)


def _three_classes() -> lgb.Booster:
    table = _table(300)
    settings = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
    return lgb.train(settings, lgb.Dataset(table, np.arange(300) % 3), 2)


def test_metadata_is_read_without_the_model(folder: Path) -> None:
    (folder / MODEL_FILE).unlink()
    assert read_metadata(folder)["best_iteration"] == 60
