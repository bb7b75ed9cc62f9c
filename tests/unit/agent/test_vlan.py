"""Which clients there are, whether they answer, whether the gateway does: with a port that plays the wire."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address

import pytest

from natpair.agent import vlan
from natpair.agent.cell import StateCell
from natpair.agent.vlan import PROBE_SECONDS, GatewayProbe, Vlan
from natpair.core.events import Event, VlanProbed
from natpair.core.state import NodeState
from natpair.system.arp import Heard
from nodes import active, standby
from samples import gateway

CLIENTS = [IPv4Address(f"192.168.1.{n}") for n in range(101, 111)]
VIP, OURS, PEERS = (IPv4Address(f"192.168.1.{n}") for n in (1, 3, 4))
MAC = b"\x02aaaaa"


class Wire:
    """In place of an `ArpPort`: `answering` addresses reply, `asked` and `claimed` are kept."""

    def __init__(self, interface: str, address: IPv4Address) -> None:
        self.socket, self._poke = socket.socketpair(type=socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.asked: list[IPv4Address] = []
        self.claimed: list[IPv4Address] = []
        self.stale = False
        self.closed = False
        self.mac = MAC
        self.answering: set[IPv4Address] = set()
        self._waiting: list[Heard] = []
        wires[interface] = self

    def doubt(self, address: IPv4Address) -> None:
        self.doubted = address

    def ask(self, targets: Iterable[IPv4Address]) -> None:
        asked = list(targets)
        self.asked += asked
        self.say(*[target for target in asked if target in self.answering], reply=True)

    def say(self, *senders: IPv4Address, reply: bool = False) -> None:
        self._waiting += [Heard(sender, self.mac, reply) for sender in senders]
        self._poke.send(b"!")

    def claim(self, vip: IPv4Address) -> None:
        self.claimed.append(vip)

    def close(self) -> None:
        self.closed = True

    def heard(self) -> list[Heard]:
        try:
            while self.socket.recv(10):
                pass
        except BlockingIOError:
            pass
        waiting, self._waiting = self._waiting, []
        return waiting


wires: dict[str, Wire] = {}


@pytest.fixture(autouse=True)
def _ports(monkeypatch: pytest.MonkeyPatch) -> None:
    wires.clear()
    monkeypatch.setattr(vlan, "ArpPort", Wire)


class Probed:
    """Collects what probes found."""

    def __init__(self) -> None:
        self.results: list[tuple[int, int]] = []
        self.cell = StateCell(active())
        self.vlan = Vlan(gateway(), "nat-a", self.cell, self._handle)
        self.vlan.open()

    def _handle(self, event: Event) -> None:
        assert isinstance(event, VlanProbed)
        self.results.append((event.nonce, event.answers))

    @property
    def wire(self) -> Wire:
        return wires["eth1"]

    async def hear(self, *senders: IPv4Address) -> None:
        self.wire.say(*senders)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def result(self) -> tuple[int, int]:
        async with asyncio.timeout(5):
            while not self.results:
                await asyncio.sleep(0.001)
        return self.results.pop()


async def test_clients_are_who_was_heard_the_latest_first_at_most_four() -> None:
    probed = Probed()
    await probed.hear(*CLIENTS[:6])
    assert probed.vlan.clients() == tuple(reversed(CLIENTS[2:6]))
    await probed.hear(CLIENTS[0])
    assert probed.vlan.clients()[0] == CLIENTS[0]


@pytest.mark.parametrize("stranger", [VIP, OURS, PEERS, IPv4Address("10.0.0.1")])
async def test_nodes_and_strangers_are_no_clients(stranger: IPv4Address) -> None:
    probed = Probed()
    await probed.hear(stranger)
    probed.vlan.learn((stranger,))
    assert probed.vlan.clients() == ()


async def test_what_the_peer_knows_is_good_to_ask_and_comes_last() -> None:
    probed = Probed()
    await probed.hear(CLIENTS[0])
    probed.vlan.learn((CLIENTS[1], CLIENTS[0]))
    probed.vlan.probe(3)
    assert set(probed.wire.asked) == {CLIENTS[0], CLIENTS[1]}


async def test_the_list_does_not_grow_for_ever() -> None:
    probed = Probed()
    for third in range(4):
        probed.vlan.learn(tuple(IPv4Address(f"192.168.1.{n}") for n in range(third * 60 + 5, third * 60 + 65)))
    assert len(probed.vlan._clients) <= 64


async def test_a_probe_ends_with_the_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlan, "PROBE_SECONDS", 20.0)  # the usual 20 ms pass on a busy machine while nothing happens
    probed = Probed()
    await probed.hear(*CLIENTS[:3])
    probed.wire.answering = set(CLIENTS[:3])
    began = asyncio.get_running_loop().time()
    probed.vlan.probe(5)
    assert await probed.result() == (5, 3)
    assert asyncio.get_running_loop().time() - began < 10


async def test_a_probe_that_is_not_answered_ends_in_time() -> None:
    probed = Probed()
    await probed.hear(*CLIENTS[:3])
    probed.wire.answering = {CLIENTS[1]}
    probed.vlan.probe(5)
    assert await probed.result() == (5, 1)


async def test_without_clients_a_probe_finds_nothing_at_once() -> None:
    probed = Probed()
    probed.vlan.probe(5)
    assert probed.results == [], "but never inside the step that asked for it"
    assert await probed.result() == (5, 0)


async def test_a_newer_probe_replaces_the_older() -> None:
    probed = Probed()
    await probed.hear(CLIENTS[0])
    probed.vlan.probe(5)
    probed.vlan.probe(7)
    assert await probed.result() == (7, 0)
    await asyncio.sleep(2 * PROBE_SECONDS)
    assert probed.results == []


async def test_the_vip_is_claimed_at_once_and_again() -> None:
    probed = Probed()
    probed.vlan.claim_vip()
    async with asyncio.timeout(5):
        while len(probed.wire.claimed) < 4:
            await asyncio.sleep(0.01)
    assert set(probed.wire.claimed) == {VIP}


async def test_a_node_that_was_demoted_claims_the_vip_no_more() -> None:
    probed = Probed()
    probed.vlan.claim_vip()
    async with asyncio.timeout(5):
        while not probed.wire.claimed:
            await asyncio.sleep(0)
    probed.cell.put(standby())
    await asyncio.sleep(0.5)
    assert probed.wire.claimed == [VIP], "the claims that were still to come are not made"


async def test_known_clients_are_asked_now_and_then_so_that_the_list_stays_true() -> None:
    probed = Probed()
    probed.vlan.refresh()
    assert probed.wire.asked == []
    await probed.hear(CLIENTS[0])
    probed.vlan.refresh()
    assert probed.wire.asked == [CLIENTS[0]]


async def test_beyond_four_known_clients_the_others_are_asked_in_turn() -> None:
    """Else four that are gone for good would hide all that are there."""
    probed = Probed()
    await probed.hear(*CLIENTS)
    for _ in range(8):
        probed.vlan.refresh()
    assert set(probed.wire.asked) == set(CLIENTS)


async def test_whoever_was_heard_in_the_last_seconds_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    probed, now = Probed(), [1000.0]
    monkeypatch.setattr(vlan.time, "monotonic", lambda: now[0])
    assert probed.vlan.sees() == 0
    await probed.hear(*CLIENTS[:2])
    probed.vlan.learn((CLIENTS[5],))
    assert probed.vlan.sees() == 2, "not one that only the peer has heard"
    now[0] += vlan.SEEN_SECONDS - 0.1
    await probed.hear(CLIENTS[0])
    now[0] += 0.2
    assert probed.vlan.sees() == 1
    now[0] += vlan.SEEN_SECONDS
    assert probed.vlan.sees() == 0


async def test_without_an_interface_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(interface: str, address: IPv4Address) -> Wire:
        raise OSError

    monkeypatch.setattr(vlan, "ArpPort", missing)
    probed = Probed()
    probed.vlan.learn((CLIENTS[0],))
    probed.vlan.refresh()
    probed.vlan.claim_vip()
    probed.vlan.probe(5)
    assert await probed.result() == (5, 0)
    assert probed.vlan.sees() is None, "no evidence, not none seen"
    assert not GatewayProbe("eth0", OURS, 3).ask()
    monkeypatch.setattr(vlan, "ArpPort", Wire)
    probed.vlan.open()
    probed.vlan.refresh()
    assert probed.wire.asked == [CLIENTS[0]], "it is opened when it has come"


ROUTER = IPv4Address("203.0.113.1")


def gateway_probe(failures: int = 3) -> tuple[GatewayProbe, list[bool]]:
    probe = GatewayProbe("eth0", IPv4Address("203.0.113.3"), failures)
    probe.target = ROUTER
    return probe, [probe.ask()]


def test_a_gateway_must_miss_several_times_to_count_as_gone() -> None:
    probe, seen = gateway_probe()
    seen += [probe.ask() for _ in range(4)]
    assert seen == [True, True, True, False, False]


def test_one_answer_and_it_is_back() -> None:
    probe, _ = gateway_probe()
    for _ in range(5):
        probe.ask()
    wires["eth0"].answering = {ROUTER}
    assert not probe.ask()
    assert probe.ask()


def test_answers_of_others_do_not_count() -> None:
    probe, _ = gateway_probe(failures=1)
    wires["eth0"].say(IPv4Address("203.0.113.77"), reply=True)
    assert not probe.ask()


def test_it_knows_who_answered_lately_and_forgets_who_no_longer_does() -> None:
    probe, _ = gateway_probe()
    assert probe.macs == frozenset()
    wires["eth0"].say(IPv4Address("203.0.113.77"), reply=True)
    probe.ask()
    assert probe.macs == frozenset(), "somebody else"
    wires["eth0"].say(ROUTER, reply=True)
    probe.ask()
    assert probe.macs == {MAC.hex(":")}
    wires["eth0"].mac = b"\x02bbbbb"
    for _ in range(4):
        wires["eth0"].say(ROUTER, reply=True)
        probe.ask()
    assert probe.macs == {b"\x02bbbbb".hex(":")}


def test_without_a_next_hop_link_and_bgp_have_to_do() -> None:
    probe = GatewayProbe("eth0", IPv4Address("203.0.113.3"), 1)
    assert [probe.ask() for _ in range(5)] == [True] * 5
    assert wires["eth0"].asked == []


@pytest.mark.parametrize(("state", "claims"), [(active(), 1), (standby(), 0)], ids=["active", "standby"])
async def test_an_interface_that_is_another_one_by_now_gets_a_socket_of_its_own(state: NodeState, claims: int) -> None:
    """Clients know the VIP under the old MAC, so an active node claims it."""
    probed = Probed()
    probed.cell.put(state)
    first = probed.wire
    probed.vlan.renew()
    assert probed.wire is first
    first.stale = True
    probed.vlan.renew()
    assert first.closed
    assert probed.wire is not first
    await asyncio.sleep(0.01)
    assert len(probed.wire.claimed) == claims
    await probed.hear(CLIENTS[0])
    assert probed.vlan.clients() == (CLIENTS[0],)


def test_a_gateway_is_asked_by_way_of_the_interface_that_is_there_now() -> None:
    probe, _ = gateway_probe(failures=2)
    assert probe.ask()  # one question unanswered
    first = wires["eth0"]
    first.stale = True
    assert probe.ask(), "nobody heard what was asked by way of the old one: it does not count"
    assert first.closed
    wires["eth0"].answering = {ROUTER}
    probe.ask()
    assert probe.ask()
    assert not probe.suspect


async def test_a_flood_of_arp_is_read_at_a_rate_and_then_the_clients_are_heard_again() -> None:
    probed = Probed()
    for _ in range(3):
        await probed.hear(*CLIENTS * 20)
    assert len(probed.wire.heard()) == 400, "after the first 200 frames nobody reads for a while"
    probed.wire.say(CLIENTS[4])
    async with asyncio.timeout(5):
        while probed.vlan.clients()[0] != CLIENTS[4]:
            await asyncio.sleep(0.01)
    await probed.hear(CLIENTS[5])
    assert probed.vlan.clients()[0] == CLIENTS[5], "few frames are read at once"
