"""The independent witnesses: captures on both switches, and monitors of the fabric's routes and a client's neighbours.

A tap is a tcpdump in a switch's namespace. Its filter passes only the packets that are checked, so the drill's own
traffic costs it nothing. Nothing here asks a node about its own state.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import IO, Any

from natpair.errors import LabError
from natpair_lab.drill import pcap
from natpair_lab.drill.records import Leak, Link, NeighbourChange, RouteChange, Seen, TapRecord

_START_SECONDS = 5.0
_STOP_SECONDS = 5.0
_PRIVATE = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_RESETS = "(ip and tcp and tcp[13] & 4 != 0) or (icmp and icmp[0] == 3)"
VLAN_FILTER = f"arp or (ip and ip[9] == 112) or {_RESETS}"

_MONITOR_LINE = re.compile(r"^\[(?P<stamp>[0-9T:.-]+)\] ?(?P<rest>.*)$")
_VIA = re.compile(r"\bvia (?:inet6 |inet )?(\S+)")
_LLADDR = re.compile(r"^(?P<address>\S+) dev \S+ lladdr (?P<mac>[0-9a-f:]{17})")


def private_networks(private: IPv4Network) -> tuple[IPv4Network, ...]:
    """The networks that must never be a source on an uplink: RFC 1918 and the pair's own private subnet."""
    return (*_PRIVATE, *([] if any(private.subnet_of(known) for known in _PRIVATE) else [private]))


def public_filter(private: IPv4Network) -> str:
    """The filter of the tap on the public switch: private sources, resets and BGP."""
    sources = " or ".join(f"src net {network}" for network in private_networks(private))
    return f"(ip and ({sources})) or {_RESETS} or tcp port 179"


@dataclass(frozen=True, slots=True)
class Port:
    """The switch port behind which one link of a node lies."""

    node: str
    link: Link


class Tap:
    """One running tcpdump; `stop` ends it, then `packets` reads what it wrote."""

    def __init__(self, netns: str, expression: str, file: Path) -> None:
        self.file = file
        self._output: IO[bytes] = file.open("wb")
        argv = ["ip", "netns", "exec", netns, "tcpdump", "-i", "any", "-n", "-U", "--immediate-mode", "-Z", "root"]
        argv += ["-s", "512", "-B", "8192", "--time-stamp-precision=nano", "-w", "-", expression]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.PIPE, start_new_session=True
        )
        self._told = b""

    def wait_listening(self) -> None:
        """Wait until packets are being captured; LabError if tcpdump does not start."""
        deadline = time.monotonic() + _START_SECONDS
        while b"listening on" not in self._told:
            if not self._read_stderr(deadline - time.monotonic()):
                self.stop()
                detail = self._told.decode(errors="replace").strip().splitlines()
                raise LabError(f"tcpdump did not start: {detail[-1] if detail else 'no output'}")

    def _read_stderr(self, seconds: float) -> bool:
        stream = self._process.stderr
        if stream is None or stream.closed or seconds <= 0 or not select.select([stream], [], [], seconds)[0]:
            return False
        chunk = os.read(stream.fileno(), 4096)
        self._told += chunk
        return bool(chunk)

    def stop(self) -> None:
        """End the capture; what has been captured is on disk."""
        end(self._process)
        while self._read_stderr(0.2):
            pass
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._output.close()

    @property
    def lost(self) -> int:
        """Packets that the kernel could not pass to the tap. If there are any, packets may be missing in the capture.

        LabError if tcpdump ended too early to count them: everything after its end is missing.
        """
        found = re.search(rb"(\d+) packets? dropped by kernel", self._told)
        if found is None:
            raise LabError(f"tcpdump ended too early: {self.file.name} is incomplete")
        return int(found[1])

    def packets(self) -> Iterator[pcap.Packet]:
        """All that was captured."""
        return pcap.read_packets(self.file.read_bytes())


