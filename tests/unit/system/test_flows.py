"""Flows as `conntrack -L` prints them."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from natpair.core.whatif import LiveFlow
from natpair.errors import Unsupported
from natpair.system import flows

LISTING = """\
tcp      6 7439 ESTABLISHED src=192.168.1.101 dst=198.51.100.10 sport=1 dport=7 src=198.51.100.10 dst=192.0.2.221 \
sport=7 dport=1 [ASSURED] mark=0 use=1
tcp      6 100 TIME_WAIT src=192.168.1.101 dst=198.51.100.10 sport=2 dport=7 src=198.51.100.10 dst=192.0.2.221 sport=7 \
dport=2 mark=0 use=1
udp      17 29 src=192.168.1.102 dst=198.51.100.10 sport=3 dport=9 [UNREPLIED] src=198.51.100.10 dst=192.0.2.221 \
sport=9 dport=3 mark=0 use=1
icmp     1 28 src=192.168.1.101 dst=198.51.100.10 type=8 code=0 id=5 src=198.51.100.10 dst=192.0.2.221 type=0 code=0 \
id=5 mark=0 use=1
nonsense
"""


def test_every_line_that_is_a_flow_becomes_one() -> None:
    one, other, fip = IPv4Address("192.168.1.101"), IPv4Address("192.168.1.102"), IPv4Address("192.0.2.221")
    assert list(flows.parse(LISTING)) == [
        LiveFlow("tcp", True, one, fip, 7439),
        LiveFlow("tcp", False, one, fip, 100),
        LiveFlow("udp", False, other, fip, 29),
        LiveFlow("icmp", False, one, fip, 28),
    ]


def test_a_machine_without_conntrack_has_none_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_args: object, **_kwargs: object) -> None:
        raise Unsupported("conntrack is not installed")

    monkeypatch.setattr(flows, "run", missing)
    assert flows.live_flows() == ()
