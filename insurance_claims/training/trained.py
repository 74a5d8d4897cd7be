"""What training gives, whichever engine did it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from insurance_claims.training.recipe import Rounds


@dataclass(frozen=True)
class TrainedModel:
    """A model, and how it came about.

    Attributes:
        text: LightGBM's text format.
        rounds: how many, and why.
        importance: each feature's share of the gain.
        engine: what trained it, for model.json.
    """

    text: str
    rounds: Rounds
    importance: dict[str, float]
    engine: Mapping[str, Any] = field(default_factory=lambda: {"engine": "local"})
