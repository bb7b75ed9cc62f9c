"""A lab as the probe's site: its nodes take the place of the two Linodes, its internet host is the outside view."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace

from natpair.core.model import Gateway
from natpair.errors import CommandFailed, LabError
from natpair.probe import wire
from natpair.probe.channel import Channel
from natpair.system.process import Completed, arun
from natpair_lab.testbed import host
from natpair_lab.testbed.fabric import Knobs
from natpair_lab.testbed.topology import INTERNET
from natpair_lab.testbed.world import Lab


class LabChannel:
    """One host of the lab called `lab`, which need not exist yet."""

    def __init__(self, lab: str, name: str) -> None:
        self._lab = lab
        self.name = name

    async def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_seconds: float = 10, ok: Sequence[int] = (0,)
    ) -> Completed:
        """Run a program inside the host. Raise CommandFailed also while the host is off."""
        try:
            ref = Lab.attach(self._lab).ref(self.name)
        except LabError as error:
            raise CommandFailed(argv, None, error.message, fix=error.fix) from error
        try:
            return await arun(host.command(ref, argv), stdin=stdin, timeout=timeout_seconds, ok=ok)
        except CommandFailed as error:  # name the requested program, not the one that enters the host
            raise CommandFailed(argv, error.rc, f"on {self.name}: {error.stderr}") from error


class LabReach:
    """Access to the Linodes of an emulated account that are hosts of a lab."""

    public_key = ""
    eye_folder = wire.FOLDER

    def __init__(self, lab: str, knobs: Knobs | None = None) -> None:
        """`knobs` set the behaviour of the lab's fabric."""
        self._lab = lab
        self._knobs = knobs
        self.vantage: Channel = LabChannel(lab, INTERNET)

    def channel(self, name: str, address: str) -> Channel:
        """The node of that name."""
        return LabChannel(self._lab, name)

    async def ready(self) -> None:
        """Set the behaviour of the fabric, which exists now."""
        if self._knobs is not None:
            knobs = asdict(replace(self._knobs, hold_sessions=True))
            await asyncio.to_thread(lambda: Lab.attach(self._lab).fabric(**knobs))

    async def cut(self, name: str) -> None:
        """Cut both cables first, then kill every process of the node."""
        await asyncio.to_thread(Lab.attach(self._lab).power_cut, name)

    async def restore(self, name: str) -> bool:
        """Boot the node. The emulated account did not see that it was off."""
        await asyncio.to_thread(Lab.attach(self._lab).boot, name)
        return True

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


class LabSite:
    """A lab that belongs to no account, and whose nodes run no services."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._reach = LabReach(lab.name)
        self.vantage = self._reach.vantage

    @property
    def gateway(self) -> Gateway:
        """The lab's gateway."""
        return self._lab.gateway

    def node(self, name: str) -> Channel:
        """A node of the lab."""
        return self._reach.channel(name, "")

    async def share(self) -> None:
        """Share the FIP to both nodes, in the fabric itself."""
        await asyncio.to_thread(self._lab.share, self.gateway.pair.fips[0], self._lab.nodes)

    async def cut_power(self, name: str) -> None:
        """As the reach does it."""
        await self._reach.cut(name)

    async def restore_power(self, name: str) -> None:
        """As the reach does it."""
        await self._reach.restore(name)

    async def same_host(self) -> bool | None:
        """Unknown: all hosts of a lab are on one machine."""
        return None
