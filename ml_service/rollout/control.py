"""What a rollout on a platform acts through."""

from __future__ import annotations

from datetime import UTC, datetime

from ml_service.platforms.base import Platform
from ml_service.rollout.audit import AuditLog
from ml_service.rollout.protocols import Control
from ml_service.rollout.store import RolloutStore


def control_of(platform: Platform) -> Control:
    """A platform's endpoints and models, its documents as memory, and the clock."""
    documents = platform.documents
    return Control(
        platform.endpoints, platform.models, RolloutStore(documents), AuditLog(documents), _now
    )


def _now() -> datetime:
    return datetime.now(UTC)
