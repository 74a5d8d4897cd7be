"""In front of the model servers of one endpoint: checks the key, and splits requests between them.

Started as ``python -m ml_service.platforms.local.router --state DIR --port N``. It reads the key from a file and
``routes.json`` whenever that changes, and writes what each version did to a file once a second (``recording``).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from insurance_claims.errors import ClaimsError
from insurance_claims.files import write_json
from ml_service.platforms.local.exchange import HOST
from ml_service.platforms.local.forwarding import Forwarder
from ml_service.platforms.local.gateway import Gateway
from ml_service.platforms.local.observation_store import (
    KEEP_DAYS,
    OBSERVATIONS_FILE,
    ObservationWriter,
)
from ml_service.platforms.local.recording import Recorder
from ml_service.platforms.local.routes import KEY_FILE, PROCESS_FILE

_SWITCH_SECONDS = 0.0005
"""How long the thread that writes observations may keep the interpreter while requests wait, a tenth of the usual."""

log = logging.getLogger("router")


async def serve(gateway: Gateway, recorder: Recorder, folder: Path, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in flight."""
    loop = asyncio.get_running_loop()
    stop, stop_recording = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gateway.reload()
    watcher = asyncio.create_task(gateway.watch())
    recording = asyncio.create_task(recorder.run(stop_recording))
    runner = web.ServerRunner(web.Server(gateway.handle, access_log=None), shutdown_timeout=30)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port, backlog=1024).start()
        _say_where(folder, port)
        log.info("listening on http://%s:%d", HOST, port)
        # What is loaded now stays, and need not be looked through for garbage while requests wait.
        gc.collect()
        gc.freeze()
        await stop.wait()
    finally:
        watcher.cancel()
        await runner.cleanup()
        stop_recording.set()
        await recording


def _say_where(folder: Path, port: int) -> None:
    try:
        write_json(folder / PROCESS_FILE, {"pid": os.getpid(), "port": port})
    except OSError as error:
        # Requests are answered all the same, but no command finds the router.
        log.error("%s cannot be written: %s", folder / PROCESS_FILE, error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ml_service.platforms.local.router", description=__doc__
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-body-bytes", type=int, default=8388608)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for a whole answer")
    parser.add_argument("--workers", type=int, default=1, help="workers of a version")
    parser.add_argument(
        "--keep-days", type=float, default=KEEP_DAYS, help="how long observations are kept"
    )
    return parser


def main() -> None:
    """Read the key and serve; exit 1 with one reason where that cannot be."""
    arguments = _parser().parse_args()
    folder: Path = arguments.state
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        key = (folder / KEY_FILE).read_text(encoding="ascii").strip()
        if not key:
            raise ClaimsError(f"{folder / KEY_FILE} is empty")
        writer = ObservationWriter(folder / OBSERVATIONS_FILE, arguments.keep_days)
        recorder = Recorder(writer)
        forwarder = Forwarder(recorder, arguments.timeout, arguments.workers)
        gateway = Gateway(
            folder, key, arguments.max_body_bytes, arguments.timeout, forwarder, recorder
        )
        sys.setswitchinterval(_SWITCH_SECONDS)
        uvloop.run(serve(gateway, recorder, folder, arguments.port))
        writer.close()
    except (ClaimsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
