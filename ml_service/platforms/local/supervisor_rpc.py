"""Calls to a supervisord that listens on a Unix socket in its folder."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import tempfile
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SOCKET = "supervisor.sock"
_LONGEST_SOCKET = 80
"""Bytes. Unix allows 104 to 108, and supervisord binds to a longer name first."""


def call(folder: Path, method: str, *arguments: str | bool, seconds: float) -> Any:
    """Call a method of the supervisord of a folder.

    Raises:
        OSError: nobody listens, or the answer takes longer than ``seconds``.
        xmlrpc.client.Fault: supervisord refuses.
    """
    with short_path(folder) as short:
        transport = _UnixTransport(str(short / SOCKET), seconds)
        with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport) as proxy:
            return getattr(proxy, method)(*arguments)


@contextmanager
def short_path(folder: Path) -> Iterator[Path]:
    """A path of the folder that is short enough for a Unix socket: itself, or a symbolic link for the moment."""
    if len(os.fsencode(folder / SOCKET)) <= _LONGEST_SOCKET:
        yield folder
        return
    private = Path(tempfile.mkdtemp(prefix="mlops-"))
    try:
        link = private / "s"
        link.symlink_to(folder, target_is_directory=True)
        yield link
    finally:
        shutil.rmtree(private, ignore_errors=True)


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket, with a time limit."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__()
        self._path = path
        self._seconds = seconds

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, self._seconds)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
