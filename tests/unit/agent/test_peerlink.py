"""Two links over loopback: only what `core.wire` believes comes through, on either path."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Interface

import pytest

from natpair.agent import peerlink
from natpair.agent.cell import StateCell
from natpair.agent.flow_samples import SyncWatch
from natpair.agent.peerlink import PeerLink, addresses
from natpair.core.events import Event, PeerHeard
from natpair.core.messages import SAMPLE_SIZE, Flow, PeerMessage, Phase
from natpair.core.model import Gateway
from natpair.core.wire import Envelope, Path, Stamp, seal
from nodes import active, says
from samples import gateway

KEY = b"k" * 32
Heard = list[tuple[Path, PeerMessage]]


def on_loopback() -> Gateway:
    """The example with addresses of 127.0.0.0/8, which need no interface, and a port that is free on all of them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", 0))  # noqa: S104 - to find a port that nobody uses on any address
        port = probe.getsockname()[1]
    known = gateway()
    nodes = tuple(
        node.model_copy(
            update={
                "private_address": IPv4Interface(f"127.0.3.{10 + index}/24"),
                "public_address": IPv4Interface(f"127.0.4.{10 + index}/24"),
            }
        )
        for index, node in enumerate(known.node)
    )
    return known.model_copy(update={"node": nodes, "heartbeat": known.heartbeat.model_copy(update={"port": port})})


samples: list[tuple[Flow, ...]] = []


learnt: list[tuple[IPv4Address, ...]] = []


def link(pair: Gateway, me: str, heard: Heard, key: bytes = KEY) -> PeerLink:
    def hear(event: Event) -> None:
        assert isinstance(event, PeerHeard)
        heard.append((event.path, event.message))

    sync = SyncWatch(pair.private_network, StateCell(active()))
    sync.asked = samples.append  # type: ignore[method-assign]
    return PeerLink(pair, me, key, hear, learnt.append, sync, lambda: None)


@asynccontextmanager
async def opened(*links: PeerLink) -> AsyncIterator[None]:
    for one in links:
        one.open()
    try:
        yield
    finally:
        for one in links:
            one.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def a_moment() -> None:
    """Long enough for a datagram on loopback to have been read, had it been one to read."""
    for _ in range(20):
        await asyncio.sleep(0.002)


async def acquaint(ours: PeerLink, theirs: PeerLink, *heards: Heard) -> None:
    async with asyncio.timeout(5):
        while not all(heards):
            ours.send(says(Phase.STANDBY))
            theirs.send(says(Phase.ACTIVE))
            await asyncio.sleep(0.01)
    await a_moment()
    for heard in heards:
        heard.clear()


async def test_messages_come_through_on_both_paths() -> None:
    pair, at_a, at_b = on_loopback(), Heard(), Heard()
    a, b = link(pair, "nat-a", at_a), link(pair, "nat-b", at_b)
    async with opened(a, b):
        await acquaint(a, b, at_a, at_b)
        learnt.clear()
        a.send(says(Phase.ACTIVE, epoch=77, clients=(IPv4Address("192.168.1.101"),)))
        await until(lambda: len(at_b) >= 2)
    assert learnt == [(IPv4Address("192.168.1.101"),)] * 2
    assert {path for path, _ in at_b} == set(Path)
    assert {message.epoch for _, message in at_b} == {77}
    assert (a.rejected, b.rejected) == (0, 0)


async def test_another_key_is_counted_and_not_heard() -> None:
    pair, heard = on_loopback(), Heard()
    a, stranger = link(pair, "nat-a", heard), link(pair, "nat-b", Heard(), key=b"x" * 32)
    async with opened(a, stranger):
        for _ in range(5):
            stranger.send(says(Phase.ACTIVE))
        await until(lambda: a.rejected == 10)
    assert heard == []


async def test_noise_is_counted_and_holds_nobody_up() -> None:
    pair, at_a, at_b = on_loopback(), Heard(), Heard()
    a, b = link(pair, "nat-a", at_a), link(pair, "nat-b", at_b)
    target = (str(addresses(pair, "nat-a")[Path.PUBLIC]), pair.heartbeat.port)
    async with opened(a, b):
        await acquaint(a, b, at_a, at_b)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for number in range(100):
                stranger.sendto(b"\n" * number, target)
        b.send(says(Phase.ACTIVE, epoch=77))
        await until(lambda: len(at_a) == 2)
        assert a.rejected > 0


