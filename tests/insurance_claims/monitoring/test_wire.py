"""Observations as text: nothing is lost, and nothing else is taken for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insurance_claims.monitoring.observations import ObservationError, Observations
from insurance_claims.monitoring.wire import decode, encode

SCORES = st.lists(st.floats(0, 1), max_size=30)
OBSERVATIONS = st.builds(
    lambda latencies, scores, errors: Observations.of(
        latencies, scores, errors, scores, [1] * len(scores)
    ),
    st.lists(st.floats(0, 1e6), max_size=30),
    SCORES,
    st.integers(0, 10**12),
)


@given(OBSERVATIONS)
def test_what_is_decoded_is_what_was_encoded(observations: Observations) -> None:
    assert decode({**encode(observations), "other": "ignored"}) == observations


@given(st.lists(OBSERVATIONS, max_size=5))
def test_the_sum_of_decoded_parts_is_the_sum_of_the_parts(parts: list[Observations]) -> None:
    decoded = [decode(encode(part)) for part in parts]
    assert sum(decoded, Observations()) == sum(parts, Observations())


WHOLE = encode(Observations.of([1.0], [0.5]))


@pytest.mark.parametrize("name", list(WHOLE))
def test_a_missing_part_is_named(name: str) -> None:
    with pytest.raises(ObservationError, match=name):
        decode({key: value for key, value in WHOLE.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("requests", "many"),
        ("requests", "1.5"),
        ("errors", "2"),
        ("latencies", "[1]"),
        ("latencies", "{"),
        ("latencies", '{"285":1}'),
        ("latencies", '{"-1":1}'),
        ("latencies", '{"1":0.5}'),
        ("scores", '{"142":1}'),
        ("scores", '{"1":0}'),
        ("scores", '{"1":true}'),
        ("score_moments", "[1,2]"),
        ("score_moments", "[1,2,-3]"),
        ("residuals", "[-1,0,0]"),
        ("residuals", "[1,0.5,0]"),
    ],
)
def test_a_damaged_part_is_refused(name: str, value: str) -> None:
    with pytest.raises(ObservationError):
        decode({**WHOLE, name: value})
