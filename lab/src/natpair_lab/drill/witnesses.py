"""The witnesses of one run: switch taps, the fabric's route, a client's neighbour entry, the agents' event logs."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from natpair.core import paths
from natpair.system.process import run
from natpair_lab.drill.programs import Opened
from natpair_lab.drill.records import AgentStep, Link, NeighbourChange, RouteChange, TapRecord
from natpair_lab.drill.taps import (
    VLAN_FILTER,
    Monitor,
    Port,
    Tap,
    merge,
    neighbour_changes,
    private_networks,
    public_filter,
    route_changes,
    tap_record,
)
from natpair_lab.drill.traffic import STREAM_CLIENT
from natpair_lab.testbed.topology import FABRIC, FABRIC_TABLE, mac_of
from natpair_lab.testbed.world import Lab

TRAFFIC_STEPS = frozenset({"traffic", "traffic-local", "traffic_local", "traffic_state"})
"""The names under which an agent may log the step that switches the traffic state."""

_COMMAND_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WitnessRecord:
    """What all witnesses of a run recorded."""

    taps: TapRecord
    routes: tuple[RouteChange, ...]
    neighbours: tuple[NeighbourChange, ...]
    steps: tuple[AgentStep, ...]


class Witnesses(Opened):
    """All witnesses of a run, as a context manager. `stop` closes the taps, `read` parses what they wrote.

    If a `folder` is given, the captures stay there.
    """

    def __init__(self, lab: Lab, folder: Path | None = None) -> None:
        self._lab = lab
        self._folder = folder
        super().__init__()
        self._ports: dict[tuple[Link, int], Port] = {}
        self._diary_sizes = {node: _size(self._diary(node)) for node in lab.nodes}

    def _open(self) -> None:
        folder = self._folder or Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="natpair-drill-")))
        private = self._lab.gateway.private_network
        expressions = {Link.VLAN: VLAN_FILTER, Link.PUBLIC: public_filter(private)}
        self._taps: dict[Link, Tap] = {}
        for link, expression in expressions.items():
            self._taps[link] = tap = Tap(self._lab.switch_netns(link.value), expression, folder / f"{link}.pcap")
            self._stack.callback(tap.stop)
        self._routes = self._monitor(FABRIC, "route", folder)
        self._neighbours = self._monitor(STREAM_CLIENT, "neigh", folder)
        for tap in self._taps.values():
            tap.wait_listening()
        self.learn_ports()

    def _monitor(self, host: str, what: str, folder: Path) -> Monitor:
        monitor = Monitor(self._lab.netns_of(host), what, folder / f"{host}-{what}.txt")
        self._stack.callback(monitor.stop)
        return monitor

    def learn_ports(self) -> None:
        """Record which interface of each switch leads to which node. A booted node has new ones."""
        for link in Link:
            shown = run(
                ["ip", "-j", "-n", self._lab.switch_netns(link.value), "link", "show"], timeout=_COMMAND_SECONDS
            ).stdout
            numbers = {link["ifname"]: int(link["ifindex"]) for link in json.loads(shown)}
            for node in self._lab.nodes:
                name = self._lab.port(node, link.value)
                if name in numbers:
                    self._ports[link, numbers[name]] = Port(node, link)

    def _diary(self, node: str) -> Path:
        inside = Path(paths.EVENTS).relative_to("/var/lib")
        return self._lab.folder / "nodes" / node / "var-lib" / inside

    def stop(self) -> None:
        """Close the taps. This must happen before the traffic ends, or its closing connections would be checked too."""
        self.learn_ports()
        for tap in self._taps.values():
            tap.stop()
        self._routes.stop()
        self._neighbours.stop()

    def read(self) -> WitnessRecord:
        """The records of the stopped witnesses."""
        offset_ns = time.monotonic_ns() - time.time_ns()
        gateway = self._lab.gateway
        private = private_networks(gateway.private_network)
        records = [tap_record(tap.packets(), self._ports, link, private, offset_ns) for link, tap in self._taps.items()]
        lost = sum(tap.lost for tap in self._taps.values())
        hops = {str(node.public_address6.ip): node.name for node in gateway.node}
        hops |= {str(node.public_address.ip): node.name for node in gateway.node}
        macs = {mac_of(node.name, node.private_interface): node.name for node in gateway.node}
        table = "main" if self._lab.knobs().converge_ms else str(FABRIC_TABLE)
        return WitnessRecord(
            merge(records, lost),
            route_changes(self._routes.lines(), str(gateway.pair.fips[0]), table, hops, offset_ns),
            neighbour_changes(self._neighbours.lines(), str(gateway.pair.vip.ip), macs, offset_ns),
            tuple(step for node in self._lab.nodes for step in self._read_diary(node, offset_ns)),
        )

    def _read_diary(self, node: str, offset_ns: int) -> Iterator[AgentStep]:
        path = self._diary(node)
        if not path.exists():
            return iter(())
        with path.open("rb") as diary:
            diary.seek(min(self._diary_sizes[node], _size(path)))
            return agent_steps(node, diary.read().decode(errors="replace").splitlines(), offset_ns)


def agent_steps(node: str, lines: Iterable[str], offset_ns: int) -> Iterator[AgentStep]:
    """The steps in a node's event log. Its times are CLOCK_REALTIME seconds. Torn lines are left out."""
    steps = []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            entry: Mapping[str, object] = json.loads(line)
            name = str(entry.get("step", ""))
            moment = int(float(str(entry["time"])) * 1e9) + offset_ns
            known = "traffic" if name in TRAFFIC_STEPS else name
            steps.append(AgentStep(moment, node, str(entry.get("event", "")), known, entry))
    return iter(steps)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
