"""ARP over a real cable: one end speaks as the node, the other plays the VLAN."""

from __future__ import annotations

import pytest

from checks.scratch import Scratch
from contract.daemons import call

pytestmark = pytest.mark.root

BOTH = """
import select
from ipaddress import IPv4Address
from natpair.system.arp import ArpPort
node = ArpPort("eth1", IPv4Address("192.168.1.3"))
vlan = ArpPort("far0", IPv4Address("192.168.1.101"))
def hear(port, count):
    found = []
    while len(found) < count and select.select([port.socket], [], [], 2)[0]:
        found += port.heard()
    return found
def show(heard):
    print(*(f"{one.address} {one.mac == node.mac} {one.reply}" for one in heard), sep="; ")
"""


def both(machine: Scratch, body: str) -> str:
    return call(machine, BOTH + body)


def test_a_question_is_heard_on_the_other_side_and_not_on_our_own(machine: Scratch) -> None:
    body = """
node.ask([IPv4Address("192.168.1.101")])
show(hear(vlan, 1))
print(node.heard())
"""
    assert both(machine, body).splitlines() == ["192.168.1.3 True False", "[]"]


def test_a_claim_tells_everybody_that_the_vip_is_here(machine: Scratch) -> None:
    body = 'node.claim(IPv4Address("192.168.1.1"))\nshow(hear(vlan, 2))'
    assert both(machine, body) == "192.168.1.1 True False; 192.168.1.1 True True"


def test_every_target_is_asked(machine: Scratch) -> None:
    body = 'node.ask([IPv4Address(f"192.168.1.{n}") for n in range(100, 110)])\nprint(len(hear(vlan, 10)))'
    assert both(machine, body) == "10"


def test_a_living_neighbour_answers(machine: Scratch) -> None:
    """The kernel behind the other end answers for the address it holds: in this namespace, the node's own."""
    body = 'vlan.ask([IPv4Address("192.168.1.3")])\nshow([one for one in hear(vlan, 1) if one.reply])'
    assert both(machine, body) == "192.168.1.3 True True"


def test_a_cable_that_is_out_loses_frames_and_nothing_else(machine: Scratch) -> None:
    body = """
import subprocess
subprocess.run(["ip", "link", "set", "eth1", "down"], check=True)
try:
    node.ask([IPv4Address("192.168.1.101")])
    node.claim(IPv4Address("192.168.1.1"))
    print(node.heard(), vlan.heard())
finally:
    subprocess.run(["ip", "link", "set", "eth1", "up"], check=True)
"""
    assert both(machine, body) == "[] []"


def test_after_the_cable_is_back_the_same_port_works(machine: Scratch) -> None:
    body = """
import subprocess
for state in ("down", "up"):
    subprocess.run(["ip", "link", "set", "eth1", state], check=True)
node.heard(), vlan.heard()
node.ask([IPv4Address("192.168.1.101")])
show(hear(vlan, 1)[-1:])
"""
    assert both(machine, body) == "192.168.1.3 True False"


def test_a_missing_interface_is_an_os_error(machine: Scratch) -> None:
    body = """
try:
    ArpPort("eth9", IPv4Address("192.168.1.3"))
except OSError:
    print("OSError")
"""
    assert both(machine, body) == "OSError"


def test_a_closed_port_is_closed(machine: Scratch) -> None:
    assert both(machine, "node.close()\nprint(node.socket.fileno())") == "-1"


def test_a_port_knows_that_its_interface_is_another_one_by_now(machine: Scratch) -> None:
    body = """
import subprocess
def ip(words):
    subprocess.run(["ip", *words.split()], check=True)
print(node.stale)
ip("link set eth1 address 02:00:00:00:00:77")
print(node.stale)
node = ArpPort("eth1", IPv4Address("192.168.1.3"))
print(node.stale, node.mac.hex(":"))
for words in ("delete eth1", "add eth1 type veth peer name far0", "set far0 up", "set eth1 up"):
    ip("link " + words)
print(node.stale)
node.ask([IPv4Address("192.168.1.101")])
node, vlan = ArpPort("eth1", IPv4Address("192.168.1.3")), ArpPort("far0", IPv4Address("192.168.1.101"))
node.ask([IPv4Address("192.168.1.101")])
show(hear(vlan, 1))
"""
    expected = ["False", "True", "False 02:00:00:00:00:77", "True", "192.168.1.3 True False"]
    assert both(machine, body).splitlines() == expected
