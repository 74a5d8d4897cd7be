"""Windows are counts: they merge in any order, and come back from JSON as they were."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from insurance_claims import schema
from insurance_claims.monitoring.observations import (
    LATENCY_EDGES,
    SCORE_EDGES,
    Histogram,
    Moments,
    ObservationError,
    Observations,
    Window,
)
from insurance_claims.problem import Problem

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)

latencies = st.lists(st.floats(0, 1e7), max_size=20)
scores = st.lists(st.floats(0, 1), max_size=20)


@st.composite
def observations(draw: st.DrawFn) -> Observations:
    labelled = draw(scores)
    labels = [float(draw(st.booleans())) for _ in labelled]
    return Observations.of(
        draw(latencies), draw(scores), draw(st.integers(0, 50)), labelled, labels
    )


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = BEGIN + timedelta(seconds=draw(st.integers(0, 10**6)))
    length = timedelta(seconds=draw(st.integers(0, 10**4)))
    seen = draw(st.dictionaries(st.integers(1, 4), observations(), max_size=3))
    return Window(start, start + length, seen)


@given(windows(), windows(), windows())
def test_merging_is_associative_and_commutative(a: Window, b: Window, c: Window) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a


@given(observations())
def test_nothing_changes_nothing(seen: Observations) -> None:
    assert seen + Observations() == seen


@given(windows())
def test_a_window_survives_json(window: Window) -> None:
    adapter = TypeAdapter(Window)
    assert adapter.validate_json(adapter.dump_json(window)) == window


@given(latencies, latencies, scores, scores)
def test_two_halves_are_the_whole(
    early: list[float], late: list[float], first: list[float], second: list[float]
) -> None:
    whole = Observations.of([*early, *late], [*first, *second], 3)
    assert Observations.of(early, first, 1) + Observations.of(late, second, 2) == whole


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
def test_moments_are_those_of_the_values(values: list[float]) -> None:
    found = Moments.of(values)
    assert found.count == len(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.variance == pytest.approx(np.var(values), abs=1e-8)


def test_equal_values_have_no_variance_at_all() -> None:
    assert Moments.of(np.full(100_000, 0.0365)).variance == 0.0


def test_every_value_falls_into_one_bin() -> None:
    values = [0.0, LATENCY_EDGES[0], 4.5, LATENCY_EDGES[-1], 1e9]
    dense = Histogram.of(values, LATENCY_EDGES).dense(LATENCY_EDGES)
    assert dense.sum() == 5
    assert (dense[0], dense[1], dense[-1]) == (1, 1, 2)
    low, high = np.searchsorted(SCORE_EDGES, [0.0, 1.0], side="right")
    assert (low, high) == (0, SCORE_EDGES.size)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ObservationError, match="3 errors of 2 requests"):
        Observations(requests=2, errors=3)
    for wrong in ([-1.0], [float("nan")], [float("inf")]):
        with pytest.raises(ObservationError, match="latency"):
            Observations.of(wrong, [])
    for wrong in ([-0.1], [1.1], [float("nan")]):
        with pytest.raises(ObservationError, match="a score is not between 0 and 1"):
            Observations.of([], wrong)
    with pytest.raises(ObservationError, match="1 labelled scores have 2 labels"):
        Observations.of([], [], 0, [0.1], [0, 1])
    with pytest.raises(ObservationError, match="a label is not"):
        Observations.of([], [], 0, [0.1], [2])


def test_amounts_are_counted_where_the_target_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "PROBLEM", Problem.REGRESSION)
    spec = importlib.util.find_spec("insurance_claims.monitoring.observations")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    amounts = [0.0, 0.5, 250.0, 31_000.25]
    seen = module.Observations.of([1.0], amounts, 0, [250.0], [0.0])
    assert (seen.score_moments.count, seen.residuals.mean) == (4, 250.0)
    assert seen.score_moments.mean == pytest.approx(np.mean(amounts))
    assert seen.score_moments.variance == pytest.approx(np.var(amounts))
    assert len(seen.scores.counts) == 4
    # Of what no sound model says, squares do not fit into 64 bits.
    most = module.Moments.of([1e12] * 3 + [0.0])
    assert (most.mean, most.variance) == (0.75e12, 0.1875e24)
    for wrong in (-0.01, 1e13, float("inf")):
        with pytest.raises(Exception, match="is not between 0 and 1e.12"):
            module.Observations.of([1.0], [wrong])
