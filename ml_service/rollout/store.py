"""Rollouts in a folder: one JSON file each, kept after they end."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock

from insurance_claims.files import read_json, write_json
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.state import Rollout, from_json, to_json

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class FileStore:
    """``FOLDER/ENVIRONMENT/ID.json``; the ids sort by time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[str, FileLock] = {}

    def load(self, environment: str) -> Rollout | None:
        """The newest rollout of an environment.

        Raises:
            ClaimsError: its file is not what it has to be.
        """
        files = sorted(self._of(environment).glob("*.json"))
        return from_json(read_json(files[-1]), str(files[-1])) if files else None

    def list(self, environment: str) -> list[Rollout]:
        """All rollouts of an environment, newest first."""
        files = sorted(self._of(environment).glob("*.json"), reverse=True)
        return [from_json(read_json(file), str(file)) for file in files]

    def save(self, rollout: Rollout) -> None:
        """Keep a rollout, whole or not at all."""
        try:
            write_json(self._of(rollout.environment) / f"{rollout.id}.json", to_json(rollout))
        except OSError as error:
            raise RolloutError(
                f"the rollout's state cannot be written to {self._folder}: {error.strerror}; free space and resume"
            ) from None

    def lock(self, environment: str) -> AbstractContextManager[object]:
        """Held by one process at a time, and let go by the system when that dies. Reentrant."""
        folder = self._of(environment)
        folder.mkdir(parents=True, exist_ok=True)
        return self._locks.setdefault(environment, FileLock(folder / ".lock"))

    def _of(self, environment: str) -> Path:
        if not _NAME.fullmatch(environment):
            raise RolloutError(f"{environment!r} is no name of an environment")
        return self._folder / environment