async def test_recorded_datagrams_are_not_heard_again() -> None:
    """A tap on the public path repeats what it saw, in and out of order."""
    pair, heard = on_loopback(), Heard()
    a = link(pair, "nat-a", heard)
    where = addresses(pair, "nat-b")[Path.PUBLIC]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((str(where), pair.heartbeat.port))
        peer.setblocking(False)
        async with opened(a):
            a.send(says(Phase.STANDBY))
            echo = await own_stamp(peer)
            recorded = [
                seal(KEY, Envelope("nat-b", Stamp("b1", n), Path.PUBLIC, (echo,), says(Phase.ACTIVE)))
                for n in range(10)
            ]
            target = (str(addresses(pair, "nat-a")[Path.PUBLIC]), pair.heartbeat.port)
            for datagram in [*recorded, *recorded, *reversed(recorded)]:
                peer.sendto(datagram, target)
            await until(lambda: len(heard) >= 10)
            await a_moment()
    assert len(heard) == 10


async def own_stamp(peer: socket.socket) -> Stamp:
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(BlockingIOError):
                boot, counter = json.loads(peer.recv(4096).split(b"\n")[0])["stamp"]
                return Stamp(boot, counter)
            await asyncio.sleep(0.005)


async def test_an_older_message_that_was_overtaken_says_nothing_new() -> None:
    """The public path is slower: its message proves the path, the newer one of the private path still holds."""
    pair, heard = on_loopback(), Heard()
    a = link(pair, "nat-a", heard)
    places = addresses(pair, "nat-b")
    targets = addresses(pair, "nat-a")
    with contextlib.ExitStack() as stack:
        sockets = {}
        for path in Path:
            sockets[path] = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sockets[path].bind((str(places[path]), pair.heartbeat.port))
            sockets[path].setblocking(False)
        async with opened(a):
            a.send(says(Phase.STANDBY))
            echo = await own_stamp(sockets[Path.PUBLIC])
            for path, counter, epoch in ((Path.PRIVATE, 5, 50), (Path.PUBLIC, 4, 40), (Path.PUBLIC, 6, 60)):
                envelope = Envelope("nat-b", Stamp("b1", counter), path, (echo,), says(Phase.ACTIVE, epoch=epoch))
                count = len(heard)
                sockets[path].sendto(seal(KEY, envelope), (str(targets[path]), pair.heartbeat.port))
                await until(lambda count=count: len(heard) > count)
    assert [(path, message.epoch) for path, message in heard] == [
        (Path.PRIVATE, 50),
        (Path.PUBLIC, 50),
        (Path.PUBLIC, 60),
    ]


async def test_an_address_that_is_not_there_yet_is_tried_again() -> None:
    pair, heard = on_loopback(), Heard()
    places = addresses(pair, "nat-a")
    a = link(pair, "nat-a", heard)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((str(places[Path.PRIVATE]), pair.heartbeat.port))
        async with opened(a):
            a.send(says(Phase.STANDBY))  # on the one path that there is
    async with opened(a):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late, pytest.raises(OSError, match="in use"):
            late.bind((str(places[Path.PRIVATE]), pair.heartbeat.port))


async def test_a_closed_link_is_silent_and_may_be_opened_again() -> None:
    pair = on_loopback()
    a = link(pair, "nat-a", Heard())
    for _ in range(2):
        async with opened(a):
            a.send(says(Phase.STANDBY))
        a.send(says(Phase.STANDBY))


def test_each_node_listens_on_its_own_two_addresses() -> None:
    known = gateway()
    for node in known.node:
        assert addresses(known, node.name) == {
            Path.PRIVATE: node.private_address.ip,
            Path.PUBLIC: node.public_address.ip,
        }


async def test_a_sample_goes_by_the_private_path_a_few_times_and_is_no_part_of_what_is_remembered() -> None:
    samples.clear()
    flow = Flow(6, IPv4Address("192.168.1.101"), 40000, IPv4Address("198.51.100.10"), 443)
    pair, at_a, at_b = on_loopback(), Heard(), Heard()
    a, b = link(pair, "nat-a", at_a), link(pair, "nat-b", at_b)
    async with opened(a, b):
        await acquaint(a, b, at_a, at_b)
        a._sync.attach((flow,) * SAMPLE_SIZE)
        for _ in range(5):
            a.send(says(Phase.ACTIVE))
        await until(lambda: len(at_b) >= 10)
    assert samples == [(flow,) * SAMPLE_SIZE] * 2
    assert all(message.sample == () for _, message in at_b)


