"""How the versions of one endpoint are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_service.platforms.base import Health
from ml_service.platforms.local import probe
from ml_service.platforms.local.programs import ROUTER, program_name
from ml_service.platforms.local.routes import Routes
from ml_service.platforms.local.site import Site
from ml_service.platforms.local.supervision import START_SECONDS, ProgramState

_SILENT_SECONDS = 5.0
"""A server that scores many rows answers nothing else meanwhile; one that is silent for longer has failed."""

_RESTARTS = 3
_RESTARTS_SECONDS = 600.0
"""A version that was started again so often within this time, and does not answer, dies again and again."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """How a version looks at one moment; ``final`` where a second look a moment later would say the same."""

    health: Health
    reason: str | None
    final: bool = True


def version_health(site: Site, routes: Routes, version: int) -> tuple[Health, str | None]:
    """How one version is, and why it is not healthy. Takes some seconds where it is silent."""
    end = time.monotonic() + _SILENT_SECONDS
    while True:
        states = site.supervisor.states()
        seen = _look(site, routes, version, states, site.ready() or {})
        if seen.final or time.monotonic() > end:
            return seen.health, seen.reason
        time.sleep(0.2)


def endpoint_health(site: Site, routes: Routes) -> tuple[dict[int, str], Health, str | None]:
    """How each version is, how they are together, and why that is not healthy."""
    states = site.supervisor.states()
    if not states:
        gone = dict.fromkeys(routes.backends, "unhealthy: not running")
        reason = "its processes do not run, or nothing keeps them running: the machine was restarted, say"
        return gone, "unhealthy", f"{reason}; {redo(site)}"
    answer = site.ready()
    probed = (answer or {}).get("backends")
    backends = probed if isinstance(probed, dict) else {}
    models: dict[int, str] = {}
    for version in routes.backends:
        if backends.get(str(version), {}).get("state") == "healthy":
            models[version] = "healthy"
        else:
            seen = _look(site, routes, version, states, answer or {})
            models[version] = (
                f"unhealthy: {seen.reason}" if seen.health == "unhealthy" else seen.health
            )
    if answer is None:
        router = states.get(ROUTER)
        if router is not None and router.starting:
            return models, "starting", "the router is starting"
        said = f"{router.status.lower()}: {router.detail}" if router else "not running"
        return models, "unhealthy", f"the router does not answer ({said}); {redo(site)}"
    ill = {version: text for version, text in models.items() if text != "healthy"}
    if not ill:
        return models, "healthy", None
    reason = "; ".join(f"version {version}: {text}" for version, text in ill.items())
    if all(text == "starting" for text in ill.values()):
        return models, "starting", reason
    return models, "unhealthy", f"{reason}; {redo(site)}"


def redo(site: Site) -> str:
    """What repairs an endpoint."""
    return f"deploy to {site.folder.name} again to repair it"


def _look(
    site: Site,
    routes: Routes,
    version: int,
    states: Mapping[str, ProgramState],
    router: Mapping[str, Any],
) -> _Seen:
    backend = routes.backends.get(version)
    if backend is None:
        return _Seen("unhealthy", f"version {version} is not served in {site.folder.name}")
    silent = probe.why_not_alive(backend.port)
    if silent is None:
        return _Seen("healthy", None)
    program = states.get(program_name(version))
    if program is None:
        reason = f"{silent}, and nothing starts it again; {redo(site)}"
        return _Seen("unhealthy", reason, final=False)
    if program.ended:
        return _Seen("unhealthy", f"its process ended for good: {site.last_error(version)}")
    restarts = site.programs.restarts(version, _RESTARTS_SECONDS)
    if restarts >= _RESTARTS:
        minutes = f"{_RESTARTS_SECONDS / 60:g} minutes"
        error = site.last_error(version)
        return _Seen(
            "unhealthy",
            f"its processes died again and again, {restarts} times in the last {minutes}: {error}",
        )
    if program.status != "RUNNING":
        return _Seen("starting", f"its process is {program.status.lower()}: {program.detail}")
    now = time.time()
    started = max(site.programs.last_start(version), now - program.seconds)
    answered = _answered(router, version, now)
    if answered is not None and answered > started:
        # It scores what takes long; nobody listens where it was killed.
        busy = now - answered < _SILENT_SECONDS and not probe.is_free(backend.port)
        return _Seen("healthy", None) if busy else _Seen("unhealthy", silent, final=False)
    if now - started < START_SECONDS:
        return _Seen("starting", f"it was started {now - started:.0f} s ago: {silent}")
    return _Seen("unhealthy", silent, final=False)


def _answered(router: Mapping[str, Any], version: int, now: float) -> float | None:
    """When the router last had an answer of a version, in seconds since 1970."""
    ago = router.get("answered_seconds_ago")
    seconds = ago.get(str(version)) if isinstance(ago, dict) else None
    return now - seconds if isinstance(seconds, int | float) else None
