from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair_lab.drill.pcap import Packet
from natpair_lab.drill.records import Link, TapRecord
from natpair_lab.drill.taps import (
    Port,
    merge,
    neighbour_changes,
    private_networks,
    public_filter,
    route_changes,
    tap_record,
    timed_lines,
)
from natpair_lab.drill.witnesses import agent_steps
from unit.drill.drill_samples import CLIENT_MAC, arp_packet, bgp_packet, bgp_update, ipv4, packet, tcp

PRIVATE = IPv4Network("192.168.1.0/24")
PORTS = {(Link.PUBLIC, 3): Port("nat-a", Link.PUBLIC), (Link.VLAN, 3): Port("nat-b", Link.VLAN)}
FIP = "192.0.2.221"
OWNERS = {"2001:db8:100::3": "nat-a", "2001:db8:100::4": "nat-b", "203.0.113.4": "nat-b"}


def record(*packets: Packet, link: Link = Link.PUBLIC) -> TapRecord:
    return tap_record(packets, PORTS, link, private_networks(PRIVATE), 1000)


class TestLeaks:
    @pytest.mark.parametrize("source", ["192.168.1.101", "10.1.2.3", "172.16.0.1", "172.31.255.255"])
    def test_a_private_source_leaving_on_the_uplink(self, source: str) -> None:
        (leak,) = record(packet(ipv4(source, "198.51.100.10", 17, b"x" * 8))).leaks
        assert (leak.node, leak.link, leak.time_ns, leak.what.source) == ("nat-a", Link.PUBLIC, 1001, source)

    @pytest.mark.parametrize("source", ["192.0.2.221", "203.0.113.3", "172.32.0.1", "11.0.0.1"])
    def test_a_public_source_is_none(self, source: str) -> None:
        assert record(packet(ipv4(source, "198.51.100.10", 17, b"x" * 8))).leaks == ()

    def test_what_enters_is_not_our_leak(self) -> None:
        assert record(packet(ipv4("10.0.0.1", "192.0.2.221", 17, b"x" * 8), leaving=False)).leaks == ()

    def test_other_ports_of_the_switch_are_ignored(self) -> None:
        assert record(packet(ipv4("10.0.0.1", "192.0.2.221", 17, b"x" * 8), interface=99)).leaks == ()

    def test_on_the_vlan_private_sources_are_at_home(self) -> None:
        assert record(packet(ipv4("192.168.1.101", "198.51.100.10", 17, b"x")), link=Link.VLAN).leaks == ()

    def test_a_public_subnet_used_inside_is_private_too(self) -> None:
        assert private_networks(IPv4Network("100.64.0.0/16"))[-1] == IPv4Network("100.64.0.0/16")
        assert len(private_networks(PRIVATE)) == 3
        assert "src net 100.64.0.0/16" in public_filter(IPv4Network("100.64.0.0/16"))


def test_each_kind_of_packet_finds_its_place() -> None:
    vlan = record(
        packet(ipv4("192.168.1.4", "192.168.1.3", 112, bytes([0x31, 51, 110, 1, 0, 10, 0, 0]))),
        arp_packet("192.168.1.1", "192.168.1.1"),
        packet(ipv4("198.51.100.10", "192.168.1.101", 6, tcp(1, 2, flags=4))),
        link=Link.VLAN,
    )
    assert (len(vlan.adverts), len(vlan.arps), len(vlan.resets)) == (1, 1, 1)
    assert vlan.adverts[0].node == "nat-b"
    assert vlan.arps[0].what.sender_mac == CLIENT_MAC
    assert len(record(bgp_packet(bgp_update(b""))).updates) == 1


def test_merging_keeps_all_in_order_of_time() -> None:
    seen = [packet(ipv4("10.0.0.1", "1.1.1.1", 17, b""))]
    later, earlier = (tap_record(seen, PORTS, Link.PUBLIC, private_networks(PRIVATE), offset) for offset in (50, 9))
    joined = merge([later, earlier], lost=2)
    assert [leak.time_ns for leak in joined.leaks] == [10, 51]
    assert joined.lost == 2


