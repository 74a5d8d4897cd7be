"""Rollouts as documents: one JSON document each, kept after they end."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager

from ml_service.platforms.base import Documents
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.state import Rollout, from_json, to_json


class RolloutStore:
    """``rollouts/ENVIRONMENT/ID.json``; the ids sort by time."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def load(self, environment: str) -> Rollout | None:
        """The newest rollout of an environment.

        Raises:
            ClaimsError: it cannot be read, or is not what it has to be.
        """
        names = self._documents.names(_folder(environment))
        return self._read(names[-1]) if names else None

    def save(self, rollout: Rollout) -> None:
        """Keep a rollout, whole or not at all.

        Raises:
            PlatformError: it cannot be written.
        """
        content = json.dumps(to_json(rollout), allow_nan=False).encode()
        self._documents.write(f"{_folder(rollout.environment)}/{rollout.id}.json", content)

    def lock(self, environment: str) -> AbstractContextManager[object]:
        """Held by one process at a time, and let go when that dies. Reentrant."""
        return self._documents.lock(_folder(environment))

    def _read(self, name: str) -> Rollout:
        try:
            content = json.loads(self._documents.read(name) or b"")
        except ValueError as error:
            raise RolloutError(f"{name} does not hold a rollout: {error}") from None
        return from_json(content, name)


def _folder(environment: str) -> str:
    return f"rollouts/{environment}"
