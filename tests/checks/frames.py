"""Frames of every kind that a tenant can put on a VLAN: `frames.py LINK MAC [NAME…]` sends them, three times each."""

from __future__ import annotations

import json
import socket
import struct
import sys

link, node = sys.argv[1:3]
port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
port.bind((link, 0))
me, node = port.getsockname()[4], bytes.fromhex(node.replace(":", ""))
a4, a6 = socket.inet_aton, lambda text: socket.inet_pton(socket.AF_INET6, text)
CLIENT, PEER, VIP, GATEWAY, SERVER = map(
    a4, ("192.168.1.101", "192.168.1.4", "192.168.1.1", "203.0.113.1", "198.51.100.10")
)
MULTICAST = bytes.fromhex("333300000001")
BAD, ALL_NODES = a6("fe80::bad"), a6("ff02::1")


def check(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def eth(to, kind, body):
    return to + me + struct.pack("!H", kind) + body


def ip4(source, to, protocol, body, ttl=255, options=b"", flags=0, mac=node):
    head = struct.pack(
        "!BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 7, flags, ttl, protocol, 0
    )
    head += source + to + options
    return eth(mac, 0x0800, head[:10] + check(head) + head[12:] + body)


def ip6(to, next_, body, hops=255, mac=MULTICAST):
    return eth(mac, 0x86DD, struct.pack("!IHBB", 6 << 28, len(body), next_, hops) + BAD + to + body)


def icmp6(to, body, at=2, next_=58, **more):
    pseudo = BAD + to + struct.pack("!II", len(body), next_)
    return ip6(to, next_, body[:at] + check(pseudo + body) + body[at + 2 :], **more)


def udp(source, to, body):
    return struct.pack("!HHHH", source, to, 8 + len(body), 0) + body


def icmp(body):
    return body[:2] + check(body) + body[4:]


def arp(what, sender, target, mac=me, to=b"\xff" * 6):
    return eth(to, 0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, what) + mac + sender + me + target)


def vrrp3(version, priority):
    return struct.pack("!BBBBHH", version << 4 | 1, 51, priority, 1, 10, 0) + VIP


