"""A scorer is made of one sound model folder, and never answers with anything but numbers."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insurance_claims import schema
from insurance_claims.errors import ModelError
from insurance_claims.model import MODEL_FILE, load_model
from insurance_claims.parameters import load_parameters
from insurance_claims.scoring.request import RequestError, bounds
from insurance_claims.scoring.scorer import Scorer, load_scorer

LIMITS = load_parameters().scoring


def _values(column: schema.Column, lower: float, upper: float) -> st.SearchStrategy[float]:
    inside: st.SearchStrategy[float] = st.floats(lower, upper)
    if column.is_integer:
        inside = st.integers(int(lower), int(upper))
    return inside | st.just(float(schema.MISSING)) if column.missing_allowed else inside


STARTED = """
import gc
from insurance_claims.scoring import score
score.init()
print(gc.get_freeze_count(), len(gc.get_objects()))
"""
ANY_ROW = st.tuples(*map(_values, schema.FEATURES, *bounds(LIMITS.headroom))).map(list)
"""A row that a request may hold."""


def _result(scorer: Scorer, rows: list[list[float]]) -> list[float]:
    answer = json.loads(scorer.score(json.dumps({"data": rows}).encode(), "id").answer)
    result: list[float] = answer["result"]
    return result


def test_an_answer_holds_scores_model_and_request_id(
    model_dir: Path, rows: list[list[float]]
) -> None:
    scorer = load_scorer(model_dir, LIMITS)
    answer = json.loads(scorer.score(json.dumps({"data": rows}).encode(), 'a "quoted" ü id').answer)
    assert set(answer) == {"result", "model", "request_id"}
    assert answer["model"] == {"name": "claims", "version": 3}
    assert answer["request_id"] == 'a "quoted" ü id'
    expected = load_model(model_dir).predict(np.array(rows))
    assert answer["result"] == expected.tolist()


@pytest.mark.parametrize("count", [1, 3])
def test_rows_and_scores_come_with_the_answer_in_the_schemas_order(
    model_dir: Path, rows: list[list[float]], count: int
) -> None:
    named = [dict(zip(schema.FEATURE_NAMES, row, strict=True)) for row in rows[:count]]
    body = json.dumps({"data": [dict(reversed(row.items())) for row in named]}).encode()
    scored = load_scorer(model_dir, LIMITS).score(body, "id")
    assert np.array_equal(np.array(scored.rows), rows[:count])
    assert list(scored.scores) == json.loads(scored.answer)["result"]


def test_one_row_gets_the_score_that_it_gets_among_others(
    model_dir: Path, rows: list[list[float]]
) -> None:
    scorer = load_scorer(model_dir, LIMITS)
    assert [_result(scorer, [row])[0] for row in rows[:50]] == _result(scorer, rows[:50])


def test_any_row_alone_gets_the_bits_that_the_booster_gives_it(model_dir: Path) -> None:
    scorer = load_scorer(model_dir, LIMITS)
    booster = load_model(model_dir).booster
    seen = set()

    @settings(max_examples=150, derandomize=True)
    @given(ANY_ROW)
    def check(row: list[float]) -> None:
        table = np.array([row], dtype=np.float64)
        expected = np.asarray(booster.predict(table, num_threads=1)).tolist()
        assert _result(scorer, [row]) == expected
        seen.update(expected)

    check()
    assert len(seen) > 1


def test_the_model_folder_may_be_one_below(model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(model_dir, tmp_path / "claims" / "12" / "model")
    scorer = load_scorer(tmp_path / "claims" / "12", LIMITS)
    assert (scorer.name, scorer.version) == ("claims", 12)


def test_a_place_without_exactly_one_sound_model_is_refused(
    model_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="has to end in <name>/<version>"):
        load_scorer(model_dir.parent, LIMITS)
    with pytest.raises(ModelError, match="has to end in <name>/<version>"):
        load_scorer(Path(), LIMITS)
    place = tmp_path / "claims" / "1"
    with pytest.raises(ModelError, match=f"holds 0 files {MODEL_FILE}"):
        load_scorer(place, LIMITS)
    shutil.copytree(model_dir, place / "a")
    shutil.copytree(model_dir, place / "b")
    with pytest.raises(ModelError, match="holds 2 files"):
        load_scorer(place, LIMITS)
    shutil.rmtree(place / "b")
    (place / "a" / MODEL_FILE).write_text("something else")
    with pytest.raises(ModelError, match="sha256 differs"):
        load_scorer(place, LIMITS)


def test_a_score_that_is_no_number_is_never_answered(
    model_dir: Path, rows: list[list[float]]
) -> None:
    spoilt = load_model(model_dir)
    for leaf in range(spoilt.booster.dump_model()["tree_info"][0]["num_leaves"]):
        spoilt.booster.set_leaf_output(0, leaf, math.nan)
    broken = replace(load_scorer(model_dir, LIMITS), model=spoilt)
    for count in (1, 2):
        with pytest.raises(
            ModelError, match="model claims version 3 gave a score that is no number"
        ):
            _result(broken, rows[:count])


def test_a_request_that_is_wrong_gets_no_score(model_dir: Path, rows: list[list[float]]) -> None:
    with pytest.raises(RequestError, match="row 1: 56 values"):
        _result(load_scorer(model_dir, LIMITS), [rows[0], rows[1][:-1]])


def test_a_worker_looks_for_garbage_only_in_what_requests_leave_behind(model_dir: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", STARTED],
        env={**os.environ, "AZUREML_MODEL_DIR": str(model_dir)},
        check=True,
        capture_output=True,
        text=True,
    )
    kept, watched = map(int, found.stdout.split())
    assert watched < 1000 < 50_000 < kept
