"""The heartbeat sockets: one UDP socket on each path. Sends sealed messages and passes on verified ones."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from natpair.agent.flow_samples import SyncWatch
from natpair.core.events import Event, PeerHeard
from natpair.core.messages import PeerMessage
from natpair.core.model import Gateway
from natpair.core.wire import (
    MAX_DATAGRAM,
    BadSeal,
    Envelope,
    OtherVersion,
    Path,
    Session,
    Stamp,
    WireError,
    receive,
    seal,
    unseal,
)
from natpair.system import links

_BURST = 64
"""Datagrams read at once: enough for a backlog, too few for a flood to starve the loop."""
_UNVERIFIED = 4
_UNVERIFIED_SECONDS = 2.5
"""The number of datagrams that do not verify, and the seconds, from which on the keys are reported as different."""
_FILL_SECONDS = 0.45
"""Seconds between two full-size heartbeats on the VLAN. They are as large as the interface's MTU allows."""
_FILLED_LOST = 4
"""The number of full-size heartbeats lost in a row, while small ones arrive, that is no accident."""
_HEADERS = 28
"""Bytes of the IPv4 and UDP headers."""
_FILL_KEY = len(',"fill":""')
_IP_MTU_DISCOVER, _DONT, _PROBE = 10, 0, 3
"""linux/in.h: IP_PMTUDISC_PROBE sets DF, whatever the kernel believes of the path; IP_PMTUDISC_DONT fragments."""
_FOREIGN_SECONDS = 3.0
"""Seconds after which a foreign protocol version that is not heard any more is forgotten."""


def addresses(gateway: Gateway, node: str) -> Mapping[Path, IPv4Address]:
    """Where the agent of `node` listens on each path."""
    found = gateway.node_named(node)
    return {Path.PRIVATE: found.private_address.ip, Path.PUBLIC: found.public_address.ip}


