"""The emulator as a process of its own, and what a test says to it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.azureml_emulator.__main__ import CONTROL_FILE, READY
from tests.azureml_emulator.services.control import HEADER

ROOT = Path(__file__).resolve().parents[2]


class EmulatorProcess:
    """An emulator that runs beside the tests.

    Args:
        folder: where it keeps everything.
        port: of its HTTPS listener; None takes a free one.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or _free_port()
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            RuntimeError: it ended instead; says what it printed.
        """
        command = [sys.executable, "-m", "tests.azureml_emulator"]
        command += ["--state", str(self.folder), "--port", str(self.port)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        for name in self.redirected:
            environment.pop(name, None)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "emulator.log").open("a") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == READY:
                return
        raise RuntimeError(
            f"the emulator ended:\n{(self.folder / 'emulator.log').read_text()[-4000:]}"
        )

    redirected = ("HTTPS_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "ARM_CLOUD_METADATA_URL")
    """Variables that lead clients to an emulator, which must not meet them itself."""

    def stop(self) -> None:
        """End it; its state stays."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def kill(self) -> None:
        """End it as a crash does; its state stays."""
        assert self._process is not None, "it was started"
        self._process.kill()
        self._process.communicate()
        self._process = None

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables for clients: where it is, its first workspace, and how to log in."""
        environment: Mapping[str, str] = self._control()["environment"]
        return environment

    def make_workspace(self, name: str) -> Path:
        """Make a workspace, and return the folder with its files."""
        return Path(self._call("POST", f"/emulator/workspaces/{name}")["folder"])

    def fault(self, **fault: Any) -> None:
        """Ask for a fault; see ``Fault``."""
        self._call("POST", "/emulator/faults", fault)

    def clear_faults(self) -> None:
        """Let everything be well again."""
        self._call("DELETE", "/emulator/faults")

    def move_clock(self, seconds: float) -> None:
        """Let time pass at once."""
        self._call("POST", "/emulator/clock", {"seconds": seconds})

    def calls(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Calls, and refused attempts to reach another host, since this was asked last."""
        answer = self._call("GET", "/emulator/calls")
        return answer["calls"], answer["refused"]

    def unknown(self) -> list[str]:
        """Calls since this was asked last that the emulator does not know."""
        return [f"{c['method']} {c['path']}" for c in self.calls()[0] if c["status"] == 501]

    def _control(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / CONTROL_FILE).read_text())
        return content

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        control = self._control()
        request = urllib.request.Request(
            control["url"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={HEADER: control["key"]},
        )
        trusted = ssl.create_default_context(cafile=str(self.folder / "tls" / "bundle.pem"))
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=trusted), urllib.request.ProxyHandler({})
        )
        with opener.open(request, timeout=30) as response:
            return json.loads(response.read())


def _free_port() -> int:
    """A port that is free together with the two after it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        try:
            for number in (port + 1, port + 2):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except (OSError, OverflowError):
            continue
        return port
