"""An environment on AKS: one endpoint with a version for each model version, and traffic in percent between them.

Each operation is one change of one version: ``operations`` makes one after the other, until what is wanted is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ml_service.platforms.azureml import services
from ml_service.platforms.azureml.compute import aks_compute
from ml_service.platforms.azureml.deployment import Deployment, Release
from ml_service.platforms.azureml.operations import Following, Operation, carry_out
from ml_service.platforms.azureml.target import MakeRelease, Target
from ml_service.platforms.azureml.traffic import Share, effective, next_move
from ml_service.platforms.base import Endpoint, Health, Log, PlatformError, Routing

_NAME = re.compile(r"version-([0-9]+)")


def version_name(version: int) -> str:
    """The endpoint version that serves a model version. Azure wants at least three characters."""
    return f"version-{version}"


class Kubernetes(Target):
    """The endpoint of one environment."""

    kind = "AKSENDPOINT"
    place = "Azure Kubernetes Service"

    def find(self) -> Any:
        """The SDK's ``AksEndpoint``; None where nothing is deployed."""
        from azureml.core.webservice import AksEndpoint

        if not hasattr(AksEndpoint, "container_resource_requirements"):
            # The SDK reads it before it sets a version's cores, and gives it to other services alone.
            AksEndpoint.container_resource_requirements = None
        return super().find()

    def describe(self, service: Any) -> Endpoint:
        """The endpoint as it is now."""
        models: dict[int, str] = {}
        reasons = []
        for name, deployed in service.versions.items():
            version = _model_version(name, deployed)
            models[version] = services.health(deployed.state)
            if reason := services.why(deployed):
                reasons.append(f"version {version}: {reason}")
        shares = self.traffic(service)
        answering = {models[version] for version, share in shares.items() if share}
        # Not the endpoint's own state: it changes while a version without traffic comes or goes.
        state: Health = services.health(service.state) if not answering else "healthy"
        if "unhealthy" in answering:
            state = "unhealthy"
        elif "starting" in answering:
            state = "starting"
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
        """Serve a release with all traffic: it answers before traffic moves to it, and then the others go."""
        what = f"deploying version {release.version} to {self._environment}"
        service = services.settled(self.find, what, log)
        if service is not None and not any(
            version.state == "Healthy" for version in service.versions.values()
        ):
            log(f"{what}: removing endpoint {self.name}, none of whose versions is healthy")
            services.delete(service)
            service = None
        if service is None:
            self._create(lambda: self._begin_endpoint(release), what, log)
            return
        name = version_name(release.version)
        others = [other for other in service.versions if other != name]
        if not self._start(release, what, log) and not others:
            log(f"version {release.version} serves {self._environment} already, and is healthy")
        carry_out(self, self._next_share({release.version: 100}), log)
        for other in others:
            carry_out(self, self._next_deletion(other), log)

    def start_version(self, version: int, make: MakeRelease) -> None:
        """Begin to create a version; Azure goes on with it."""
        deployed = self.existing().versions.get(version_name(version))
        if deployed is None or deployed.state != "Transitioning":
            with make(version) as release:
                what = f"starting version {version} of {self._environment}"
                carry_out(self, self._next_of_start(release, what, wait=False), _silent)

    def stop_version(self, version: int) -> None:
        """Delete a version that has no traffic."""
        service = self.find()
        name = version_name(version)
        if service is None or name not in service.versions:
            return
        shares = self.traffic(service)
        if shares[version]:
            raise PlatformError(
                f"version {version} answers {shares[version]}% of the requests of {self._environment}: give them to "
                "another version first"
            )
        if service.versions[name].is_default:
            carry_out(self, self._next_share(shares), _silent)
        carry_out(self, self._next_deletion(name), _silent)

    def traffic(self, service: Any) -> Mapping[int, int]:
        """Version to percent of requests, 0 for those that answer none."""
        answers = effective(_shares(service))
        return {
            _model_version(name, deployed): answers[name]
            for name, deployed in service.versions.items()
        }

    def health(self, service: Any, version: int) -> tuple[Health, str | None]:
        """How a version is: what the probes of its containers say, as Azure passes it on."""
        deployed = service.versions.get(version_name(version))
        if deployed is None:
            if service.state == "Transitioning":
                return "starting", "Azure does not show it yet"
            return "unhealthy", f"version {version} is not served in {self._environment}"
        said = services.why(deployed)
        if deployed.state == "Failed" and not services.explained(deployed.error):
            said = f"{said}: {services.explained(service.error) or 'Azure gives no reason'}"
        return services.health(deployed.state), said

    def set_routing(self, routing: Routing) -> None:
        """Move traffic between served versions, one change after the other."""
        self.check_routing(routing)
        service = self.existing()
        has = self.traffic(service)
        for version, share in routing.traffic.items():
            health, reason = self.health(service, version)
            # One that fails is never refused the way out, nor the share that it has.
            if share > has.get(version, 0) and health != "healthy":
                raise PlatformError(
                    f"version {version} of {self._environment} cannot answer {share}% of the requests: it is {health}: "
                    f"{reason}"
                )
        carry_out(self, self._next_share(routing.traffic), _silent)

    def _next_share(self, traffic: Mapping[int, int]) -> Following:
        wanted = {version_name(version): share for version, share in traffic.items() if share}

        def following(service: Any) -> Operation | None:
            if missing := wanted.keys() - service.versions.keys():
                raise PlatformError(f"endpoint {self.name} has no {min(missing)} any more")
            move = next_move(_shares(service), wanted)
            if move is None:
                return None
            # None leaves it as it is: there is always one default version.
            default = True if move.default else None
            return Operation(
                f"{move.name} of endpoint {self.name} gets {move.percent}% of the traffic",
                lambda: service.update_version(
                    move.name, traffic_percentile=move.percent, is_default=default
                ),
            )

        return following

    def _next_deletion(self, name: str) -> Following:
        def following(service: Any) -> Operation | None:
            if name not in service.versions:
                return None
            return Operation(
                f"deleting {name} of endpoint {self.name}", lambda: service.delete_version(name)
            )

        return following

    def _next_of_start(self, release: Release, what: str, wait: bool) -> Following:
        """Creating a version; one of another content is changed, or deleted first, like one that failed."""
        name = version_name(release.version)
        asked = False

        def begin(call: Callable[[], None]) -> None:
            nonlocal asked
            call()
            asked = True

        def following(service: Any) -> Operation | None:
            deployed = service.versions.get(name)
            given = _given(release)
            if deployed is None:
                return Operation(
                    what,
                    lambda: begin(
                        lambda: service.create_version(name, traffic_percentile=0, **given)
                    ),
                    wait,
                    f"{name} of endpoint {self.name}, without traffic",
                )
            if asked or (deployed.state == "Transitioning" and not wait):
                return None
            healthy = deployed.state == "Healthy"
            serves = self.traffic(service)[release.version] > 0
            if (healthy and release.is_served_by(deployed.tags)) or (serves and not wait):
                return None
            if wait and (healthy or serves):
                return Operation(
                    what,
                    lambda: begin(lambda: service.update_version(name, **given)),
                    detail=f"{name} of endpoint {self.name} is updated in place",
                )
            return Operation(
                f"deleting {name} of endpoint {self.name}, which is {deployed.state} or serves another content",
                lambda: service.delete_version(name),
            )

        return following

    def _start(self, release: Release, what: str, log: Log) -> bool:
        """Make a release answer beside the others, without traffic if it is new; say whether anything was done."""
        name = version_name(release.version)
        before = self.existing().versions.get(name)
        kept = before is not None and before.state == "Healthy"
        if kept and release.is_served_by(before.tags):
            return False
        try:
            carry_out(self, self._next_of_start(release, what, wait=True), log)
        except BaseException:
            with suppress(PlatformError):
                if not kept:
                    carry_out(self, self._next_deletion(name), log)
            raise
        return True

    def _begin_endpoint(self, release: Release) -> Any:
        from azureml.core.model import Model
        from azureml.core.webservice import AksEndpoint

        cluster = aks_compute(self._ws)
        return Model.deploy(
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


def _given(release: Release) -> dict[str, Any]:
    return {
        "models": [release.model],
        "inference_config": release.inference,
        "tags": dict(release.tags),
        **_resources(release.deployment),
    }


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


def _shares(service: Any) -> dict[str, Share]:
    return {
        name: Share(int(deployed.traffic_percentile or 0), bool(deployed.is_default))
        for name, deployed in service.versions.items()
    }


def _model_version(name: str, deployed: Any) -> int:
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else services.model_version(deployed)


def _silent(line: str) -> None:
    del line
