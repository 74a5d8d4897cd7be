"""The plan of a rollout: a YAML file as typed, frozen objects. Unknown keys are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from insurance_claims.typed_yaml import load_typed, parse_typed
from ml_service.rollout.errors import RolloutError

PLAN_FILE = Path(__file__).with_name("rollout.yml")
_MEANT = "a rollout plan"

Quantile = Literal["p50", "p95", "p99"]
QUANTILES: dict[Quantile, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

_Minutes = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Ratio = Annotated[float, Field(gt=1, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stage(_Section):
    """One share of the traffic, and what has to be seen before the next.

    Attributes:
        share: percent of requests that the canary answers (in shadow mode: that are copied to it).
        least_requests: that both versions must have answered.
        least_minutes: that the stage lasts at least.
        most_minutes: after which missing evidence ends the rollout.
    """

    share: int = Field(ge=1, le=100)
    least_requests: int = Field(ge=1)
    least_minutes: _Minutes
    most_minutes: _Minutes

    @model_validator(mode="after")
    def _has_time(self) -> Stage:
        if self.most_minutes <= self.least_minutes:
            raise ValueError("most_minutes must be more than least_minutes")
        return self


class Limits(_Section):
    """How far the canary may be from production. None: not judged.

    Attributes:
        error_rate: canary's share of failed requests less production's.
        latency_ratio: canary's quantile divided by production's.
        score_psi: population stability index of the scores.
        score_ks: Kolmogorov-Smirnov distance of the scores.
        score_mean: relative difference of the mean scores, either way.
        calibration: difference of the absolute biases (mean score less mean label).
    """

    error_rate: _Limit | None
    latency_ratio: dict[Quantile, _Ratio]
    score_psi: _Limit | None
    score_ks: _Limit | None
    score_mean: _Limit | None
    calibration: _Limit | None

    @property
    def judged(self) -> int:
        """How many metrics have a limit, calibration included."""
        single = (
            self.error_rate,
            self.score_psi,
            self.score_ks,
            self.score_mean,
            self.calibration,
        )
        return sum(limit is not None for limit in single) + len(self.latency_ratio)

    @model_validator(mode="after")
    def _judges_something(self) -> Limits:
        if self.error_rate is None and not self.latency_ratio:
            raise ValueError(
                "error_rate or latency_ratio must have a limit: a stage of 100% has no other"
            )
        return self


class Plan(_Section):
    """The whole of rollout.yml."""

    shadow: bool = False
    sticky_header: str | None = None
    look_every_seconds: float = Field(gt=0, allow_inf_nan=False)
    start_minutes: float = Field(gt=0, allow_inf_nan=False)
    keep_warm_minutes: _Minutes
    alpha: float = Field(gt=0, le=0.2)
    stages: tuple[Stage, ...] = Field(min_length=2)
    limits: Limits

    @field_validator("sticky_header")
    @classmethod
    def _is_a_header(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", name):
            raise ValueError(f"{name!r} is no name of a header: letters, digits and hyphens")
        return name

    @model_validator(mode="after")
    def _climbs(self) -> Plan:
        shares = [stage.share for stage in self.stages]
        if shares != sorted(set(shares)) or shares[-1] != 100:
            raise ValueError(f"the stages' shares must grow and end at 100, not {shares}")
        return self

    @property
    def error_of_each_figure(self) -> float:
        """alpha split evenly over every metric of every stage (Bonferroni)."""
        return self.alpha / (len(self.stages) * self.limits.judged)


def parse_plan(content: Any, where: str) -> Plan:
    """Check parsed YAML or JSON.

    Args:
        content: what the file holds.
        where: the file's name, for messages.

    Raises:
        RolloutError: names every key that is unknown, missing or wrong.
    """
    return parse_typed(Plan, content, where, RolloutError, _MEANT)


def load_plan(path: Path = PLAN_FILE) -> Plan:
    """Read and check a plan.

    Raises:
        RolloutError: it cannot be read, is not YAML, or does not fit.
    """
    return load_typed(Plan, path, RolloutError, _MEANT)
