"""The dashboard over HTTP: the page, what it is made of, and ``GET /api/...`` that it asks again and again.

Whoever can reach the loopback interface may read it. A page of another site cannot: its name in the Host header, which
DNS may have pointed here, is refused, and nothing allows other origins.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from insurance_claims.errors import ClaimsError
from ml_service.monitoring.dashboard.panels import Operations, Panels
from ml_service.monitoring.dashboard.rollup import Rollup
from ml_service.monitoring.dashboard.span import LONGEST, BadRange, Span, asked_for
from ml_service.monitoring.telemetry import Telemetry, TelemetryError

STATIC = Path(__file__).parent / "static"
REFRESH_SECONDS = 5.0

_PLOTLY = "plotly.min.js"
_HOSTS = ("127.0.0.1", "localhost", "::1")
_PRUNE_SECONDS = 3600.0
_HEADERS = {
    # Charts set styles of their own; scripts come from here alone.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_JSON = orjson.OPT_SERIALIZE_NUMPY
_LOG = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dashboard:
    """The page and what it asks for.

    Args:
        telemetry: what is shown.
        operations: what the platform knows beside it.
        rollup: sums of it, kept up to date from here; None where there are none.
        retention: sums of what was longer ago are removed.
        refresh_seconds: from one look of the page to the next.
        longest: stretch of time that may be asked for.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        operations: Operations,
        rollup: Rollup | None = None,
        retention: timedelta = LONGEST,
        refresh_seconds: float = REFRESH_SECONDS,
        longest: timedelta = LONGEST,
    ) -> None:
        panels = Panels(telemetry, operations, rollup)
        self._ahead = panels.ahead
        self._panels: dict[str, Callable[[Span, str | None], Any]] = {
            "scoring": panels.scoring,
            "resources": panels.resources,
            "training": panels.training,
            "drift": panels.drift,
            "performance": panels.performance,
            "alerts": panels.alerts,
            "deployments": panels.deployments,
            "rollout": panels.rollout,
        }
        self._files = static_files()
        self._rollup = rollup
        self._retention = retention
        self._refresh_seconds = refresh_seconds
        self._longest = longest
        self._behind = rollup is not None
        self._problem: str | None = None
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="dashboard")

    def add_to(self, application: web.Application) -> None:
        """Serve it at ``/``, ``/static/`` and ``/api/``."""
        for path, handler in {
            "/": self._page,
            "/static/{file}": self._file,
            "/api/status": self._status,
            "/api/{panel}": self._panel,
        }.items():
            application.router.add_get(path, _guarded(handler))
        application.cleanup_ctx.append(self._following)

    async def _page(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = self._files.get(request.match_info["file"])
        if path is None:
            raise web.HTTPNotFound(text="there is no such file")
        return web.FileResponse(path)

    async def _status(self, _: web.Request) -> web.StreamResponse:
        now = datetime.now(UTC)
        return await self._answer(
            lambda: {
                "now": now.isoformat(),
                "refresh_seconds": self._refresh_seconds,
                "longest_hours": self._longest / timedelta(hours=1),
                "ahead": self._ahead(now),
                "behind": self._behind,
                "problem": self._problem,
            }
        )

    async def _panel(self, request: web.Request) -> web.StreamResponse:
        query, panel = request.query, self._panels.get(request.match_info["panel"])
        if panel is None:
            return _json({"error": f"there are status, {', '.join(self._panels)}"}, 404)
        try:
            span = asked_for(query, datetime.now(UTC), self._longest)
        except BadRange as problem:
            return _json({"error": str(problem)}, 400)
        return await self._answer(lambda: panel(span, query.get("environment")))

    async def _answer(self, make: Callable[[], Any]) -> web.Response:
        def body() -> tuple[bytes, int]:
            try:
                return orjson.dumps(make(), option=_JSON), 200
            except ClaimsError as problem:
                return orjson.dumps({"error": str(problem)}), 503

        content, status = await asyncio.get_running_loop().run_in_executor(self._readers, body)
        return web.Response(body=content, status=status, content_type="application/json")

    async def _following(self, _: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._follow(self._rollup)) if self._rollup else None
        yield
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._readers.shutdown()

    async def _follow(self, rollup: Rollup) -> None:
        pruned = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            try:
                while await asyncio.to_thread(rollup.catch_up):
                    # What is asked meanwhile goes first.
                    await asyncio.sleep(0)
                self._behind, self._problem = False, None
                if not pruned or clock() - pruned > _PRUNE_SECONDS:
                    await asyncio.to_thread(rollup.prune, datetime.now(UTC) - self._retention)
                    pruned = clock()
            except TelemetryError as problem:
                self._problem = str(problem)
                _LOG.error("%s", problem)
            await asyncio.sleep(self._refresh_seconds)


def static_files() -> Mapping[str, Path]:
    """What the page is made of: its own files, and plotly.js out of the package plotly, by name."""
    files = {path.name: path for path in STATIC.iterdir()}
    # Importing the package would take a fifth of a second; only its place is needed.
    if (package := importlib.util.find_spec("plotly")) is not None and package.origin:
        files[_PLOTLY] = Path(package.origin).parent / "package_data" / _PLOTLY
    return files


def _guarded(handler: _Handler) -> _Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        if not _is_this_machine(request.headers.get("Host", "")):
            return _json({"error": "ask for 127.0.0.1 or localhost: other names are refused"}, 421)
        response = await handler(request)
        response.headers.update(_HEADERS)
        return response

    return guarded


def _is_this_machine(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in _HOSTS
    except ValueError:
        return False


def _json(content: Mapping[str, Any], status: int) -> web.Response:
    return web.json_response(content, status=status)
