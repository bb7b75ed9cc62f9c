"""The emulator on a loopback port in a thread of its own, for clients that know no asyncio."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from natpair_lab.emulator.api import Api
from natpair_lab.emulator.app import Emulator
from natpair_lab.emulator.limits import Kind, Limit, Limiter
from natpair_lab.emulator.state import Store, Timing
from natpair_lab.emulator.world import World

QUICK = Timing(provision_seconds=0.05, boot_seconds=0.05, shutdown_seconds=0.05)
UNLIMITED = {kind: Limit(1_000_000, 60.0) for kind in Kind}


def quick_api(timing: Timing = QUICK) -> Api:
    return Api(Store(timing=timing), limiter=Limiter(UNLIMITED))


@dataclass
class Served:
    """A running emulator."""

    emulator: Emulator
    url: str = ""
    ready: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def ask(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, timeout: float = 5
    ) -> tuple[int, Any, dict[str, str]]:
        """One request; status, document and headers."""
        data = None if body is None else json.dumps(body).encode()
        given = {"Authorization": "Bearer any", "Content-Type": "application/json"} | (headers or {})
        request = urllib.request.Request(self.url + path, data, given, method=method)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read()), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), dict(error.headers)

    def fault(self, **fault: Any) -> None:
        assert self.ask("POST", "/_emulator/faults", fault)[0] == 200


@contextmanager
def served(api: Api | None = None, world: World | None = None) -> Iterator[Served]:
    running = Served(Emulator(api or quick_api(), world=world))
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with running.emulator.serving() as url:
            running.url = url
            running.ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert running.ready.wait(10)
        yield running
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
        assert not thread.is_alive()
