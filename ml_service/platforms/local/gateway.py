"""What the router answers by itself: the key, paths and bodies, readiness; the rest it hands on (``forwarding``)."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import random
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from ml_service.platforms.local.exchange import BackendGone, exchange
from ml_service.platforms.local.forwarding import SERVED_BY, Forwarder, Refusal, ScoreRequest
from ml_service.platforms.local.recording import Recorder
from ml_service.platforms.local.routes import ROUTES_FILE, RoutesError, read_routes

REQUEST_ID = "x-ms-request-id"
ASK_VERSION = "x-model-version"
_RELOAD_SECONDS = 0.1
_PROBE_SECONDS = 2.0
_LONGEST_ID = 100
"""Characters. The inference server refuses a longer request id."""
_PASSED_ON = ("content-type", "traceparent", "tracestate")
_NOT_PASSED_BACK = frozenset(
    ("connection", "content-length", "date", "server", REQUEST_ID, "x-request-id")
)
_METHODS = {"/": "GET", "/ready": "GET", "/score": "POST"}

log = logging.getLogger("router")


class Gateway:
    """Answers requests by the routes that it read last.

    Args:
        folder: holds routes.json.
        key: bearer key that requests must carry.
        max_body_bytes: of a request.
        timeout_seconds: for a request's whole body.
        forwarder: hands requests on.
        recorder: counts what was refused.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        max_body_bytes: int,
        timeout_seconds: float,
        forwarder: Forwarder,
        recorder: Recorder,
    ) -> None:
        self._file = folder / ROUTES_FILE
        self._authorization = f"Bearer {key}".encode()
        self._max_body_bytes = max_body_bytes
        self._timeout_seconds = timeout_seconds
        self._forwarder = forwarder
        self._recorder = recorder
        self._routes_error: str | None = None
        self._stamp: tuple[int, int, int] | None = None

    async def watch(self) -> None:
        """Read routes.json again whenever it is another file than before, for ever."""
        while True:
            self.reload()
            await asyncio.sleep(_RELOAD_SECONDS)

    def reload(self) -> None:
        """Read routes.json if it changed. One that cannot be used leaves the routes as they are."""
        try:
            found = self._file.stat()
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        except OSError:
            stamp = None
        if stamp == self._stamp and stamp is not None:
            return
        try:
            self._forwarder.routes = read_routes(self._file)
        except RoutesError as error:
            if self._routes_error != str(error):
                revision = self._forwarder.routes.revision
                log.error("routes stay at revision %d: %s", revision, error)
            self._routes_error = str(error)
        else:
            log.info("routes are at revision %d", self._forwarder.routes.revision)
            self._routes_error = None
        self._stamp = stamp

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, with a request id whatever happens."""
        request_id = _request_id(request)
        try:
            response = await self._answer(request, request_id)
        except Refusal as refusal:
            content: dict[str, Any] = {"error": {"message": refusal.message}}
            response = _json(refusal.status, {**content, "request_id": request_id})
            response.headers.update(refusal.headers)
        except Exception:
            log.exception("request %s", request_id)
            message = "the router failed; its log has the reason"
            response = _json(500, {"error": {"message": message}, "request_id": request_id})
        response.headers[REQUEST_ID] = request_id
        return response

    async def _answer(self, request: web.BaseRequest, request_id: str) -> web.Response:
        path = request.path
        method = _METHODS.get(path)
        if method is None:
            raise Refusal(404, f"there is no {path[:100]}: POST /score")
        if request.method != method:
            raise Refusal(
                405,
                f"method {request.method} is not allowed on {path}: use {method}",
                {"Allow": method},
            )
        if path == "/":
            return _json(200, {"status": "alive"})
        self._authorize(request)
        if path == "/ready":
            return await self._ready()
        return await self._score(request, request_id)

    def _authorize(self, request: web.BaseRequest) -> None:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._authorization):
            raise Refusal(
                401,
                "the key is missing or wrong: send the header Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )

    async def _score(self, request: web.BaseRequest, request_id: str) -> web.Response:
        body = await self._body(request)
        headers = [
            (name, value) for name in _PASSED_ON if (value := request.headers.get(name)) is not None
        ]
        # The server logs a warning for every request that names its id x-ms-request-id.
        headers += [("x-ms-client-request-id", request_id), ("x-request-id", request_id)]
        sticky_header = self._forwarder.routes.sticky_header
        sticky = request.headers.get(sticky_header) if sticky_header else None
        asked = request.headers.get(ASK_VERSION)
        forwarded = ScoreRequest(headers, body, asked, sticky)
        version, answer = await self._forwarder.forward(forwarded)
        response = web.Response(status=answer.status, body=answer.body)
        for name, value in answer.headers:
            if name not in _NOT_PASSED_BACK:
                response.headers[name] = value
        response.headers[SERVED_BY] = str(version)
        return response

    async def _body(self, request: web.BaseRequest) -> bytes:
        limit = self._max_body_bytes
        message = f"the body is above the limit of {limit} bytes"
        if (request.content_length or 0) > limit:
            raise Refusal(413, message)
        pieces = []
        size = 0
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while piece := await request.content.readany():
                    size += len(piece)
                    if size > limit:
                        raise Refusal(413, message)
                    pieces.append(piece)
        except TimeoutError:
            raise Refusal(408, "the body did not arrive in time", {"Connection": "close"}) from None
        except (web.RequestPayloadError, ConnectionError) as error:
            raise Refusal(400, f"the body cannot be read: {error}") from None
        return b"".join(pieces)

    async def _ready(self) -> web.Response:
        forwarder = self._forwarder
        routes = forwarder.routes
        states = await asyncio.gather(
            *(_probe(backend.port) for backend in routes.backends.values())
        )
        backends = {
            str(version): {"weight": backend.weight, "mirror": backend.mirror, "state": state}
            for (version, backend), state in zip(routes.backends.items(), states, strict=True)
        }
        # A version without traffic may start or fail beside the others.
        needed = [entry["state"] for entry in backends.values() if entry["weight"]]
        ready = bool(needed) and all(state == "healthy" for state in needed)
        content = {
            "ready": ready,
            "revision": routes.revision,
            "routes_error": self._routes_error,
            "backends": backends,
            "in_flight": _by_version(forwarder.in_flight()),
            "answered_seconds_ago": _by_version(forwarder.answered()),
            **{name: _by_version(count) for name, count in self._recorder.totals.items()},
        }
        return _json(200 if ready else 503, content)


async def _probe(port: int) -> str:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            answer = await exchange(port, "GET", "/", [])
    except BackendGone as error:
        return str(error)
    except TimeoutError:
        return f"port {port} does not answer within {_PROBE_SECONDS:g} s"
    return "healthy" if answer.status == 200 else f"port {port} answers {answer.status}"


def _request_id(request: web.BaseRequest) -> str:
    for name in (REQUEST_ID, "x-ms-client-request-id", "x-request-id"):
        given = request.headers.get(name, "")
        if 0 < len(given) <= _LONGEST_ID and given.isascii() and given.isprintable():
            return given
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def _by_version(values: Mapping[int, float]) -> dict[str, float]:
    return {str(version): value for version, value in values.items()}


def _json(status: int, content: Mapping[str, Any]) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(content).encode(), content_type="application/json"
    )
