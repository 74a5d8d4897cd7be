"""What a rollout needs of the world: small protocols that a platform and a clock satisfy.

Every call that changes something may be made twice with the same arguments: the second changes nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from insurance_claims.monitoring.observations import Window
from insurance_claims.registry import ModelVersion
from ml_service.platforms.base import Health, Routing
from ml_service.rollout.audit import AuditLog
from ml_service.rollout.state import Rollout

Clock = Callable[[], datetime]
"""This moment, UTC, with its time zone."""


ReadWindow = Callable[[str, datetime], Window]
"""What every version of an environment did from a moment until now; nothing from before that moment."""


class Endpoints(Protocol):
    """Where versions answer requests: the part of ``platforms.base.Endpoints`` that rollouts use."""

    def start_version(self, environment: str, version: int) -> None: ...

    def stop_version(self, environment: str, version: int) -> None: ...

    def traffic(self, environment: str) -> Mapping[int, int]: ...

    def health(self, environment: str, version: int) -> tuple[Health, str | None]: ...

    def set_routing(self, environment: str, routing: Routing) -> None: ...


class Models(Protocol):
    """The registry: the part of ``platforms.base.Models`` that rollouts use."""

    def list(self) -> Sequence[ModelVersion]: ...

    def champion(self) -> ModelVersion | None: ...

    def promote(self, version: int, reason: str) -> ModelVersion: ...


class Store(Protocol):
    """Where the state of rollouts is kept."""

    def load(self, environment: str) -> Rollout | None:
        """The newest rollout of an environment."""

    def save(self, rollout: Rollout) -> None:
        """Keep a rollout, whole or not at all."""

    def lock(self, environment: str) -> AbstractContextManager[object]:
        """Held by one process at a time, and let go when that dies. Reentrant."""


@dataclass(frozen=True, slots=True)
class Control:
    """Everything that a rollout acts through."""

    endpoints: Endpoints
    models: Models
    store: Store
    audit: AuditLog
    clock: Clock


@dataclass(frozen=True, slots=True)
class Observed:
    """What one look sees.

    Attributes:
        window: from ``observing_since`` of the rollout until now; None where it could not be read.
        canary: health of the canary; None where it could not be asked.
        problem: why it is not healthy, or why something could not be read.
    """

    window: Window | None = None
    canary: Health | None = None
    problem: str | None = None
