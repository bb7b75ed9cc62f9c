"""The programs that attack: what they put on the wire is what the receivers' own parsers read."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from natpair.core import packets
from natpair_lab.chaos import faults
from natpair_lab.chaos.observer import primary_sessions, vip_changes
from natpair_lab.chaos.programs import attack, speaker
from natpair_lab.drill import pcap
from natpair_lab.testbed import switches
from unit.drill.drill_samples import packet

SHOWN = """\
1007-Table master4:
 192.0.2.221/32       unicast [node_1 21:35:49.042] * (100/?) [AS65001?]
 \tBGP.community: (65000,1)
1007-                     unicast [node_0 21:35:48.586] (100/?) [AS65001?]
 \tBGP.community: (65000,2)
0000
"""


def test_a_forged_advert_is_an_advert() -> None:
    body = packets.vrrp("192.168.1.102", "192.168.1.3", 51, 255, "192.168.1.1", 10)
    frame = packet(attack.ip_packet("192.168.1.102", "192.168.1.3", 112, body, ttl=255))
    assert pcap.advert(frame) == pcap.Advert("192.168.1.102", 51, 255)
    layer = pcap.ipv4(frame)
    assert layer is not None
    pseudo = packets.packed("192.168.1.102") + packets.packed("192.168.1.3") + struct.pack("!BBH", 0, 112, len(body))
    assert packets.checksum(pseudo + layer.payload) == 0


def test_a_forged_arp_is_gratuitous() -> None:
    frame = packets.arp(b"\x02\0\0\0\0\x09", packets.ARP_REPLY, "192.168.1.1", "192.168.1.1")
    seen = pcap.arp(packet(frame[14:], ethertype=packets.ETH_ARP))
    assert seen == pcap.Arp(2, "02:00:00:00:00:09", "192.168.1.1", "192.168.1.1")
    assert seen.gratuitous


def test_a_bad_speaker_says_what_it_should_not() -> None:
    prefixes = b"\x00" + b"\x18\xc0\xa8\x01"
    said = speaker.reach(prefixes, b"\0" * 16, 65000)
    assert speaker.kinds(speaker.opening(65000, 3) + packets.bgp_message(packets.KEEPALIVE) + said) == [1, 4, 2]
    assert packets.bgp_capabilities(speaker.opening(65000, 3)[29:]) == (1, 5, 65)


def test_primaries_are_read_from_what_bird_shows() -> None:
    assert list(primary_sessions(SHOWN)) == ["node_1"]
    assert list(primary_sessions(SHOWN.replace("65000,1", "65000,2"))) == []


def test_the_owner_of_the_vip_is_read_from_what_ip_tells() -> None:
    lines = [
        "[2026-11-25T22:00:00.500000] 3: eth1    inet 192.168.1.1/24 scope global secondary eth1",
        "[2026-11-25T22:00:01.000000] Deleted 3: eth1    inet 192.168.1.1/24 scope global secondary eth1",
        "[2026-11-25T22:00:01.000000] 3: eth1    inet 192.168.1.10/24 scope global secondary eth1",
    ]
    seen = list(vip_changes(lines, "192.168.1.1", "nat-a", 0))
    assert [change.owned for change in seen] == [True, False]
    assert seen[1].time_ns - seen[0].time_ns == 500_000_000


def test_a_switch_without_rules_drops_nothing() -> None:
    assert "drop" not in switches.dropping(())
    assert 'iifname "a" drop' in switches.dropping(('iifname "a"',))


def programs_named(folder: Path) -> set[str]:
    """The programs that the faults in a folder start inside hosts."""
    calls = re.compile(r'context\.(?:start|script)\(\s*[^,()]+(?:\([^()]*\))?,\s*"([a-z_]+)"')
    return {name for path in folder.glob("*.py") for name in calls.findall(path.read_text())}


def test_each_program_that_a_fault_starts_is_there(tmp_path: Path) -> None:
    there = {path.stem for path in Path(attack.__file__).parent.glob("*.py")} - {"__init__"}
    assert programs_named(Path(faults.__path__[0])) == there
    (tmp_path / "bad.py").write_text('context.start(client, "gone", 1)\n')
    assert programs_named(tmp_path) - there == {"gone"}
