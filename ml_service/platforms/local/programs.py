"""The processes of one endpoint as supervisord is to run them: the router, and a model server a version."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ml_service
from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json
from insurance_claims.monitoring import collection
from insurance_claims.parameters import load_parameters
from ml_service.platforms.local import worker_starts
from ml_service.platforms.local.private import write_private
from ml_service.platforms.local.serving_command import SCORE_SCRIPT, server_command
from ml_service.platforms.local.supervision import Program

ROUTER = "router"

_PASSED_ON = ("APPLICATIONINSIGHTS_CONNECTION_STRING", *collection.VARIABLES)
"""Variables of whoever starts a version that its server gets. Kept in a private file, for another command that changes
the endpoint later may have others, and must not restart the server by that."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How versions are served, whatever the environment.

    Attributes:
        workers: processes of each version.
        entry_script: the scoring script of a version.
    """

    workers: int = 1
    entry_script: Callable[[int], Path] = lambda version: SCORE_SCRIPT


class Programs:
    """The programs of one endpoint.

    Args:
        folder: of the endpoint; its name is the environment's.
        models: folder that holds a model folder a version.
        serving: how versions are served.
    """

    def __init__(self, folder: Path, models: Path, serving: Serving) -> None:
        self._folder = folder
        self._models = models
        self._serving = serving

    def of(self, router_port: int | None, servers: Mapping[int, int]) -> list[Program]:
        """The router and the servers of these versions; ``servers``: version to port."""
        limit = load_parameters().scoring.max_body_bytes
        argv = [sys.executable, "-m", "ml_service.platforms.local.router"]
        argv += ["--state", str(self._folder), "--port", str(router_port)]
        argv += ["--max-body-bytes", str(limit)]
        argv += ["--workers", str(self._serving.workers)]
        # What `python -m` finds must not depend on where the command was typed.
        root = Path(ml_service.__file__).resolve().parent.parent
        router = Program(ROUTER, argv, {"PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"})
        return [router, *(self._server(version, port) for version, port in servers.items())]

    def keep_variables(self, version: int) -> None:
        """Keep the caller's variables for a version that is about to be started, and forget its earlier starts."""
        found = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
        write_private(self._variables(version), json.dumps(found))
        self.forget_starts(version)

    def forget_starts(self, version: int) -> None:
        """Let the next start of a version count as its first."""
        self._starts(version).unlink(missing_ok=True)

    def restarts(self, version: int, seconds: float) -> int:
        """How often a worker of a version was started again within the last seconds."""
        since = time.time() - seconds
        starts = self._read_starts(version)
        # The first starts are not restarts, whenever they were.
        return sum(start >= since for start in starts[self._serving.workers :])

    def last_start(self, version: int) -> float:
        """When a worker of a version was last started, in seconds since 1970; 0 where none was yet."""
        return max(self._read_starts(version), default=0.0)

    def tidy(self, needed: Iterable[int]) -> None:
        """Remove what is kept for versions that are not needed."""
        kept = {path for version in needed for path in self._kept(version)}
        for path in set((self._folder / "servers").glob("*")) - kept:
            path.unlink(missing_ok=True)

    def _server(self, version: int, port: int) -> Program:
        command, env = server_command(
            self._models / str(version),
            port,
            workers=self._serving.workers,
            entry_script=self._serving.entry_script(version),
        )
        more = {"MLOPS_ENVIRONMENT": self._folder.name}
        more[worker_starts.VARIABLE] = str(self._starts(version))
        with suppress(ClaimsError, OSError):
            more.update(read_json(self._variables(version)))
        return Program(program_name(version), command, {**env, **more})

    def _read_starts(self, version: int) -> list[float]:
        try:
            lines = self._starts(version).read_text(encoding="ascii").splitlines()
        except OSError:
            return []
        starts = []
        for line in lines:
            # A worker that was killed may have left half a line.
            with suppress(ValueError):
                starts.append(float(line))
        return starts

    def _kept(self, version: int) -> tuple[Path, Path]:
        return self._variables(version), self._starts(version)

    def _variables(self, version: int) -> Path:
        return self._folder / "servers" / f"{program_name(version)}.json"

    def _starts(self, version: int) -> Path:
        return self._folder / "servers" / f"{program_name(version)}.starts"


def program_name(version: int) -> str:
    """What supervisord calls the server of a version."""
    return f"model-{version}"
