"""The ruleset under traffic: one node between a client (who also plays the peer) and a server on the internet.

client ns: 192.168.1.101, .4 ── eth1 [nat-a, VIP .1] eth0 ── server ns: 203.0.113.1, 198.51.100.10
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from checks.scratch import Scratch, scratch_node
from golden.cases import CASES
from natpair.core import paths
from natpair.core.model import Node
from natpair.render.base import Sides
from natpair.render.nftables import nftables_files
from samples import gateway

pytestmark = pytest.mark.root

SERVER, FIP = "198.51.100.10", "192.0.2.221"
METADATA = "169.254.169.254"
PAIRS = (("arrived", "routed"), ("offered", "passed"))
NULL_SEGMENT = "9c400007" + "00000000" * 2 + "5000ffff" + "00000000"

ECHO = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind((sys.argv[1], 7)); server.settimeout(20)
print("up", flush=True)
while True:
    data, (host, port) = server.recvfrom(2000)
    print(f"{host}:{port} {data.decode()}", flush=True)
    if data == b"end": break
    server.sendto(data, (host, port))
"""
SEND = """
import socket, sys
source, port, host, dport, text = sys.argv[1:6]
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); line.bind((source, int(port))); line.settimeout(0.5)
try:
    line.sendto(text.encode(), (host, int(dport))); print(line.recv(2000).decode())
except TimeoutError:
    print("silence")
except OSError as error:
    print(error.strerror)
"""
CONNECT = """
import socket, sys
line = socket.socket(); line.settimeout(0.7)
try:
    line.connect((sys.argv[1], int(sys.argv[2]))); print("connected")
except TimeoutError:
    print("silence")
except OSError as error:
    print(error.strerror)
"""
RAW = """
import socket, struct, sys
source, target, protocol, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
payload = bytes.fromhex(sys.argv[5])
head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0,
    socket.inet_aton(source), socket.inet_aton(target))
line = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for _ in range(count): line.sendto(head + payload, (target, 0))
"""
FORGE = """
import socket, struct, sys
source, sport, target, tport, text = sys.argv[1:6]
data = struct.pack("!HHHH", int(sport), int(tport), 8 + len(text), 0) + text.encode()
head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 0, 0, 64, 17, 0, *map(socket.inet_aton, (source, target)))
line = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW); line.sendto(head + data, (target, 0))
"""
OPEN = """
import socket, sys
source, host, count = sys.argv[1:4]
for number in range(int(count)):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind((source, 10000 + number)); line.sendto(b"x", (host, 9))
"""
ONE_WAY = """
import socket, sys
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); line.bind(("192.168.1.101", 9999))
for _ in range(int(sys.argv[2])): line.sendto(b"x", (sys.argv[1], 9))
"""
PINGS = """
import socket, struct, sys
line = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP); line.bind(("192.168.1.101", 0))
for number in range(1, int(sys.argv[2]) + 1):
    check = ~(0x0800 + number) & 0xFFFF
    line.sendto(struct.pack("!BBHHH", 8, 0, check, number, 0), (sys.argv[1], 0))
"""
ADVERTISE = """
import socket, struct, sys, time
def lladdr():
    for line in open("/proc/net/if_inet6"):
        packed, _, _, scope, flags, name = line.split()
        if name == sys.argv[1] and scope == "20" and not int(flags, 16) & 0x40: return True
while not lladdr(): time.sleep(0.05)
line = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
to = ("ff02::1", 0, 0, socket.if_nametoindex(sys.argv[1]))
advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 8, 1800, 0, 0)
for _ in range(6):
    line.sendto(advertisement, to)
    time.sleep(0.05)
print("sent")
"""
LISTEN = """
import socket, struct, sys
line = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)); line.settimeout(float(sys.argv[1]))
line.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE: on a busy machine it is read late
print("up", flush=True)
try:
    while True:
        packet, place = line.recvfrom(2000)
        if place[2] != socket.PACKET_OUTGOING:
            source, target = map(socket.inet_ntoa, struct.unpack("!4s4s", packet[12:20]))
            print(f"{source} > {target} protocol {packet[9]}", flush=True)
except TimeoutError:
    pass
"""


