"""Echo requests in the kernel's hands: sent from an address that nobody has, heard only if they are ours."""

from __future__ import annotations

import pytest

from checks.scratch import Scratch
from contract.daemons import call

pytestmark = pytest.mark.root

SETUP = """
import socket, subprocess, time
from ipaddress import IPv4Address
from natpair.system import echo
subprocess.run(["ip", "link", "delete", "near"], check=False, capture_output=True)
for words in ("link add name near type veth peer name far", "link set near up", "link set far up"):
    subprocess.run(["ip", *words.split()], check=True)
FIP, TARGET, ROUTER = map(IPv4Address, ("192.0.2.221", "203.0.113.1", "198.18.0.1"))
port = echo.EchoPort("near")
seen = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(0x0800))
seen.bind(("far", 0x0800))
port.ask(FIP, TARGET, b"\\xff" * 6)
time.sleep(0.1)
asked = seen.recv(2048)
def back(packet):
    seen.sendto(bytes(packet), ("far", 0x0800, 0, 0, b"\\xff" * 6))
def turned(packet, kind):
    packet = bytearray(packet)
    packet[12:16], packet[16:20], packet[20] = packet[16:20], packet[12:16], kind
    return packet
def error(packet, kind):
    head = bytearray(packet[:20])
    head[12:16], head[16:20] = ROUTER.packed, packet[12:16]
    return bytes(head) + bytes((kind, 0, 0, 0, 0, 0, 0, 0)) + bytes(packet[:28])
def other(packet, at):
    packet = bytearray(packet)
    packet[at] ^= 1
    return packet
port.heard()
"""


def test_the_reply_to_a_fip_that_nobody_has_is_heard(machine: Scratch) -> None:
    said = call(machine, SETUP + "back(turned(asked, 0)); time.sleep(0.1); print(*port.heard())")
    assert "Kind.REPLY" in said
    assert said.count("Answer") == 1
    assert "asker=IPv4Address('192.0.2.221'), target=IPv4Address('203.0.113.1')" in said


@pytest.mark.parametrize("kind", ["3", "11"])
def test_an_error_about_it_names_who_sent_it(machine: Scratch, kind: str) -> None:
    said = call(machine, SETUP + f"back(error(asked, {kind})); time.sleep(0.1); print(*port.heard())")
    assert "sender=IPv4Address('198.18.0.1'), asker=IPv4Address('192.0.2.221')" in said


@pytest.mark.parametrize(
    "wrong",
    ["turned(other(asked, 24), 0)", "turned(other(asked, 40), 0)", "error(other(asked, 24), 11)", "turned(asked, 5)"],
    ids=["another-id", "another-token", "an-error-about-another", "another-kind"],
)
def test_what_is_not_ours_is_not_heard(machine: Scratch, wrong: str) -> None:
    assert call(machine, SETUP + f"back({wrong}); time.sleep(0.1); print(len(port.heard()))") == "0"
