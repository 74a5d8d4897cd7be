"""Where an environment's web service runs: what the kinds of compute have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any, ClassVar

from ml_service.platforms.azureml import services
from ml_service.platforms.azureml.deployment import Release
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Endpoint, Health, Log, PlatformError, Routing

MakeRelease = Callable[[int], AbstractContextManager[Release]]
"""Gives the release of a model version while a block runs."""


class Target(ABC):
    """The web service of one environment.

    Args:
        ws: the workspace.
        environment: its name in settings.
        name: of the service.
    """

    kind: ClassVar[str]
    """What the SDK calls services of this kind."""
    place: ClassVar[str]
    """What people call it."""

    def __init__(self, ws: AzureWorkspace, environment: str, name: str) -> None:
        self._ws = ws
        self._environment = environment
        self.name = name

    def find(self) -> Any:
        """The SDK's web service; None where nothing is deployed."""
        return services.find(self._ws, self.name, self.kind)

    def existing(self) -> Any:
        """The SDK's web service.

        Raises:
            PlatformError: nothing is deployed.
        """
        service = self.find()
        if service is None:
            raise PlatformError(
                f"nothing is deployed to {self._environment}: deploy a version first"
            )
        return service

    def check_routing(self, routing: Routing) -> None:
        """Refuse copies and pinning, which no front end of Azure Machine Learning knows.

        Raises:
            PlatformError: what is asked for, and what to do without it.
        """
        asked = []
        if routing.mirror:
            asked.append("copy requests (shadow: true)")
        if routing.sticky_header is not None:
            asked.append(f"pin requests by header {routing.sticky_header} (sticky_header)")
        if asked:
            raise PlatformError(
                f"{self._environment} runs on {self.place}, whose front end cannot {' or '.join(asked)}: take it out "
                "of the rollout's plan, or put a router of your own before the endpoint"
            )

    @abstractmethod
    def describe(self, service: Any) -> Endpoint:
        """The endpoint as it is now."""

    @abstractmethod
    def deploy(self, release: Release, log: Log) -> None:
        """Serve a release with all traffic, and take the others away once it answers.

        Raises:
            PlatformError: it does not come to answer. What served before serves on; a new service is gone again.
        """

    @abstractmethod
    def start_version(self, version: int, make: MakeRelease) -> None:
        """Begin to serve a version without traffic.

        Raises:
            PlatformError: nothing is deployed, it cannot hold several, or Azure refuses it.
        """

    @abstractmethod
    def stop_version(self, version: int) -> None:
        """Stop serving a version; nothing happens where it is not served.

        Raises:
            PlatformError: it answers requests.
        """

    @abstractmethod
    def traffic(self, service: Any) -> Mapping[int, int]:
        """Version to percent of requests, 0 for those that answer none."""

    @abstractmethod
    def health(self, service: Any, version: int) -> tuple[Health, str | None]:
        """How a version is, and why it is not healthy."""

    @abstractmethod
    def set_routing(self, routing: Routing) -> None:
        """Split requests between served versions.

        Raises:
            PlatformError: it cannot be done; nothing was changed by what is refused.
        """

    def _create(self, begin: Callable[[], Any], what: str, log: Log) -> None:
        """Make the service, or leave nothing."""
        log(f"{what}: service {self.name} on {self.place}")
        try:
            with services.asked(what):
                service = begin()
            services.wait(service, what, log)
        except BaseException:
            # Whatever went wrong, and however far it came: nothing is left that costs money and serves nobody.
            with suppress(PlatformError):
                if (left := self.find()) is not None:
                    services.delete(left)
            raise