@dataclass(frozen=True)
class World:
    node: Scratch
    client: Scratch
    server: Scratch

    def switch(self, name: str) -> None:
        self.node.run("nft", "-f", f"/run/g/{name}.nft")

    def counter(self, name: str) -> int:
        name = f"passed_{FIP}" if name == "passed" else name
        listing = json.loads(self.node.run("nft", "-j", "list", "counter", "ip", "natpair", name).stdout)
        return int(listing["nftables"][1]["counter"]["packets"])

    def open(self, source: str, count: int) -> int:
        """How many flows `source` has when it has tried to have `count` of them."""
        self.client.run(sys.executable, "-c", OPEN, source, SERVER, str(count))
        listed = self.node.run("sh", "-c", f"conntrack -L -p udp -s {source} 2>/dev/null | wc -l")
        return int(listed.stdout)

    def ask(self, text: str, *, port: int = 40000, host: str = SERVER) -> str:
        """A client's UDP question to the echo server, and what came back."""
        return self.client.run(sys.executable, "-c", SEND, "192.168.1.101", str(port), host, "7", text).stdout.strip()

    @contextmanager
    def echo(self) -> Iterator[list[str]]:
        """The echo server; the list holds, after the block, what it was asked by whom."""
        seen: list[str] = []
        with process(self.server, ECHO, SERVER) as lines:
            yield seen
            self.server.run(sys.executable, "-c", SEND, SERVER, "0", SERVER, "7", "end")
            seen += [line for line in lines().splitlines() if not line.endswith(" end")]

    @contextmanager
    def watch(self, where: Scratch, seconds: float = 0.8) -> Iterator[list[str]]:
        """Every IPv4 packet that arrives in `where` during the block and shortly after."""
        seen: list[str] = []
        with process(where, LISTEN, str(seconds)) as lines:
            yield seen
            seen += lines().splitlines()


