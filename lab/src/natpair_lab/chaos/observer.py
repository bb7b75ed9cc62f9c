"""The observer: records from outside who has the VIP, what the route servers hold, who has which flows.

It reads kernels in their network namespaces and route servers through their own sockets. It also asks the agents, but
only to compare their answers with the rest.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from natpair.core.model import Gateway
from natpair.core.paths import AGENT_SOCKET
from natpair.errors import CommandFailed, LabError
from natpair.system import agentsocket
from natpair.system.process import run
from natpair_lab.chaos.history import Aftermath, Offer, Resources, StatusSeen, VipChange
from natpair_lab.drill import pcap
from natpair_lab.drill.programs import Opened
from natpair_lab.drill.records import Leak, Link, Seen
from natpair_lab.drill.taps import Monitor, Tap, timed_lines
from natpair_lab.testbed.fabric import node_session, server_names
from natpair_lab.testbed.routers import bird
from natpair_lab.testbed.topology import FABRIC, Design
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

SAMPLE_SECONDS = 0.2
_SECONDS = 10.0
_STATUS_SECONDS = 2.0
_ROUTE = re.compile(r"(?:\d{4}-| )\S*\s+unicast \[(\S+) ")
_FLOW = re.compile(r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) ")


class Observer(Opened):
    """Everything that observes one fault, as a context manager. `leave` and `enter` follow a node's power."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._folder = folder
        super().__init__()
        self._monitors: dict[str, Monitor] = {}
        self._read: list[VipChange] = []
        self._ports: dict[int, str] = {}
        self._stop = threading.Event()
        self._count = 0
        self.offers: list[Offer] = []
        self.statuses: list[StatusSeen] = []
        self.agents_speak = lab.design is Design.NATPAIR
        self._sampler = threading.Thread(target=self._sample_all, daemon=True)
        self._sampled = False

    def _open(self) -> None:
        self.vip_start = owners(self._lab)
        for node in self._lab.nodes:
            self.enter(node)
        self._tap = Tap(self._lab.switch_netns("public"), alien_filter(self._lab.gateway, self._lab), self._alien_file)
        self._stack.callback(self._tap.stop)
        self._tap.wait_listening()
        self._sampler.start()

    @property
    def _alien_file(self) -> Path:
        return self._folder / "aliens.pcap"

    def close(self) -> None:
        """Stop observing; the records are kept."""
        self._stop.set()
        if self._sampler.is_alive():
            self._sampler.join(_SECONDS)
        for node in tuple(self._monitors):
            self.leave(node)
        super().close()

    def enter(self, node: str) -> None:
        """Start watching a node's addresses."""
        self._count += 1
        file = self._folder / f"{node}-address-{self._count}.txt"
        self._monitors[node] = Monitor(self._lab.netns_of(node), "address", file)
        if self._count > len(self._lab.nodes) and node in owners(self._lab):  # added before the watch began
            self._read.append(VipChange(time.monotonic_ns(), node, True))
        self._learn_port(node)

    def leave(self, node: str) -> None:
        """Stop watching a node's addresses: a process inside would keep a dead node's namespace alive."""
        monitor = self._monitors.pop(node, None)
        if monitor is not None:
            monitor.stop()
            self._read += self._changes(node, monitor)
            if not self._stop.is_set():
                self._read.append(VipChange(time.monotonic_ns(), node, False))

    def _changes(self, node: str, monitor: Monitor) -> Iterator[VipChange]:
        return vip_changes(monitor.lines(), str(self._lab.gateway.pair.vip.ip), node, _offset_ns())

    def _learn_port(self, node: str) -> None:
        shown = run(["ip", "-j", "-n", self._lab.switch_netns("public"), "link", "show"], timeout=_SECONDS).stdout
        name = self._lab.port(node, "public")
        self._ports |= {int(link["ifindex"]): node for link in json.loads(shown) if link["ifname"] == name}

    # Sampling

    def _sample_all(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.sample()
        self._sampled = True

    def sample(self) -> None:
        """Record the route servers' tables and the agents' status once."""
        now = time.monotonic_ns()
        nodes = self.primaries()
        if not self.offers or self.offers[-1].nodes != nodes:
            self.offers.append(Offer(now, nodes))
        for node in self._lab.nodes if self.agents_speak else ():
            said = words(self._lab, node)
            if said is not None:
                community = str((said.get("announcement") or {}).get("community", ""))
                codes = tuple(str(c["code"]) for c in said.get("conditions", []))
                self.statuses.append(StatusSeen(time.monotonic_ns(), node, str(said["role"]), community, codes))

    def primaries(self) -> tuple[str, ...]:
        """The nodes whose announcement at least one route server holds as primary."""
        gateway, found = self._lab.gateway, set()
        sessions = {node_session(gateway, node): node for node in self._lab.nodes}
        for server in server_names(gateway):
            with suppress(LabError):  # a route server that a fault has stopped
                shown = bird(self._lab.ref(FABRIC), server, "show route all table master4")
                found |= {sessions[name] for name in primary_sessions(shown) if name in sessions}
        return tuple(sorted(found))

    def news(self) -> tuple[VipChange, ...]:
        """Every change of the VIP's owner up to now, in order."""
        running = [change for node, monitor in self._monitors.items() for change in self._changes(node, monitor)]
        return tuple(sorted([*self._read, *running], key=lambda change: change.time_ns))

    # Ends

    def vips(self) -> tuple[VipChange, ...]:
        """Every change of the VIP's owner, in order; call it after `close`. LabError if an observer ended early."""
        # An exception in a thread is reported nowhere else, and its last sample would count until the end.
        if not self._sampled:
            raise LabError("the observer of route servers and agents ended too early: nothing can be checked")
        return tuple(sorted(self._read, key=lambda change: change.time_ns))

    def aliens(self) -> tuple[Seen[Leak], ...]:
        """Packets that left a node's uplink with a source address that it may not use; call it after `close`."""
        return tuple(alien_packets(self._tap.packets(), self._ports, _offset_ns()))

    @property
    def lost(self) -> int:
        """The number of packets that the tap for foreign sources missed."""
        return self._tap.lost

    def wait_ready(self, seconds: float) -> tuple[str, str]:
        """Wait until the pair is complete as seen from outside, and reports so if it has agents: (active, standby)."""
        start = time.monotonic()
        active, standby = wait_until(
            lambda: whole(self._lab), deadline_seconds=seconds, what="one owner of the VIP that is the best path"
        )
        if self.agents_speak:
            left = max(1.0, seconds - (time.monotonic() - start))
            active, standby = self._lab.wait_ready(left)
        return active, standby

    def aftermath(self, ready_ns: int | None) -> Aftermath:
        """Take the last look, after the repair."""
        lab = self._lab
        have = owners(lab)
        path = lab.best_path()
        if len(have) != 1:
            return Aftermath(ready_ns, have, path)
        (active,) = have
        standby = next(node for node in lab.nodes if node != active)
        first = flows_of(lab, active)
        missing = first - (flows_of(lab, standby) if lab.powered(standby) else frozenset())
        # A flow that ended in between is not missing, and a new one had no time to be replicated.
        missing &= flows_of(lab, active)
        return Aftermath(ready_ns, have, path, len(first), len(missing))

    def resources(self) -> tuple[Resources, ...]:
        """What the nodes use now: memory, flows, files."""
        return tuple(resources(self._lab, node) for node in self._lab.nodes if self._lab.powered(node))


def _offset_ns() -> int:
    return time.monotonic_ns() - time.time_ns()


def owners(lab: Lab) -> tuple[str, ...]:
    """The nodes whose kernel has the VIP now."""
    return tuple(node for node in lab.nodes if lab.powered(node) and has_vip(lab, node))


def has_vip(lab: Lab, node: str) -> bool:
    """Whether a node's kernel has the VIP; False without power."""
    try:
        shown = run(["ip", "-j", "-4", "-n", lab.netns_of(node), "addr", "show"], timeout=_SECONDS).stdout
    except CommandFailed:
        return False
    vip = str(lab.gateway.pair.vip.ip)
    return any(a["local"] == vip for link in json.loads(shown) for a in link.get("addr_info", []))


def words(lab: Lab, node: str) -> dict[str, Any] | None:
    """A node's status as its agent wrote it; None if there is none.

    This does not use natpair's own reader: the checker must not depend on the code that it checks.
    """
    try:
        said = agentsocket.status_document(timeout=_STATUS_SECONDS, socket_path=lab.ref(node).path(AGENT_SOCKET))
    except (LabError, OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def whole(lab: Lab) -> tuple[str, str] | None:
    """(active, standby) if both have power and the fabric's best path is the only owner of the VIP."""
    have = owners(lab)
    if len(have) != 1 or lab.best_path() != have or not all(lab.powered(node) for node in lab.nodes):
        return None
    return have[0], next(node for node in lab.nodes if node != have[0])


def vip_changes(lines: Iterable[str], vip: str, node: str, offset_ns: int) -> Iterator[VipChange]:
    """The changes of `vip` in the lines of `ip -ts -o monitor address`."""
    for time_ns, text in timed_lines(lines, offset_ns):
        if f" inet {vip}/" in text:
            yield VipChange(time_ns, node, not text.startswith("Deleted "))


def primary_sessions(shown: str) -> Iterator[str]:
    """The protocols whose routes carry the community 65000:1, in the reply to `show route all`."""
    protocol = ""
    for row in shown.splitlines():
        if (found := _ROUTE.match(row)) is not None:
            protocol = found[1]
        elif "BGP.community:" in row and "(65000,1)" in row:
            yield protocol


def flows_of(lab: Lab, node: str) -> frozenset[str]:
    """The clients' established TCP flows in a node's kernel.

    CommandFailed if the kernel cannot be read; that is not "none".
    """
    argv = ["ip", "netns", "exec", lab.netns_of(node), "conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED"]
    listed = run(argv, timeout=_SECONDS).stdout
    clients = {str(address.ip) for _, address in lab.topology.clients}
    found = (_FLOW.search(line) for line in listed.splitlines())
    return frozenset(match[0] for match in found if match and match[1] in clients)


def tracked(lab: Lab, node: str) -> int:
    """How many flows a node's kernel tracks."""
    return int(run(["ip", "netns", "exec", lab.netns_of(node), "conntrack", "-C"], timeout=_SECONDS).stdout or 0)


def resources(lab: Lab, node: str) -> Resources:
    """What a node uses now."""
    netns = lab.netns_of(node)
    pids = run(["ip", "netns", "pids", netns], timeout=_SECONDS).stdout.split()
    disk = lab.folder / "nodes" / node
    size = sum(
        file.stat().st_size for part in ("log", "var-lib") for file in (disk / part).rglob("*") if file.is_file()
    )
    return Resources(node, sum(_rss_kb(pid) for pid in pids), tracked(lab, node), size)


def _rss_kb(pid: str) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4
    return 0


def alien_filter(gateway: Gateway, lab: Lab) -> str:
    """The tap's filter: IPv4 packets whose source address belongs to no host on the public side."""
    known = [f"src host {fip}" for fip in gateway.pair.fips]
    known += [f"src host {node.public_address.ip}" for node in gateway.node]
    known += [f"src net {lab.topology.internet_gateway.network}"]
    known += [f"src host {address.ip}" for address in lab.topology.fabric_public if address.version == 4]
    return f"ip and not ({' or '.join(known)})"


def alien_packets(packets: Iterable[pcap.Packet], ports: Mapping[int, str], offset_ns: int) -> Iterator[Seen[Leak]]:
    """The packets among those the filter let through that left a node."""
    for packet in packets:
        layer, node = pcap.ipv4(packet), ports.get(packet.interface)
        if layer is not None and node is not None and packet.leaving_host:
            leak = Leak(layer.source, layer.destination, layer.protocol)
            yield Seen(packet.time_ns + offset_ns, node, Link.PUBLIC, True, leak)
