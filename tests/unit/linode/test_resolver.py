"""Lookups of names: found, not found, and a name server that never answers."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time

import pytest

from natpair.errors import ApiError
from natpair.linode import operations as op
from natpair.linode.resolver import DaemonResolver
from natpair.linode.transport import Transport
from unit.linode.fakeapi import QUICK


async def test_a_name_is_found() -> None:
    found = await DaemonResolver().resolve("localhost", 443)
    assert {"127.0.0.1", "::1"} & {entry["host"] for entry in found}
    assert all((entry["hostname"], entry["port"]) == ("localhost", 443) for entry in found)


async def test_a_name_that_is_not_found_is_an_error_of_the_api() -> None:
    async with Transport(None, base_url="https://nothing.invalid/v4", limits=QUICK) as transport:
        with pytest.raises(ApiError, match=r"cannot connect to nothing\.invalid"):
            await transport.call(op.LIST_REGIONS)


UNRESPONSIVE = """
import asyncio, socket, sys, time
from natpair.linode.resolver import DaemonResolver
from aiohttp import ThreadedResolver

socket.getaddrinfo = lambda *a, **k: time.sleep(1.5)

async def main():
    try:
        async with asyncio.timeout(0.2):
            await {resolver}().resolve("api.example.org")
    except TimeoutError:
        print("gave up", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(("resolver", "held_up"), [("DaemonResolver", False), ("ThreadedResolver", True)])
def test_a_unresponsive_name_server_holds_no_process_up(resolver: str, held_up: bool) -> None:
    """The second line is aiohttp's own resolver, so that the first one means something."""
    process = subprocess.Popen(
        [sys.executable, "-c", UNRESPONSIVE.format(resolver=resolver)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "gave up\n"
    began = time.monotonic()
    process.communicate(timeout=20)
    assert (time.monotonic() - began > 0.8) is held_up


async def test_an_answer_that_comes_when_nobody_waits_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(0.1) or [])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await DaemonResolver().resolve("api.example.org")
    await asyncio.sleep(0.15)
