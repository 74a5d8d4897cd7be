"""What is watched: alerts.yml as typed, frozen objects. What Azure Monitor could not do is refused here already."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from insurance_claims.typed_yaml import load_typed
from ml_service.monitoring.telemetry import TelemetryError
from ml_service.settings import ALERTS_FILE

Statistic = Literal["sum", "mean", "least", "most", "count"]
Window = Literal[1, 5, 10, 15, 30, 45, 60, 120, 180, 240, 300, 360, 1440, 2880]
"""Minutes that a rule of Azure Monitor may look at."""

WINDOWS: tuple[int, ...] = get_args(Window)

_Name = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]{0,99}$")]


class Alert(BaseModel):
    """One thing that is watched. ``alerts.yml`` says what each key means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{2,59}$")
    metric: _Name | None = None
    event: _Name | None = None
    where: dict[_Name, str] = Field(default_factory=dict)
    by: _Name | None = None
    measurement: _Name | None = None
    statistic: Statistic = "sum"
    per: _Name | None = None
    at_least: float = Field(default=0, ge=0, allow_inf_nan=False)
    above: float | None = Field(default=None, allow_inf_nan=False)
    below: float | None = Field(default=None, allow_inf_nan=False)
    window_minutes: Window
    bad: int = Field(default=1, ge=1)
    of: int = Field(default=1, ge=1, le=6)
    severity: Literal[0, 1, 2, 3, 4]
    meaning: str = Field(min_length=10)
    action: str = Field(min_length=10)

    @model_validator(mode="after")
    def _fits(self) -> Alert:
        if (self.metric is None) == (self.event is None):
            raise ValueError("name either a metric or an event")
        if (self.above is None) == (self.below is None):
            raise ValueError("say either above or below")
        if self.bad > self.of:
            raise ValueError(f"{self.bad} of {self.of} windows cannot be bad")
        if self.of * self.window_minutes > 2880:
            raise ValueError(
                "the windows together are longer than two days, the most that is kept in view"
            )
        if self.event is None and (self.measurement or self.statistic == "count"):
            raise ValueError("measurement and count are of events")
        if self.event is not None and (self.measurement is None) != (self.statistic == "count"):
            raise ValueError("events are counted, or a measurement of theirs is taken")
        if self.per is not None and (self.metric is None or self.statistic != "sum"):
            raise ValueError("per divides the sum of a metric")
        if self.at_least and self.per is None:
            raise ValueError("at_least is of per")
        return self

    @property
    def threshold(self) -> float:
        """The value beyond which a window is bad."""
        limit = self.below if self.above is None else self.above
        assert limit is not None, "checked"
        return limit

    def is_bad(self, value: float) -> bool:
        """Whether a window with this value is beyond the threshold."""
        return value > self.threshold if self.above is not None else value < self.threshold

    def rule(self) -> str:
        """The condition in words."""
        what = self.metric or self.event or ""
        if self.per:
            what = f"{what} / {self.per}"
        else:
            of = f"{self.measurement} of {what}" if self.measurement else what
            what = f"{self.statistic} of {of}"
        if self.where:
            what += " (" + ", ".join(f"{key} {value}" for key, value in self.where.items()) + ")"
        side = "above" if self.above is not None else "below"
        windows = f"{self.bad} of {self.of} windows" if self.of > 1 else "a window"
        each = f", each {self.by}" if self.by else ""
        return f"{what} {side} {self.threshold:g} in {windows} of {self.window_minutes} min{each}"


def load_alerts(path: Path = ALERTS_FILE) -> list[Alert]:
    """Read what is watched.

    Raises:
        TelemetryError: the file cannot be read, does not fit, or has a name twice.
    """
    alerts = load_typed(list[Alert], path, TelemetryError, "a list of alerts")
    twice = [name for name, count in Counter(alert.name for alert in alerts).items() if count > 1]
    if twice:
        raise TelemetryError(f"{path} has {', '.join(twice)} twice: names tell alerts apart")
    return alerts
