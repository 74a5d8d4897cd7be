"""Azurite, the blob storage of Azure on this machine, as a process of its own.

``python -m tests.azurite`` runs one until Ctrl-C, for trying: ``source .mlops/azurite/environment`` logs a shell in.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).with_name("azurite") / "node_modules/azurite/dist/src/blob/main.js"
ACCOUNT = "devstoreaccount1"

PORT = 10000
"""Azurite's own: tools look for it there."""

_START_SECONDS = 60


class AzuriteProcess:
    """Blob storage that runs beside the tests, on HTTP and 127.0.0.1.

    Args:
        folder: where it keeps everything; what is there survives ``stop`` and ``start``.
        port: to listen on; None takes a free one.
        key: of its account, in base64; None makes one up.
    """

    def __init__(self, folder: Path, port: int | None = None, key: str | None = None) -> None:
        self.folder = folder
        self.port = port or _free_port()
        # Its own key, not the published one: nobody else on this machine gets in.
        self.key = key or base64.b64encode(secrets.token_bytes(64)).decode()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the account."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        """What clients log in with."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.key};"
            f"BlobEndpoint={self.url};"
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables for commands that read or write blobs."""
        return {"AZURE_STORAGE_CONNECTION_STRING": self.connection_string}

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it ended instead; says what it printed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "azurite.log"
        command = ["node", str(SERVER), "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        command += ["--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        command += ["--location", str(self.folder)]
        environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=output, stderr=output
            )
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"Azurite does not answer:\n{log.read_text()[-4000:]}")

    def stop(self) -> None:
        """End it; its blobs stay in the folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End it as a crash does. What was written less than five seconds ago is lost: it saves that often."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def container(self, name: str | None = None) -> Any:
        """A container client, of a container that is made where it does not exist.

        Args:
            name: of the container; None makes up one that nobody else uses.
        """
        from azure.core.exceptions import ResourceExistsError
        from azure.storage.blob import ContainerClient

        client = ContainerClient.from_connection_string(
            self.connection_string, name or f"test-{secrets.token_hex(6)}"
        )
        try:
            client.create_container()
        except ResourceExistsError:
            pass
        return client


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzuriteProcess]:
    """One Azurite for each process that runs tests; each test takes a container of its own."""
    skip_without_azurite()
    running = AzuriteProcess(tmp_path_factory.mktemp("azurite"))
    running.start()
    yield running
    running.stop()


def skip_without_azurite() -> None:
    """Skip the test that asks where npm's package was not installed."""
    if shutil.which("node") is None or not SERVER.is_file():
        pytest.skip("no Azurite: install Node.js 20 or newer, then: npm ci --prefix tests/azurite")


def main() -> None:
    """Run an Azurite with a container called landing until Ctrl-C; what is in it stays for the next one."""
    if shutil.which("node") is None or not SERVER.is_file():
        sys.exit(
            "error: no Azurite: install Node.js 20 or newer, then: npm ci --prefix tests/azurite"
        )
    folder = Path(os.environ.get("MLOPS_HOME", ".mlops")).absolute() / "azurite"
    file = folder / "environment"
    known = re.search(r"AccountKey=([^;]+)", file.read_text()) if file.is_file() else None
    port = int(os.environ.get("AZURITE_PORT", PORT))
    running = AzuriteProcess(folder, port, known[1] if known else None)
    try:
        running.start()
    except RuntimeError as error:
        sys.exit(f"error: {error}\nIs something else at port {port}?")
    try:
        running.container("landing")
        values = {**running.environment, "MLOPS_LANDING": f"{running.url}/landing"}
        file.touch(mode=0o600)
        file.write_text("".join(f"export {name}='{value}'\n" for name, value in values.items()))
        print(f"Azurite answers at {running.url} (Ctrl-C ends it)\nsource {file}", flush=True)
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        ended.wait()
    finally:
        running.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