async def test_only_a_message_with_a_sample_may_be_fragmented() -> None:
    """It is longer than a frame of the VLAN: with DF set it would never leave. Loopback has no such frames."""
    flow = Flow(6, IPv4Address("192.168.1.101"), 40000, IPv4Address("198.51.100.10"), 443)
    a = link(on_loopback(), "nat-a", Heard())
    async with opened(a):

        def forbids_fragments() -> bool:
            a.send(says(Phase.ACTIVE))
            return a._sockets[Path.PRIVATE].getsockopt(socket.IPPROTO_IP, 10) == 3

        assert forbids_fragments()
        a._sync.attach((flow,) * SAMPLE_SIZE)
        assert not forbids_fragments()
        assert not forbids_fragments()
        assert forbids_fragments(), "the sample is sent twice"


async def test_a_peer_that_speaks_another_version_is_named_as_long_as_it_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair, heard = on_loopback(), Heard()
    a = link(pair, "nat-a", heard)
    line = b'{"v":2,"anything":"else"}'
    target = (str(addresses(pair, "nat-a")[Path.PUBLIC]), pair.heartbeat.port)
    async with opened(a):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(line + b"\n" + b"0" * 64, target)
            await until(lambda: a.rejected == 1)
            assert a.foreign_version is None, "anybody could have sent that"
            udp.sendto(line + b"\n" + hmac.new(KEY, line, hashlib.sha256).hexdigest().encode(), target)
            await until(lambda: a.rejected == 2)
        assert a.foreign_version == 2
        monkeypatch.setattr(peerlink, "_FOREIGN_SECONDS", 0.0)
        assert a.foreign_version is None
    assert heard == []


async def test_a_heartbeat_of_full_size_goes_over_the_vlan_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peerlink.links, "mtu", lambda _: 1500)
    pair, sizes = on_loopback(), list[int]()
    real = peerlink.unseal
    monkeypatch.setattr(peerlink, "unseal", lambda key, data: sizes.append(len(data)) or real(key, data))
    ours, theirs = link(pair, "nat-a", []), link(pair, "nat-b", (heard := Heard()))
    async with opened(ours, theirs):
        for _ in range(3):
            ours.send(says(Phase.STANDBY))
            theirs.send(says(Phase.STANDBY))
            await a_moment()
        assert heard
    assert sizes.count(1500 - 28) == 2, "one of each"
    assert max(sizes) == 1500 - 28


async def test_large_heartbeats_that_do_not_come_are_told_while_small_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peerlink.links, "mtu", lambda _: 1500)
    monkeypatch.setattr(peerlink, "_FILL_SECONDS", 0.0)
    pair, news = on_loopback(), list[bool]()
    ours = link(pair, "nat-a", (heard := Heard()))
    theirs = link(pair, "nat-b", Heard())
    ours._on_news = lambda: news.append(ours.large_lost)
    async with opened(ours, theirs):
        await acquaint(ours, theirs, heard)
        theirs.send(says(Phase.STANDBY))
        await a_moment()
        assert not ours.large_lost
        monkeypatch.setattr(peerlink.links, "mtu", lambda _: 70_000)  # more than a datagram holds: nothing is sent
        monkeypatch.setattr(peerlink, "MAX_DATAGRAM", 70_000)
        for _ in range(4):
            theirs.send(says(Phase.STANDBY))
        monkeypatch.setattr(peerlink, "_FILL_SECONDS", 60.0)
        theirs.send(says(Phase.STANDBY))
        await until(lambda: ours.large_lost)
        monkeypatch.setattr(peerlink, "_FILL_SECONDS", 0.0)
        monkeypatch.setattr(peerlink.links, "mtu", lambda _: 1500)
        monkeypatch.setattr(peerlink, "MAX_DATAGRAM", 9216)
        theirs.send(says(Phase.STANDBY))
        await until(lambda: not ours.large_lost)
    assert news == [True, False]
