"""Passes the kernel's notices to the parts that depend on them. Each beat opens missing sockets and sends a
heartbeat."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from natpair.agent.bindings import Bindings
from natpair.agent.lookout import Lookout
from natpair.agent.peerlink import PeerLink
from natpair.agent.reconciler import Reconciler
from natpair.agent.repairer import Repairer, Repairs
from natpair.agent.sources import Sources
from natpair.agent.vlan import Vlan
from natpair.system import links

_LOOK_SECONDS = 0.5


class Notices:
    """The parts that depend on interfaces, addresses and the ruleset. `speak` sends a message to the peer."""

    def __init__(
        self,
        link: PeerLink,
        vlan: Vlan,
        bindings: Bindings,
        sources: Sources,
        lookout: Lookout,
        reconciler: Reconciler,
        repairer: Repairer,
        repairs: Repairs,
        speak: Callable[[], None],
    ) -> None:
        self._link = link
        self._vlan = vlan
        self._bindings = bindings
        self._sources = sources
        self._lookout = lookout
        self._reconciler = reconciler
        self._repairer = repairer
        self._repairs = repairs
        self._speak = speak
        self._looked_at = 0.0

    def watch(self) -> None:
        """Listen for kernel notices in the running loop."""
        loop = asyncio.get_running_loop()
        link_notices, rule_notices = links.notice_sockets()
        loop.add_reader(link_notices.fileno(), self._on_links, link_notices)
        loop.add_reader(rule_notices.fileno(), self._on_rules, rule_notices)

    def beat(self) -> None:
        """Open sockets that are not open, and send a heartbeat to the peer."""
        # An interface may appear late or come back. Opening an open socket costs nothing.
        self._link.open()
        self._vlan.open()
        # The kernel sends a notice, too. This is for a notice that was lost.
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._look_at_interfaces()
        self._speak()

    def _look_at_interfaces(self) -> None:
        self._looked_at = time.monotonic()
        self._bindings.look()
        self._vlan.renew()

    def _on_links(self, notices: socket.socket) -> None:
        links.drain(notices)
        self._look_at_interfaces()
        self._sources.wake()
        self._sources.look_at_vip.set()
        self._lookout.addresses_changed()
        self._reconciler.look_again()
        self._repairer.wake()

    def _on_rules(self, notices: socket.socket) -> None:
        self._repairs.authors = links.ruleset_authors(links.drain(notices))
        self._reconciler.look_again()
        self._repairer.wake_for_rules()
