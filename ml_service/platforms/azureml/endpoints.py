"""Endpoints of the Azure platform: staging on Azure Container Instances, production on AKS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from filelock import FileLock, Timeout

from insurance_claims.monitoring.observations import Window
from ml_service.platforms.azureml import services
from ml_service.platforms.azureml.container_instance import ContainerInstance
from ml_service.platforms.azureml.deployment import (
    Deployment,
    Release,
    load_deployments,
    release,
)
from ml_service.platforms.azureml.kubernetes import Kubernetes
from ml_service.platforms.azureml.observing import Observing
from ml_service.platforms.azureml.target import Target
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Endpoint, Health, Log, Models, PlatformError, Routing


class AzureEndpoints:
    """Where models of one workspace answer requests.

    Args:
        ws: the workspace.
        models: its registry.
    """

    def __init__(self, ws: AzureWorkspace, models: Models) -> None:
        self._ws = ws
        self._models = models
        self._observing = Observing(ws)

    def deploy(self, environment: str, version: int, log: Log) -> Endpoint:
        """Serve a version with all traffic, and take the one that served before away once the new one answers.

        Raises:
            PlatformError: unknown environment, or the version does not come to answer: then the old one serves on.
            RegistryError: there is no such version.
        """
        target = self._target(environment)
        with self._alone(environment, log), self._release(environment, version, log) as made:
            target.deploy(made, log)
        return self._deployed(environment)

    def start_version(self, environment: str, version: int) -> None:
        """Begin to serve a version without traffic beside those that answer. Azure goes on with it for minutes.

        Raises:
            PlatformError: unknown environment, nothing is deployed, it holds one version, or Azure refuses it.
            RegistryError: there is no such version.
        """
        target = self._target(environment)
        with self._alone(environment, _silent):
            target.start_version(version, lambda made: self._release(environment, made, _silent))

    def stop_version(self, environment: str, version: int) -> None:
        """Stop serving a version that has no traffic. Nothing happens where it is not served.

        Raises:
            PlatformError: unknown environment, or it answers requests.
        """
        target = self._target(environment)
        with self._alone(environment, _silent):
            target.stop_version(version)

    def traffic(self, environment: str) -> Mapping[int, int]:
        """Version to percent of requests that it answers now, none of them 0; empty where nothing is deployed.

        Raises:
            PlatformError: unknown environment.
        """
        target = self._target(environment)
        service = target.find()
        shares = target.traffic(service) if service is not None else {}
        return {version: share for version, share in shares.items() if share}

    def health(self, environment: str, version: int) -> tuple[Health, str | None]:
        """How one version is now, and why it is not healthy.

        Raises:
            PlatformError: unknown environment.
        """
        target = self._target(environment)
        service = target.find()
        if service is None:
            return "unhealthy", f"nothing is deployed to {environment}"
        return target.health(service, version)

    def check_routing(self, environment: str, routing: Routing) -> None:
        """Refuse a routing that the environment's front end cannot do, whatever is deployed.

        Raises:
            PlatformError: unknown environment, copies or pinning.
        """
        self._target(environment).check_routing(routing)

    def set_routing(self, environment: str, routing: Routing) -> None:
        """Split requests between served versions without dropping one. Others get none and go on running.

        Raises:
            PlatformError: unknown environment, nothing is deployed, copies or pinning, or a version that is to get
                more requests is not healthy: nothing is changed then. Or Azure fails on the way: the same again
                completes it.
        """
        target = self._target(environment)
        with self._alone(environment, _silent):
            target.set_routing(routing)

    def observed(self, environment: str, since: datetime) -> Window:
        """What each version did from a moment until now, as far as its telemetry has arrived.

        Raises:
            PlatformError: unknown environment.
            TelemetryError: telemetry cannot be read.
        """
        self._deployment(environment)
        return self._observing.window(environment, since)

    def get(self, environment: str) -> Endpoint | None:
        """The endpoint as it is now; None where nothing is deployed.

        Raises:
            PlatformError: unknown environment.
        """
        target = self._target(environment)
        service = target.find()
        return target.describe(service) if service is not None else None

    def list(self) -> Sequence[Endpoint]:
        """All endpoints, in the order of the environments in settings."""
        found = (self.get(environment) for environment in self._ws.settings.environments)
        return [endpoint for endpoint in found if endpoint]

    def logs(self, environment: str, lines: int = 100) -> str:
        """The last lines that its containers printed."""
        service = self._target(environment).find()
        if service is None or lines < 1:
            return ""
        with services.asked(f"reading the log of service {service.name}"):
            return str(service.get_logs(num_lines=lines))

    def remove(self, environment: str, log: Log) -> None:
        """Delete the service with its key. Nothing happens where nothing is deployed."""
        target = self._target(environment)
        with self._alone(environment, log):
            service = target.find()
            if service is not None:
                log(f"deleting service {service.name}")
                services.delete(service)

    def _target(self, environment: str) -> Target:
        deployment = self._deployment(environment)
        if deployment.target == "kubernetes":
            return Kubernetes(self._ws, environment, self._ws.azure.aks_name)
        return ContainerInstance(self._ws, environment, self._ws.azure.aci_name)

    def _deployment(self, environment: str) -> Deployment:
        names = self._ws.settings.environments
        if environment not in names:
            known = ", ".join(names)
            raise PlatformError(f"there is no environment {environment!r}; there are: {known}")
        found = load_deployments().get(environment)
        if found is None:
            raise PlatformError(
                f"insurance_claims/scoring/deployment.yml does not say what {environment} gets: add it there"
            )
        return found

    def _release(self, environment: str, version: int, log: Log) -> AbstractContextManager[Release]:
        name = self._models.get(version).name
        deployment = self._deployment(environment)
        connection = None
        if deployment.application_insights:
            connection = self._observing.connection_string_if_any(log, f"{environment}'s service")
        return release(self._ws, name, version, environment, deployment, log, connection)

    def _deployed(self, environment: str) -> Endpoint:
        endpoint = self.get(environment)
        if endpoint is None:
            raise PlatformError(f"{environment} was removed meanwhile: deploy again")
        return endpoint

    @contextmanager
    def _alone(self, environment: str, log: Log) -> Iterator[None]:
        # Commands on other machines are met as an operation in progress.
        path = self._ws.cache / f".{environment}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"another command is changing {environment}: waiting for it")
            try:
                lock.acquire(timeout=services.LONGEST_SECONDS)
            except Timeout:
                raise PlatformError(
                    f"another command has been changing {environment} for {services.LONGEST_SECONDS // 60} minutes: "
                    "try again later"
                ) from None
        try:
            yield
        finally:
            lock.release()


def _silent(line: str) -> None:
    del line
