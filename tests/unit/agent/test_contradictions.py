"""Which flows have to go, when they are looked for, and that nothing is looked for without a reason."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from natpair.agent import contradictions, journal
from natpair.agent.contradictions import Contradictions
from natpair.errors import CommandFailed

NETWORK = IPv4Network("192.168.1.0/24")
OURS, GONE, OWN = map(IPv4Address, ("192.0.2.221", "192.0.2.222", "203.0.113.3"))


class Table:
    """In place of the kernel's: what the leak guard noted, what was deleted, how often somebody looked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.noted: list[IPv4Address] = []
        self.deleted: list[IPv4Address] = []
        self.looks = 0
        self.broken = False
        monkeypatch.setattr(contradictions.flows, "contradicting", self.contradicting)
        monkeypatch.setattr(contradictions.flows, "delete", self.delete)
        monkeypatch.setattr(contradictions, "_LOOKS_SECONDS", (0.001, 0.001))

    async def contradicting(self) -> tuple[IPv4Address, ...]:
        self.looks += 1
        if self.broken:
            raise CommandFailed(["nft"], 1, "no such table")
        return tuple(self.noted)

    async def delete(self, clients: IPv4Network, translated: IPv4Address) -> int:
        assert clients == NETWORK
        self.deleted.append(translated)
        self.noted = [address for address in self.noted if address != translated]
        return 3


async def rested(table: Table) -> None:
    """Until nobody looks any more."""
    async with asyncio.timeout(5):
        before = -1
        while before != table.looks:
            before = table.looks
            await asyncio.sleep(0.05)


async def test_flows_of_what_was_given_up_go_once_the_new_configuration_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    table, settled, told = Table(monkeypatch), asyncio.Event(), list[object]()
    made = Contradictions(NETWORK, [OURS], lambda *_, **fields: told.append(fields))
    made.given_up = (GONE,)
    running = asyncio.ensure_future(made.run(settled))
    await rested(table)
    assert table.deleted == [], "as long as the old rules hold a deleted flow would come again"
    settled.set()
    await rested(table)
    assert table.deleted == [GONE]
    assert told == [{"step": "flows-deleted", "translated": str(GONE), "count": 3}]
    assert table.looks == 2
    running.cancel()


async def test_what_the_leak_guard_notes_goes_and_an_address_of_ours_never(monkeypatch: pytest.MonkeyPatch) -> None:
    table, settled = Table(monkeypatch), asyncio.Event()
    settled.set()
    made = Contradictions(NETWORK, [OURS], lambda *_, **__: None)
    running = asyncio.ensure_future(made.run(settled))
    await rested(table)
    table.noted = [OWN, OURS, GONE]
    await rested(table)
    assert table.deleted == [], "nobody looks without a reason"
    table.broken = True
    made.look()
    await rested(table)
    table.broken = False
    made.look()
    await rested(table)
    assert table.deleted == [OWN, GONE]
    running.cancel()


async def test_a_flow_that_began_without_rules_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client tries again after a second, and the kernel translates no flow that has begun without."""
    client, asked = IPv4Address("192.168.1.10"), list[int]()

    async def untranslated(most: int, clients: IPv4Network) -> tuple[IPv4Address, ...]:
        asked.append(most)
        return (client,)

    table, settled = Table(monkeypatch), asyncio.Event()
    monkeypatch.setattr(contradictions, "_LOOKS_SECONDS", (60.0,))
    monkeypatch.setattr(contradictions.flows, "untranslated", untranslated)
    settled.set()
    made = Contradictions(NETWORK, [OURS], lambda *_, **__: None)
    running = asyncio.ensure_future(made.run(settled))
    await asyncio.sleep(0.01)
    assert asked == [], "the first look has its time"
    made.look(unguarded=True)
    async with asyncio.timeout(5):
        while not table.deleted:
            await asyncio.sleep(0.01)
    assert table.deleted == [client]
    running.cancel()


def test_what_was_given_up_is_told_by_the_agents_before_of_this_boot(tmp_path: Path) -> None:
    path = str(tmp_path / "fips")
    assert journal.given_up([OURS, GONE], path) == ()
    assert journal.given_up([OURS], path) == (GONE,)
    assert journal.given_up([OURS], path) == ()
    (tmp_path / "fips").write_text("no address")
    assert journal.given_up([OURS], path) == ()
