"""Asking local servers how they are: plain HTTP on loopback, always with a time limit."""

from __future__ import annotations

import http.client
import json
import math
import socket
from collections.abc import Container, Mapping
from typing import Any

from insurance_claims import schema
from ml_service.platforms.local.serving_command import HOST


def free_port(taken: Container[int] = ()) -> int:
    """A port on loopback that nobody listens on now, and that is not among those that are spoken for."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As the servers do: connections that are closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def ready(port: int, key: str, timeout: float = 5.0) -> dict[str, Any] | None:
    """What the router on this port says of itself; None where none answers."""
    headers = {"Authorization": f"Bearer {key}"}
    try:
        _, content = _request(port, "GET", "/ready", timeout, headers=headers)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return content if isinstance(content, dict) and "revision" in content else None


def why_not_alive(port: int, timeout: float = 3.0) -> str | None:
    """Ask a model server whether it is there; None where it is, else what went wrong."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request("GET", "/")
        status = connection.getresponse().status
    except TimeoutError:
        return f"port {port} does not answer within {timeout:g} s"
    except (OSError, http.client.HTTPException) as error:
        return f"port {port} does not answer: {error or type(error).__name__}"
    finally:
        connection.close()
    return None if status == 200 else f"port {port} answers {status}"


def why_not_scoring(port: int, version: int, timeout: float = 3.0) -> str | None:
    """Score one row; None where that works, else what went wrong."""
    body = json.dumps({"data": [[column.minimum for column in schema.FEATURES]]})
    try:
        status, content = _request(port, "POST", "/score", timeout, body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"port {port} does not answer: {error or type(error).__name__}"
    if status != 200:
        return f"one row was answered with {status}: {json.dumps(content)[:300]}"
    try:
        [score] = content["result"]
        served = content["model"]["version"]
    except (TypeError, KeyError, ValueError):
        return f"the answer has another form: {json.dumps(content)[:300]}"
    facts = schema.PROBLEM.facts
    if not (isinstance(score, float) and math.isfinite(score) and 0 <= score <= facts.largest):
        return f"the score of one row is {score}, which is no {facts.score}"
    if str(served) != str(version):
        return f"it serves version {served}, not {version}"
    return None


def _request(
    port: int,
    method: str,
    path: str,
    timeout: float,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request(
            method, path, body, {"Content-Type": "application/json", **(headers or {})}
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read(1_000_000))
    finally:
        connection.close()
