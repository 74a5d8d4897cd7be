"""Observations as properties of an event, and back: integers only, so that nothing is lost on the way.

Application Insights keeps at most 8,192 characters of a property. A histogram with every bin filled by the largest
64-bit count stays below that, because each histogram is a property of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from insurance_claims.monitoring.observations import (
    LATENCY_EDGES,
    SCORE_EDGES,
    Histogram,
    Moments,
    ObservationError,
    Observations,
)

EVENT = "observations"
"""Name of the event that carries them."""

ENVIRONMENT = "environment"
"""Its property: where the model is deployed."""

MODEL_VERSION = "model_version"
"""Its property: a number, as text."""

START = "start"
"""Its property: the first moment, UTC, ISO 8601."""

END = "end"
"""Its property: the last moment, UTC, ISO 8601."""


def encode(observations: Observations) -> dict[str, str]:
    """The properties that hold observations.

    ``requests`` and ``errors`` are numbers, ``latencies`` and ``scores`` JSON objects of bin to count,
    ``score_moments`` and ``residuals`` JSON lists of count, total and squares.
    """
    return {
        "requests": str(observations.requests),
        "errors": str(observations.errors),
        "latencies": _compact(dict(observations.latencies.counts)),
        "scores": _compact(dict(observations.scores.counts)),
        "score_moments": _compact(_parts(observations.score_moments)),
        "residuals": _compact(_parts(observations.residuals)),
    }


def decode(properties: Mapping[str, str]) -> Observations:
    """The observations that properties hold; others beside them are ignored.

    Raises:
        ObservationError: one of them is missing or is not what ``encode`` writes.
    """
    try:
        return Observations(
            requests=int(properties["requests"]),
            errors=int(properties["errors"]),
            latencies=_histogram(properties["latencies"], LATENCY_EDGES.size),
            scores=_histogram(properties["scores"], SCORE_EDGES.size),
            score_moments=_moments(properties["score_moments"]),
            residuals=_moments(properties["residuals"]),
        )
    except KeyError as error:
        raise ObservationError(f"observations without {error}: not written by scoring") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ObservationError(f"observations that cannot be read: {error}") from None


def _compact(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))


def _parts(moments: Moments) -> list[int]:
    return [moments.count, moments.total, moments.squares]


def _histogram(text: str, edges: int) -> Histogram:
    counts = {int(index): count for index, count in json.loads(text).items()}
    for index, count in counts.items():
        if not 0 <= index <= edges or type(count) is not int or count < 1:
            raise ValueError(f"bin {index} with count {count!r}")
    return Histogram(dict(sorted(counts.items())))


def _moments(text: str) -> Moments:
    count, total, squares = json.loads(text)
    if not all(type(part) is int for part in (count, total, squares)) or min(count, squares) < 0:
        raise ValueError(f"moments {text!r}")
    return Moments(count, total, squares)
