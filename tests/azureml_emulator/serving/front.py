"""What clients of deployed services meet: checks the key, chooses a version, and passes the request on."""

from __future__ import annotations

import hmac
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.serving import documents
from tests.azureml_emulator.serving.hosting import SERVICES, Hosting
from tests.azureml_emulator.serving.inference import HOST

_LARGEST = 100 * 2**20
_SECONDS = 90
_NOT_PASSED_ON = frozenset(
    "authorization connection content-length date host keep-alive server transfer-encoding".split()
)


def application(hosting: Hosting) -> web.Application:
    """The application that answers on the listener of deployed services."""
    front = _Front(hosting)
    made = web.Application(client_max_size=_LARGEST)
    made.cleanup_ctx.append(front.run)
    base = "/{workspace}/api/v1/service/{service}"
    for path in (base, base + "/versions/{version}"):
        made.router.add_route("*", path + "/{rest:.*}", front.answer)
    return made


class _Front:
    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._session: aiohttp.ClientSession | None = None

    async def run(self, _: web.Application) -> AsyncIterator[None]:
        """Serve from the emulator's start to its end."""
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            self._session = session
            await self._hosting.begin()
            yield
            await self._hosting.end()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        match = request.match_info
        workspace = self._hosting.context.workspace(match["workspace"])
        service = workspace.table(SERVICES).get(match["service"]) if workspace else None
        if workspace is None or service is None:
            return _problem(404, "there is no such service")
        if service["authEnabled"] and not _has_key(workspace, service["name"], request):
            return _problem(401, "the key is missing or wrong")
        container = self._hosting.ready(_choose(service, match.get("version")))
        if container is None:
            return _problem(503, "no container of this service is ready")
        with container.used():
            return await self._pass_on(request, f"http://{HOST}:{container.port}/{match['rest']}")

    async def _pass_on(self, request: web.Request, url: str) -> web.Response:
        assert self._session is not None
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _problem(413, f"the body is above {_LARGEST} bytes")
        try:
            async with self._session.request(
                request.method,
                url,
                params=request.query,
                data=body,
                headers=_passed_on(request.headers),
                allow_redirects=False,
            ) as response:
                content = await response.read()
                headers = _passed_on(response.headers)
                return web.Response(status=response.status, body=content, headers=headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return _problem(502, f"the container did not answer: {type(error).__name__}")


def _choose(service: Mapping[str, Any], version: str | None) -> str | None:
    """The container that answers: of a version that is asked for, or by the share of each."""
    if service["computeType"] != documents.ENDPOINT:
        found: str | None = service["container"] if version is None else None
        return found
    versions = service["versions"]
    if version is None:
        shares = documents.traffic(service)
        if not any(shares.values()):
            return None
        [version] = random.choices([*shares], weights=[*shares.values()])
    chosen: str | None = versions.get(version, {}).get("container")
    return chosen


def _has_key(workspace: Workspace, name: str, request: web.Request) -> bool:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    keys = workspace.table("service_keys").get(name, {}).values()
    fits = [hmac.compare_digest(given.encode(), key.encode()) for key in keys]
    return kind.lower() == "bearer" and any(fits)


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _NOT_PASSED_ON}


def _problem(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)
