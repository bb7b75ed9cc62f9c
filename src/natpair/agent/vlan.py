"""ARP on both sides: which clients there are, whether they answer now, and whether the public gateway answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address

from natpair.agent.cell import StateCell
from natpair.agent.contest import Contest, Twice
from natpair.core.events import Event, VlanProbed
from natpair.core.model import Gateway
from natpair.system.arp import ArpPort, Heard

PROBE_SECONDS = 0.020
SEEN_SECONDS = 2.5
"""Seconds for which a client that was heard counts as seen, or four rounds of requests if that is longer."""
_KNOWN_LIMIT = 64
_SHARED = 4
_MACS_KEPT = 4
"""The number of the next hop's answers whose MACs are kept. If two routers share an address, both may answer."""
_FLOOD_FRAMES = 100
_FLOOD_SECONDS = 0.1
"""More frames than that in so short a time are a flood: then nobody reads for as long. A frame costs 13 to 24 us, so
that 1000 a second are 2 % of a core, and a full socket drops the others for nothing."""
GRATUITOUS_TIMES = (0.0, 0.1, 0.3, 1.0)
"""Seconds after which the VIP is claimed: at once, and again for machines that missed the first frame."""


class Vlan:
    """The private side: keeps the clients recently heard by ARP, and asks some of them on demand."""

    def __init__(
        self,
        gateway: Gateway,
        node: str,
        cell: StateCell,
        handle: Callable[[Event], None],
    ) -> None:
        self._node = gateway.node_named(node)
        peer = gateway.peer_of(node)
        self._vip = gateway.pair.vip.ip
        self._network = gateway.private_network
        self._not_clients = {self._vip, self._node.private_address.ip, peer.private_address.ip}
        self._cell = cell
        self._handle = handle
        self.contest = Contest(cell, self.claim_once)
        self.twice = Twice(self._node.private_address.ip, cell)
        self._pair = {self._node.private_address.ip, peer.private_address.ip}
        self._port: ArpPort | None = None
        self._seen_seconds = max(SEEN_SECONDS, 4 * gateway.health.probe_interval_ms / 1000)
        self._turn = 0
        self._clients: dict[IPv4Address, float] = {}
        self._probe: tuple[int, set[IPv4Address], set[IPv4Address]] | None = None
        self._window = (0.0, 0)

    def open(self) -> None:
        """Open the packet socket if it is not open. A missing interface is tried again later."""
        if self._port is None:
            with contextlib.suppress(OSError):
                self._port = ArpPort(self._node.private_interface, self._node.private_address.ip)
                asyncio.get_running_loop().add_reader(self._port.socket.fileno(), self._read)

    def renew(self) -> None:
        """Open the socket again if the interface was replaced, because clients know the VIP by the old MAC."""
        if self._port is None or not self._port.stale:
            return
        asyncio.get_running_loop().remove_reader(self._port.socket.fileno())
        self._port.close()
        self._port = None
        self.open()
        if self._cell.get().claims_active:
            self.claim_vip()

    def clients(self) -> tuple[IPv4Address, ...]:
        """The clients heard most recently, at most four, the latest first."""
        return tuple(list(reversed(self._clients))[:_SHARED])

    def learn(self, addresses: tuple[IPv4Address, ...]) -> None:
        """Add clients that the peer knows. They can be asked although this node has not heard them."""
        for address in addresses:
            if address in self._network and address not in self._not_clients:
                self._clients.setdefault(address, 0.0)
        self._trim()

    def probe(self, nonce: int) -> None:
        """Ask known clients. The core gets the number that answered, at the first answers or after 20 ms."""
        targets = list(reversed(self._clients))[:_SHARED]
        self._probe = (nonce, set(targets), set())
        if self._port is not None:
            self._port.ask(targets)
        asyncio.get_running_loop().call_later(PROBE_SECONDS if targets else 0.0, self._probed, nonce)

    def _probed(self, nonce: int) -> None:
        if self._probe is not None and self._probe[0] == nonce:
            answered = len(self._probe[2])
            self._probe = None
            self._handle(VlanProbed(nonce, answered))

    def claim_vip(self) -> None:
        """Gratuitous ARP for the VIP, a few times, each only if this node still claims to be active.

        Otherwise a node that lost the role in between would take the clients back for some seconds.
        """
        for delay in GRATUITOUS_TIMES:
            asyncio.get_running_loop().call_later(delay, self._claim)

    def _claim(self) -> None:
        if self._cell.get().claims_active:
            self.claim_once()

    @property
    def mac(self) -> str:
        """The private interface's own MAC; empty while there is no such interface."""
        return self._port.mac.hex(":") if self._port is not None else ""

    def claim_once(self) -> None:
        """Gratuitous ARP for the VIP, now."""
        if self._port is not None:
            self._port.claim(self._vip)

    def refresh(self) -> None:
        """Ask known clients from time to time to keep the list current: those heard last, and the others in turn."""
        if self._port is not None:
            self._port.doubt(self._node.private_address.ip)  # does anybody else have our own address?
        if self._port is None or not self._clients:
            return
        asked, half = list(reversed(self._clients)), _SHARED // 2
        if len(asked) > _SHARED:
            latest, others = asked[:half], asked[half:]
            self._turn = (self._turn + half) % len(others)
            asked = latest + [*others, *others][self._turn : self._turn + half]
        self._port.ask(asked)

    def sees(self) -> int | None:
        """How many clients were heard in the last seconds; None while the socket is not open."""
        if self._port is None:
            return None
        since = time.monotonic() - self._seen_seconds
        return sum(heard > since for heard in self._clients.values())

    def _read(self) -> None:
        if self._port is None:
            return
        frames = self._port.heard()
        for heard in frames:
            self._note(heard)
        self._spend(self._port, len(frames))

    def _spend(self, port: ArpPort, frames: int) -> None:
        """Count the frames that were read. If there are too many, `port` is not read for a while."""
        loop = asyncio.get_running_loop()
        since, spent = self._window
        if loop.time() - since > _FLOOD_SECONDS:
            since, spent = loop.time(), 0
        self._window = (since, spent + frames)
        if spent + frames > _FLOOD_FRAMES:
            loop.remove_reader(port.socket.fileno())
            loop.call_later(_FLOOD_SECONDS, self._resume, port)

    def _resume(self, port: ArpPort) -> None:
        if port is self._port:
            asyncio.get_running_loop().add_reader(port.socket.fileno(), self._read)

    def _note(self, heard: Heard) -> None:
        address = heard.address
        if address == self._vip:
            self.contest.seen(heard.mac.hex(":"))
        if address in self._pair:
            self.twice.seen(address, heard.mac.hex(":"))
        if address in self._not_clients or address not in self._network:
            return
        self._clients.pop(address, None)
        self._clients[address] = time.monotonic()
        self._trim()
        if self._probe is not None and address in self._probe[1]:
            self._probe[2].add(address)
            if self._probe[2] == self._probe[1]:
                self._probed(self._probe[0])

    def _trim(self) -> None:
        while len(self._clients) > _KNOWN_LIMIT:
            del self._clients[next(iter(self._clients))]


