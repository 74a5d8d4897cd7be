"""The folder and processes of one local endpoint.

``key``, ``endpoint.json`` (the router's port), ``routes.json``, ``models/<name>/<version>/``, ``logs/``, and what
supervisord needs. routes.json is what counts: every other trace of a version that it does not name is left over from a
command that was killed, and goes with the next change.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import ml_service
from insurance_claims.errors import ClaimsError
from insurance_claims.files import read_json, sha256_of_file, whole_folder, write_json
from insurance_claims.parameters import load_parameters
from ml_service.platforms.base import Log, PlatformError
from ml_service.platforms.local import probe
from ml_service.platforms.local.routes import (
    KEY_FILE,
    ROUTES_FILE,
    Backend,
    Routes,
    read_routes,
    write_routes,
)
from ml_service.platforms.local.serving_command import HOST, server_command
from ml_service.platforms.local.supervision import (
    START_SECONDS,
    STOP_SECONDS,
    Program,
    Supervisor,
    wait_until,
)

ROUTER = "router"
_LOG_LINES = 15
_ERROR = re.compile(r"[\w.]*(Error|Exception): ")
_FAILED = ("BACKOFF", "FATAL", "EXITED")


class Site:
    """One endpoint on this machine.

    Args:
        folder: of this endpoint alone.
        model_name: of the registered model.
    """

    def __init__(self, folder: Path, model_name: str) -> None:
        self.folder = folder.absolute()
        self.supervisor = Supervisor(self.folder)
        self._models = self.folder / "models" / model_name

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
        aside = path.with_suffix(".part")
        aside.unlink(missing_ok=True)
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key + "\n")
        aside.replace(path)
        return key

    def url(self) -> str:
        """Where requests go."""
        return f"http://{HOST}:{self.port()}/score"

    def copy_model(self, source: Path, version: int) -> bool:
        """Copy and check a model folder; say whether it is another than the copy that was there.

        Raises:
            PlatformError: the folder is not whole, or was changed after it was written.
        """
        target = self._models / str(version)
        wanted = _model_sha256(source)
        with suppress(PlatformError):
            if _model_sha256(target) == wanted:
                return False
        shutil.rmtree(target, ignore_errors=True)
        with whole_folder(target) as aside:
            for file in source.rglob("*"):
                if file.is_file():
                    copy = aside / file.relative_to(source)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, copy)
            if _model_sha256(aside) != wanted:
                raise PlatformError(f"{source} changed while it was copied: deploy again")
        return True

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
        for attempt in (1, 2):
            routes = self._choose_ports(routes, keep_router=attempt == 1)
            self.supervisor.start(self._programs(routes))
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
        self.apply(routes, {version: port})
        self._wait_for_score(version, port, log)
        return port

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
                reason = f"its process ended: {self._last_error(name)}"
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

    def _last_error(self, name: str) -> str:
        # The server reports an exception of the scoring script below one of its own.
        lines = self.supervisor.tail(name, 100).splitlines()
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
        self.supervisor.apply(self._programs(routes, more))

    def tidy(self, routes: Routes) -> None:
        """Remove model copies that no route needs, and half copies."""
        if self._models.is_dir():
            for folder in self._models.iterdir():
                if not (folder.name.isdecimal() and int(folder.name) in routes.backends):
                    shutil.rmtree(folder, ignore_errors=True)

    def _programs(self, routes: Routes, more: Mapping[int, int] | None = None) -> list[Program]:
        limit = load_parameters().scoring.max_body_bytes
        argv = [sys.executable, "-m", "ml_service.platforms.local.router"]
        argv += ["--state", str(self.folder), "--port", str(self.port())]
        argv += ["--max-body-bytes", str(limit)]
        # What `python -m` finds must not depend on where the command was typed.
        root = Path(ml_service.__file__).resolve().parent.parent
        programs = [Program(ROUTER, argv, {"PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"})]
        ports = {version: backend.port for version, backend in routes.backends.items()}
        for version, port in {**ports, **(more or {})}.items():
            command, env = server_command(self._models / str(version), port)
            programs.append(Program(program_name(version), command, env))
        return programs

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
            backends[version] = Backend(own, backend.weight)
        if backends != routes.backends:
            routes = Routes(routes.revision + 1, backends)
        write_routes(self.folder / ROUTES_FILE, routes)
        return routes

    def ready(self) -> dict[str, object] | None:
        """What the router says of itself and the servers; None where it does not answer."""
        state = self.supervisor.states().get(ROUTER)
        port = self.port()
        # The key goes only to a port that our own router holds.
        if state is None or state.status != "RUNNING" or port is None:
            return None
        return probe.ready(port, self.key())

    def _router_answers(self) -> bool:
        return self.ready() is not None

    def _router_at(self) -> object:
        return (self.ready() or {}).get("revision")

    def _draining(self, routes: Routes) -> bool:
        in_flight = (self.ready() or {}).get("in_flight")
        versions = in_flight if isinstance(in_flight, dict) else {}
        return any(int(version) not in routes.backends for version in versions)


def program_name(version: int) -> str:
    """What supervisord calls the server of a version."""
    return f"model-{version}"


def _model_sha256(folder: Path) -> str:
    # Not by loading the model: that takes seconds of imports, and the server does it at once.
    try:
        expected = read_json(folder / "model.json")["sha256"]
        actual = sha256_of_file(folder / "model.txt")
    except (ClaimsError, OSError, KeyError, TypeError) as error:
        raise PlatformError(f"{folder} is not a model folder: {error}") from None
    if actual != expected:
        raise PlatformError(
            f"{folder / 'model.txt'} is not the file that model.json was written for: its sha256 differs"
        )
    return actual
