"""An environment on Azure Container Instances: one service that serves one version, changed in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_service.platforms.azureml import services
from ml_service.platforms.azureml.deployment import Release
from ml_service.platforms.azureml.target import MakeRelease, Target
from ml_service.platforms.base import Endpoint, Health, Log, PlatformError, Routing


class ContainerInstance(Target):
    """The service of one environment."""

    kind = "ACI"
    place = "Azure Container Instances"

    def describe(self, service: Any) -> Endpoint:
        """The endpoint as it is now."""
        version = services.model_version(service)
        health = services.health(service.state)
        return Endpoint(
            environment=self._environment,
            url=service.scoring_uri or "",
            traffic=self.traffic(service),
            state=health,
            models={version: health},
            key=services.key(service),
            reason=services.why(service),
        )

    def deploy(self, release: Release, log: Log) -> None:
        """Serve a release: in place where the service exists, else from nothing."""
        what = f"deploying version {release.version} to {self._environment}"
        service = services.settled(self.find, what, log)
        if service is not None and service.state == "Failed":
            log(f"{what}: removing service {self.name}, which failed before")
            services.delete(service)
            service = None
        if service is None:
            self._create(lambda: self._begin(release), what, log)
        elif service.state == "Healthy" and release.is_served_by(service.tags):
            log(f"version {release.version} serves {self._environment} already, and is healthy")
        else:
            self._update(service, release, what, log)

    def start_version(self, version: int, make: MakeRelease) -> None:
        """Nothing for the version that serves; a second one has no place."""
        del make
        self._refuse_others({version})

    def stop_version(self, version: int) -> None:
        """Nothing, or a refusal: the one version has all traffic."""
        service = self.find()
        if service is not None and services.model_version(service) == version:
            raise PlatformError(
                f"version {version} answers all requests of {self._environment}: deploy another one, or remove it all"
            )

    def traffic(self, service: Any) -> Mapping[int, int]:
        """All of it, to the one version."""
        return {services.model_version(service): 100}

    def health(self, service: Any, version: int) -> tuple[Health, str | None]:
        """How the service is, where it serves this version."""
        if services.model_version(service) != version:
            return "unhealthy", f"version {version} is not served in {self._environment}"
        return services.health(service.state), services.why(service)

    def set_routing(self, routing: Routing) -> None:
        """Nothing where the one version is to answer everything, else a refusal."""
        self.check_routing(routing)
        self._refuse_others({version for version, share in routing.traffic.items() if share})

    def _refuse_others(self, versions: set[int]) -> None:
        serves = services.model_version(self.existing())
        if others := sorted(versions - {serves}):
            raise PlatformError(
                f"{self._environment} runs on {self.place}, which serve one version, now {serves}, and cannot serve "
                f"version {others[0]} beside it: deploy it in its place, or let the environment run on AKS (target: "
                "kubernetes in deployment.yml)"
            )

    def _begin(self, release: Release) -> Any:
        from azureml.core.model import Model
        from azureml.core.webservice import AciWebservice

        given = release.deployment
        return Model.deploy(
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
