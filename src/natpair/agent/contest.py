"""Somebody else answers for the VIP: take the clients back at once, and remember who it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from ipaddress import IPv4Address

REMEMBERED_SECONDS = 60.0
_TWICE_SECONDS = 1.7
_MOST_TWICE = 4
_ANSWER_SECONDS = 0.1
"""The least time between two answers: as many frames as an attacker sends would be a flood of our own."""
PEER_SECONDS = 1.0
"""After the peer claimed the VIP: an election is over by then, and a VIP given to the peer by hand is gone."""


def _call_later(seconds: float, what: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, what)


class Twice:
    """Who else has an address of the pair, by ARP: `own` is this node's, `peer` gives the peer's MAC as it tells it."""

    def __init__(self, own: IPv4Address, peer: Callable[[], str]) -> None:
        self._own = own
        self._peer = peer
        self._seen: dict[str, float] = {}

    def seen(self, address: IPv4Address, mac: str) -> None:
        """`mac` speaks as `address`, which is this node's or the peer's; our own frames are not heard."""
        told = self._peer()
        if address == self._own or (told and mac != told):
            self._seen[f"{address} by {mac}"] = time.monotonic()

    def found(self) -> tuple[str, ...]:
        """Address and MAC of those heard lately."""
        now = time.monotonic()
        self._seen = {who: at for who, at in self._seen.items() if now - at < _TWICE_SECONDS}
        return tuple(sorted(self._seen))[:_MOST_TWICE]


class Contest:
    """`claim` sends gratuitous ARP once; `is_ours` says whether this node holds the VIP, `peer` gives its peer's MAC.

    `peer_serves`: the peer claims the role, too.
    """

    def __init__(
        self,
        claim: Callable[[], None],
        is_ours: Callable[[], bool],
        peer: Callable[[], str],
        peer_serves: Callable[[], bool],
        later: Callable[[float, Callable[[], None]], None] = _call_later,
    ) -> None:
        self._claim = claim
        self._is_ours = is_ours
        self._peer = peer
        self._peer_serves = peer_serves
        self._later = later
        self._last: tuple[float, str] = (-REMEMBERED_SECONDS, "")
        self._answered = 0.0
        self._waiting = False

    def seen(self, mac: str) -> None:
        """`mac` claimed the VIP. The peer's claims are a matter of the election, unless it comes to nothing."""
        if not self._is_ours():
            return
        if mac == self._peer():
            if not self._waiting:
                self._waiting = True
                self._later(PEER_SECONDS, self._after_the_peer)
            return
        now = time.monotonic()
        self._last = (now, mac)
        if now - self._answered >= _ANSWER_SECONDS:
            self._answered = now
            self._claim()

    def _after_the_peer(self) -> None:
        self._waiting = False
        if self._is_ours() and not self._peer_serves():
            self._claim()

    def by(self) -> str:
        """Who lately claimed the VIP; empty if nobody did."""
        at, mac = self._last
        return mac if time.monotonic() - at < REMEMBERED_SECONDS else ""
