"""Endpoints of the local platform: processes on loopback that outlive the command that started them.

Each environment has a folder with a supervisord of its own, which keeps a router and one model server a version alive.
A command may be killed at any moment: traffic goes by routes.json, which changes in one step, and what else was left
half done is taken away or completed by the next command.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from ml_service.platforms.base import Endpoint, Log, PlatformError
from ml_service.platforms.local.routes import Backend, Routes, RoutesError
from ml_service.platforms.local.site import ROUTER, Site, program_name
from ml_service.platforms.local.supervision import ProgramState

_WAIT_SECONDS = 180
"""How long a command waits for another one that changes the same endpoint."""

_Health = Literal["healthy", "starting", "unhealthy"]


class LocalEndpoints:
    """Where models answer requests on this machine.

    Args:
        home: the local platform's state folder.
        models: gives the local folder of a model version.
        model_name: of the registered model.
        environments: the names that can be deployed to.
    """

    def __init__(
        self,
        home: Path,
        models: Callable[[int], Path],
        model_name: str,
        environments: Sequence[str] = ("staging", "production"),
    ) -> None:
        self._home = home.absolute() / "endpoints"
        self._fetch = models
        self._model_name = model_name
        self._environments = tuple(environments)

    def folder(self, environment: str) -> Path:
        """Where an environment's endpoint keeps its state."""
        return self._home / environment

    def deploy(self, environment: str, version: int, log: Log) -> Endpoint:
        """Serve a version with all traffic, and take what served before away once the new one answers.

        Where the new version does not come to score, it is taken away and the others serve on.

        Raises:
            PlatformError: unknown environment, no sound model, or its server does not score.
        """
        site = self._site(environment)
        with self._alone(environment, log):
            now = self._get(environment)
            source = self._fetch(version)
            changed = site.copy_model(source, version)
            if now and not changed and now.state == "healthy" and [*now.models] == [version]:
                log(f"version {version} serves {environment} already, and is healthy")
                return now
            self._change(site, {version: 100}, keep=False, restart=changed, log=log)
            return self._deployed(environment)

    def set_traffic(self, environment: str, traffic: Mapping[int, int]) -> Endpoint:
        """Split requests between versions, in percent.

        A version that is not deployed yet is started first. A deployed one that is not named gets no traffic and goes
        on running, ready to take it back, until the next ``deploy``.

        Raises:
            PlatformError: the shares are no whole numbers from 0 to 100 with the sum 100, nothing is deployed, or a
                version does not come to score.
        """
        site = self._site(environment)
        shares = list(traffic.values())
        if not all(type(share) is int and 0 <= share <= 100 for share in shares):
            raise PlatformError(f"shares are whole numbers from 0 to 100, not {dict(traffic)}")
        if sum(shares) != 100:
            raise PlatformError(f"shares have to sum to 100; {dict(traffic)} sum to {sum(shares)}")
        with self._alone(environment, _silent):
            routes = site.routes()
            if routes is None:
                raise PlatformError(f"nothing is deployed to {environment}: deploy a version first")
            for version in traffic:
                if version not in routes.backends:
                    site.copy_model(self._fetch(version), version)
            self._change(site, traffic, keep=True, restart=False, log=_silent)
            return self._deployed(environment)

    def get(self, environment: str) -> Endpoint | None:
        """The endpoint as it is now; None where nothing is deployed.

        Raises:
            PlatformError: unknown environment.
        """
        self._site(environment)
        return self._get(environment)

    def list(self) -> Sequence[Endpoint]:
        """All endpoints, in the order of the environments in settings."""
        found = (self._get(environment) for environment in self._environments)
        return [endpoint for endpoint in found if endpoint]

    def logs(self, environment: str, lines: int = 100) -> str:
        """The last lines of each process, router first, each under the process's name."""
        supervisor = self._site(environment).supervisor
        names = sorted(supervisor.log_names(), key=lambda name: (name != ROUTER, name))
        return "\n".join(f"==> {name} <==\n{supervisor.tail(name, lines)}" for name in names)

    def remove(self, environment: str, log: Log) -> None:
        """Stop every process and remove the endpoint with its key. Nothing happens where nothing is deployed."""
        site = self._site(environment)
        with self._alone(environment, log):
            if site.folder.exists():
                log(f"stopping {environment}")
                site.supervisor.stop()
                shutil.rmtree(site.folder)

    def _change(
        self, site: Site, traffic: Mapping[int, int], keep: bool, restart: bool, log: Log
    ) -> None:
        now = _routes(site) or Routes(0, {})
        try:
            now = site.ensure_running(now, log)
            for version in traffic:
                own = now.backends.get(version)
                if not restart and site.scores(now, version, log):
                    continue
                port = site.start_server(now, version, log)
                started = {version: Backend(port, own.weight if own else 0)}
                now = Routes(now.revision, {**now.backends, **started})
        except BaseException:
            _give_up(site)
            raise
        backends = {
            version: Backend(backend.port, traffic.get(version, 0))
            for version, backend in now.backends.items()
            if keep or version in traffic
        }
        after = Routes(now.revision + 1, backends)
        log(f"switching traffic to {_words(after)}")
        site.switch(after, log)
        site.apply(after)
        site.tidy(after)

    def _get(self, environment: str) -> Endpoint | None:
        site = self._site(environment)
        try:
            routes = site.routes()
        except RoutesError as error:
            routes = Routes(0, {})
            health: tuple[_Health, str | None] = ("unhealthy", f"{error}; {_redo(environment)}")
            models: dict[int, str] = {}
        else:
            if routes is None:
                return None
            models, health = _health(site, routes, environment)
        return Endpoint(
            environment=environment,
            url=site.url(),
            traffic=routes.traffic(),
            state=health[0],
            models=models,
            key=site.key(),
            reason=health[1],
        )

    def _deployed(self, environment: str) -> Endpoint:
        endpoint = self._get(environment)
        if endpoint is None:
            raise PlatformError(f"{environment} was removed meanwhile: deploy again")
        return endpoint

    def _site(self, environment: str) -> Site:
        if environment not in self._environments:
            known = ", ".join(self._environments)
            raise PlatformError(f"there is no environment {environment!r}; there are: {known}")
        return Site(self.folder(environment), self._model_name)

    @contextmanager
    def _alone(self, environment: str, log: Log) -> Iterator[None]:
        self._home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._home / f".{environment}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"another command is changing {environment}: waiting for it")
            try:
                lock.acquire(timeout=_WAIT_SECONDS)
            except Timeout:
                raise PlatformError(
                    f"another command is still changing {environment} after {_WAIT_SECONDS} s: try again later"
                ) from None
        try:
            yield
        finally:
            lock.release()


