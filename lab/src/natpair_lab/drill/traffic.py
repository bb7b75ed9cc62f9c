"""The traffic of one run: starts, proves and ends all traffic programs together."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

from natpair_lab.drill.programs import START_SECONDS, Opened, Popen, Program
from natpair_lab.drill.records import FlowRecord, UdpRecord, flow_records, udp_record
from natpair_lab.drill.traffic_common import FLOWS_PER_PROCESS, probes_per_second
from natpair_lab.testbed import netns
from natpair_lab.testbed.topology import CLIENT_INTERFACE
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

INTERNET, STREAM_CLIENT, FLOW_CLIENT = "internet", "client-1", "client-2"
NEW_EVERY_MS = 50
TOOL_PRIORITY = 10
MAX_FLOWS = 100_000
_MANY_FLOWS = 1000
_FEW_PER_SECOND, _MANY_PER_SECOND = 500.0, 2500.0
_CLIENT_PER_SECOND = 900.0
"""How many flows are opened per second: for a small set, for a large one, and at most by one client, which has a limit.
"""
_OPEN_SECONDS = 60.0
_SLOWEST_OPEN_PER_SECOND = 500
_ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TrafficRecord:
    """What the three clients recorded."""

    udp: UdpRecord
    flows: tuple[FlowRecord, ...]
    connections: tuple[FlowRecord, ...]


class Traffic(Opened):
    """The echo stream, the standing flows and the new connections, with their servers; a context manager."""

    def __init__(self, popen: Popen, servers: Sequence[str], flows: int, sources: Sequence[str] = ()) -> None:
        self._popen = popen
        self._servers = servers
        self._flow_count = flows
        self._sources = sources
        super().__init__()
        self._programs: list[Program] = []
        self.real_time = False

    def _program(self, host: str, module: str, *arguments: str) -> Program:
        program = Program(self._popen, host, module, arguments)
        self._stack.callback(program.close)
        self._programs.append(program)
        return program

    def _open(self) -> None:
        priority = ("--priority", str(TOOL_PRIORITY))
        shares = shared_out(self._flow_count)
        servers = [
            self._program(INTERNET, "traffic_udp_server", *priority),
            *(self._program(INTERNET, "traffic_tcp_server") for _ in shares),
        ]
        for server in servers:
            server.wait_for("ready", START_SECONDS)
        self._stream = self._program(STREAM_CLIENT, "traffic_udp_client", self._servers[0], *priority)
        self._flows = [self._holder(number, share, len(shares)) for number, share in enumerate(shares)]
        self._connector = self._program(
            STREAM_CLIENT, "traffic_tcp_client", *self._servers, "--new-every-ms", str(NEW_EVERY_MS), *priority
        )
        for client in (*self._flows, self._connector):
            client.wait_for("ready", START_SECONDS)
        self.real_time = bool(self._stream.wait_for("ready", START_SECONDS)["real_time"])

    def _holder(self, number: int, share: tuple[int, int], holders: int) -> Program:
        """One of the processes that share the standing flows, each with its own address if there are enough."""
        first, count = share
        speed = _MANY_PER_SECOND / holders if self._flow_count > _MANY_FLOWS else _FEW_PER_SECOND
        arguments = ["--flows", str(count), "--first", str(first), "--total", str(self._flow_count)]
        arguments += ["--open-per-second", str(min(speed, _CLIENT_PER_SECOND))]
        if self._sources:
            arguments += ["--source", self._sources[number % len(self._sources)]]
        return self._program(FLOW_CLIENT, "traffic_tcp_client", *self._servers, *arguments)

    def wait_open(self) -> None:
        """Wait until all standing flows are open."""
        deadline = time.monotonic() + _OPEN_SECONDS + self._flow_count / _SLOWEST_OPEN_PER_SECOND
        for holder in self._flows:
            holder.wait_for("open", max(0.0, deadline - time.monotonic()))

    @property
    def asking_seconds(self) -> float:
        """How long it takes to ask every standing flow for proof."""
        return self._flow_count / probes_per_second(self._flow_count)

    def echoed_after(self, moment_ns: int) -> bool:
        """Whether a packet of the stream that was sent after this time has been echoed."""
        return int(self._stream.ask("state", "newest_echoed_ns")["newest_echoed_ns"]) > moment_ns

    def wait_echoed_after(self, moment_ns: int, seconds: float) -> bool:
        """Wait until the stream works again; False when it does not within `seconds`."""
        deadline = time.monotonic() + seconds

        def outcome() -> str:
            if self.echoed_after(moment_ns):
                return "echoed"
            return "late" if time.monotonic() >= deadline else ""

        return wait_until(outcome, deadline_seconds=seconds + _ASK_SECONDS, what="an echo") == "echoed"

    def check(self) -> None:
        """LabError if one of the programs has ended: the rest of the run would measure nothing."""
        for program in self._programs:
            program.check()

    def begin_proof(self) -> int:
        """Ask every flow for proof that it lives; returns the time of asking."""
        moment = time.monotonic_ns()
        for client in (*self._flows, self._connector):
            client.tell("probe")
        return moment

    def wait_proven(self, deadline: float) -> None:
        """Wait until every flow has proven itself or failed, at most until the monotonic time `deadline`."""
        for client in (*self._flows, self._connector):
            client.look_for("probed", max(0.0, deadline - time.monotonic()))

    def finish(self) -> TrafficRecord:
        """End the traffic and return the records. LabError if a program failed."""
        udp = udp_record(self._stream.finish("udp"))
        connections = flow_records(self._connector.finish("flows"))
        flows = [flow for holder in self._flows for flow in flow_records(holder.finish("flows"))]
        return TrafficRecord(udp, tuple(flows), connections)


def shared_out(flows: int) -> list[tuple[int, int]]:
    """Divide the standing flows among the processes: the number of the first flow, and how many, for each."""
    holders = math.ceil(flows / FLOWS_PER_PROCESS)
    edges = [flows * number // holders for number in range(holders + 1)]
    return [(first, last - first) for first, last in pairwise(edges)]


def spare(network: IPv4Network, taken: Collection[IPv4Address], count: int) -> tuple[IPv4Address, ...]:
    """At most `count` free addresses of `network`, from its end; fewer if it has no more."""
    top, bottom = int(network.broadcast_address) - 1, int(network.network_address)
    free = (address for number in range(top, bottom, -1) if (address := IPv4Address(number)) not in taken)
    return tuple(address for address, _ in zip(free, range(count), strict=False))


@contextmanager
def more_addresses(lab: Lab, client: str, count: int) -> Iterator[Sequence[str]]:
    """Add up to `count` addresses to `client`, as far as the private subnet has them; removed at the end.

    A gateway limits the flows of one client, so 100,000 connections must come from several.
    """
    network = lab.gateway.private_network
    nodes = (node.private_address.ip for node in lab.gateway.node)
    taken = {lab.gateway.pair.vip.ip, *nodes, *(address.ip for _, address in lab.topology.clients)}
    chosen = spare(network, taken, count)
    words = [f"{address}/{network.prefixlen} dev {CLIENT_INTERFACE}" for address in chosen]
    namespace = lab.netns_of(client)
    netns.batch((f"addr replace {word}" for word in words), netns=namespace)
    try:
        yield [str(address) for address in chosen]
    finally:
        netns.batch((f"addr del {word}" for word in words), netns=namespace, force=True)
