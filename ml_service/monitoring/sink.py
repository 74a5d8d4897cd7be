"""The local sink: takes telemetry over HTTP as Application Insights does, on loopback, and keeps it in the store.

The same process serves the dashboard.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from insurance_claims.errors import ClaimsError
from insurance_claims.telemetry import Connection
from ml_service.monitoring.alerts.watch import Watcher, watching
from ml_service.monitoring.connection import HOST, folder_of, make_connection
from ml_service.monitoring.dashboard.panels import NO_OPERATIONS, Operations
from ml_service.monitoring.dashboard.rollup import Rollup
from ml_service.monitoring.dashboard.web import Dashboard
from ml_service.monitoring.envelopes import BadBody, BadEnvelope, record, split
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Event, Telemetry, TelemetryError

RETENTION = timedelta(days=30)
BODY_BYTES = 16 * 2**20

_HOUR_SECONDS = 3600.0
_BETWEEN_SECONDS = 0.05
_LOG = logging.getLogger(__name__)


class Sink:
    """Receives telemetry.

    Args:
        store: keeps it.
        key: instrumentation key that envelopes have to name.
        retention: what arrived longer ago is removed.
    """

    def __init__(self, store: Store, key: str, retention: timedelta = RETENTION) -> None:
        self._store = store
        self._key = key
        self._retention = retention
        # SQLite's writer is one; in a thread of its own it does not hold up what else is asked.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="telemetry-writer")

    def application(self) -> web.Application:
        """The web application: ``POST /v2.1/track`` and ``/v2/track``."""
        application = web.Application(client_max_size=BODY_BYTES)
        # Connection strings end with a slash, and senders add a path that begins with one.
        for path in ("/v2.1/track", "/v2/track", "//v2.1/track", "//v2/track"):
            application.router.add_post(path, self._track)
        application.cleanup_ctx.append(self._pruning)
        return application

    async def _track(self, request: web.Request) -> web.Response:
        try:
            # aiohttp unpacks gzip, and holds what comes out of it to the same limit.
            envelopes = split(await request.read())
        except web.HTTPRequestEntityTooLarge:
            return _refused(413, f"the body is above the limit of {BODY_BYTES} bytes")
        except BadBody as problem:
            return _refused(400, str(problem))
        except (web.RequestPayloadError, web.HTTPBadRequest) as problem:
            return _refused(400, f"the body cannot be read: {problem}")
        arrived = datetime.now(UTC)
        good: list[Event] = []
        errors: list[dict[str, Any]] = []
        for index, envelope in enumerate(envelopes):
            try:
                good.append(record(envelope, self._key, arrived))
            except BadEnvelope as problem:
                errors.append({"index": index, "statusCode": 400, "message": str(problem)})
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._store.add, good)
        except TelemetryError as problem:
            _LOG.error("%s", problem)
            # The one status that makes senders keep what they have and try again.
            return _refused(503, str(problem), len(envelopes))
        status = 200 if not errors else 206 if good else 400
        return _answer(status, len(envelopes), len(good), errors)

    async def _pruning(self, _: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._prune())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self._writer.shutdown()
        self._store.close()

    async def _prune(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = datetime.now(UTC) - self._retention
            try:
                while await loop.run_in_executor(self._writer, self._store.prune, before):
                    await asyncio.sleep(_BETWEEN_SECONDS)
            except TelemetryError as problem:
                _LOG.error("%s", problem)
            await asyncio.sleep(_HOUR_SECONDS)


async def serve(
    home: Path,
    port: int,
    ready: Callable[[Connection], None],
    retention: timedelta = RETENTION,
    operations: Operations = NO_OPERATIONS,
    watcher: Watcher | None = None,
    hourly: Callable[[], object] | None = None,
) -> None:
    """Run the sink, and the dashboard over it, until the task is cancelled.

    Args:
        home: local state.
        port: on loopback; 0 takes a free one.
        ready: is told where it listens, once it does.
        retention: what arrived longer ago is removed.
        operations: of the platform, for the dashboard.
        watcher: looks at the alerts while it runs; None for nobody.
        hourly: is done at once and once an hour, in a thread; what it raises as a ClaimsError is logged.

    Raises:
        TelemetryError: the port is taken.
    """
    with _listener(port) as listener:
        connection = make_connection(home, listener.getsockname()[1])
        store = Store(folder_of(home))
        application = Sink(store, connection.key, retention).application()
        Dashboard(store, operations, Rollup(store), retention).add_to(application)
        beside = []
        if watcher is not None:
            beside.append(asyncio.create_task(watching(watcher)))
        if hourly is not None:
            beside.append(asyncio.create_task(_every_hour(hourly)))
        try:
            await _run(application, listener, lambda: ready(connection))
        finally:
            for task in beside:
                task.cancel()


async def _every_hour(work: Callable[[], object]) -> None:
    while True:
        try:
            await asyncio.to_thread(work)
        except ClaimsError as problem:
            _LOG.error("%s", problem)
        await asyncio.sleep(_HOUR_SECONDS)


async def serve_dashboard(
    telemetry: Telemetry,
    port: int,
    ready: Callable[[str], None],
    operations: Operations,
    refresh_seconds: float,
    longest: timedelta,
) -> None:
    """Run the dashboard alone, over telemetry that is kept elsewhere, until the task is cancelled.

    Args:
        telemetry: reads it.
        port: on loopback; 0 takes a free one.
        ready: is told the page's address.
        operations: of the platform.
        refresh_seconds: from one look of the page to the next.
        longest: stretch of time that may be asked for; single events are read for it.

    Raises:
        TelemetryError: the port is taken.
    """
    with _listener(port) as listener:
        application = web.Application()
        dashboard = Dashboard(
            telemetry, operations, refresh_seconds=refresh_seconds, longest=longest
        )
        dashboard.add_to(application)
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        await _run(application, listener, lambda: ready(address))


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise TelemetryError(
            f"port {port} cannot be listened on: {error.strerror}; is a sink running already? Else take another --port"
        ) from None


async def _run(
    application: web.Application, listener: socket.socket, ready: Callable[[], None]
) -> None:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        ready()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _refused(status: int, message: str, received: int = 0) -> web.Response:
    error = {"index": 0, "statusCode": status, "message": message}
    return _answer(status, received, 0, [error])


def _answer(
    status: int, received: int, accepted: int, errors: Sequence[Mapping[str, Any]]
) -> web.Response:
    content = {"itemsReceived": received, "itemsAccepted": accepted, "errors": list(errors)}
    return web.json_response(content, status=status)
