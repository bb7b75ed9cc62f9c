"""A lab as the probe's site: its nodes stand for the two Linodes, its internet host for the outside view."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from natpair.core.model import Gateway
from natpair.lab import host
from natpair.lab.topology import INTERNET
from natpair.lab.world import Lab
from natpair.probe.channel import Channel
from natpair.system.process import Completed, arun


class LabChannel:
    """One host of a lab."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self.name = name

    async def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_seconds: float = 10, ok: Sequence[int] = (0,)
    ) -> Completed:
        """Run a program inside the host."""
        return await arun(host.command(self._lab.ref(self.name), argv), stdin=stdin, timeout=timeout_seconds, ok=ok)


class LabSite:
    """A lab whose nodes run no services."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.vantage: Channel = LabChannel(lab, INTERNET)

    @property
    def gateway(self) -> Gateway:
        """The lab's."""
        return self._lab.gateway

    def node(self, name: str) -> Channel:
        """A node of the lab."""
        return LabChannel(self._lab, name)

    async def share(self) -> None:
        """Share the FIP to both nodes, in the fabric itself."""
        await asyncio.to_thread(self._lab.share, self.gateway.pair.fips[0], self._lab.nodes)

    async def cut_power(self, name: str) -> None:
        """Both cables first, then every process of the node."""
        await asyncio.to_thread(self._lab.power_cut, name)

    async def restore_power(self, name: str) -> None:
        """Boot the node."""
        await asyncio.to_thread(self._lab.boot, name)

    async def same_host(self) -> bool | None:
        """A lab has one machine only, which says nothing."""
        return None