class Monitor:
    """One running `ip -ts monitor`: timed lines about routes or neighbours of a namespace."""

    def __init__(self, netns: str, what: str, file: Path) -> None:
        self.file = file
        self._output: IO[bytes] = file.open("wb")
        # One line per object. UTC; otherwise the time stamps would be in the machine's time zone.
        argv = ["ip", "-ts", "-o", "-n", netns, "monitor", *what.split()]
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
            start_new_session=True,
        )
        self._died = False

    def stop(self) -> None:
        """End the monitor; all its lines are on disk."""
        if not self._output.closed:
            self._died = self._process.poll() is not None
        end(self._process)
        self._output.close()

    def lines(self) -> list[str]:
        """All lines; LabError if the monitor ended before it was stopped: then lines may be missing."""
        if self._died:
            raise LabError(f"ip monitor ended too early: {self.file.name} is incomplete")
        return self.file.read_text(errors="replace").splitlines()


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a child process to end; kill it if it does not."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tap_record(
    packets: Iterable[pcap.Packet],
    ports: Mapping[tuple[Link, int], Port],
    link: Link,
    private: Sequence[IPv4Network],
    offset_ns: int,
) -> TapRecord:
    """The record of one switch's tap. `offset_ns` is added to make times monotonic."""
    leaks: list[Seen[Leak]] = []
    resets: list[Seen[pcap.Reset]] = []
    adverts: list[Seen[pcap.Advert]] = []
    arps: list[Seen[pcap.Arp]] = []
    updates: list[Seen[pcap.Update]] = []
    for packet in packets:
        port = ports.get((link, packet.interface))
        if port is None:
            continue
        where = (packet.time_ns + offset_ns, port.node, port.link, packet.leaving_host)
        if (leak := _leak(packet, private)) is not None and link is Link.PUBLIC and packet.leaving_host:
            leaks.append(Seen(*where, leak))
        if (reset := pcap.reset(packet)) is not None:
            resets.append(Seen(*where, reset))
        if (advert := pcap.advert(packet)) is not None and packet.leaving_host:
            adverts.append(Seen(*where, advert))
        if (arp := pcap.arp(packet)) is not None and packet.leaving_host:
            arps.append(Seen(*where, arp))
        if packet.leaving_host and link is Link.PUBLIC:
            updates.extend(Seen(*where, update) for update in pcap.updates(packet))
    return TapRecord(tuple(leaks), tuple(resets), tuple(adverts), tuple(arps), tuple(updates))


def _leak(packet: pcap.Packet, private: Sequence[IPv4Network]) -> Leak | None:
    layer = pcap.ipv4(packet)
    if layer is None or not any(IPv4Address(layer.source) in network for network in private):
        return None
    return Leak(layer.source, layer.destination, layer.protocol)


def merge(records: Sequence[TapRecord], lost: int = 0) -> TapRecord:
    """Merge several taps into one, in order of time."""
    return TapRecord(
        tuple(sorted((item for record in records for item in record.leaks), key=_time)),
        tuple(sorted((item for record in records for item in record.resets), key=_time)),
        tuple(sorted((item for record in records for item in record.adverts), key=_time)),
        tuple(sorted((item for record in records for item in record.arps), key=_time)),
        tuple(sorted((item for record in records for item in record.updates), key=_time)),
        lost + sum(record.lost for record in records),
    )


def _time(item: Seen[Any]) -> int:
    return item.time_ns


def timed_lines(lines: Iterable[str], offset_ns: int) -> Iterator[tuple[int, str]]:
    """Monotonic time and text of each line of an `ip -ts monitor`; other lines are skipped."""
    for line in lines:
        found = _MONITOR_LINE.match(line)
        if found is None:
            continue
        with contextlib.suppress(ValueError):
            stamp = datetime.fromisoformat(found["stamp"]).replace(tzinfo=UTC)
            seconds = int(stamp.replace(microsecond=0).timestamp())
            yield seconds * 1_000_000_000 + stamp.microsecond * 1000 + offset_ns, found["rest"]


def route_changes(
    lines: Iterable[str], fip: str, table: str, owners: Mapping[str, str], offset_ns: int
) -> tuple[RouteChange, ...]:
    """The changes of the fabric's route for `fip`; `owners` maps next-hop addresses to nodes.

    Only `table` counts, by which the fabric forwards. The other table holds changes that a slow fabric has not applied
    yet.
    """
    changes = []
    for time_ns, text in timed_lines(lines, offset_ns):
        gone = text.startswith("Deleted ")
        words = text.removeprefix("Deleted ").removeprefix("unicast ")
        named = re.search(r"\btable (\S+)", words)
        if words.split(maxsplit=1)[:1] not in ([fip], [f"{fip}/32"]) or (named[1] if named else "main") != table:
            continue
        nodes = () if gone else tuple(sorted({owners[hop] for hop in _VIA.findall(words) if hop in owners}))
        changes.append(RouteChange(time_ns, nodes))
    return tuple(changes)


def neighbour_changes(
    lines: Iterable[str], vip: str, owners: Mapping[str, str], offset_ns: int
) -> tuple[NeighbourChange, ...]:
    """The changes of a client's entry for the VIP; `owners` maps hardware addresses to nodes."""
    changes: list[NeighbourChange] = []
    for time_ns, text in timed_lines(lines, offset_ns):
        found = _LLADDR.match(text)
        if found is None or found["address"] != vip:
            continue
        node = owners.get(found["mac"], "")
        if not changes or changes[-1].node != node:
            changes.append(NeighbourChange(time_ns, node))
    return tuple(changes)
