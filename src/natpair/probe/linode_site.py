"""Two Linodes as the probe's site: sharing and power by the API, everything else by a `Reach`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from natpair.core.model import Gateway
from natpair.errors import ApiError, CommandFailed
from natpair.linode.client import LinodeClient
from natpair.linode.sharing import share
from natpair.probe.channel import Channel
from natpair.probe.hands import until
from natpair.probe.machines import Made
from natpair.probe.site import Reach

READY_SECONDS = 600.0
"""A first boot with its packages takes two or three minutes."""
_GRACE_SECONDS = 30.0
_REFUSED = 400
_READY = "command -v bird && command -v python3"


class LinodeSite:
    """The machines of one probe."""

    def __init__(self, client: LinodeClient, made: Made, reach: Reach) -> None:
        self._client = client
        self._linodes = dict(zip((node.name for node in made.gateway.node), made.linodes, strict=True))
        self._reach = reach
        self._gateway = made.gateway

    @property
    def gateway(self) -> Gateway:
        """As in probe.toml."""
        return self._gateway

    @property
    def vantage(self) -> Channel:
        """The outside view."""
        return self._reach.vantage

    def node(self, name: str) -> Channel:
        """The way to a machine."""
        return self._reach.channel(name, str(self._gateway.node_named(name).public_address.ip))

    async def share(self) -> None:
        """Let the second machine announce the first one's address too."""
        await share(self._client, list(self._linodes.values())[1], self._gateway.pair.fips)

    async def cut_power(self, name: str) -> None:
        """As the reach does it."""
        await self._reach.cut(name)

    async def restore_power(self, name: str) -> None:
        """Boot it, or let the platform's watchdog do that, and wait until it can be reached."""
        if not await self._reach.restore(name):
            await self._boot(name)
        await self.ready(name)

    async def _boot(self, name: str) -> None:
        linode, begin = self._linodes[name], time.monotonic()
        asked = False

        async def back() -> bool:
            nonlocal asked
            now = (await self._client.instance(linode)).status
            waited = time.monotonic() - begin > _GRACE_SECONDS
            if now == "offline":
                asked = await self._power(self._client.boot, linode) or asked
            elif now == "running" and not asked and waited and not await self._answers(name):
                # The platform has not noticed that the machine is off.
                asked = await self._power(self._client.reboot, linode)
            return now == "running" and (asked or waited) and await self._answers(name)

        await until(back, READY_SECONDS, f"the return of {name}", every=3.0)

    async def _power(self, order: Callable[[int], Awaitable[None]], linode: int) -> bool:
        """Ask for power; False when the platform refuses, as it does while its own watchdog is at it."""
        try:
            await order(linode)
        except ApiError as error:
            if error.status != _REFUSED:
                raise
            return False
        return True

    async def ready(self, name: str) -> None:
        """Wait until a machine can be reached and has its packages."""
        await until(lambda: self._answers(name), READY_SECONDS, f"the first boot of {name}", every=2.0)

    async def _answers(self, name: str) -> bool:
        try:
            await self.node(name).run(["sh", "-c", _READY], timeout_seconds=20)
        except CommandFailed:
            return False
        return True

    async def same_host(self) -> bool | None:
        """By the `host_uuid` of both."""
        hosts = [(await self._client.instance(linode)).host_uuid for linode in self._linodes.values()]
        return None if None in hosts else len(set(hosts)) == 1