def _give_up(site: Site) -> None:
    # Back to what routes.json says; where that is nothing, nothing should run.
    routes = _routes(site)
    if routes is None:
        site.supervisor.stop()
    elif site.supervisor.running():
        site.apply(routes)
    site.tidy(routes or Routes(0, {}))


def _routes(site: Site) -> Routes | None:
    # Damaged routes are not worth keeping when a deployment replaces them.
    try:
        return site.routes()
    except RoutesError:
        return None


def _health(
    site: Site, routes: Routes, environment: str
) -> tuple[dict[int, str], tuple[_Health, str | None]]:
    states = site.supervisor.states()
    if not states:
        gone = dict.fromkeys(routes.backends, "unhealthy: not running")
        reason = f"its processes do not run: the machine was restarted, say; {_redo(environment)}"
        return gone, ("unhealthy", reason)
    answer = site.ready()
    router = states.get(ROUTER)
    probed = (answer or {}).get("backends")
    seen = probed if isinstance(probed, dict) else {}
    models: dict[int, str] = {}
    for version in routes.backends:
        said = seen.get(str(version), {}).get("state", "the router does not know it yet")
        program = states.get(program_name(version))
        models[version] = "healthy" if said == "healthy" else _unwell(program, said)
    if answer is None:
        health = _unwell(router, "the router does not answer")
        state: _Health = "starting" if health == "starting" else "unhealthy"
        return models, (state, f"router: {health}; {_redo(environment)}")
    ill = {version: text for version, text in models.items() if text != "healthy"}
    if not ill:
        return models, ("healthy", None)
    reason = "; ".join(f"version {version}: {text}" for version, text in ill.items())
    if all(text == "starting" for text in ill.values()):
        return models, ("starting", reason)
    return models, ("unhealthy", f"{reason}; {_redo(environment)}")


def _unwell(program: ProgramState | None, said: str) -> str:
    if program is None:
        return f"unhealthy: {said}"
    if program.starting:
        return "starting"
    return f"unhealthy: {said} ({program.status.lower()}: {program.detail})"


def _redo(environment: str) -> str:
    return f"deploy to {environment} again to repair it"


def _words(routes: Routes) -> str:
    return ", ".join(f"version {version}: {share}%" for version, share in routes.traffic().items())


def _silent(line: str) -> None:
    del line
