"""Temporal behind mutual TLS, as a cluster's frontend is; here a relay with TLS stands before the real server."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from lab.engine_room import EngineRoom
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from tests.functional.disks.certificates import certificates
from tests.temporal_frontend import files, frontend

from isthmus.control.engine import EngineAddress, connect
from isthmus.control.errors import InvalidInput, Unavailable

T = TypeVar("T")


def run(work: Awaitable[T]) -> T:
    async def limited() -> T:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(limited())


def test_a_frontend_is_reached_by_mutual_tls_and_by_nothing_less(room: EngineRoom, tmp_path: Path) -> None:
    ours, others = certificates(tmp_path / "ours"), certificates(tmp_path / "others")
    plain = EngineAddress.of(room.conf)

    async def see() -> None:
        async with frontend(ours, plain.address) as port:
            address = replace(plain, address=f"localhost:{port}", **files(ours))
            client = await connect(address)
            assert (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version
            wrong = [
                replace(plain, address=address.address),
                replace(address, tls_cert_file=None, tls_key_file=None),
                replace(address, **files(others)),
                replace(address, tls_server_name="elsewhere"),
            ]
            for each in wrong:
                with pytest.raises(Unavailable, match="does not answer"):
                    await connect(each)

    run(see())


def test_nothing_leaves_this_host_without_tls() -> None:
    with pytest.raises(InvalidInput, match=r"192\.0\.2\.1:7233 is beyond this host and has no TLS: set tls_ca_file"):
        run(connect(EngineAddress("192.0.2.1:7233", "default")))
    assert EngineAddress("192.0.2.1:7233", "default", allow_plaintext=True).tls() is False
    assert EngineAddress("[::1]:7233", "default").tls() is False


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read .*gone\.pem named in \[temporal\]"):
        run(connect(EngineAddress("localhost:1", "default", tls_ca_file=str(tmp_path / "gone.pem"))))