class TestMonitors:
    def test_times_are_utc_and_shifted(self) -> None:
        lines = ["[1970-01-01T00:00:02.000500] 1.2.3.4 dev eth0 ", "garbage", ""]
        assert list(timed_lines(lines, 7)) == [(2_000_500_007, "1.2.3.4 dev eth0 ")]

    def changes(self, *lines: str, table: str = "100") -> list[tuple[str, ...]]:
        stamped = [f"[1970-01-01T00:00:0{number}.000000] {line}" for number, line in enumerate(lines)]
        return [change.nodes for change in route_changes(stamped, FIP, table, OWNERS, 0)]

    def test_the_owner_of_the_next_hop(self) -> None:
        assert self.changes(
            f"{FIP} via inet6 2001:db8:100::3 dev public0 table 100 proto bird metric 32 ",
            f"{FIP} via inet6 2001:db8:100::4 dev public0 table 100 proto bird metric 32 ",
            f"Deleted {FIP} via inet6 2001:db8:100::4 dev public0 table 100 proto bird ",
            f"{FIP} via 203.0.113.4 dev public0 table 100 ",
        ) == [("nat-a",), ("nat-b",), (), ("nat-b",)]

    def test_several_next_hops(self) -> None:
        hops = "\\\tnexthop via inet6 2001:db8:100::4 dev p weight 1 \\\tnexthop via inet6 2001:db8:100::3"
        assert self.changes(f"{FIP} table 100 {hops}") == [("nat-a", "nat-b")]

    def test_only_the_table_that_forwards_and_only_that_prefix(self) -> None:
        other = (
            f"{FIP} via inet6 2001:db8:100::3 dev p ",
            "192.0.2.222 via inet6 2001:db8:100::3 dev p table 100 ",
            f"{FIP} via inet6 2001:db8:100::3 dev p table 1000 ",
        )
        assert self.changes(*other) == []
        assert self.changes(*other, table="main") == [("nat-a",)]

    def test_a_clients_entry(self) -> None:
        lines = [
            "[1970-01-01T00:00:01.000000] 192.168.1.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE ",
            "[1970-01-01T00:00:02.000000] 192.168.1.1 dev eth0 lladdr 02:00:00:00:00:01 STALE ",
            "[1970-01-01T00:00:03.000000] 192.168.1.1 dev eth0 lladdr 02:00:00:00:00:02 REACHABLE ",
            "[1970-01-01T00:00:04.000000] 192.168.1.1 dev eth0  FAILED ",
            "[1970-01-01T00:00:05.000000] 192.168.1.9 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE ",
        ]
        owners = {"02:00:00:00:00:01": "nat-a", "02:00:00:00:00:02": "nat-b"}
        found = neighbour_changes(lines, "192.168.1.1", owners, 0)
        assert [(change.time_ns, change.node) for change in found] == [
            (1_000_000_000, "nat-a"),
            (3_000_000_000, "nat-b"),
        ]

    @given(st.text(max_size=80))
    def test_no_line_makes_them_raise(self, line: str) -> None:
        for text in (line, f"[1970-01-01T00:00:01.000000] {line}", f"[9999-99-99T99:99:99] {line}"):
            route_changes([text], FIP, "100", OWNERS, 0)
            neighbour_changes([text], FIP, OWNERS, 0)


class TestDiary:
    def test_steps_of_the_agent(self) -> None:
        lines = [
            '{"time": 2.5, "event": "step", "transition": "t1", "step": "traffic-local", "took_ms": 3}',
            '{"time": 3, "event": "transition", "role": "active"}',
            '{"torn',
            '{"event": "no time"}',
        ]
        first, second = agent_steps("nat-b", lines, 10)
        assert (first.time_ns, first.node, first.event, first.step) == (2_500_000_010, "nat-b", "step", "traffic")
        assert (second.event, second.step) == ("transition", "")
