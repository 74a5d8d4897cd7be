"""A running sink, and both ways that telemetry goes: to the sink and back, to Azure (emulated) and back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from insurance_claims.telemetry import Connection, Emitter
from ml_service.monitoring.connection import folder_of
from ml_service.monitoring.dashboard.panels import NO_OPERATIONS, Operations
from ml_service.monitoring.sink import serve
from ml_service.monitoring.store import Store
from ml_service.monitoring.telemetry import Telemetry
from tests.azureml_emulator.in_process import Site
from tests.azureml_emulator.telemetry_client import connection_of, reader_of, trusted


class RunningSink:
    """A sink in a thread of its own.

    Args:
        home: local state.
        port: 0 takes a free one.
        operations: that its dashboard shows.
    """

    def __init__(self, home: Path, port: int = 0, operations: Operations = NO_OPERATIONS) -> None:
        self.home = home
        self.store = Store(folder_of(home))
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._task = self._loop.create_task(serve(home, port, self._set, operations=operations))
        self._task.add_done_callback(lambda _: self._loop.stop())
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    def _set(self, connection: Connection) -> None:
        self.connection = connection
        self._ready.set()

    def stop(self) -> None:
        """End it; what it keeps stays."""
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSink]:
    """A sink that the tests of a module share."""
    running = RunningSink(tmp_path_factory.mktemp("home"))
    yield running
    running.stop()


@dataclass(frozen=True)
class Way:
    """Telemetry is sent at one end and read at the other."""

    emitter: Emitter
    reader: Telemetry


@pytest.fixture(scope="module", params=["sink", "azure"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """Both ways, with the same suite."""
    environ = {"BUILD_BUILDID": "20261121.4", "MLOPS_ENVIRONMENT": "production"}
    if request.param == "sink":
        sink: RunningSink = request.getfixturevalue("sink")
        yield Way(Emitter(sink.connection, "scoring", environ), sink.store)
        return
    site = Site(tmp_path_factory.mktemp("site"))
    workspace = site.workspace("claims")
    with trusted(site):
        yield Way(
            Emitter(connection_of(site, workspace), "scoring", environ), reader_of(site, workspace)
        )
    site.stop()
