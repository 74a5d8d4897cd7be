"""Endpoints of the local platform: processes on loopback that outlive the command that started them.

Each environment has a folder with a supervisord of its own, which keeps a router and one model server a version alive.
A command may be killed at any moment: traffic goes by routes.json, which changes in one step, and what else was left
half done is taken away or completed by the next command.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from insurance_claims.monitoring.observations import Window
from ml_service.platforms.base import Endpoint, Health, Log, PlatformError, Routing
from ml_service.platforms.local.health import endpoint_health, redo, version_health
from ml_service.platforms.local.observation_store import OBSERVATIONS_FILE, read_window
from ml_service.platforms.local.programs import ROUTER, Serving
from ml_service.platforms.local.routes import Backend, Routes, RoutesError
from ml_service.platforms.local.site import Site

_WAIT_SECONDS = 180
"""How long a command waits for another one that changes the same endpoint."""


class LocalEndpoints:
    """Where models answer requests on this machine.

    Args:
        home: the local platform's state folder.
        models: gives the local folder of a model version.
        model_name: of the registered model.
        environments: the names that can be deployed to.
        serving: how versions are served.
    """

    def __init__(
        self,
        home: Path,
        models: Callable[[int], Path],
        model_name: str,
        environments: Sequence[str] = ("staging", "production"),
        serving: Serving = Serving(),
    ) -> None:
        self._home = home.absolute() / "endpoints"
        self._fetch = models
        self._model_name = model_name
        self._environments = tuple(environments)
        self._serving = serving

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
            self._replace(site, version, restart=changed, log=log)
            return self._deployed(environment)

    def start_version(self, environment: str, version: int) -> None:
        """Serve a version beside those that answer, without traffic. Returns before it answers; may be called twice.

        Raises:
            PlatformError: nothing is deployed, no sound model, or nothing would keep the server running.
        """
        site = self._site(environment)
        with self._alone(environment, _silent):
            routes = self._supervised(site)
            site.copy_model(self._fetch(version), version)
            if version not in routes.backends:
                routes = site.add_server(routes, version)
            site.apply(routes)

    def stop_version(self, environment: str, version: int) -> None:
        """Stop serving a version that has no traffic. Nothing happens where it is not served.

        Raises:
            PlatformError: it answers requests.
        """
        site = self._site(environment)
        with self._alone(environment, _silent):
            if site.routes() is None:
                return
            routes = self._supervised(site)
            if share := routes.traffic().get(version):
                raise PlatformError(
                    f"version {version} answers {share}% of the requests to {environment}: give them to another "
                    "version first"
                )
            if version in routes.backends:
                backends = {key: own for key, own in routes.backends.items() if key != version}
                routes = replace(routes, revision=routes.revision + 1, backends=backends)
                site.switch(routes, _silent)
            # Also where it is not routed: a command that was killed may have left its server.
            site.apply(routes)
            site.tidy(routes)

    def traffic(self, environment: str) -> Mapping[int, int]:
        """Version to percent of requests that it answers now; empty where nothing is deployed."""
        routes = self._site(environment).routes()
        return routes.traffic() if routes else {}

    def health(self, environment: str, version: int) -> tuple[Health, str | None]:
        """How one version is now, and why it is not healthy.

        ``starting`` until it answers for the first time, and while it is started again; ``unhealthy`` where it ended
        for good, dies again and again, or has answered and does not any more.
        """
        site = self._site(environment)
        return version_health(site, site.routes() or Routes(0, {}), version)

    def check_routing(self, environment: str, routing: Routing) -> None:
        """The router can do all that a routing can say.

        Raises:
            PlatformError: unknown environment.
        """
        del routing
        self._site(environment)

    def set_routing(self, environment: str, routing: Routing) -> None:
        """Split, copy and pin requests between served versions without dropping one.

        Returns when the router goes by it. What has requests already may be starting again meanwhile; what gets its
        first has to be healthy.

        Raises:
            PlatformError: nothing is deployed, a version is not served or not healthy, or the router does not answer.
        """
        site = self._site(environment)
        with self._alone(environment, _silent):
            now = self._deployed_routes(site)
            for version, share in {**routing.traffic, **routing.mirror}.items():
                if share:
                    self._check_fit(site, now, version)
            after = now.split(routing.traffic, routing.mirror, routing.sticky_header)
            site.switch(now if now.same_split(after) else after, _silent)

    def observed(self, environment: str, since: datetime) -> Window:
        """What each version did in the seconds that began at or after a moment, up to a second ago.

        Raises:
            ClaimsError: unknown environment, or the file of it cannot be read.
        """
        path = self._site(environment).folder / OBSERVATIONS_FILE
        return read_window(path, since, datetime.now(UTC))

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

    def _supervised(self, site: Site) -> Routes:
        """What is deployed. Starting a supervisor would stop what answers, which only a deployment may do."""
        routes = self._deployed_routes(site)
        if not site.supervisor.running():
            raise PlatformError(f"the supervisor of {site.folder.name} does not run; {redo(site)}")
        return routes

    def _deployed_routes(self, site: Site) -> Routes:
        routes = site.routes()
        if routes is None:
            raise PlatformError(
                f"nothing is deployed to {site.folder.name}: deploy a version first"
            )
        return routes

    def _check_fit(self, site: Site, routes: Routes, version: int) -> None:
        environment = site.folder.name
        if version not in routes.backends:
            served = ", ".join(map(str, sorted(routes.backends)))
            raise PlatformError(
                f"version {version} is not served in {environment}: start it first; served: {served}"
            )
        health, reason = version_health(site, routes, version)
        if health == "unhealthy" or (health == "starting" and not routes.backends[version].weight):
            raise PlatformError(
                f"version {version} in {environment} is {health} ({reason}): it gets no requests"
            )

    def _replace(self, site: Site, version: int, restart: bool, log: Log) -> None:
        now = _routes(site) or Routes(0, {})
        try:
            now = site.ensure_running(now, log)
            if restart or not site.scores(now, version, log):
                port = site.start_server(now, version, log)
                own = now.backends.get(version)
                started = {version: replace(own, port=port) if own else Backend(port, 0)}
                now = replace(now, backends={**now.backends, **started})
        except BaseException:
            _give_up(site)
            raise
        backend = Backend(now.backends[version].port, 100)
        after = Routes(now.revision + 1, {version: backend})
        log(f"switching traffic to version {version}")
        site.switch(after, log)
        site.apply(after)
        site.tidy(after)

    def _get(self, environment: str) -> Endpoint | None:
        site = self._site(environment)
        try:
            routes = site.routes()
        except RoutesError as error:
            routes = Routes(0, {})
            state: Health = "unhealthy"
            reason: str | None = f"{error}; {redo(site)}"
            models: dict[int, str] = {}
        else:
            if routes is None:
                return None
            models, state, reason = endpoint_health(site, routes)
        return Endpoint(
            environment=environment,
            url=site.url(),
            traffic=routes.traffic(),
            state=state,
            models=models,
            key=site.key(),
            reason=reason,
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
        return Site(self.folder(environment), self._model_name, self._serving)

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


def _silent(line: str) -> None:
    del line