class PeerLink:
    """Sends and receives on both paths. `handle` gets only messages that `core.wire` accepts.

    `learn` gets the clients that the peer knows of. `sync` has the samples to send, and gets those of the peer.
    """

    def __init__(
        self,
        gateway: Gateway,
        me: str,
        key: bytes,
        handle: Callable[[Event], None],
        learn: Callable[[tuple[IPv4Address, ...]], None],
        sync: SyncWatch,
        on_news: Callable[[], None],
    ) -> None:
        self._key = key
        self._me = me
        self._port = gateway.heartbeat.port
        self._own = addresses(gateway, me)
        self._peers = addresses(gateway, gateway.peer_of(me).name)
        self._handle = handle
        self._learn = learn
        self._sync = sync
        self._on_news = on_news
        self._told = (False, False)
        self._session = Session(own=Stamp(secrets.token_hex(8), 0), peer=gateway.peer_of(me).name)
        self._sockets: dict[Path, socket.socket] = {}
        self._latest: PeerMessage | None = None
        self._foreign: tuple[float, int] = (-_FOREIGN_SECONDS, 0)
        self._unverified: deque[float] = deque(maxlen=_UNVERIFIED)
        self._clock_ahead = 0.0
        self._private = gateway.node_named(me).private_interface
        self._filled_at = 0.0
        self._filled = 0
        self._heard_filled: int | None = None
        self._missed = 0
        self.rejected = 0

    def open(self) -> None:
        """Open the sockets that are not open. A missing address is tried again at the next call."""
        for path in Path:
            if path not in self._sockets:
                with contextlib.suppress(OSError):
                    self._sockets[path] = self._bound(path)

    def _bound(self, path: Path) -> socket.socket:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            udp.bind((str(self._own[path]), self._port))
        except OSError:
            udp.close()
            raise
        asyncio.get_running_loop().add_reader(udp.fileno(), self._read, path)
        return udp

    def send(self, message: PeerMessage) -> None:
        """Send `message` on every path that takes it."""
        for path, udp in self._sockets.items():
            self._session = self._session.next_stamp()
            body = message
            if path is Path.PRIVATE and (sample := self._sync.next_sample()):
                body = message.model_copy(update={"sample": sample})
            envelope = Envelope(self._me, self._session.own, path, self._session.echoes, body, time.time())
            if path is Path.PRIVATE:
                envelope = self._sized(envelope)
                # A message with a sample is longer than a frame. With DF set the kernel would not send it.
                whole = _DONT if envelope.message.sample else _PROBE
                udp.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, whole)
            with contextlib.suppress(OSError):
                udp.sendto(seal(self._key, envelope), (str(self._peers[path]), self._port))

    def _sized(self, envelope: Envelope) -> Envelope:
        """`envelope`, padded to full size if that is due."""
        now = time.monotonic()
        if envelope.message.sample or now - self._filled_at < _FILL_SECONDS:
            return replace(envelope, filled=self._filled)
        self._filled_at = now
        self._filled += 1
        counted = replace(envelope, filled=self._filled)
        size = min(links.mtu(self._private) - _HEADERS, MAX_DATAGRAM)
        return replace(counted, fill=max(0, size - len(seal(self._key, counted)) - _FILL_KEY))

    def _read(self, path: Path) -> None:
        for _ in range(_BURST):
            try:
                datagram, sender = self._sockets[path].recvfrom(2 * MAX_DATAGRAM)
            except OSError:
                return
            try:
                envelope = unseal(self._key, datagram)
            except WireError as error:
                self.rejected += 1
                if isinstance(error, OtherVersion):
                    self._foreign = (time.monotonic(), error.version)
                elif isinstance(error, BadSeal) and sender[0] == str(self._peers[path]):
                    self._unverified.append(time.monotonic())
                    self._tell()
                continue
            newest = max(self._session.seen.values(), default=-1)
            known = self._session.trusted
            self._session, believed = receive(self._session, envelope, path)
            if not believed:
                continue
            self._unverified.clear()
            self._clock_ahead = time.time() - envelope.wall if envelope.wall else 0.0
            if path is Path.PRIVATE:
                self._note_size(envelope, anew=self._session.trusted != known)
            self._tell()
            if envelope.message.sample:
                self._sync.asked(envelope.message.sample)
                envelope = replace(envelope, message=envelope.message.model_copy(update={"sample": ()}))
            # One path may be faster than the other. An older message proves that its path works, but has no news.
            if self._latest is None or envelope.stamp.counter > newest or self._session.trusted != known:
                self._latest = envelope.message
            self._learn(self._latest.clients)
            self._handle(PeerHeard(path, self._latest))

    def _tell(self) -> None:
        """Call `on_news` if a result of these checks has changed."""
        found = (self.keys_differ, self.large_lost)
        if found != self._told:
            self._told = found
            self._on_news()

    def _note_size(self, envelope: Envelope, *, anew: bool) -> None:
        """Count the full-size heartbeats that the peer has sent and that have not arrived."""
        if envelope.fill or anew or self._heard_filled is None:
            self._heard_filled = envelope.filled
        self._missed = envelope.filled - self._heard_filled

    @property
    def large_lost(self) -> bool:
        """True if several full-size heartbeats in a row did not arrive over the VLAN although small ones did."""
        return self._missed >= _FILLED_LOST

    @property
    def foreign_version(self) -> int | None:
        """The other protocol version that a sender with the pair's key used recently; None if there was none."""
        at, version = self._foreign
        return version if time.monotonic() - at < _FOREIGN_SECONDS else None

    @property
    def keys_differ(self) -> bool:
        """True if datagrams arrive from the peer's address and none of them verifies."""
        enough = len(self._unverified) == _UNVERIFIED
        return enough and time.monotonic() - self._unverified[0] < _UNVERIFIED_SECONDS

    @property
    def clock_ahead(self) -> float:
        """Seconds that our clock is ahead of the peer's, from its last message."""
        return self._clock_ahead

    def close(self) -> None:
        """Close both sockets."""
        for udp in self._sockets.values():
            asyncio.get_running_loop().remove_reader(udp.fileno())
            udp.close()
        self._sockets.clear()