@contextmanager
def process(where: Scratch, code: str, *args: str):  # type: ignore[no-untyped-def]
    child = subprocess.Popen(where.argv([sys.executable, "-c", code, *args]), stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "up\n"
        yield lambda: child.communicate(timeout=30)[0]
    finally:
        child.kill()
        child.communicate()


def far(node: Node, *, private: str, public: str) -> Node:
    return node.model_copy(update={"private_interface": private, "public_interface": public})


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with built() as there:
        yield there


@contextmanager
def built() -> Iterator[World]:
    """The three machines, cabled; scripts/limit-figures measures in them, too."""
    case = CASES[0]
    gateway = case.gateway()
    node = gateway.node[0]
    # The far machines get the usual furniture, interfaces named out of the way, and then one end of a node's cable.
    other = far(node, private="idle1", public="idle0")
    with scratch_node(node) as inside, scratch_node(other) as client, scratch_node(other) as server:
        three = World(inside, client, server)
        for link, there in (("far0", client), ("far1", server)):
            there.run("ip", "link", "del", "idle0")
            there.run("ip", "link", "del", "idle1")
            inside.run("ip", "link", "set", link, "netns", str(there.pid))
            there.run("ip", "link", "set", link, "up")
        for host in ("192.168.1.101/24", "192.168.1.102/24", "192.168.1.4/24"):
            client.run("ip", "address", "add", host, "dev", "far0")
        client.run("ip", "route", "add", "default", "via", "192.168.1.1")
        client.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.far0.rp_filter=0")
        server.run("ip", "address", "add", "203.0.113.1/24", "dev", "far1")
        server.run("ip", "address", "add", f"{SERVER}/32", "dev", "lo")
        server.run("ip", "route", "add", FIP, "via", "203.0.113.3")
        inside.run("ip", "address", "add", "192.168.1.1/24", "dev", "eth1")
        inside.run("ip", "route", "add", "default", "via", "203.0.113.1")
        for file in case.bundles()[node.name]:
            inside.write(f"/run/g/{file.path.rsplit('/', 1)[-1]}", file.text)
        for settings in ("60-natpair.conf", "forwarding.sysctl"):
            inside.python(f"from natpair.system import sysctl\nsysctl.load(open('/run/g/{settings}').read())")
        yield three


@pytest.fixture(autouse=True)
def _fresh(world: World) -> None:
    world.node.run("nft", "-f", "/run/g/nftables.nft")
    world.node.run("tc", "-batch", "/run/g/guard.tc")
    world.node.run("ip", "-batch", "/run/g/routes.ip")
    world.node.run("conntrack", "-F")


def test_local_translates_and_keeps_the_port(world: World) -> None:
    world.switch("traffic-local")
    with world.echo() as asked:
        assert world.ask("hello", port=41234) == "hello"
    assert asked == [f"{FIP}:41234 hello"]
    assert world.counter("fip_in") == 1
    assert world.counter("leak_guard") == 0


@pytest.mark.parametrize("state", ["closed", "relay"])
def test_closed_and_relay_hold_clients_silently(world: World, state: str) -> None:
    world.switch(f"traffic-{state}")
    with world.watch(world.server) as seen:
        assert world.ask("hello") == "silence"
    assert [packet for packet in seen if "protocol 17" in packet] == []
    assert world.counter("held") == 1


def test_a_switch_of_state_keeps_the_flow_and_the_counters(world: World) -> None:
    world.switch("traffic-local")
    with world.echo() as asked:
        for text in ("one", "two"):
            assert world.ask(text) == text
            world.switch("traffic-closed")
            assert world.ask("lost") == "silence"
            world.switch("traffic-local")
    assert asked == [f"{FIP}:40000 one", f"{FIP}:40000 two"]
    assert world.counter("fip_in") == 2


def test_no_client_asks_the_platform_for_the_nodes_user_data(world: World) -> None:
    world.switch("traffic-local")
    for forbidden in (True, False):
        if not forbidden:
            # The control: without that one rule the question would leave, in the node's name.
            rules = world.node.run("nft", "-a", "list", "chain", "ip", "natpair", "new_flow").stdout.splitlines()
            (handle,) = [line.rsplit(" ", 1)[1] for line in rules if "169.254.0.0/16" in line]
            world.node.run("nft", "delete", "rule", "ip", "natpair", "new_flow", "handle", handle)
        with world.watch(world.server) as seen:
            assert world.ask("user-data", host=METADATA) == "silence"
        assert any(METADATA in packet for packet in seen) is not forbidden


@pytest.mark.parametrize("state", ["local", "relay", "closed"])
def test_nothing_unknown_is_answered(world: World, state: str) -> None:
    world.switch(f"traffic-{state}")
    assert world.server.run(sys.executable, "-c", SEND, SERVER, "0", FIP, "9999", "x").stdout.strip() == "silence"
    assert world.server.run(sys.executable, "-c", CONNECT, FIP, "22").stdout.strip() == "silence"
    assert world.counter("fip_in") >= 2
    assert world.counter("fip_unknown") == (world.counter("fip_in") if state == "local" else 0)


def test_without_any_ruleset_the_fip_still_answers_nobody(world: World) -> None:
    world.node.run("nft", "flush", "ruleset")
    assert world.server.run(sys.executable, "-c", CONNECT, FIP, "22").stdout.strip() == "silence"


def test_relay_hands_packets_to_the_peer_once(world: World) -> None:
    world.switch("traffic-relay")
    world.node.run("ip", "route", "replace", FIP, "via", "192.168.1.4", "dev", "eth1")
    try:
        with world.watch(world.client) as seen:
            world.server.run(sys.executable, "-c", FORGE, SERVER, "7", FIP, "40000", "reply")
        # Coming back on the VLAN it is never relayed again.
        world.client.run("ip", "route", "replace", FIP, "via", "192.168.1.3")
        with world.watch(world.client) as again:
            world.client.run(sys.executable, "-c", FORGE, SERVER, "7", FIP, "40000", "reply")
    finally:
        world.node.run("ip", "route", "del", FIP, "via", "192.168.1.4")
        world.client.run("ip", "route", "del", FIP)
    assert seen == [f"{SERVER} > {FIP} protocol 17"]
    assert again == []
    assert world.counter("relayed") == 1
    assert world.counter("held") == 1
    assert world.node.run("conntrack", "-L", "-p", "udp").stdout == ""


def test_local_delivers_what_the_peer_relayed(world: World) -> None:
    world.switch("traffic-local")
    with world.echo():
        assert world.ask("hello") == "hello"
    world.client.run("ip", "route", "replace", FIP, "via", "192.168.1.3")
    try:
        with world.watch(world.client) as seen:
            world.client.run(sys.executable, "-c", FORGE, SERVER, "7", FIP, "40000", "relayed")
    finally:
        world.client.run("ip", "route", "del", FIP)
    assert seen == [f"{SERVER} > 192.168.1.101 protocol 17"]


def test_the_window_copies_unknown_packets_to_the_peer(world: World) -> None:
    world.switch("traffic-local")
    world.switch("duplicate-on")
    with world.watch(world.client) as seen:
        world.server.run(sys.executable, "-c", FORGE, SERVER, "7", FIP, "40001", "unknown")
    assert seen == [f"{SERVER} > {FIP} protocol 17"]
    assert world.counter("duplicated") == 1
    with world.echo():
        assert world.ask("known", port=40002) == "known"
    assert world.counter("duplicated") == 1
    world.switch("duplicate-off")
    world.server.run(sys.executable, "-c", FORGE, SERVER, "7", FIP, "40001", "unknown")
    assert (world.counter("duplicated"), world.counter("fip_unknown")) == (1, 1)


def test_what_another_table_drops_is_offered_and_does_not_pass(world: World) -> None:
    world.switch("traffic-local")
    with world.echo():
        assert world.ask("through") == "through"
        assert (world.counter("offered"), world.counter(f"passed_{FIP}")) == (1, 1)
        world.node.run("nft", "add table ip stranger")
        world.node.run("nft", "add chain ip stranger forward { type filter hook forward priority -10; policy drop; }")
        try:
            assert world.ask("lost", port=40001) == "silence"
        finally:
            world.node.run("nft", "delete", "table", "ip", "stranger")
        assert (world.counter("offered"), world.counter(f"passed_{FIP}")) == (2, 1)
    world.ask("to nobody", host="192.168.7.7")
    world.ask("to the node", host="192.168.1.3")
    assert world.counter("offered") == 2, "what clients may not reach is not counted"


@pytest.mark.parametrize("hook", ["prerouting", "forward", "postrouting"])
def test_wherever_another_table_drops_one_of_the_pairs_of_counters_tells(world: World, hook: str) -> None:
    world.switch("traffic-local")
    world.node.run("nft", "add table ip stranger")
    world.node.run("nft", f"add chain ip stranger c {{ type filter hook {hook} priority -100; policy drop; }}")
    try:
        assert world.ask("lost") == "silence"
    finally:
        world.node.run("nft", "delete", "table", "ip", "stranger")
    lost = {pair: world.counter(pair[0]) - world.counter(pair[1]) for pair in PAIRS}
    assert sorted(lost.values()) == [0, 1], lost


def test_what_natpair_or_the_kernel_drops_is_held_against_nobody(world: World) -> None:
    """NULL segments, a tenant's unknown protocols, the last hop of a traceroute, what is over a limit or off limits."""
    limited(world, 300, 1)
    world.ask("first")
    world.client.run(sys.executable, "-c", RAW, "192.168.1.101", SERVER, "6", "60", NULL_SEGMENT)
    world.client.run(sys.executable, "-c", RAW, "192.168.1.101", SERVER, "253", "60", "00" * 16)
    world.open("192.168.1.101", 60)
    world.ask("to nobody", host="192.168.7.7")
    world.client.run("ping", "-c", "30", "-i", "0.01", "-W", "1", "-t", "1", SERVER, ok=(1,))
    dropped = ("not_forwarded", "other_protocol", "over_rate", "off_limits")
    assert {name: world.counter(name) > 0 for name in dropped} == dict.fromkeys(dropped, True)
    assert world.counter("offered") == world.counter("passed") > 0
    assert world.counter("arrived") == world.counter("routed") > 200


OTHERS_NAT = {
    "iptables": "type nat hook postrouting priority srcnat; oifname eth0 masquerade",
    "ahead": "type nat hook postrouting priority srcnat - 50; oifname eth0 masquerade",
    "destination": "type nat hook prerouting priority dstnat - 50; ip daddr 198.51.100.10 dnat to 203.0.113.1",
    "late": "type filter hook postrouting priority 900; oifname eth0 ip saddr set 203.0.113.3",
}
"""What others add. The first is what `iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE` makes."""


def add_nat(world: World, text: str) -> None:
    hook, rule = text.rsplit("; ", 1)
    world.node.run("nft", "-f", "-", stdin=f"table ip nat {{\nchain c {{\n{hook};\n{rule}\n}}\n}}\n")


@pytest.mark.parametrize("first", [True, False], ids=["others first", "ours first"])
@pytest.mark.parametrize("kind", [*OTHERS_NAT])
def test_flows_of_clients_leave_by_the_fip_whatever_nat_others_add(world: World, kind: str, first: bool) -> None:
    text = OTHERS_NAT[kind]
    if first:
        world.node.run("nft", "-f", "-", stdin="add table ip natpair\ndelete table ip natpair\n")
        add_nat(world, text)
        world.node.run("nft", "-f", "/run/g/nftables.nft")
    world.switch("traffic-local")
    if not first:
        add_nat(world, text)
    try:
        with world.watch(world.server) as seen, world.echo() as asked:
            answer = world.ask("hello", port=41234)
        if kind == "late":
            assert (answer, world.counter("leak_guard")) == ("silence", 1), "rewritten without a flow"
        else:
            assert (answer, asked) == ("hello", [f"{FIP}:41234 hello"])
        assert not [packet for packet in seen if packet.startswith("203.0.113.3 >") and "protocol 17" in packet]
    finally:
        world.node.run("nft", "delete", "table", "ip", "nat")


def test_a_flow_that_has_another_source_than_a_fip_is_stopped(world: World) -> None:
    """The control of the last layer: with natpair's own translation gone, the masquerade of another tool would win."""
    world.switch("traffic-local")
    add_nat(world, OTHERS_NAT["iptables"])
    try:
        world.node.run("nft", "flush", "chain", "ip", "natpair", "nat_postrouting")
        assert world.ask("hello") == "silence"
        assert world.counter("leak_guard") == 1
        world.node.run("nft", "flush", "chain", "ip", "natpair", "leak_guard")
        with world.echo() as asked:
            assert world.ask("hello", port=40001) == "hello"
        assert asked == ["203.0.113.3:40001 hello"], "without both it leaves"
    finally:
        world.node.run("nft", "delete", "table", "ip", "nat")


SWEEP = """
import asyncio
from ipaddress import IPv4Network
from natpair.system import flows
async def main():
    found = await flows.contradicting()
    print(*found, *[await flows.delete(IPv4Network("192.168.1.0/24"), address) for address in found])
asyncio.run(main())
"""


def test_a_flow_of_another_source_is_noted_and_its_client_is_heard_when_it_is_deleted(world: World) -> None:
    """The masquerade of another tool had it while natpair's table was away; the client talks on from one port."""
    world.node.run("nft", "flush", "ruleset")
    add_nat(world, OTHERS_NAT["iptables"])
    with world.echo() as asked:
        assert world.ask("before") == "before"
        world.node.run("nft", "-f", "/run/g/nftables.nft")
        world.switch("traffic-local")
        assert world.ask("lost") == "silence"
        assert world.node.python(SWEEP).stdout == "203.0.113.3 1\n"
        assert world.ask("again") == "again"
        world.node.run("nft", "flush", "set", "ip", "natpair", "misrouted")
        assert world.node.python(SWEEP).stdout == "\n", "the control: nothing is noted of flows that are right"
    world.node.run("nft", "delete", "table", "ip", "nat")
    assert asked == ["203.0.113.3:40000 before", f"{FIP}:40000 again"]


def test_a_nodes_own_packet_from_its_private_address_does_not_borrow_a_fip(world: World) -> None:
    world.switch("traffic-local")
    with world.watch(world.server) as seen:
        own = ("-c", SEND, "192.168.1.3", "40501", SERVER, "7", "own")
        assert world.node.run(sys.executable, *own).stdout.strip() != "own"
    assert not [packet for packet in seen if packet.startswith((FIP, "192.168.1.3"))]
    assert (world.counter("own_leak"), world.counter("leak_guard")) == (1, 0)


def test_a_question_is_kept_for_seconds_and_a_talk_for_minutes(world: World) -> None:
    world.switch("traffic-local")
    for port in (53, 123, 443, 500, 5060):
        world.client.run(sys.executable, "-c", SEND, "192.168.1.101", "41000", SERVER, str(port), "x")
    listed = world.node.run("conntrack", "-L", "-p", "udp").stdout.splitlines()
    left = {line.split("dport=")[1].split()[0]: int(line.split()[2]) for line in listed}
    assert {port: -(-seconds // 10) * 10 for port, seconds in left.items()} == {
        "53": 20, "123": 20, "443": 30, "500": 120, "5060": 120,
    }  # fmt: skip


def test_one_kind_of_flows_does_not_take_the_share_of_another(world: World) -> None:
    limited(world, 300, 1_000_000)
    assert world.open("192.168.1.101", 300) > 290
    world.client.run(sys.executable, "-c", PINGS, SERVER, "300")
    assert world.counter("over_flows") == 0
    world.client.run(sys.executable, "-c", PINGS, SERVER, "400")
    assert world.counter("over_flows") == 100, "the control: each kind has its limit"


def test_a_stranger_cannot_fill_the_table_with_what_it_begins_at_the_node(world: World) -> None:
    for port in range(100):
        segment = f"{20000 + port:04x}0016" + "00000001" + "00000000" + "5002ffff" + "00000000"
        world.server.run(sys.executable, "-c", RAW, SERVER, "203.0.113.3", "6", "4", segment)
    listed = world.node.run("conntrack", "-L", "-p", "tcp").stdout.splitlines()
    assert all(int(line.split()[2]) <= 10 for line in listed), listed


@pytest.mark.parametrize("link", ["vlan", "wan"])
def test_heartbeats_come_no_faster_than_a_peer_sends_them(world: World, link: str) -> None:
    there, source, target = {
        "vlan": (world.client, "192.168.1.4", "192.168.1.3"),
        "wan": (world.server, "203.0.113.4", "203.0.113.3"),
    }[link]
    datagram = "0ec50ec5" + "0030" + "0000" + "00" * 40
    there.run(sys.executable, "-c", RAW, source, target, "17", "5000", datagram)
    assert 2500 < world.counter("over_peer") < 5000


def test_a_router_advertisement_of_a_tenant_changes_no_route(world: World) -> None:
    """With what a real machine has: it takes advertisements, as it is no router for IPv6."""
    for name in ("eth1", "eth0"):
        world.node.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=0", f"net.ipv6.conf.{name}.accept_ra=1")
    # On the public side, the negative control, the next hop's are heard.
    for there, link, name, heard in ((world.client, "far0", "eth1", False), (world.server, "far1", "eth0", True)):
        there.run("sysctl", "-qw", f"net.ipv6.conf.{link}.disable_ipv6=0")
        told = there.run(sys.executable, "-c", ADVERTISE, link).stdout.strip()
        routes = world.node.run("ip", "-6", "route", "show", "default", "dev", name).stdout
        assert (told, "proto ra" in routes) == ("sent", heard)
        world.node.run("ip", "-6", "route", "flush", "proto", "ra")


def test_a_client_cannot_reach_its_own_fip(world: World) -> None:
    world.switch("traffic-local")
    assert world.ask("hello", host=FIP) == "silence"
    assert world.counter("hairpin") == 1


def test_forged_sources_are_dropped(world: World) -> None:
    world.switch("traffic-local")
    with world.watch(world.server) as seen:
        world.client.run(sys.executable, "-c", FORGE, "172.16.9.9", "5", SERVER, "7", "forged")
        world.client.run(sys.executable, "-c", FORGE, FIP, "5", SERVER, "7", "forged")
    assert [packet for packet in seen if "protocol 17" in packet] == []
    assert world.counter("spoofed") == 2


def test_without_translation_the_leak_guard_stops_private_sources(world: World) -> None:
    world.switch("traffic-local")
    world.node.run("nft", "flush", "chain", "ip", "natpair", "nat_postrouting")
    with world.watch(world.server) as seen:
        assert world.ask("hello") == "silence"
    assert [packet for packet in seen if "192.168.1." in packet] == []
    assert world.counter("leak_guard") == 1


def test_without_any_ruleset_the_second_layer_does(world: World) -> None:
    world.node.run("nft", "flush", "ruleset")
    with world.watch(world.server) as seen:
        assert world.ask("hello") == "silence"
    assert seen == []


def test_without_both_layers_the_packet_would_leave(world: World) -> None:
    """The negative control: what the two tests above see is the guards' work."""
    world.node.run("nft", "flush", "ruleset")
    world.node.run("tc", "qdisc", "del", "dev", "eth0", "clsact")
    with world.watch(world.server) as seen:
        world.ask("hello")
    assert f"192.168.1.101 > {SERVER} protocol 17" in seen


def test_a_dead_uplink_is_not_called_unreachable(world: World) -> None:
    world.switch("traffic-local")
    world.node.run("ip", "route", "del", "default")
    try:
        assert world.ask("hello") == "silence"
    finally:
        world.node.run("ip", "route", "add", "default", "via", "203.0.113.1")


def test_conntrackd_replicates_flows_of_clients_and_not_the_nodes_own(world: World) -> None:
    world.switch("traffic-local")
    daemon = subprocess.Popen(
        world.node.argv(["conntrackd", "-C", "/run/g/conntrackd.conf"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    cache = ["conntrackd", "-C", "/run/g/conntrackd.conf", "-i"]
    try:
        world.node.run("timeout", "10", "sh", "-c", f"until {' '.join(cache)}; do sleep 0.05; done")
        with world.echo():
            assert world.ask("hello", port=40500) == "hello"
            own = ("-c", SEND, "203.0.113.3", "40501", SERVER, "7", "own")
            assert world.node.run(sys.executable, *own).stdout.strip() == "own"
        held = world.node.run(*cache).stdout
    finally:
        daemon.terminate()
        daemon.communicate(timeout=10)
    assert f"src=192.168.1.101 dst={SERVER} sport=40500 dport=7" in held
    assert f"dst={FIP}" in held
    assert "203.0.113.3" not in held


def test_reloading_the_whole_ruleset_keeps_state_and_flows(world: World) -> None:
    world.switch("traffic-local")
    world.switch("duplicate-on")
    world.node.run("sh", "-c", "mkdir -p /etc/natpair/generated && cp /run/g/*.nft /etc/natpair/generated/")
    with world.echo() as asked:
        assert world.ask("one") == "one"
        world.node.python("from natpair.apply.reload import Step, perform\nperform(Step.RULESET)")
        assert world.ask("two") == "two"
    assert asked == [f"{FIP}:40000 one", f"{FIP}:40000 two"]
    read_back = "from natpair.system import nft\nprint(sorted(nft.marks_in_force().items()))"
    expected = "[('duplicate', 'on'), ('fence', 'off'), ('peer', 'any'), ('traffic', 'local')]\n"
    assert world.node.python(read_back).stdout == expected


def limited(world: World, flows: int, rate: int) -> None:
    """The ruleset with these limits for each client, as it is rendered, in the traffic state local."""
    limits = f"[nat]\nmax_flows_per_client = {flows}\nnew_flows_per_second_per_client = {rate}\n"
    (ruleset,) = (f for f in nftables_files(Sides.of(gateway(extra=limits), "nat-a")) if f.path == paths.NFTABLES)
    world.node.run("nft", "-f", "-", stdin=ruleset.text)
    world.switch("traffic-local")


def test_a_client_has_the_flows_it_may_have_and_new_ones_when_they_end(world: World) -> None:
    limited(world, 8192, 1_000_000)
    full, other = "192.168.1.101", "192.168.1.102"
    assert world.open(full, 6000) > 5990, "no list is full at 73 %"
    assert 0.95 * 8192 < world.open(full, 20_000) <= 8192, "32 lists of 256"
    assert world.open(full, 40_000) <= 8192, "a client that is full stays so"
    assert full in world.node.run("nft", "list", "set", "ip", "natpair", "clients_full").stdout
    assert world.counter("over_flows") > 40_000
    assert world.open(other, 500) == 500
    world.node.run("conntrack", "-D", "-s", full)
    assert world.open(full, 6000) > 5990


def test_pings_of_one_host_are_counted_by_their_ids(world: World) -> None:
    for flows, some in ((8192, 0), (300, 100)):
        limited(world, flows, 1_000_000)
        world.client.run(sys.executable, "-c", PINGS, SERVER, "400")
        assert world.counter("over_flows") == some
        world.node.run("conntrack", "-F")


def test_a_flow_that_nobody_answers_is_opened_once(world: World) -> None:
    """To conntrack each of its packets is a new flow's."""
    limited(world, 300, 50)
    with world.watch(world.server) as seen:
        world.client.run(sys.executable, "-c", ONE_WAY, SERVER, "1000")
    assert len([packet for packet in seen if "protocol 17" in packet]) == 1000
    assert (world.counter("over_rate"), world.counter("over_flows")) == (0, 0)
    handle = next(
        line.rsplit(" ", 1)[1]
        for line in world.node.run("nft", "-a", "list", "chain", "ip", "natpair", "new_flow").stdout.splitlines()
        if "ct status confirmed" in line
    )
    world.node.run("nft", "delete", "rule", "ip", "natpair", "new_flow", "handle", handle)
    world.client.run(sys.executable, "-c", ONE_WAY, SERVER, "1000")
    assert world.counter("over_rate") > 500, "the control: without that rule its packets count as flows"
