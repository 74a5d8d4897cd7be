"""Endpoints of the Azure platform: staging on Azure Container Instances, production on AKS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from filelock import FileLock, Timeout

from ml_service.platforms.azureml import services
from ml_service.platforms.azureml.container_instance import ContainerInstance
from ml_service.platforms.azureml.deployment import (
    Deployment,
    Release,
    load_deployments,
    release,
)
from ml_service.platforms.azureml.kubernetes import Kubernetes
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Endpoint, Log, Models, PlatformError


class AzureEndpoints:
    """Where models of one workspace answer requests.

    Args:
        ws: the workspace.
        models: its registry.
    """

    def __init__(self, ws: AzureWorkspace, models: Models) -> None:
        self._ws = ws
        self._models = models

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

    def set_traffic(self, environment: str, traffic: Mapping[int, int]) -> Endpoint:
        """Split requests between versions, in percent.

        A version that is not deployed yet is started first. A deployed one that is not named gets no traffic and goes
        on running, ready to take it back, until the next ``deploy``.

        Raises:
            PlatformError: the shares are no whole numbers from 0 to 100 with the sum 100, nothing is deployed, the
                environment cannot split, or a version does not come to answer.
        """
        target = self._target(environment)
        shares = list(traffic.values())
        if not all(type(share) is int and 0 <= share <= 100 for share in shares):
            raise PlatformError(f"shares are whole numbers from 0 to 100, not {dict(traffic)}")
        if sum(shares) != 100:
            raise PlatformError(f"shares have to sum to 100; {dict(traffic)} sum to {sum(shares)}")
        if target.find() is None:
            raise PlatformError(f"nothing is deployed to {environment}: deploy a version first")

        def start(version: int) -> AbstractContextManager[Release]:
            return self._release(environment, version, _silent)

        with self._alone(environment, _silent):
            target.set_traffic(traffic, start, _silent)
        return self._deployed(environment)

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

    def _target(self, environment: str) -> ContainerInstance | Kubernetes:
        deployment = self._deployment(environment)
        if deployment.target == "kubernetes":
            return Kubernetes(self._ws, environment)
        return ContainerInstance(self._ws, environment)

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
        return release(self._ws, name, version, self._deployment(environment), log)

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
