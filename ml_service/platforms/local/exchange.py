"""One HTTP request to a model server on loopback, as cheaply as asyncio can do it.

The model servers close every connection after one answer, so a client's pool, cookies and redirects would cost several
times what the exchange itself does. HTTP/1.0 keeps an answer free of chunks.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass

HOST = "127.0.0.1"
_CONNECT_SECONDS = 2.0
_PIECE = 65536
_LARGEST_HEAD = 65536


class BackendGone(Exception):
    """The server refused the connection, or closed it before the answer was complete."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: status, headers with names in lower case, body."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


async def exchange(
    port: int, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes = b""
) -> Answer:
    """Send a request and read the whole answer. The caller sets the time limit.

    Raises:
        BackendGone: there is no whole answer.
    """
    lines = [f"{method} {path} HTTP/1.0", f"Host: {HOST}:{port}", f"Content-Length: {len(body)}"]
    lines.extend(f"{name}: {value}" for name, value in headers)
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        # The time limit here is for a full queue of connections; a missing server refuses at once.
        async with asyncio.timeout(_CONNECT_SECONDS):
            await loop.sock_connect(connection, (HOST, port))
        await loop.sock_sendall(connection, head + body)
        return await _read(loop, connection)
    except TimeoutError:
        raise BackendGone(f"port {port} takes no connection within {_CONNECT_SECONDS} s") from None
    except OSError as error:
        raise BackendGone(f"port {port}: {error.strerror or error}") from None
    finally:
        connection.close()


async def _read(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> Answer:
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        piece = await loop.sock_recv(connection, _PIECE)
        if not piece or len(received) > _LARGEST_HEAD:
            raise BackendGone("the connection was closed before the answer")
        received += piece
    status, headers, length = _parse_head(received[:end].decode("latin-1"))
    pieces = [received[end + 4 :]]
    missing = length - len(pieces[0])
    while missing > 0:
        piece = await loop.sock_recv(connection, _PIECE)
        if not piece:
            raise BackendGone("the connection was closed within the answer")
        pieces.append(piece)
        missing -= len(piece)
    return Answer(status, headers, b"".join(pieces)[:length])


def _parse_head(head: str) -> tuple[int, list[tuple[str, str]], int]:
    first, *lines = head.split("\r\n")
    headers = []
    length = None
    try:
        status = int(first.split(" ", 2)[1])
        for line in lines:
            name, value = line.split(":", 1)
            name, value = name.lower(), value.strip()
            headers.append((name, value))
            if name == "content-length":
                length = int(value)
    except (ValueError, IndexError):
        raise BackendGone("the answer is not HTTP") from None
    if length is None:
        raise BackendGone("the answer does not say how long it is")
    return status, headers, length
