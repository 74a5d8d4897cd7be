"""A CONNECT proxy: gives storage accounts their names; what wants to leave the machine is refused and remembered."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Proxy:
    """Leads every name below the emulator's domain to the emulator, and nothing anywhere else.

    Args:
        domain: of the emulator's storage accounts.
        target: port of the emulator.
        refused: gets ``host:port`` of each attempt to reach something else.
    """

    def __init__(self, domain: str, target: int, refused: list[str]) -> None:
        self._domain = domain
        self._target = target
        self._refused = refused
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)

    async def stop(self) -> None:
        """Stop listening, and end every connection."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            request = await reader.readuntil(b"\r\n\r\n")
            words = request.split(b"\r\n")[0].decode("latin-1").split()
            host = words[1].rpartition(":")[0] if len(words) > 1 else ""
            if words[0] != "CONNECT" or not host.endswith("." + self._domain):
                self._refused.append(words[1] if len(words) > 1 else "?")
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
            else:
                await self._connect(reader, writer)
        writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, target_writer), _pump(target_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