syn = struct.pack("!HHIIBBHHH", 4000, 80, 1, 0, 5 << 4, 2, 64240, 0, 0)
group = a4("224.0.0.18")
frames = {
    "router advertisement": icmp6(ALL_NODES, struct.pack("!BBHBBHII", 134, 0, 0, 64, 8, 1800, 0, 0)),
    "advertised prefix": icmp6(
        ALL_NODES,
        struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
        + struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 14400, 0)
        + a6("2001:db8:bad::"),
    ),
    "neighbour solicitation": icmp6(ALL_NODES, struct.pack("!BBHI", 135, 0, 0, 0) + a6("2001:db8:100::3")),
    "neighbour advertisement": icmp6(ALL_NODES, struct.pack("!BBHI", 136, 0, 0, 0x20000000) + a6("2001:db8:100::4")),
    "IPv6 redirect": icmp6(ALL_NODES, struct.pack("!BBHI", 137, 0, 0, 0) + BAD + a6("2001:db8::1")),
    "MLD query": icmp6(ALL_NODES, struct.pack("!BBHHH", 130, 0, 0, 100, 0) + a6("::"), hops=1),
    "DHCPv6 reply": ip6(ALL_NODES, 17, udp(547, 546, b"\7abc")),
    "VRRPv3 over IPv6": icmp6(a6("ff02::12"), struct.pack("!BBBBHH", 0x31, 51, 255, 1, 10, 0) + BAD, at=6, next_=112),
    "IPv6 for the internet": ip6(a6("2001:db8::1"), 17, udp(1, 2, b"x"), mac=node),
    "DHCPv4 offer": ip4(
        CLIENT, b"\xff" * 4, 17, udp(67, 68, struct.pack("!BBBBI", 2, 1, 6, 0, 1) + b"\0" * 232), mac=b"\xff" * 6
    ),
    "LLDP": eth(bytes.fromhex("0180c200000e"), 0x88CC, b"\2\7\4abcdef\0\0"),
    "STP": eth(bytes.fromhex("0180c2000000"), 38, b"\x42\x42\3" + b"\0" * 35),
    "pause": eth(bytes.fromhex("0180c2000001"), 0x8808, b"\0\1\xff\xff"),
    "VRRPv2": ip4(CLIENT, group, 112, vrrp3(2, 255), mac=bytes.fromhex("01005e000012")),
    "VRRPv3, group": ip4(CLIENT, group, 112, vrrp3(3, 255), mac=bytes.fromhex("01005e000012")),
    "VRRPv3 of a client": ip4(CLIENT, a4("192.168.1.3"), 112, vrrp3(3, 255)),
    "IGMP query": ip4(CLIENT, a4("224.0.0.1"), 2, icmp(struct.pack("!BBHI", 0x11, 1, 0, 0)), ttl=1),
    "ICMP redirect": ip4(
        CLIENT, a4("192.168.1.3"), 1, icmp(struct.pack("!BBH", 5, 1, 0) + CLIENT + b"\x45" + b"\0" * 27)
    ),
    "ICMP router advertisement": ip4(
        CLIENT, a4("224.0.0.1"), 1, icmp(struct.pack("!BBHBBH", 9, 0, 0, 1, 2, 1800) + CLIENT + b"\0" * 4)
    ),
    "ARP, gratuitous, peer": arp(2, PEER, PEER),
    "ARP, gratuitous, VIP": arp(1, VIP, VIP),
    "ARP, own address of the node": arp(2, a4("192.168.1.3"), a4("192.168.1.3"), to=node),
    "ARP, next hop of the WAN": arp(2, GATEWAY, a4("203.0.113.3"), to=node),
    "ARP, RARP": arp(3, CLIENT, CLIENT),
    "ARP, sender of another MAC": arp(2, PEER, VIP, mac=b"\2bad!!"),
    "802.1Q": eth(node, 0x8100, struct.pack("!HH", 5, 0x0800) + ip4(CLIENT, SERVER, 17, udp(1, 2, b"x"))[14:]),
    "QinQ": eth(
        node, 0x88A8, struct.pack("!HHHH", 5, 0x8100, 6, 0x0800) + ip4(CLIENT, SERVER, 17, udp(1, 2, b"x"))[14:]
    ),
    "PPPoE": eth(node, 0x8863, b"\x11\\9\0\0\0\0"),
    "unknown EtherType": eth(node, 0x9999, b"x" * 46),
    "source route": ip4(CLIENT, SERVER, 17, udp(1, 2, b"x"), options=b"\x83\7\4" + CLIENT + b"\0"),
    "last fragment alone": ip4(CLIENT, SERVER, 17, b"x" * 64, flags=100),
    "first fragment alone": ip4(CLIENT, SERVER, 17, udp(1, 2, b"x" * 64), flags=0x2000),
    "SYN and FIN": ip4(CLIENT, SERVER, 6, syn[:13] + b"\3" + syn[14:]),
    "NULL segment": ip4(CLIENT, SERVER, 6, syn[:13] + b"\0" + syn[14:]),
    "broadcast for the VLAN": ip4(CLIENT, a4("192.168.1.255"), 17, udp(1, 2, b"x"), mac=b"\xff" * 6),
    "loopback source": ip4(a4("127.0.0.1"), SERVER, 17, udp(1, 2, b"x")),
    "loopback target": ip4(CLIENT, a4("127.0.0.1"), 17, udp(1, 2, b"x")),
    "source of the next hop": ip4(GATEWAY, SERVER, 17, udp(1, 2, b"x")),
    "source zero": ip4(b"\0" * 4, SERVER, 17, udp(1, 2, b"x")),
    "multicast through the gateway": ip4(CLIENT, a4("239.1.2.3"), 17, udp(1, 2, b"x")),
    "to the WAN address of the node": ip4(CLIENT, a4("203.0.113.3"), 17, udp(1, 3781, b"x")),
    "IP version 5": eth(node, 0x0800, b"\x55" + b"\0" * 39),
    "IPv4, cut off": eth(node, 0x0800, b"\x45\0"),
}
frames |= {f"IP protocol {n}": ip4(CLIENT, SERVER, n, b"\0" * 24) for n in range(256) if n not in (1, 6, 17)}
for name in sys.argv[3:] or frames:
    for _ in range(3):
        port.send(frames[name])
sys.stdout.write(json.dumps(len(frames)))