class GatewayProbe:
    """The public side: whether the next hop answers ARP. It counts as gone after several requests without an answer."""

    def __init__(self, interface: str, address: IPv4Address, failures: int) -> None:
        self._interface = interface
        self._address = address
        self._failures = failures
        self._misses = 0
        """Requests in a row without an answer."""
        self._asked = False
        self._port: ArpPort | None = None
        self._macs: deque[str] = deque(maxlen=_MACS_KEPT)
        self.target: IPv4Address | None = None
        self.mac = b""
        """The target's MAC from its last answer; empty before the first."""

    def ask(self) -> bool:
        """Check the last request and send the next one. True while the gateway counts as reachable."""
        if self._port is not None and self._port.stale:
            # A request that went out on an interface that is gone proves nothing.
            self._port.close()
            self._port, self._asked = None, False
        if self._port is None:
            try:
                self._port = ArpPort(self._interface, self._address)
            except OSError:
                return False
        if self.target is None:
            # Without a known next hop only the link and BGP are checked.
            return True
        answers = [heard.mac for heard in self._port.heard() if heard.address == self.target]
        if answers:
            self._macs.extend(mac.hex(":") for mac in answers)
            self._misses, self.mac = 0, answers[-1]
        elif self._asked:
            self._misses += 1
        self._port.ask([self.target])
        self._asked = True
        return self._misses < self._failures

    @classmethod
    def of(cls, gateway: Gateway, node: str) -> GatewayProbe:
        """The probe of `node`."""
        me = gateway.node_named(node)
        probe = cls(me.public_interface, me.public_address.ip, gateway.health.probe_failures)
        probe.target = gateway.health.public_gateway
        return probe

    def way_out(self) -> tuple[IPv4Address | None, bytes]:
        """The gateway and its MAC, as far as they are known."""
        return self.target, self.mac

    @property
    def next_hop(self) -> tuple[str, frozenset[str]]:
        """The IPv4 next hop, and the MACs that answered for it recently; empty while none is known."""
        return str(self.target or ""), self.macs

    @property
    def macs(self) -> frozenset[str]:
        """The MACs that answered for the next hop recently."""
        return frozenset(self._macs)

    @property
    def suspect(self) -> bool:
        """True if the last request has no answer."""
        return self._misses > 0
