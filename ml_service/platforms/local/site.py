"""The folder and processes of one local endpoint.

``key``, ``endpoint.json`` (the router's port), ``routes.json``, ``models/<name>/<version>/``, ``servers/`` (variables
and starts of the model servers), ``observations.db``, ``logs/``, and what supervisord needs. routes.json is what
counts: every other trace of a version that it does not name is left over from a command that was killed, and goes with
the next change.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json, write_json
from ml_service.platforms.base import Log, PlatformError
from ml_service.platforms.local import probe
from ml_service.platforms.local.model_copies import copy_model, tidy_models
from ml_service.platforms.local.private import write_private
from ml_service.platforms.local.programs import ROUTER, Programs, Serving, program_name
from ml_service.platforms.local.routes import (
    KEY_FILE,
    PROCESS_FILE,
    ROUTES_FILE,
    Backend,
    Routes,
    read_routes,
    write_routes,
)
from ml_service.platforms.local.serving_command import HOST
from ml_service.platforms.local.supervision import (
    START_SECONDS,
    STOP_SECONDS,
    Supervisor,
    wait_until,
)

_LOG_LINES = 15
_ERROR = re.compile(r"[\w.]*(Error|Exception): ")
_FAILED = ("BACKOFF", "FATAL", "EXITED")


class Site:
    """One endpoint on this machine.

    Args:
        folder: of this endpoint alone; its name is the environment's.
        model_name: of the registered model.
        serving: how versions are served.
    """

    def __init__(self, folder: Path, model_name: str, serving: Serving) -> None:
        self.folder = folder.absolute()
        self.supervisor = Supervisor(self.folder)
        self._models = self.folder / "models" / model_name
        self.programs = Programs(self.folder, self._models, serving)

    def routes(self) -> Routes | None:
        """What is deployed; None where nothing is.

        Raises:
            RoutesError: routes.json is damaged.
        """
        path = self.folder / ROUTES_FILE
        found = read_routes(path) if path.exists() else None
        return found if found and found.backends else None

    def port(self) -> int | None:
        """The router's port, which it had at least the last time."""
        with suppress(ClaimsError, KeyError, TypeError, ValueError):
            return int(read_json(self.folder / "endpoint.json")["port"])
        return None

    def key(self) -> str:
        """The bearer key, made on first use."""
        path = self.folder / KEY_FILE
        with suppress(FileNotFoundError):
            if key := path.read_text(encoding="ascii").strip():
                return key
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = secrets.token_urlsafe(32)
        write_private(path, key + "\n")
        return key

    def url(self) -> str:
        """Where requests go."""
        return f"http://{HOST}:{self.port()}/score"

    def copy_model(self, source: Path, version: int) -> bool:
        """Copy and check a model folder; say whether it is another than the copy that was there.

        Raises:
            PlatformError: the folder is not whole, or was changed after it was written.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return copy_model(source, self._models / str(version))

    def ensure_running(self, routes: Routes, log: Log) -> Routes:
        """Start supervisord and the router unless they run; ports that are taken by now are replaced.

        Returns:
            The routes, with new ports where that was needed.

        Raises:
            PlatformError: they do not start.
        """
        if self.supervisor.running() and wait_until(self._router_answers, 5):
            # Takes away what a killed command may have left running.
            self.apply(routes)
            return routes
        log("starting router and supervisor")
        self.key()
        self.supervisor.stop()
        for version in routes.backends:
            self.programs.forget_starts(version)
        for attempt in (1, 2):
            routes = self._choose_ports(routes, keep_router=attempt == 1)
            self.supervisor.start(self.programs.of(self.port(), _ports(routes)))
            if wait_until(self._router_answers, 20):
                return routes
            self.supervisor.stop()
        raise PlatformError(
            f"the router of {self.folder} does not start:\n{self.supervisor.tail(ROUTER, _LOG_LINES)}"
        )

    def start_server(self, routes: Routes, version: int, log: Log) -> int:
        """Start a model server beside those of the routes and wait until it scores.

        Returns:
            Its port.

        Raises:
            PlatformError: it does not score. It is left running for ``apply`` to take away.
        """
        port = probe.free_port({backend.port for backend in routes.backends.values()})
        log(f"starting a server for version {version}")
        self.programs.keep_variables(version)
        self.apply(routes, {version: port})
        self._wait_for_score(version, port, log)
        return port

    def add_server(self, routes: Routes, version: int) -> Routes:
        """Route a version that has no server yet, without traffic; ``apply`` then starts its server."""
        port = probe.free_port({backend.port for backend in routes.backends.values()})
        self.programs.keep_variables(version)
        backends = {**routes.backends, version: Backend(port, 0)}
        after = replace(routes, revision=routes.revision + 1, backends=backends)
        write_routes(self.folder / ROUTES_FILE, after)
        return after

    def scores(self, routes: Routes, version: int, log: Log) -> bool:
        """Whether the server of a version in the routes scores; one that is just starting gets the time for it."""
        backend = routes.backends.get(version)
        if backend is None:
            return False
        if probe.why_not_scoring(backend.port, version) is None:
            return True
        state = self.supervisor.states().get(program_name(version))
        if state is None or not state.starting:
            return False
        log(f"the server of version {version} is starting")
        try:
            self._wait_for_score(version, backend.port, log)
        except PlatformError:
            return False
        return True

    def _wait_for_score(self, version: int, port: int, log: Log) -> None:
        name = program_name(version)
        began = said = time.monotonic()
        pids: set[int] = set()
        reason = "it has not started yet"
        while (now := time.monotonic()) - began < START_SECONDS:
            state = self.supervisor.states().get(name)
            if state and state.pid:
                pids.add(state.pid)
            # supervisord starts it again at once, so that a server that cannot load its model shows as many.
            if state is None or state.status in _FAILED or len(pids) > 1:
                reason = f"its process ended: {self.last_error(version)}"
                break
            if not probe.is_free(port):
                found = probe.why_not_scoring(port, version)
                if found is None:
                    log(f"version {version} scores after {time.monotonic() - began:.1f} s")
                    return
                reason = found
            if now - said > 5:
                log(f"waiting for version {version} since {now - began:.0f} s: {reason}")
                said = now
            time.sleep(0.1)
        raise PlatformError(
            f"the server of version {version} does not score: {reason}. Its last log lines:\n"
            f"{self.supervisor.tail(name, _LOG_LINES)}"
        )

    def last_error(self, version: int) -> str:
        """Why the server of a version ended, as far as its log says."""
        # The server reports an exception of the scoring script below one of its own.
        lines = self.supervisor.tail(program_name(version), 100).splitlines()
        errors = [
            line for line in lines if _ERROR.match(line) and "UserScriptException" not in line
        ]
        return errors[-1] if errors else "its log does not say why"

    def switch(self, routes: Routes, log: Log) -> None:
        """Write routes and wait until the router goes by them and older requests are through.

        Raises:
            PlatformError: the router does not take them.
        """
        write_routes(self.folder / ROUTES_FILE, routes)
        if not wait_until(lambda: self._router_at() == routes.revision, 15):
            raise PlatformError(
                f"the router of {self.folder} does not take new routes:\n"
                f"{self.supervisor.tail(ROUTER, _LOG_LINES)}"
            )
        if not wait_until(lambda: not self._draining(routes), STOP_SECONDS):
            log(f"requests to old versions were not through after {STOP_SECONDS} s")

    def apply(self, routes: Routes, more: Mapping[int, int] | None = None) -> None:
        """Run the router and the servers of these routes and no other; ``more``: version to port."""
        servers = {**_ports(routes), **(more or {})}
        self.supervisor.apply(self.programs.of(self.port(), servers))

    def tidy(self, routes: Routes) -> None:
        """Remove what was kept for versions that no route needs, and half copies."""
        tidy_models(self._models, routes.backends)
        self.programs.tidy(routes.backends)

    def _choose_ports(self, routes: Routes, keep_router: bool) -> Routes:
        port = self.port()
        if port is None or not keep_router or not probe.is_free(port):
            port = probe.free_port()
        write_json(self.folder / "endpoint.json", {"port": port})
        taken = {port}
        backends = {}
        for version, backend in routes.backends.items():
            own = backend.port
            if own in taken or not probe.is_free(own):
                own = probe.free_port(taken)
            taken.add(own)
            backends[version] = replace(backend, port=own)
        if backends != routes.backends:
            routes = replace(routes, revision=routes.revision + 1, backends=backends)
        write_routes(self.folder / ROUTES_FILE, routes)
        return routes

    def ready(self) -> dict[str, object] | None:
        """What the router says of itself and the servers; None where it does not answer."""
        try:
            process = read_json(self.folder / PROCESS_FILE)
            pid, port = int(process["pid"]), int(process["port"])
        except (ClaimsError, OSError, KeyError, TypeError, ValueError):
            return None
        # The key goes only to a port that our own router holds.
        own = self.supervisor.owns(pid, "ml_service.platforms.local.router")
        return probe.ready(port, self.key()) if own else None

    def _router_answers(self) -> bool:
        return self.ready() is not None

    def _router_at(self) -> object:
        return (self.ready() or {}).get("revision")

    def _draining(self, routes: Routes) -> bool:
        in_flight = (self.ready() or {}).get("in_flight")
        versions = in_flight if isinstance(in_flight, dict) else {}
        return any(int(version) not in routes.backends for version in versions)


def _ports(routes: Routes) -> dict[int, int]:
    return {version: backend.port for version, backend in routes.backends.items()}
