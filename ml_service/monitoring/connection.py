"""Where the local sink listens, and how other commands on this machine find it."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path
from urllib.parse import urlsplit

from insurance_claims.errors import ClaimsError
from insurance_claims.files import whole_file
from insurance_claims.telemetry import Connection

FOLDER = "monitoring"
FILE = "connection"
HOST = "127.0.0.1"
_CONNECT_SECONDS = 0.5


def folder_of(home: Path) -> Path:
    """Where telemetry is kept.

    Args:
        home: local state, ``.mlops``.
    """
    return home / FOLDER


def make_connection(home: Path, port: int) -> Connection:
    """The connection of a sink at this port, kept for ``local_connection``, readable by this user alone.

    Whoever was told of it before a restart goes on: the key stays, and so does the address while the port does.

    Args:
        home: local state.
        port: on loopback.
    """
    before = _read(home)
    key = before.key if before is not None else str(uuid.uuid4())
    connection = Connection(f"http://{HOST}:{port}", key)
    with whole_file(folder_of(home) / FILE) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(connection.text.encode())
    return connection


def local_connection(home: Path) -> str | None:
    """The connection string of the sink that runs on this machine; None where nothing listens there.

    Args:
        home: local state.
    """
    connection = _read(home)
    if connection is None:
        return None
    try:
        socket.create_connection(
            (HOST, urlsplit(connection.endpoint).port or 0), _CONNECT_SECONDS
        ).close()
    except OSError:
        return None
    return connection.text


def _read(home: Path) -> Connection | None:
    try:
        return Connection.parse((folder_of(home) / FILE).read_text(encoding="utf-8"))
    except (OSError, ClaimsError):
        return None
