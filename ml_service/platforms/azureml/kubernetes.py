"""An environment on AKS: one endpoint with a version for each model version, and traffic in percent between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ml_service.platforms.azureml import services
from ml_service.platforms.azureml.compute import aks_compute
from ml_service.platforms.azureml.deployment import Deployment, Release
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Endpoint, Log, PlatformError

_KIND = "AKSENDPOINT"
_NAME = re.compile(r"version-([0-9]+)")


def version_name(version: int) -> str:
    """The endpoint version that serves a model version. Azure wants at least three characters."""
    return f"version-{version}"


class Kubernetes:
    """The endpoint of one environment.

    Args:
        ws: the workspace.
        environment: its name in settings.
    """

    splits_traffic = True

    def __init__(self, ws: AzureWorkspace, environment: str) -> None:
        self._ws = ws
        self._environment = environment
        self.name = ws.azure.aks_name

    def find(self) -> Any:
        """The SDK's ``AksEndpoint``; None where nothing is deployed."""
        from azureml.core.webservice import AksEndpoint

        if not hasattr(AksEndpoint, "container_resource_requirements"):
            # The SDK reads it before it sets a version's cores, and gives it to other services alone.
            AksEndpoint.container_resource_requirements = None
        return services.find(self._ws, self.name, _KIND)

    def describe(self, service: Any) -> Endpoint:
        """The endpoint as it is now."""
        models: dict[int, str] = {}
        reasons = []
        for name, deployed in service.versions.items():
            version = _model_version(name, deployed)
            models[version] = services.health(deployed.state)
            if reason := services.why(deployed):
                reasons.append(f"version {version}: {reason}")
        shares = _shares(service)
        state = services.health(service.state)
        if state == "healthy" and any(
            models[version] != "healthy" for version, share in shares.items() if share
        ):
            state = "unhealthy"
        if state != "healthy" and not reasons:
            reasons = [services.why(service) or "a version does not answer"]
        return Endpoint(
            environment=self._environment,
            url=service.scoring_uri or "",
            traffic=shares,
            state=state,
            models=models,
            key=services.key(service),
            reason="; ".join(reasons) if state != "healthy" else None,
        )

    def deploy(self, release: Release, log: Log) -> None:
        """Serve a release with all traffic: it answers before traffic moves to it, and then the others go.

        Raises:
            PlatformError: it does not come to answer. What served before serves on; a new endpoint is gone again.
        """
        what = f"deploying version {release.version} to {self._environment}"
        service = services.settled(self.find, what, log)
        if service is not None and not any(
            version.state == "Healthy" for version in service.versions.values()
        ):
            log(f"{what}: removing endpoint {self.name}, none of whose versions is healthy")
            services.delete(service)
            service = None
        if service is None:
            self._create(release, what, log)
            return
        name = version_name(release.version)
        others = [other for other in service.versions if other != name]
        if not self._start(service, release, what, log) and not others:
            log(f"version {release.version} serves {self._environment} already, and is healthy")
        self._shift(service, {release.version: 100}, log)
        for other in others:
            self._delete_version(service, other, log)

    def set_traffic(self, traffic: Mapping[int, int], start: Any, log: Log) -> None:
        """Split requests between versions; those that are not deployed yet are started first.

        Args:
            traffic: model version to percent, with the sum 100.
            start: gives the release of a model version, as a context manager.
            log: gets the progress.

        Raises:
            PlatformError: a version does not come to answer; traffic is then what it was.
        """
        what = f"setting the traffic of {self._environment}"
        service = services.settled(self.find, what, log)
        for version in traffic:
            deployed = service.versions.get(version_name(version))
            if deployed is None or deployed.state != "Healthy":
                with start(version) as release:
                    self._start(service, release, f"starting version {version}", log)
        self._shift(service, traffic, log)

    def _create(self, release: Release, what: str, log: Log) -> None:
        from azureml.core.model import Model
        from azureml.core.webservice import AksEndpoint

        cluster = aks_compute(self._ws)
        log(f"{what}: endpoint {self.name} on AKS cluster {cluster.name}")
        try:
            with services.asked(what):
                service = Model.deploy(
                    self._ws.workspace,
                    self.name,
                    [release.model],
                    release.inference,
                    AksEndpoint.deploy_configuration(
                        **_resources(release.deployment),
                        auth_enabled=True,
                        enable_app_insights=release.deployment.application_insights,
                        tags=dict(release.tags),
                        version_name=version_name(release.version),
                        traffic_percentile=100,
                        compute_target_name=cluster.name,
                    ),
                    cluster,
                )
            services.wait(service, what, log)
        except BaseException:
            # Whatever went wrong, and however far it came: nothing is left that takes room and serves nobody.
            with suppress(PlatformError):
                if (left := self.find()) is not None:
                    services.delete(left)
            raise

    def _start(self, service: Any, release: Release, what: str, log: Log) -> bool:
        """Make a release answer beside the others, without traffic if it is new; say whether anything was done."""
        name = version_name(release.version)
        deployed = service.versions.get(name)
        if deployed is not None and deployed.state == "Healthy":
            if release.is_served_by(deployed.tags):
                return False
            log(f"{what}: {name} of endpoint {self.name} is updated in place")
            with services.asked(what):
                service.update_version(
                    name,
                    models=[release.model],
                    inference_config=release.inference,
                    tags=dict(release.tags),
                    **_resources(release.deployment),
                )
            services.wait(service, what, log)
            return True
        if deployed is not None:
            self._delete_version(service, name, log)
        log(f"{what}: {name} of endpoint {self.name}, without traffic")
        try:
            with services.asked(what):
                service.create_version(
                    name,
                    models=[release.model],
                    inference_config=release.inference,
                    tags=dict(release.tags),
                    traffic_percentile=0,
                    **_resources(release.deployment),
                )
            services.wait(service, what, log)
        except BaseException:
            with suppress(PlatformError):
                left = self.find()
                if left is not None and name in left.versions:
                    self._delete_version(left, name, log)
            raise
        return True

    def _shift(self, service: Any, traffic: Mapping[int, int], log: Log) -> None:
        """Move traffic. What no version takes goes to the default one, so that every moment has all of it."""
        wanted = {name: 0 for name in service.versions}
        wanted |= {version_name(version): share for version, share in traffic.items()}
        has = {name: _percent(deployed) for name, deployed in service.versions.items()}
        largest = max(wanted, key=lambda name: wanted[name])
        shrinking = [name for name in wanted if wanted[name] < has[name]]
        growing = [name for name in wanted if wanted[name] > has[name]]
        if not service.versions[largest].is_default and largest not in growing:
            growing.append(largest)
        for name in (*shrinking, *growing):
            what = f"{name} of endpoint {self.name} gets {wanted[name]}% of the traffic"
            log(what)
            with services.asked(what):
                service.update_version(
                    name,
                    traffic_percentile=wanted[name],
                    # None leaves it as it is: there is always one default version.
                    is_default=True if name == largest else None,
                )
            services.wait(service, what, log)

    def _delete_version(self, service: Any, name: str, log: Log) -> None:
        what = f"deleting {name} of endpoint {self.name}"
        log(what)
        with services.asked(what):
            service.delete_version(name)
        services.wait(service, what, log)


def _resources(deployment: Deployment) -> dict[str, Any]:
    scale = deployment.autoscale
    chosen: dict[str, Any] = {
        "cpu_cores": deployment.cpu,
        "memory_gb": deployment.memory_gb,
        "collect_model_data": deployment.collect_model_data,
        "autoscale_enabled": scale is not None,
    }
    if scale is not None:
        chosen |= {
            "autoscale_min_replicas": scale.min_replicas,
            "autoscale_max_replicas": scale.max_replicas,
            "autoscale_target_utilization": scale.target_utilization,
        }
    return chosen


def _shares(service: Any) -> dict[int, int]:
    versions = service.versions
    named = {
        _model_version(name, deployed): _percent(deployed) for name, deployed in versions.items()
    }
    for name, deployed in versions.items():
        if deployed.is_default:
            named[_model_version(name, deployed)] += 100 - sum(named.values())
    return named


def _percent(deployed: Any) -> int:
    return int(deployed.traffic_percentile or 0)


def _model_version(name: str, deployed: Any) -> int:
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else services.model_version(deployed)
