"""Lets clients of a `ClientNetwork` reach servers that listen on this machine's loopback only, each as itself.

A relay listens at the network's server address. A connection of 10.70.1.12 goes on to 127.0.0.1 from 127.70.1.12: a
loopback address of its own, so that a server's access rules tell clients apart as they would on a real network.
"""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

from lab.share_network import ClientNetwork

CHUNK = 1 << 18


def seen_as(address: str) -> str:
    """Return the address as which a server on loopback sees a client: what access rules must name."""
    return "127." + address.partition(".")[2]


class Relay:
    """Relays some ports, to the same ports of 127.0.0.1; a context manager."""

    def __init__(self, network: ClientNetwork, *ports: int) -> None:
        self._address = network.server_address
        self._ports = ports
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="share relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._servers = [
            await asyncio.start_server(self._connected, self._address, port, limit=CHUNK) for port in self._ports
        ]

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client, port = writer.get_extra_info("peername")[0], writer.get_extra_info("sockname")[1]
        with contextlib.closing(writer):
            try:
                there = await asyncio.open_connection("127.0.0.1", port, limit=CHUNK, local_addr=(seen_as(client), 0))
            except OSError:
                return  # nobody listens: the client finds its connection closed
            with contextlib.closing(there[1]):
                ways = [asyncio.ensure_future(_pump(reader, there[1])), asyncio.ensure_future(_pump(there[0], writer))]
                try:
                    # One side's end ends both: neither NFS nor SMB closes one way alone.
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
