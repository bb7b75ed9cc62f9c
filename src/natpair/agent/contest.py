"""Reacts when another machine answers ARP for the VIP: takes the clients back at once and remembers its MAC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from natpair.agent.cell import StateCell

REMEMBERED_SECONDS = 60.0
_TWICE_SECONDS = 1.7
_MOST_TWICE = 4
_ANSWER_SECONDS = 0.1
"""Seconds between two claims of ours at least. One claim for each frame of an attacker would be a flood."""
PEER_SECONDS = 1.0
"""Seconds after the peer claimed the VIP. By then an election is over, and a VIP set on the peer by hand is removed."""


def _call_later(seconds: float, what: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, what)


class Twice:
    """Which other machines use an address of the pair, by ARP. `own` is this node's; heartbeats carry
    the peer's MAC.
    """

    def __init__(self, own: IPv4Address, cell: StateCell) -> None:
        self._own = own
        self._cell = cell
        self._seen: dict[str, float] = {}

    def seen(self, address: IPv4Address, mac: str) -> None:
        """Record that `mac` uses `address`, which is this node's or the peer's. Our own frames do not arrive here."""
        told = self._cell.get().peer.mac
        if address == self._own or (told and mac != told):
            self._seen[f"{address} by {mac}"] = time.monotonic()

    def found(self) -> tuple[str, ...]:
        """Address and MAC of the machines heard recently."""
        now = time.monotonic()
        self._seen = {who: at for who, at in self._seen.items() if now - at < _TWICE_SECONDS}
        return tuple(sorted(self._seen))[:_MOST_TWICE]


class Contest:
    """`claim` sends gratuitous ARP once; `later` calls a function after so many seconds."""

    def __init__(
        self,
        cell: StateCell,
        claim: Callable[[], None],
        later: Callable[[float, Callable[[], None]], None] = _call_later,
    ) -> None:
        self._cell = cell
        self._claim = claim
        self._later = later
        self._last: tuple[float, str] = (-REMEMBERED_SECONDS, "")
        self._answered = 0.0
        self._waiting = False

    def seen(self, mac: str) -> None:
        """React to `mac` claiming the VIP. A claim of the peer belongs to an election, so it counts only if it does not
        win.
        """
        state = self._cell.get()
        if not state.holds_vip:
            return
        if mac == state.peer.mac:
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
        state = self._cell.get()
        if state.holds_vip and state.peer.active(state.terms, time.monotonic()) is None:
            self._claim()

    def by(self) -> str:
        """The MAC that claimed the VIP recently; empty if none did."""
        at, mac = self._last
        return mac if time.monotonic() - at < REMEMBERED_SECONDS else ""
