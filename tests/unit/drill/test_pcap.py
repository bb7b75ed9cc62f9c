from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.core.packets import ETH_ARP, ETH_IPV4, ETH_IPV6
from natpair_lab.drill import pcap
from natpair_lab.drill.pcap import Packet, ResetKind
from unit.drill.drill_samples import (
    arp_packet,
    attribute,
    bgp_packet,
    bgp_update,
    capture,
    ipv4,
    packet,
    tcp,
)

RST, SYN = 0x04, 0x02
CLIENT, SERVER = "192.168.1.101", "198.51.100.10"


class TestReader:
    def test_direction_interface_and_time(self) -> None:
        data = capture([(5, 7, 3, 3, b"in"), (6, 8, 4, 4, b"out")])
        first, second = pcap.read_packets(data)
        assert (first.time_ns, first.interface, first.leaving_host) == (5_000_000_007, 3, True)
        assert (second.interface, second.leaving_host) == (4, False)
        assert first.source_mac == "02:00:00:00:00:09"
        assert first.payload == b"in"

    def test_microsecond_files(self) -> None:
        (only,) = pcap.read_packets(capture([(1, 5, 3, 0, b"")], magic=0xA1B2C3D4))
        assert only.time_ns == 1_000_005_000

    @given(st.integers(0, 200))
    def test_a_torn_file_gives_its_whole_packets(self, cut: int) -> None:
        data = capture([(1, 0, 3, 0, b"a" * 40), (2, 0, 3, 0, b"b" * 40)])
        whole = list(pcap.read_packets(data))
        assert (
            list(pcap.read_packets(data[: max(0, len(data) - cut)])) == whole[: max(0, len(whole) - (cut + 75) // 76)]
        )

    def test_another_kind_of_file_is_refused(self) -> None:
        with pytest.raises(ValueError, match="LINUX_SLL2"):
            list(pcap.read_packets(b"\0" * 64))

    def test_nothing_written_yet(self) -> None:
        assert list(pcap.read_packets(b"")) == []


class TestResets:
    def test_rst(self) -> None:
        found = pcap.reset(packet(ipv4(SERVER, CLIENT, 6, tcp(443, 5000, flags=RST | 0x10, sequence=9))))
        assert found is not None
        assert (found.kind, found.source, found.destination, found.tag) == (
            ResetKind.TCP_RST,
            "198.51.100.10:443",
            "192.168.1.101:5000",
            9,
        )

    @pytest.mark.parametrize("flags", [SYN, 0x10, 0x11, 0x18])
    def test_other_segments_are_none(self, flags: int) -> None:
        assert pcap.reset(packet(ipv4(SERVER, CLIENT, 6, tcp(443, 5000, flags=flags)))) is None

    @pytest.mark.parametrize("code", [0, 1, 2, 3, 9, 10, 13])
    def test_unreachable_speaks_of_the_packet_inside(self, code: int) -> None:
        inside = ipv4(CLIENT, SERVER, 17, struct.pack("!HHHH", 4000, 53, 8, 0), identification=321)
        message = ipv4("192.168.1.1", CLIENT, 1, bytes([3, code]) + b"\0" * 6 + inside)
        found = pcap.reset(packet(message))
        assert found is not None
        assert found.kind is ResetKind.ICMP_UNREACHABLE
        assert (found.source, found.destination) == ("192.168.1.101:4000", "198.51.100.10:53")
        assert (found.sender, found.receiver, found.tag) == ("192.168.1.1", CLIENT, code << 16 | 321)

    def test_fragmentation_needed_is_path_mtu_discovery(self) -> None:
        inside = ipv4(CLIENT, SERVER, 6, tcp(1, 2, flags=0x10))
        assert pcap.reset(packet(ipv4("192.168.1.1", CLIENT, 1, b"\x03\x04" + b"\0" * 6 + inside))) is None

    @pytest.mark.parametrize("kind", [0, 8, 11])
    def test_other_icmp_is_none(self, kind: int) -> None:
        assert pcap.reset(packet(ipv4("192.168.1.1", CLIENT, 1, bytes([kind, 0]) + b"\0" * 40))) is None

    @pytest.mark.parametrize("ethertype", [ETH_ARP, ETH_IPV6])
    def test_only_ipv4(self, ethertype: int) -> None:
        assert pcap.reset(packet(ipv4(SERVER, CLIENT, 6, tcp(1, 2, flags=RST)), ethertype=ethertype)) is None


class TestVrrpAndArp:
    @pytest.mark.parametrize("priority", [0, 110, 255])
    def test_advert(self, priority: int) -> None:
        found = pcap.advert(packet(ipv4("192.168.1.3", "192.168.1.4", 112, b"\x31\x33%c\x01\x00\x0a\0\0" % priority)))
        assert found is not None
        assert (found.source, found.router_id, found.priority) == ("192.168.1.3", 51, priority)

    def test_no_advert(self) -> None:
        assert pcap.advert(packet(ipv4("192.168.1.3", "192.168.1.4", 112, b"\x31"))) is None
        assert pcap.advert(packet(ipv4("192.168.1.3", "192.168.1.4", 17, b"\x31" * 8))) is None

    def test_arp(self) -> None:
        found = pcap.arp(arp_packet("192.168.1.1", "192.168.1.1"))
        assert found is not None
        assert (found.sender, found.sender_mac, found.gratuitous) == ("192.168.1.1", "02:00:00:00:00:01", True)

    def test_a_question_is_not_gratuitous(self) -> None:
        found = pcap.arp(arp_packet("192.168.1.101", "192.168.1.1"))
        assert found is not None
        assert not found.gratuitous


COMMUNITY = attribute(8, struct.pack("!HH", 65000, 1))
MED = attribute(4, struct.pack("!I", 2147483000))
PREFIX = b"\x20\xc0\x00\x02\xdd"
REACH = attribute(14, b"\x00\x01\x01\x10" + b"\x20" * 16 + b"\0" + PREFIX)


class TestBgp:
    def test_rfc8950_update(self) -> None:
        (found,) = pcap.updates(bgp_packet(bgp_update(MED + COMMUNITY + REACH)))
        assert found.announced == ("192.0.2.221/32",)
        assert (found.communities, found.med) == (("65000:1",), 2147483000)

    def test_classic_update_and_withdrawal(self) -> None:
        (found,) = pcap.updates(bgp_packet(bgp_update(COMMUNITY, nlri=PREFIX, withdrawn=b"\x18\x0a\x00\x00")))
        assert found.announced == ("192.0.2.221/32",)
        assert found.withdrawn == ("10.0.0.0/24",)

    def test_mp_withdrawal(self) -> None:
        (found,) = pcap.updates(bgp_packet(bgp_update(attribute(15, b"\x00\x01\x01" + PREFIX))))
        assert found.withdrawn == ("192.0.2.221/32",)

    def test_several_messages_in_a_segment(self) -> None:
        keepalive = b"\xff" * 16 + struct.pack("!HB", 19, 4)
        data = keepalive + bgp_update(COMMUNITY + REACH) + keepalive + bgp_update(MED + REACH)
        assert len(list(pcap.updates(bgp_packet(data)))) == 2

    def test_keepalives_are_nothing(self) -> None:
        assert list(pcap.updates(bgp_packet(b"\xff" * 16 + struct.pack("!HB", 19, 4)))) == []

    @pytest.mark.parametrize("flags", [0x11, 0x14])
    def test_the_end_of_a_session(self, flags: int) -> None:
        (found,) = pcap.updates(bgp_packet(b"", flags=flags))
        assert found.closed

    def test_wide_attributes(self) -> None:
        wide = struct.pack("!BBH", 0xD0, 8, 4) + struct.pack("!HH", 65000, 2)
        (found,) = pcap.updates(bgp_packet(bgp_update(wide + REACH)))
        assert found.communities == ("65000:2",)

    @given(st.binary(max_size=120))
    def test_garbage_attributes_never_raise(self, garbage: bytes) -> None:
        assert len(list(pcap.updates(bgp_packet(bgp_update(garbage))))) == 1


@given(st.binary(max_size=120), st.sampled_from([ETH_IPV4, ETH_ARP, ETH_IPV6]))
def test_no_bytes_make_the_dissectors_raise(data: bytes, ethertype: int) -> None:
    seen = Packet(1, 1, True, "", ethertype, data)
    for dissect in (pcap.reset, pcap.advert, pcap.arp, pcap.ipv4):
        dissect(seen)
    list(pcap.updates(seen))


@given(st.binary(max_size=400))
def test_no_capture_makes_the_reader_raise_anything_else(data: bytes) -> None:
    header = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 512, 276)
    for seen in pcap.read_packets(header + data):
        pcap.reset(seen)
