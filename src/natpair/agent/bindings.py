"""Reloads Keepalived if the interface that it is bound to has been replaced by a new one with the same name.

Keepalived 2.2.7 notices that its interface was deleted and created again, and that it is up. But it opens its sockets
only once. So it enters BACKUP, receives no adverts and never takes over. A reload reopens them and keeps the role.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from natpair.agent.cell import StateCell
from natpair.apply import reload
from natpair.core.binding import ENDS_AFTER, Binding, Ear, is_deaf, is_due, listened, looked, told
from natpair.core.messages import Phase, VrrpRole
from natpair.core.model import Gateway
from natpair.system import links
from natpair.system.keepalived import VrrpDump

SETTLED = frozenset({Phase.BOOTING, Phase.STANDBY, Phase.REFUSED, Phase.ACTIVE, Phase.FAULT, Phase.DRAINED})
"""Phases in which a reload disturbs no takeover and no handover."""

Report = Callable[..., None]


class Bindings:
    """Reloads Keepalived only in phases in which that disturbs no takeover. `report` writes the event log."""

    def __init__(self, gateway: Gateway, node: str, cell: StateCell, report: Report) -> None:
        me = gateway.node_named(node)
        self._interface, self._address = me.private_interface, me.private_address.ip
        self._down_seconds = gateway.timing.advert_ms * gateway.timing.down_after / 1000
        self._cell = cell
        self._report = report
        # At its start the agent assumes that Keepalived is bound correctly. If not, `is_deaf` finds out.
        self._binding = Binding(links.identity(self._interface))
        self._ear: Ear | None = None
        self._deaf_looks = 0

    def look(self) -> None:
        """Reload Keepalived if its interface was replaced. Called on each kernel notice, and periodically."""
        found, now = links.identity(self._interface), time.monotonic()
        usable = found != self._binding.told and links.is_local(self._address)
        self._binding = looked(self._binding, found, usable=usable)
        if found is None or not is_due(self._binding, now) or self._cell.get().phase not in SETTLED:
            return
        before, self._binding = self._binding.told, told(self._binding, found, now)
        self._tell("another interface", interface=self._interface, before=str(before), after=str(found))

    def deaf(self, dump: VrrpDump) -> bool:
        """Check Keepalived's counters. True while it receives no adverts although it should; it is then reloaded or
        ended.
        """
        ear = Ear(time.monotonic(), dump.role is VrrpRole.BACKUP, dump.adverts_received)
        if self._ear is not None and ear.heard != self._ear.heard:
            self._deaf_looks = 0
        self._ear = listened(self._ear, ear)
        if not is_deaf(self._ear, ear, self._down_seconds):
            return False
        if self._cell.get().phase in SETTLED:
            self._help(ear)
        return True

    def _help(self, ear: Ear) -> None:
        self._deaf_looks += 1
        self._ear = ear  # what it hears is counted anew from here on
        if self._deaf_looks <= ENDS_AFTER:
            self._tell("deaf", interface=self._interface)
        elif (pid := reload.keepalived_pid()) is not None:
            self._report("step", step="keepalived-ended-for-deafness")
            os.kill(pid, signal.SIGTERM)

    def _tell(self, why: str, **more: object) -> None:
        self._report("step", step="keepalived-reloaded", why=why, **more)
        reload.perform(reload.Step.KEEPALIVED)
