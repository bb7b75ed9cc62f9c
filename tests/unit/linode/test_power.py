"""The end of a boot and of a rebuild is the end of the event, whatever status is still shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from emulator.served import quick_api
from natpair.errors import ApiError, NotReady
from natpair.linode import power
from natpair.linode.bodies import NewInstance, Rebuild
from natpair.linode.client import LinodeClient
from natpair.linode.token import Token
from natpair.linode.transport import Transport
from natpair_lab.emulator import lifecycle
from natpair_lab.emulator.app import Emulator
from natpair_lab.emulator.faults import Fault, Kind
from natpair_lab.emulator.state import Store, Timing
from natpair_lab.emulator.tokens import Token as Granted
from unit.linode.fakeapi import QUICK

SLOW_TO_SHOW = 6
IMAGE = "linode/debian12"
PATIENCE = power.Patience(look_every_seconds=0.02, work_seconds=5, begin_seconds=1)
REBUILD = Rebuild(IMAGE, "correct horse battery", booted=False)
NO_EVENTS = Granted(frozenset({"linodes:read_write"}))


@dataclass(frozen=True)
class Place:
    emulator: Emulator
    client: LinodeClient
    linode: int

    @property
    def store(self) -> Store:
        return self.emulator.api.store

    @property
    def status(self) -> str:
        return self.store.linodes[self.linode].status.value

    def strike(self, kind: Kind, order: str, **more: int) -> None:
        path = f"/linode/instances/*/{order}"
        self.emulator.control.faults.active.append(Fault(kind=kind, method="POST", path=path, status=502, **more))


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    """A Linode that is off, on a platform that shows old statuses for long."""
    emulator = Emulator(quick_api(Timing(provision_seconds=0.2, boot_seconds=0.2, shutdown_seconds=0.05)))
    emulator.api.store.policy = replace(emulator.api.store.policy, stale_reads=SLOW_TO_SHOW)
    limits = replace(QUICK, tries=60, total_seconds=20)
    async with emulator.serving() as url, Transport(Token("any"), base_url=f"{url}/v4", limits=limits) as transport:
        client = LinodeClient(transport)
        new = NewInstance("nat-a", "us-ord", "g6-nanode-1", image=IMAGE, root_password="a" * 20, booted=False)
        linode = (await client.create_instance(new)).id
        await power.settled(client, linode, PATIENCE)
        yield Place(emulator, client, linode)


MAY_READ_EVENTS = pytest.mark.parametrize("events", [True, False], ids=["events", "no right to events"])


@MAY_READ_EVENTS
async def test_it_runs_when_a_boot_returns(events: bool) -> None:
    async with place() as at:
        if not events:
            at.emulator.api.tokens.set("any", NO_EVENTS)
        await power.boot(at.client, at.linode, PATIENCE)
        assert at.status == "running"


@MAY_READ_EVENTS
async def test_it_is_off_and_new_when_a_rebuild_returns(events: bool) -> None:
    async with place() as at:
        if not events:
            at.emulator.api.tokens.set("any", NO_EVENTS)
        before = {one.id for one in await at.client.configs(at.linode)}
        assert (await power.rebuild(at.client, at.linode, REBUILD, PATIENCE)).status == "offline"
        assert at.status == "offline"
        assert not before & {one.id for one in await at.client.configs(at.linode)}


@pytest.mark.parametrize("kind", [Kind.LOST, Kind.HALF, Kind.STATUS_AFTER])
async def test_a_lost_answer_is_no_second_order(kind: Kind) -> None:
    async with place() as at:
        for order in ("rebuild", "boot"):
            at.strike(kind, order)
        await power.rebuild(at.client, at.linode, REBUILD, PATIENCE)
        await power.boot(at.client, at.linode, PATIENCE)
        assert at.status == "running"
        actions = [one.action for one in at.store.events]
        assert (actions.count("linode_rebuild"), actions.count("linode_boot")) == (1, 1)


@MAY_READ_EVENTS
async def test_an_order_that_never_arrived_is_an_error(events: bool) -> None:
    async with place() as at:
        if not events:
            at.emulator.api.tokens.set("any", NO_EVENTS)
        at.strike(Kind.STATUS, "boot")
        with pytest.raises(ApiError) as caught:
            await power.boot(at.client, at.linode, PATIENCE)
        assert caught.value.uncertain


async def test_booting_what_runs_already_is_done() -> None:
    async with place() as at:
        await power.boot(at.client, at.linode, PATIENCE)
        at.store.stale.clear()
        await power.boot(at.client, at.linode, PATIENCE)


async def test_a_failure_is_told_with_the_platforms_reason() -> None:
    async with place() as at:
        at.store.timing = replace(at.store.timing, boot_seconds=30)

        async def fail() -> None:
            while at.status != "booting":
                await asyncio.sleep(0.01)
            lifecycle.fail(at.store, at.linode, "no disk to boot from")

        failing = asyncio.create_task(fail())
        with pytest.raises(NotReady, match="linode_boot failed: no disk to boot from"):
            await power.boot(at.client, at.linode, PATIENCE)
        await failing


async def test_work_that_takes_too_long_is_named() -> None:
    async with place() as at:
        at.store.timing = replace(at.store.timing, boot_seconds=30)
        with pytest.raises(NotReady, match="linode_boot is still started"):
            await power.boot(at.client, at.linode, replace(PATIENCE, work_seconds=0.3))
