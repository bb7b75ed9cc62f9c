"""Holds TCP flows through the gateway in one process: a standing set, or a new flow every few milliseconds.

Commands on standard input: `probe` starts the proof round (each flow must answer or receive once more; no further
connection is opened), `stop` prints the record of all flows. The program prints `open` when the standing set is
complete, and `probed` when every flow has been proven or has failed.
"""

from __future__ import annotations

import argparse
import heapq
import select
import time
from collections import deque
from collections.abc import Sequence

from natpair_lab.drill.traffic_common import (
    KIND_ECHO,
    MAX_OPEN_FILES,
    TCP_PORTS,
    Commands,
    allow_open_files,
    probes_per_second,
    raise_priority,
    say,
)
from natpair_lab.drill.traffic_flows import Connection, kind_of

MESSAGES_PER_SECOND = 1000
TICK_SECONDS = 0.01


class FlowSet:
    """All flows of one process, its epoll, and the schedule of their messages."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        count: int,
        open_per_second: float,
        share: tuple[int, int] | None = None,
        source: str = "",
    ) -> None:
        # If several processes share one standing set: the number of the first flow here, and how many there are.
        self.first, self.total = share or (0, count)
        self.servers = servers
        self.source = source
        self.count = count
        self.standing = share is not None
        self.open_every_ns = int(1e9 / open_per_second)
        pace = max(500_000_000, int(self.total / MESSAGES_PER_SECOND * 1e9))
        self.period_ns = pace if self.standing else 1_000_000_000
        self.poller = select.epoll()
        self.flows: list[Connection] = []
        self.by_descriptor: dict[int, Connection] = {}
        self.due: list[tuple[int, int]] = []
        self.to_probe: deque[Connection] = deque()
        self.probing = False
        self._said_open = self._said_probed = False
        self._next_open_ns = time.monotonic_ns()
        self._next_probe_ns = 0
        self.probe_every_ns = 1_000_000_000 * self.total // (probes_per_second(self.total) * count)

    def run(self, commands: Commands) -> None:
        """Work until stopped."""
        self.poller.register(commands.fileno(), select.EPOLLIN)
        while True:
            for descriptor, _ in self.poller.poll(self._wait_seconds(), 256):
                if descriptor == commands.fileno():
                    lines = commands.read()
                    if "stop" in lines:
                        return
                    if "probe" in lines:
                        self.begin_probe()
                else:
                    self._handle(self.by_descriptor[descriptor])
            self._work(time.monotonic_ns())

    def _wait_seconds(self) -> float:
        if self.probing:
            return TICK_SECONDS if self.to_probe else 0.05
        waits = [TICK_SECONDS * 10]
        if len(self.flows) < self.count:
            waits.append((self._next_open_ns - time.monotonic_ns()) / 1e9)
        if self.due:
            waits.append((self.due[0][0] - time.monotonic_ns()) / 1e9)
        return max(0.0, min(waits))

    def _work(self, now: int) -> None:
        if self.probing:
            self._send_probes(now)
            self._tell_probed()
            return
        while len(self.flows) < self.count and now >= self._next_open_ns:
            self._next_open_ns += self.open_every_ns
            self._open()
        self._speak(now)
        self._tell_open()

    def _open(self) -> None:
        index = self.first + len(self.flows)
        target = (self.servers[index % len(self.servers)], TCP_PORTS[index // len(self.servers) % len(TCP_PORTS)])
        flow = Connection(target, kind_of(index, self.total) if self.standing else KIND_ECHO, self.source)
        self.flows.append(flow)
        if not flow.connect_error:
            self.by_descriptor[flow.descriptor] = flow
            self.poller.register(flow.descriptor, select.EPOLLOUT)

    def _handle(self, flow: Connection) -> None:
        if flow.opened:
            flow.read()
            if flow.error:
                self.poller.unregister(flow.descriptor)
            return
        flow.finish_connect()
        if not flow.live:
            self.poller.unregister(flow.descriptor)
            return
        self.poller.modify(flow.descriptor, select.EPOLLIN)
        if flow.kind == KIND_ECHO:
            # Spread over the period; otherwise 10,000 flows would send in the rhythm in which they were opened.
            offset = (flow.descriptor * 7919 % 1000) * self.period_ns // 1000
            heapq.heappush(self.due, (flow.opened + offset, flow.descriptor))
        if self.probing:
            self.to_probe.append(flow)

    def _tell_open(self) -> None:
        if self._said_open or not self.standing or len(self.flows) < self.count:
            return
        if all(flow.opened or flow.connect_error for flow in self.flows):
            self._said_open = True
            say({"open": sum(1 for flow in self.flows if flow.live)})

    def _speak(self, now: int) -> None:
        while self.due and self.due[0][0] <= now:
            due, descriptor = heapq.heappop(self.due)
            flow = self.by_descriptor[descriptor]
            if flow.live:
                flow.send(now)
                heapq.heappush(self.due, (max(due + self.period_ns, now), descriptor))

    def begin_probe(self) -> None:
        """Start the proof round over all flows that are still alive."""
        self.probing = True
        self.to_probe.extend(flow for flow in self.flows if flow.live)
        self._next_probe_ns = time.monotonic_ns()

    def _send_probes(self, now: int) -> None:
        while self.to_probe and now >= self._next_probe_ns:
            self._next_probe_ns += self.probe_every_ns
            flow = self.to_probe.popleft()
            if flow.live:
                flow.probe(now)

    def _tell_probed(self) -> None:
        if self._said_probed or self.to_probe:
            return
        if all(flow.settled for flow in self.flows):
            self._said_probed = True
            say({"probed": sum(1 for flow in self.flows if flow.proven), "of": len(self.flows)})


def main(argv: Sequence[str] | None = None) -> None:
    """Hold the flows until `stop` arrives on standard input, or the input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="+")
    parser.add_argument("--flows", type=int, default=100, help="size of the standing set here")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them in the whole set")
    parser.add_argument("--total", type=int, help="size of the whole set, if others hold parts of it")
    parser.add_argument("--source", default="", help="the address to open them from")
    parser.add_argument("--open-per-second", type=float, default=1500.0)
    parser.add_argument("--new-every-ms", type=float, default=0.0, help="open new ones for ever instead")
    parser.add_argument("--priority", type=int, default=0)
    options = parser.parse_args(argv)
    allow_open_files(MAX_OPEN_FILES)
    if options.new_every_ms:
        flows = FlowSet(options.servers, count=10**9, open_per_second=1000 / options.new_every_ms)
    else:
        share = (options.first, options.total or options.flows)
        rate = options.open_per_second
        flows = FlowSet(options.servers, count=options.flows, open_per_second=rate, share=share, source=options.source)
    say({"ready": True, "real_time": raise_priority(options.priority)})
    flows.run(Commands())
    say({"flows": [flow.record() for flow in flows.flows]})


if __name__ == "__main__":
    main()
