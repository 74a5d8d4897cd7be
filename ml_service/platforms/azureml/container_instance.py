"""An environment on Azure Container Instances: one service that serves one version, changed in place."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ml_service.platforms.azureml import services
from ml_service.platforms.azureml.deployment import Release
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Endpoint, Log, PlatformError

_KIND = "ACI"


class ContainerInstance:
    """The service of one environment.

    Args:
        ws: the workspace.
        environment: its name in settings.
    """

    splits_traffic = False

    def __init__(self, ws: AzureWorkspace, environment: str) -> None:
        self._ws = ws
        self._environment = environment
        self.name = ws.azure.aci_name

    def find(self) -> Any:
        """The SDK's ``AciWebservice``; None where nothing is deployed."""
        return services.find(self._ws, self.name, _KIND)

    def describe(self, service: Any) -> Endpoint:
        """The endpoint as it is now."""
        version = services.model_version(service)
        health = services.health(service.state)
        return Endpoint(
            environment=self._environment,
            url=service.scoring_uri or "",
            traffic={version: 100},
            state=health,
            models={version: health},
            key=services.key(service),
            reason=services.why(service),
        )

    def deploy(self, release: Release, log: Log) -> None:
        """Serve a release: in place where the service exists, else from nothing.

        Raises:
            PlatformError: it does not come to answer. What served before serves on; a new service is gone again.
        """
        what = f"deploying version {release.version} to {self._environment}"
        service = services.settled(self.find, what, log)
        if service is not None and service.state == "Failed":
            log(f"{what}: removing service {self.name}, which failed before")
            services.delete(service)
            service = None
        if service is None:
            self._create(release, what, log)
        elif service.state == "Healthy" and release.is_served_by(service.tags):
            log(f"version {release.version} serves {self._environment} already, and is healthy")
        else:
            self._update(service, release, what, log)

    def set_traffic(self, traffic: Mapping[int, int], start: Any, log: Log) -> None:
        """Give all traffic to one version.

        Raises:
            PlatformError: it is to be split.
        """
        if list(traffic.values()) != [100]:
            raise PlatformError(
                f"{self._environment} runs on Azure Container Instances, which serve one version: "
                "a split needs an environment on AKS (target: kubernetes in deployment.yml)"
            )
        [version] = traffic
        with start(version) as release:
            self.deploy(release, log)

    def _create(self, release: Release, what: str, log: Log) -> None:
        from azureml.core.model import Model
        from azureml.core.webservice import AciWebservice

        given = release.deployment
        log(f"{what}: service {self.name} on Azure Container Instances")
        try:
            with services.asked(what):
                service = Model.deploy(
                    self._ws.workspace,
                    self.name,
                    [release.model],
                    release.inference,
                    AciWebservice.deploy_configuration(
                        cpu_cores=given.cpu,
                        memory_gb=given.memory_gb,
                        auth_enabled=True,
                        enable_app_insights=given.application_insights,
                        collect_model_data=given.collect_model_data,
                        tags=dict(release.tags),
                    ),
                )
            services.wait(service, what, log)
        except BaseException:
            # Whatever went wrong, and however far it came: nothing is left that costs money and serves nobody.
            with suppress(PlatformError):
                if (left := self.find()) is not None:
                    services.delete(left)
            raise

    def _update(self, service: Any, release: Release, what: str, log: Log) -> None:
        given = release.deployment
        log(f"{what}: service {self.name} is updated in place")
        has = service.container_resource_requirements
        if (has.cpu, has.memory_in_gb) != (given.cpu, given.memory_gb):
            log(
                f"{what}: it keeps {has.cpu} cores and {has.memory_in_gb} GB, which an update cannot change: "
                "remove it and deploy again for what deployment.yml says"
            )
        with services.asked(what):
            service.update(
                models=[release.model],
                inference_config=release.inference,
                enable_app_insights=given.application_insights,
                tags=dict(release.tags),
            )
        services.wait(service, what, log)
