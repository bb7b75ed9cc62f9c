"""Somebody else answers for the VIP: take the clients back at once, and remember who it was."""

from __future__ import annotations

import time
from collections.abc import Callable

REMEMBERED_SECONDS = 60.0
_ANSWER_SECONDS = 0.1
"""The least time between two answers: as many frames as an attacker sends would be a flood of our own."""


class Contest:
    """`claim` sends gratuitous ARP once; `is_ours` says whether this node holds the role, `peer` gives its MAC."""

    def __init__(self, claim: Callable[[], None], is_ours: Callable[[], bool], peer: Callable[[], str]) -> None:
        self._claim = claim
        self._is_ours = is_ours
        self._peer = peer
        self._last: tuple[float, str] = (-REMEMBERED_SECONDS, "")
        self._answered = 0.0

    def seen(self, mac: str) -> None:
        """`mac` claimed the VIP. The peer's claims are a matter of the election, not of this."""
        if not self._is_ours() or mac == self._peer():
            return
        now = time.monotonic()
        self._last = (now, mac)
        if now - self._answered >= _ANSWER_SECONDS:
            self._answered = now
            self._claim()

    def by(self) -> str:
        """Who lately claimed the VIP; empty if nobody did."""
        at, mac = self._last
        return mac if time.monotonic() - at < REMEMBERED_SECONDS else ""
