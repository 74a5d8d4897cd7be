"""The emulator's listeners, and how a call finds its handler."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import jwt
from aiohttp import web

from tests.azureml_emulator import tls
from tests.azureml_emulator.context import DOMAIN, GROUP, SUBSCRIPTION, Context, Workspace
from tests.azureml_emulator.proxy import Proxy
from tests.azureml_emulator.routing import Answer, Call, Refused, Route, Routes
from tests.azureml_emulator.state import Store

_LOG = logging.getLogger("azureml_emulator")
_UNLIMITED = 1 << 40


class Emulator:
    """Azure Machine Learning on loopback: HTTPS for the SDK, a proxy that gives storage its names, HTTP for services.

    Args:
        folder: where it keeps everything; what is there already goes on.
        port: of the HTTPS listener; the proxy has the next one, deployed services the one after it.
        services: their routes.
        serving: answers on the HTTP listener.
    """

    def __init__(
        self, folder: Path, port: int, services: list[Routes], serving: web.Application
    ) -> None:
        self.folder = folder.absolute()
        self.port = port
        self.context = Context(
            folder=self.folder,
            base_url=f"https://localhost:{port}",
            serving_url=f"http://127.0.0.1:{port + 2}",
            store=Store(self.folder / "state.db"),
        )
        self.proxy = Proxy(DOMAIN, port, self.context.refused)
        self._routes = [route for service in services for route in service.routes]
        self._serving = serving
        self._runners: list[web.AppRunner] = []
        tls.make_certificates(self.folder / "tls", [DOMAIN, f"*.blob.{DOMAIN}"])
        self.context.environment = self._environment()

    def _environment(self) -> dict[str, str]:
        bundle = str(self.folder / "tls" / "bundle.pem")
        return {
            "ARM_CLOUD_METADATA_URL": f"{self.context.base_url}/clouds.json",
            "AZUREML_CURRENT_CLOUD": "AzureCloud",
            "REQUESTS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            "HTTPS_PROXY": f"http://127.0.0.1:{self.port + 1}",
            "NO_PROXY": "localhost,127.0.0.1",
            "AZURE_CONFIG_DIR": str(self.folder / "azure"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    async def start(self) -> None:
        """Listen."""
        application = web.Application(client_max_size=_UNLIMITED)
        application.router.add_route("*", "/{path:.*}", self._answer)
        await self._listen(application, self.port, tls.server_context(self.folder / "tls"))
        await self._listen(self._serving, self.port + 2, None)
        await self.proxy.start(self.port + 1)

    async def stop(self) -> None:
        """Stop listening, and end what was started."""
        await self.proxy.stop()
        for runner in self._runners:
            await runner.cleanup()
        self.context.store.close()

    async def _listen(self, application: web.Application, port: int, context: Any) -> None:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        self._runners.append(runner)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = re.sub("^//+", "/", unquote(request.rel_url.raw_path))
        host = request.host.partition(":")[0]
        if host.endswith(f".blob.{DOMAIN}"):
            # Every storage account is a host of its own: /blob/ACCOUNT/CONTAINER/NAME.
            path = f"/blob/{host.split('.')[0]}{path}"
        route, match = self._find(request.method, path)
        fault = self.context.faults.take_http(request.method, path)
        body = await request.read()
        if fault is not None:
            await asyncio.sleep(fault.delay)
        if fault is not None and fault.lost:
            await self._call(request, path, route, match, body)
        if fault is not None and (fault.cut or fault.lost):
            self._remember(request.method, path, route, 0)
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if fault is not None and fault.status:
            problem = {"error": {"code": "Fault", "message": fault.message}}
            answer = Answer(fault.status, problem, fault.headers)
        else:
            answer = await self._call(request, path, route, match, body)
        self._remember(request.method, path, route, answer.status)
        return _response(request, answer)

    def _find(self, method: str, path: str) -> tuple[Route | None, dict[str, str]]:
        for route in self._routes:
            if route.method == method and (match := route.pattern.fullmatch(path)):
                return route, {name: value or "" for name, value in match.groupdict().items()}
        return None, {}

    async def _call(
        self,
        request: web.Request,
        path: str,
        route: Route | None,
        match: dict[str, str],
        body: bytes,
    ) -> Answer:
        if route is None:
            message = f"the emulator does not know {request.method} {path}"
            return Answer(501, {"error": {"code": "NotImplemented", "message": message}})
        try:
            workspace = self._workspace(match)
            headers = {name.lower(): value for name, value in request.headers.items()}
            if not route.anonymous:
                self._authorize(headers)
            call = Call(
                context=self.context,
                method=request.method,
                path=path,
                query=dict(parse_qsl(request.query_string, keep_blank_values=True)),
                raw_query=request.query_string,
                headers=headers,
                body=body,
                match=match,
                _workspace=workspace,
            )
            result = await route.handler(call)
        except Refused as refused:
            return refused.answer
        except Exception as problem:
            _LOG.exception("%s %s", request.method, path)
            message = f"the emulator failed: {type(problem).__name__}: {problem}"
            return Answer(400, {"error": {"code": "EmulatorFailure", "message": message}})
        return result if isinstance(result, Answer) else Answer(body=result)

    def _workspace(self, match: dict[str, str]) -> Workspace | None:
        name = match.get("workspace")
        if name is None:
            return None
        workspace = self.context.workspace(name)
        if match["subscription"] != SUBSCRIPTION:
            message = f"The subscription '{match['subscription']}' could not be found."
            raise Refused(404, "SubscriptionNotFound", message)
        if match["group"].lower() != GROUP:
            message = f"Resource group '{match['group']}' could not be found."
            raise Refused(404, "ResourceGroupNotFound", message)
        if workspace is None:
            resource = f"Microsoft.MachineLearningServices/workspaces/{name}"
            message = (
                f"The Resource '{resource}' under resource group '{match['group']}' was not found."
            )
            raise Refused(404, "ResourceNotFound", message)
        return workspace

    def _authorize(self, headers: dict[str, str]) -> None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        try:
            claims = jwt.decode(
                token,
                self.context.secrets["token_key"],
                algorithms=["HS256"],
                options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
            )
        except jwt.PyJWTError:
            claims = {}
        if kind.lower() != "bearer" or not hmac.compare_digest(
            str(claims.get("iss", "")), self.context.base_url
        ):
            raise Refused(401, "InvalidAuthenticationToken", "The access token is invalid.")
        if claims["exp"] < self.context.clock.seconds():
            raise Refused(
                401, "ExpiredAuthenticationToken", "The access token expiry is in the past."
            )

    def _remember(self, method: str, path: str, route: Route | None, status: int) -> None:
        pattern = route.text if route else None
        self.context.calls.append(
            {"method": method, "path": path, "route": pattern, "status": status}
        )


def _response(request: web.Request, answer: Answer) -> web.Response:
    body = answer.body
    headers = dict(answer.headers)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    if request.method == "HEAD" and answer.content_length is not None:
        headers["Content-Length"] = str(answer.content_length)
        return web.Response(status=answer.status, headers=headers)
    return web.Response(status=answer.status, body=body, headers=headers)


def sign(context: Context, claims: dict[str, Any], seconds: float) -> str:
    """A token that the emulator accepts for this long, in seconds."""
    payload = {
        "iss": context.base_url,
        "iat": int(context.clock.seconds()),
        "exp": int(context.clock.seconds() + seconds),
        **claims,
    }
    return jwt.encode(payload, context.secrets["token_key"], algorithm="HS256")
