"""The heartbeat sockets: one UDP socket on each path, sealed messages out, believed messages in."""

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
"""Datagrams read in one go: enough for a backlog, not enough for a flood to starve the loop."""
_UNVERIFIED = 4
_UNVERIFIED_SECONDS = 2.5
"""So many datagrams that do not verify within so long are no stray one."""
_FILL_SECONDS = 0.45
"""A heartbeat on the VLAN is as large as the interface's MTU allows so often."""
_FILLED_LOST = 4
"""So many of them lost in a row, while small ones come, are no chance."""
_HEADERS = 28
"""IPv4 and UDP."""
_FILL_KEY = len(',"fill":""')
_IP_MTU_DISCOVER, _DONT, _PROBE = 10, 0, 3
"""linux/in.h: IP_PMTUDISC_PROBE sets DF, whatever the kernel believes of the path; IP_PMTUDISC_DONT fragments."""
_FOREIGN_SECONDS = 3.0
"""A version that was not heard for so long is not spoken any more."""


def addresses(gateway: Gateway, node: str) -> Mapping[Path, IPv4Address]:
    """Where the agent of `node` listens on each path."""
    found = gateway.node_named(node)
    return {Path.PRIVATE: found.private_address.ip, Path.PUBLIC: found.public_address.ip}


class PeerLink:
    """Speaks and listens on both paths. `handle` gets only what `core.wire` believes.

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
        """Open what is not open yet. An address that is not there (yet) is tried again at the next call."""
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
                # A message with a sample is longer than a frame: with DF set the kernel would refuse to send it.
                whole = _DONT if envelope.message.sample else _PROBE
                udp.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, whole)
            with contextlib.suppress(OSError):
                udp.sendto(seal(self._key, envelope), (str(self._peers[path]), self._port))

    def _sized(self, envelope: Envelope) -> Envelope:
        """`envelope`, filled up if it is time for one of full size."""
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
            # The paths overtake each other: an older message proves the path, and says nothing new.
            if self._latest is None or envelope.stamp.counter > newest or self._session.trusted != known:
                self._latest = envelope.message
            self._learn(self._latest.clients)
            self._handle(PeerHeard(path, self._latest))

    def _tell(self) -> None:
        """Call `on_news` when what is checked here has changed."""
        found = (self.keys_differ, self.large_lost)
        if found != self._told:
            self._told = found
            self._on_news()

    def _note_size(self, envelope: Envelope, *, anew: bool) -> None:
        """Count the heartbeats of full size that the peer has sent and that have not come."""
        if envelope.fill or anew or self._heard_filled is None:
            self._heard_filled = envelope.filled
        self._missed = envelope.filled - self._heard_filled

    @property
    def large_lost(self) -> bool:
        """Several heartbeats of full size in a row did not come over the VLAN, and small ones did."""
        return self._missed >= _FILLED_LOST

    @property
    def foreign_version(self) -> int | None:
        """The other version of the protocol that somebody with the pair's key speaks; None if nobody lately did."""
        at, version = self._foreign
        return version if time.monotonic() - at < _FOREIGN_SECONDS else None

    @property
    def keys_differ(self) -> bool:
        """Datagrams of the peer's address come, do not verify, and none has in between."""
        enough = len(self._unverified) == _UNVERIFIED
        return enough and time.monotonic() - self._unverified[0] < _UNVERIFIED_SECONDS

    @property
    def clock_ahead(self) -> float:
        """Seconds that our clock is ahead of the peer's, to go by what it said last."""
        return self._clock_ahead

    def close(self) -> None:
        """Close both sockets."""
        for udp in self._sockets.values():
            asyncio.get_running_loop().remove_reader(udp.fileno())
            udp.close()
        self._sockets.clear()
