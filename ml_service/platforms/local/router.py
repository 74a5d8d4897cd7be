"""In front of the model servers of one endpoint: checks the key and splits requests by weight.

Started as ``python -m ml_service.platforms.local.router --state DIR --port N``. It reads the key from a file and
``routes.json`` whenever that changes. Scoring changes nothing, so a request whose server vanished is sent again, to
another version's server where there is one; a request that a client asked one version for stays with that version. A
request is tried at most three times, so that one that kills its server does not go on for ever.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import logging
import random
import signal
import sys
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from insurance_claims.errors import ClaimsError
from ml_service.platforms.local.exchange import HOST, Answer, BackendGone, exchange
from ml_service.platforms.local.routes import (
    KEY_FILE,
    ROUTES_FILE,
    Routes,
    RoutesError,
    read_routes,
)

REQUEST_ID = "x-ms-request-id"
ASK_VERSION = "x-model-version"
SERVED_BY = "x-served-by-version"

_ATTEMPTS = 3
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


class Refusal(Exception):
    """A request that is answered here: status, message, more headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


class Router:
    """Answers requests by the routes that it read last.

    Args:
        folder: holds routes.json.
        key: bearer key that requests must carry.
        max_body_bytes: of a request.
        timeout_seconds: for a server's whole answer.
    """

    def __init__(self, folder: Path, key: str, max_body_bytes: int, timeout_seconds: float) -> None:
        self._file = folder / ROUTES_FILE
        self._authorization = f"Bearer {key}".encode()
        self._max_body_bytes = max_body_bytes
        self._timeout_seconds = timeout_seconds
        self._random = random.Random()
        self._routes = Routes(0, {})
        self._routes_error: str | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._in_flight: Counter[int] = Counter()

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
            self._routes = read_routes(self._file)
        except RoutesError as error:
            if self._routes_error != str(error):
                log.error("routes stay at revision %d: %s", self._routes.revision, error)
            self._routes_error = str(error)
        else:
            log.info("routes are at revision %d", self._routes.revision)
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
        version, answer = await self._forward(request.headers.get(ASK_VERSION), headers, body)
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

    async def _forward(
        self, asked: str | None, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[int, Answer]:
        reason = ""
        tried: list[int] = []
        for _ in range(_ATTEMPTS):
            # Chosen anew for each attempt: a deployment may have changed the routes meanwhile.
            version = self._choose(asked, tried)
            tried.append(version)
            self._in_flight[version] += 1
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    port = self._routes.backends[version].port
                    return version, await exchange(port, "POST", "/score", headers, body)
            except TimeoutError:
                message = f"version {version} did not answer within {self._timeout_seconds:g} s"
                log.error(message)
                raise Refusal(504, message, {SERVED_BY: str(version)}) from None
            except BackendGone as error:
                reason = f"version {version}: {error}"
                log.warning(reason)
            finally:
                self._in_flight[version] -= 1
        raise Refusal(503, f"no model server answers ({reason}); try again", {"Retry-After": "2"})

    def _choose(self, asked: str | None, tried: list[int]) -> int:
        backends = self._routes.backends
        if not backends:
            raise Refusal(503, "no model is deployed here", {"Retry-After": "5"})
        if asked is not None:
            version = int(asked) if asked.isascii() and asked.isdecimal() else -1
            if version not in backends:
                known = ", ".join(map(str, sorted(backends)))
                raise Refusal(404, f"version {asked[:20]} is not deployed here; deployed: {known}")
            return version
        if not tried:
            return self._routes.choose(self._random)
        # Of the others first one that has traffic. Where there is no other, once more the same: a gunicorn whose worker
        # died goes on to listen.
        others = [version for version in backends if version not in tried]
        return max(others or backends, key=lambda version: backends[version].weight)

    async def _ready(self) -> web.Response:
        routes = self._routes
        states = await asyncio.gather(
            *(_probe(backend.port) for backend in routes.backends.values())
        )
        ready = bool(states) and all(state == "healthy" for state in states)
        content = {
            "ready": ready,
            "revision": routes.revision,
            "routes_error": self._routes_error,
            "backends": {
                str(version): {"weight": backend.weight, "state": state}
                for (version, backend), state in zip(routes.backends.items(), states, strict=True)
            },
            "in_flight": {str(version): n for version, n in self._in_flight.items() if n},
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


def _json(status: int, content: Mapping[str, Any]) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(content).encode(), content_type="application/json"
    )


async def serve(router: Router, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in flight."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    router.reload()
    watcher = asyncio.create_task(router.watch())
    runner = web.ServerRunner(web.Server(router.handle, access_log=None), shutdown_timeout=30)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port, backlog=1024).start()
        log.info("listening on http://%s:%d", HOST, port)
        await stop.wait()
    finally:
        watcher.cancel()
        await runner.cleanup()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ml_service.platforms.local.router", description=__doc__
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-body-bytes", type=int, default=8388608)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for a whole answer")
    return parser


def main() -> None:
    """Read the key and serve; exit 1 with one reason where that cannot be."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        key = (arguments.state / KEY_FILE).read_text(encoding="ascii").strip()
        if not key:
            raise ClaimsError(f"{arguments.state / KEY_FILE} is empty")
        router = Router(arguments.state, key, arguments.max_body_bytes, arguments.timeout)
        asyncio.run(serve(router, arguments.port))
    except (ClaimsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
