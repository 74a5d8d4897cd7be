"""Web services: made, changed, listed and deleted; their keys, logs and operations."""

from __future__ import annotations

import secrets
from typing import Any

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.routing import Answer, Call, Refused, Routes
from tests.azureml_emulator.services.models import BASE
from tests.azureml_emulator.serving import documents
from tests.azureml_emulator.serving.hosting import OPERATIONS, SERVICES, Hosting

KEYS = "service_keys"
_SERVICES = BASE + "/services"
_SERVICE = _SERVICES + "/{service}"


def routes(hosting: Hosting) -> Routes:
    """The routes, which start and stop containers where this says."""
    made = Routes()
    _add_services(made, hosting)
    _add_keys(made)
    return made


def _add_services(made: Routes, hosting: Hosting) -> None:
    @made.add("POST", _SERVICES + "/validate", _SERVICES + "/validate/resource")
    async def validate(call: Call) -> dict[str, Any]:
        """Say what is wrong with a request before it is made: nothing that creating does not say as well."""
        del call
        return {}

    @made.add("POST", _SERVICES + "/validate/name/{service}")
    async def validate_name(call: Call) -> dict[str, Any]:
        """Say whether a name is free."""
        name = call.match["service"]
        taken = name in call.workspace.table(SERVICES)
        return {"error": {"message": f"Service {name} already exists."}} if taken else {}

    @made.add("POST", _SERVICES)
    async def create(call: Call) -> Answer:
        """Deploy a service, over an old one where the request says so."""
        content = call.json
        name = content["name"]
        before = call.workspace.table(SERVICES).get(name)
        if before is not None and not content.get("overwrite"):
            raise Refused(409, "WebserviceAlreadyExists", f"Service {name} already exists.")
        after = await documents.create(call.context, call.workspace, content)
        keys = {key: value for key, value in (content.get("keys") or {}).items() if value}
        call.workspace.table(KEYS).setdefault(
            name,
            {"primaryKey": _new_key(), "secondaryKey": _new_key(), **keys},
        )
        return _accepted(call, hosting.change(call.workspace, before, after))

    @made.add("GET", _SERVICES)
    async def list_services(call: Call) -> dict[str, Any]:
        """All services, or those of one compute type."""
        kind = call.query.get("computeType")
        found = [
            hosting.describe(service)
            for service in call.workspace.table(SERVICES).values()
            if kind in (None, service["computeType"])
        ]
        return {"value": found}

    @made.add("GET", _SERVICE)
    async def get(call: Call) -> dict[str, Any]:
        """One service."""
        service = find(call.workspace, call.match["service"])
        return hosting.describe(service)

    @made.add("PATCH", _SERVICE)
    async def update(call: Call) -> Answer:
        """Change a service in place: what serves goes on until what is new answers."""
        before = find(call.workspace, call.match["service"])
        after = await documents.patched(call.context, call.workspace, before, call.json)
        return _accepted(call, hosting.change(call.workspace, before, after))

    @made.add("DELETE", _SERVICE)
    async def delete(call: Call) -> Answer:
        """Delete a service; nothing happens where there is none."""
        service = call.workspace.table(SERVICES).get(call.match["service"])
        if service is None:
            return Answer(204)
        hosting.remove(call.workspace, service)
        return Answer(200)

    @made.add("GET", _SERVICE + "/logs")
    async def logs(call: Call) -> dict[str, str]:
        """What a service's containers printed."""
        service = find(call.workspace, call.match["service"])
        lines = int(call.query.get("tail", "5000"))
        return {"content": hosting.logs(call.workspace, service, lines)}

    @made.add("GET", BASE + "/operations/{operation}")
    async def operation(call: Call) -> dict[str, Any]:
        """How far an operation is."""
        found: dict[str, Any] | None = call.workspace.table(OPERATIONS).get(call.match["operation"])
        if found is None:
            message = f"There is no operation {call.match['operation']}."
            raise Refused(404, "OperationNotFound", message)
        return found


def _add_keys(made: Routes) -> None:
    @made.add("POST", _SERVICE + "/listkeys")
    async def keys(call: Call) -> dict[str, str]:
        """A service's keys."""
        find(call.workspace, call.match["service"])
        found: dict[str, str] = call.workspace.table(KEYS)[call.match["service"]]
        return found

    @made.add("POST", _SERVICE + "/regenerateKeys")
    async def regenerate(call: Call) -> Answer:
        """Make one of the keys anew, or set it."""
        service = find(call.workspace, call.match["service"])
        content = call.json
        if content.get("keyType") not in ("Primary", "Secondary"):
            raise Refused(400, "BadRequest", "keyType is Primary or Secondary.")
        table = call.workspace.table(KEYS)
        name = f"{content['keyType'].lower()}Key"
        table[service["name"]] = {
            **table[service["name"]],
            name: content.get("keyValue") or _new_key(),
        }
        identity = f"keys-{service['name']}"
        call.workspace.table(OPERATIONS)[identity] = {
            "id": identity,
            "operationType": "Service",
            "state": "Succeeded",
            "createdTime": call.context.clock.text(),
            "endTime": call.context.clock.text(),
            "error": None,
        }
        return _accepted(call, identity)


def find(workspace: Workspace, name: str) -> dict[str, Any]:
    """A service.

    Raises:
        Refused: there is none.
    """
    found: dict[str, Any] | None = workspace.table(SERVICES).get(name)
    if found is None:
        raise Refused(404, "WebserviceNotFound", f"Service {name} was not found.")
    return found


def _accepted(call: Call, operation: str) -> Answer:
    base = f"{call.context.base_url}/modelmanagement/v1.0{call.workspace.path}"
    return Answer(202, {}, {"Operation-Location": f"{base}/operations/{operation}"})


def _new_key() -> str:
    return secrets.token_urlsafe(24)
