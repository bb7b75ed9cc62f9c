"""One-shot senders on the probe's machines: VRRP adverts, gratuitous ARP, large datagrams, a count of hops.

Shipped; standard library only. Each prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from natpair.core import packets
from natpair.probe import wire

_IP_HEADERS = 28
_IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE = 10, 3
_ECHO_REQUEST, _ECHO_REPLY = 128, 129
_REPLY_SECONDS = 0.5


def paced(count: int, interval_ms: int) -> Iterator[int]:
    """0, 1, 2 …, each when it is due."""
    begin = time.monotonic()
    for number in range(count):
        wait = begin + number * interval_ms / 1000 - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        yield number


def mac_of(interface: str) -> str:
    """The hardware address of an interface."""
    return Path("/sys/class/net", interface, "address").read_text().strip()


def send_adverts(source: str, destination: str, count: int, interval_ms: int) -> list[list[int]]:
    """VRRP adverts to one address, unicast or multicast; number and time of each that could be sent."""
    sent = []
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, packets.VRRP) as line:
        line.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
        line.bind((source, 0))
        for number in paced(count, interval_ms):
            try:
                now = time.time_ns()
                line.sendto(wire.vrrp_advert(source, destination, number), (destination, 0))
            except OSError:
                continue
            sent.append([number, now])
    return sent


def send_arps(interface: str, address: str, mac: str, count: int, interval_ms: int) -> int:
    """Gratuitous ARP frames; how many could be sent."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as line:
        line.bind((interface, packets.ETH_ARP))
        return sum(line.send(wire.gratuitous_arp(mac, address)) > 0 for _ in paced(count, interval_ms))


def send_sized(destination: str, sizes: list[int]) -> list[int]:
    """Datagrams of these sizes (of the whole IPv4 packet), never fragmented; the sizes this machine could send."""
    sent = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        for size in sizes:
            try:
                line.sendto(b"\0" * (size - _IP_HEADERS), (destination, wire.SIZED_PORT))
            except OSError:
                continue
            sent.append(size)
    return sent


def count_hops(destination: str, most: int) -> int | None:
    """The smallest hop limit with which an echo request is answered; None if none is."""
    return next((hops for hops in range(1, most + 1) if _answered(destination, hops)), None)


def _answered(destination: str, hops: int) -> bool:
    identifier = os.getpid() & 0xFFFF
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as line:
        line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        line.sendto(struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, identifier, hops), (destination, 0))
        end = time.monotonic() + _REPLY_SECONDS
        while (left := end - time.monotonic()) > 0:
            if select.select([line], [], [], left)[0]:
                data, sender = line.recvfrom(2048)
                reply = struct.pack("!HH", identifier, hops)
                if sender[0] == destination and data[0] == _ECHO_REPLY and data[4:8] == reply:
                    return True
    return False


def main() -> int:
    """Run one sender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("vrrp", "arp", "sized", "hops"))
    parser.add_argument("--source", default="")
    parser.add_argument("--destination", default="")
    parser.add_argument("--interface", default="")
    parser.add_argument("--mac", default="", help="a made-up hardware address instead of the interface's own")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--interval-ms", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="*", default=[])
    given = parser.parse_args()
    match given.what:
        case "vrrp":
            said: object = send_adverts(given.source, given.destination, given.count, given.interval_ms)
        case "arp":
            mac = given.mac or mac_of(given.interface)
            said = send_arps(given.interface, given.destination, mac, given.count, given.interval_ms)
        case "sized":
            said = send_sized(given.destination, given.sizes)
        case _:
            said = count_hops(given.destination, given.count)
    json.dump({"said": said}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
