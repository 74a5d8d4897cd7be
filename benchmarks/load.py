"""A client that always has the same number of requests in flight: what a server gives at most, and how fast."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np


@dataclass(frozen=True, slots=True)
class Load:
    """What one round of load gave.

    Attributes:
        answered: requests answered with 200.
        seconds: that they took together.
        p50_ms: median time from connecting to the last byte.
        p99_ms: 99th percentile of the same.
        errors: answered with anything else, or not at all.
    """

    answered: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int

    @property
    def requests_per_second(self) -> float:
        """Requests answered with 200 in a second."""
        return self.answered / self.seconds


def post_request(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """The bytes of a POST request."""
    address = urlsplit(url)
    lines = {
        "Host": address.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {address.path} HTTP/1.1\r\n{head}\r\n".encode() + body


def measure(
    url: str,
    body: bytes,
    seconds: float,
    *,
    connections: int = 4,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Post a body again and again, with a new connection for each request.

    The model server's sync workers close every connection, so a client that reuses them would measure nothing else.

    Args:
        url: ``http://host:port/path`` of a server, or of a router before it.
        body: JSON to post.
        seconds: how long.
        connections: requests in flight at any time. 1 measures latency, more measure throughput.
        headers: to send besides, such as a key.

    Raises:
        RuntimeError: the server is silent, or answers nothing with 200.
    """
    address = urlsplit(url)
    target = (address.hostname, address.port)
    request = post_request(url, body, {"Connection": "close", **(headers or {})})
    times: list[float] = []
    errors = 0
    with selectors.DefaultSelector() as selector:

        def start() -> None:
            client = socket.socket()
            client.setblocking(False)
            code = client.connect_ex(target)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            selector.register(client, selectors.EVENT_WRITE, [time.perf_counter(), request, b""])

        begin = time.perf_counter()
        end = begin + seconds
        for _ in range(connections):
            start()
        while selector.get_map():
            for key, _ in selector.select(timeout=10) or _silent(url):
                assert isinstance(key.fileobj, socket.socket)
                if not _go_on(selector, key.fileobj, key.data):
                    continue
                if key.data[2].startswith(b"HTTP/1.1 200"):
                    times.append(time.perf_counter() - key.data[0])
                else:
                    errors += 1
                if time.perf_counter() < end:
                    start()
        lasted = time.perf_counter() - begin
    if not times:
        raise RuntimeError(f"{url} did not answer a single request with 200")
    p50, p99 = np.percentile(np.array(times) * 1000, [50, 99])
    return Load(len(times), lasted, float(p50), float(p99), errors)


def _silent(url: str) -> list[tuple[selectors.SelectorKey, int]]:
    raise RuntimeError(f"{url} has not answered for 10 seconds")


def _go_on(selector: selectors.BaseSelector, client: socket.socket, state: list[bytes]) -> bool:
    """Write or read what can be written or read now; say whether the answer has ended."""
    try:
        if state[1]:
            state[1] = state[1][client.send(state[1]) :]
            if not state[1]:
                selector.modify(client, selectors.EVENT_READ, state)
            return False
        piece = client.recv(65536)
        state[2] += piece
    except BlockingIOError:
        return False
    except OSError:
        piece = b""
    if piece:
        return False
    selector.unregister(client)
    client.close()
    return True
