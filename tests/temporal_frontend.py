"""Temporal behind mutual TLS, as a cluster's frontend is: a relay with TLS before the real server."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any


@asynccontextmanager
async def frontend(folder: Path, behind: str) -> AsyncIterator[int]:
    """A port that speaks TLS, wants a certificate, and passes all on to Temporal."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca-cert.pem"))
    context.load_cert_chain(folder / "server-cert.pem", folder / "server-key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    host, _, port = behind.rpartition(":")
    writers: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writers.extend((writer, far_writer))
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@contextmanager
def running_frontend(folder: Path, behind: str) -> Iterator[int]:
    """The same for a test that is not asynchronous, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="frontend", daemon=True)
    thread.start()
    made = frontend(folder, behind)
    try:
        yield asyncio.run_coroutine_threadsafe(made.__aenter__(), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(made.__aexit__(None, None, None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def files(folder: Path) -> dict[str, Any]:
    return {
        "tls_ca_file": str(folder / "ca-cert.pem"),
        "tls_cert_file": str(folder / "client-cert.pem"),
        "tls_key_file": str(folder / "client-key.pem"),
    }
