"""Everything that serves: the containers of all web services, and the operations that change them."""

from __future__ import annotations

import asyncio
import logging
import shutil
import uuid
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.routing import Refused
from tests.azureml_emulator.serving import documents, inference
from tests.azureml_emulator.serving.inference import Container, ContainerFailed, Image
from tests.azureml_emulator.services import artifacts, models

_LOG = logging.getLogger("azureml_emulator")
OPERATIONS = "service_operations"
SERVICES = "services"


class DeploymentFailed(Exception):
    """A deployment did not come to answer.

    Args:
        step: the part of the operation that failed, as Azure names it.
        code: Azure's error code.
        message: for a person.
        details: further ``code`` and ``message``.
    """

    def __init__(
        self, step: str, code: str, message: str, details: list[dict[str, str]] | None = None
    ) -> None:
        super().__init__(message)
        self.step = step
        self.error = {"code": code, "statusCode": 400, "message": message, "details": details or []}


class Hosting:
    """The containers of one emulator."""

    def __init__(self) -> None:
        self._context: Context | None = None
        self._containers: dict[str, Container] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, context: Context) -> None:
        """Say whose containers these are, before the emulator is started."""
        self._context = context

    @property
    def context(self) -> Context:
        """The emulator's."""
        assert self._context is not None, "attach() comes first"
        return self._context

    async def begin(self) -> None:
        """Start what served before the emulator was stopped; operations of that time have failed."""
        for name in self.context.store.table("", "workspaces"):
            workspace = self.context.workspace(name)
            assert workspace is not None
            for service in workspace.table(SERVICES).values():
                if operation := service.get("operation"):
                    failure = DeploymentFailed("DeployService", "Interrupted", "The service ended.")
                    self._failed(workspace, service["name"], operation, failure, {})
                for _, deployment in documents.deployments(service):
                    if container := deployment["container"]:
                        self._spawn(self._resume(workspace, container))

    async def end(self) -> None:
        """Stop all containers and operations."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(container.stop() for container in self._containers.values()))
        self._containers.clear()

    def ready(self, container: str | None) -> Container | None:
        """A container that answers; None where it does not."""
        found = self._containers.get(container or "")
        return found if found and found.port else None

    def describe(self, service: Mapping[str, Any]) -> dict[str, Any]:
        """A service as the SDK reads it, in the state in which it is now."""
        shown = documents.public(service)
        states = {name: self._state(item) for name, item in documents.deployments(service)}
        if "versions" in service:
            shown["versions"] = {
                name: {**documents.public(version), "state": states[name]}
                for name, version in service["versions"].items()
            }
        serving = {
            states[name] for name, item in documents.deployments(service) if item["container"]
        }
        if service.get("operation"):
            state = "Transitioning"
        elif serving:
            state = "Healthy" if serving == {"Healthy"} else "Unhealthy"
        else:
            state = service["state"]
        return {**shown, "state": state}

    def _state(self, deployment: Mapping[str, Any]) -> str:
        if not deployment["container"]:
            return str(deployment["state"])
        return "Healthy" if self.ready(deployment["container"]) else "Unhealthy"

    def logs(self, workspace: Workspace, service: Mapping[str, Any], lines: int) -> str:
        """What a service's containers printed; of one that failed last."""
        parts = []
        for version, deployment in documents.deployments(service):
            for container in (deployment["container"], deployment["failed"]):
                if container:
                    text = inference.log(_folder(workspace, container), lines)
                    parts.append(f"==> {version} <==\n{text}" if version else text)
        return "\n".join(parts)

    def change(
        self, workspace: Workspace, before: dict[str, Any] | None, after: dict[str, Any]
    ) -> str:
        """Bring a service into a new form: start what is new, and then switch to it.

        Args:
            workspace: that holds it.
            before: the service as it is; None for a new one.
            after: as it is to be.

        Returns:
            The operation's id.

        Raises:
            Refused: another operation on it has not ended.
        """
        if before is not None and before.get("operation"):
            message = f"Service {before['name']} has an operation in progress: wait for it to end."
            raise Refused(409, "Conflict", message)
        operation = uuid.uuid4().hex
        workspace.table(OPERATIONS)[operation] = {
            "id": operation,
            "operationType": "Service",
            "state": "Running",
            "createdTime": self.context.clock.text(),
            "endTime": None,
            "resourceLocation": f"/services/{after['name']}",
            "operationLog": None,
            "operationDetails": {"subOperationType": "DeployService"},
            "error": None,
        }
        shown = dict(before) if before is not None else after
        if "versions" in after:
            # A version that is to come is seen at once, and gets nothing yet.
            idle = {
                name: {**version, "trafficPercentile": 0, "isDefault": False}
                for name, version in after["versions"].items()
            }
            shown = {**shown, "versions": {**idle, **(before or {}).get("versions", {})}}
        workspace.table(SERVICES)[after["name"]] = {**shown, "operation": operation}
        self._spawn(self._operate(workspace, before, after, operation))
        return operation

    def remove(self, workspace: Workspace, service: Mapping[str, Any]) -> None:
        """Forget a service and stop its containers."""
        del workspace.table(SERVICES)[service["name"]]
        workspace.table("service_keys").pop(service["name"], None)
        for _, deployment in documents.deployments(service):
            self._discard(workspace, deployment)

    async def _operate(
        self,
        workspace: Workspace,
        before: dict[str, Any] | None,
        after: dict[str, Any],
        operation: str,
    ) -> None:
        old = dict(documents.deployments(before)) if before is not None else {}
        failed: dict[str, str] = {}
        try:
            for version, deployment in documents.deployments(after):
                request = deployment["environmentImageRequest"]
                known = old.get(version)
                if known and known["container"] and known["environmentImageRequest"] == request:
                    continue
                container = uuid.uuid4().hex[:12]
                failed = {version: container}
                await self._start(workspace, container, request)
                failed = {}
                fresh = {"container": container, "failed": None, "state": "Healthy", "error": None}
                documents.put_deployment(after, version, {**deployment, **fresh})
        except DeploymentFailed as failure:
            self._failed(workspace, after["name"], operation, failure, failed)
            return
        except Exception:
            _LOG.exception("deploying %s", after["name"])
            bug = DeploymentFailed("DeployService", "InternalError", "The emulator failed.")
            self._failed(workspace, after["name"], operation, bug, failed)
            return
        services = workspace.table(SERVICES)
        new = dict(documents.deployments(after))
        if services.get(after["name"], {}).get("operation") != operation:
            # It was deleted meanwhile.
            for deployment in new.values():
                self._discard(workspace, deployment)
            return
        services[after["name"]] = {**after, "state": "Healthy", "error": None, "operation": None}
        self._end(workspace, operation, "Succeeded", None)
        for version, deployment in old.items():
            kept = new.get(version)
            if kept is None or kept["container"] != deployment["container"]:
                self._discard(workspace, deployment)

    async def _start(self, workspace: Workspace, name: str, request: Mapping[str, Any]) -> None:
        if fault := self.context.faults.take("image-build"):
            details = [{"code": "ImageBuildFailed", "message": fault.message}]
            text = "Failed building the Environment."
            raise DeploymentFailed("BuildEnvironment", "EnvironmentBuildFailed", text, details)
        folder = _folder(workspace, name)
        container = Container(folder)
        try:
            await asyncio.to_thread(inference.build, folder, await _image(workspace, request))
            await container.start()
        except ContainerFailed as error:
            details = [
                {
                    "code": "CrashLoopBackOff",
                    "message": "Your container application crashed. This may be caused by errors in your scoring "
                    f"file's init() function. {error}",
                }
            ]
            text = f"Deployment failed with exception: {error}, please run print(service.get_logs()) to get details."
            raise DeploymentFailed("DeployService", "DeploymentFailed", text, details) from None
        self._containers[name] = container

    async def _resume(self, workspace: Workspace, name: str) -> None:
        container = Container(_folder(workspace, name))
        try:
            await container.start()
        except ContainerFailed as error:
            _LOG.warning("a container of %s does not start again: %s", workspace.name, error)
        else:
            self._containers[name] = container

    def _failed(
        self,
        workspace: Workspace,
        name: str,
        operation: str,
        failure: DeploymentFailed,
        failed: Mapping[str, str],
    ) -> None:
        self._end(workspace, operation, "Failed", failure)
        services = workspace.table(SERVICES)
        service = services.get(name)
        if service is None:
            return
        for version, deployment in documents.deployments(service):
            if container := failed.get(version):
                deployment["failed"] = container
            if not deployment["container"]:
                deployment |= {"state": "Failed", "error": failure.error}
            documents.put_deployment(service, version, deployment)
        services[name] = {**service, "state": "Failed", "error": failure.error, "operation": None}

    def _end(
        self, workspace: Workspace, operation: str, state: str, failure: DeploymentFailed | None
    ) -> None:
        table = workspace.table(OPERATIONS)
        document = {**table[operation], "state": state, "endTime": self.context.clock.text()}
        if failure is not None:
            document["error"] = failure.error
            document["operationDetails"] = {"subOperationType": failure.step}
        table[operation] = document

    def _discard(self, workspace: Workspace, deployment: Mapping[str, Any]) -> None:
        for name in (deployment["container"], deployment["failed"]):
            if name:
                self._spawn(self._take_down(workspace, name))

    async def _take_down(self, workspace: Workspace, name: str) -> None:
        if container := self._containers.pop(name, None):
            await container.drain()
            await container.stop()
        await asyncio.to_thread(shutil.rmtree, _folder(workspace, name), ignore_errors=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _folder(workspace: Workspace, container: str) -> Path:
    return workspace.folder / "containers" / container


async def _image(workspace: Workspace, request: Mapping[str, Any]) -> Image:
    variables = dict((request.get("environment") or {}).get("environmentVariables") or {})
    variables.setdefault("AZUREML_ENTRY_SCRIPT", request["driverProgram"])
    assets = {}
    for asset in request["assets"]:
        found = artifacts.files(workspace, str(asset["url"]).removeprefix(models.ARTIFACT))
        file = next(iter(found.values()), Path(asset["id"]))
        assets[asset["id"] + ("/" if asset.get("unpack") else "")] = file
    place = {}
    ids = request.get("modelIds") or []
    for model_id in ids:
        model = await models.find(workspace, model_id)
        for path, file in models.files(workspace, model).items():
            place[f"{model['name']}/{model['version']}/{path}"] = file
    return Image(assets, place, ids[0].replace(":", "/") if len(ids) == 1 else "", variables)
