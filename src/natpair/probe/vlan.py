"""The VLAN: does VRRP pass, unicast and multicast, is gratuitous ARP believed, how large may a packet be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise

from natpair.errors import CommandFailed
from natpair.probe.facts import Fact, Name, missing
from natpair.probe.ground import Ground
from natpair.probe.hands import NodeHand
from natpair.probe.wire import Heard

VRRP_GROUP = "224.0.0.18"
ADVERT_MS = 20
"""The fastest profile's interval: what passes at this pace passes at all."""
SIZES = (1280, 1500, 1600, 2000, 4000, 8950, 9000)
_ARP_COUNT = 20
_FOREIGN_MAC = "02:00:5e:10:00:01"
_STALE_MAC = "02:00:5e:10:00:02"
_MOSTLY = 0.9
_MS_NS = 1_000_000


async def measure_vlan(ground: Ground) -> list[Fact]:
    """Everything about the VLAN, both ways where a way matters."""
    ground.progress("testing VRRP adverts, gratuitous ARP and large packets on the VLAN")
    one, other = ground.hands
    return [
        *await _adverts(ground, one, other),
        await _multicast(one, other),
        await _believed(ground, one, other),
        await _foreign(ground, one, other),
        await _mtu(one, other),
    ]


async def _hear(by: NodeHand, what: str) -> list[Heard]:
    return [heard for heard in await by.heard() if heard.what == what]


async def _send_adverts(sender: NodeHand, destination: str, count: int) -> dict[int, int]:
    """Send adverts; the time of each on the sender's clock."""
    source = str(sender.node.private_address.ip)
    arguments = ("--source", source, "--destination", destination)
    pace = ("--count", str(count), "--interval-ms", str(ADVERT_MS))
    return dict(await sender.send("vrrp", *arguments, *pace, seconds=count * ADVERT_MS / 1000))


async def _adverts(ground: Ground, one: NodeHand, other: NodeHand) -> list[Fact]:
    count, told, ok = max(10, int(ground.pace.vlan_seconds * 1000 / ADVERT_MS)), [], True
    worst = 0.0
    for sender, receiver in ((one, other), (other, one)):
        await receiver.heard()
        sent = await _send_adverts(sender, str(receiver.node.private_address.ip), count)
        heard = await _hear(receiver, "vrrp")
        told.append(f"{len(heard)} of {len(sent)} from {sender.name}")
        ok = ok and len(heard) >= _MOSTLY * count
        worst = max(worst, worst_excess_ms(sent, {h.number: h.time_ns for h in heard}))
    unicast = Fact(Name.VRRP_UNICAST, ok, "; ".join(told))
    if not ok:
        return [unicast, missing(Name.VLAN_WORST_GAP_MS, "too few adverts arrived")]
    evidence = f"{2 * count} adverts, one every {ADVERT_MS} ms; longest gap on arrival beyond the gap at departure"
    return [unicast, Fact(Name.VLAN_WORST_GAP_MS, round(worst, 1), evidence)]


def worst_excess_ms(sent: Mapping[int, int], heard: Mapping[int, int]) -> float:
    """By how much more than at departure two adverts in a row were apart on arrival, at worst. Pure.

    Each side counts on its own clock, and only differences are used; an advert that got lost makes a gap too.
    """
    excess = [
        (heard[later] - heard[earlier]) - (sent[earlier + 1] - sent[earlier])
        for earlier, later in pairwise(sorted(number for number in heard if number in sent))
        if earlier + 1 in sent
    ]
    return max(0.0, max(excess, default=0) / _MS_NS)


async def _multicast(one: NodeHand, other: NodeHand) -> Fact:
    told, ok, count = [], True, 25
    for sender, receiver in ((one, other), (other, one)):
        await receiver.heard()
        # Joining the group is what Keepalived does; without it a snooping switch may keep the adverts back.
        interface = receiver.node.private_interface
        await receiver.shell(f"ip maddr add 01:00:5e:00:00:12 dev {interface} 2>/dev/null || true")
        sent = await _send_adverts(sender, VRRP_GROUP, count)
        heard = [h for h in await _hear(receiver, "vrrp") if h.destination == VRRP_GROUP]
        await receiver.shell(f"ip maddr del 01:00:5e:00:00:12 dev {interface} 2>/dev/null || true")
        told.append(f"{len(heard)} of {len(sent)} from {sender.name}")
        ok = ok and len(heard) >= _MOSTLY * count
    return Fact(Name.VRRP_MULTICAST, ok, f"to {VRRP_GROUP}: {'; '.join(told)}")


async def _send_arps(sender: NodeHand, address: str, count: int, mac: str = "") -> None:
    arguments = ["--interface", sender.node.private_interface, "--destination", address, "--count", str(count)]
    await sender.send("arp", *arguments, *(["--mac", mac] if mac else []))


async def _believed(ground: Ground, one: NodeHand, other: NodeHand) -> Fact:
    """Frames counted, and a neighbour entry that must follow them from a stale hardware address."""
    vip, told, ok = str(ground.site.gateway.pair.vip.ip), [], True
    for sender, receiver in ((one, other), (other, one)):
        interface = receiver.node.private_interface
        await receiver.heard()
        await receiver.shell(f"ip neigh replace {vip} lladdr {_STALE_MAC} dev {interface} nud reachable")
        await _send_arps(sender, vip, _ARP_COUNT)
        heard = [h for h in await _hear(receiver, "arp") if h.address == vip]
        entry = json.loads(await receiver.shell(f"ip -j neigh show {vip} dev {interface}") or "[]")
        now = entry[0].get("lladdr", "") if entry else ""
        moved = bool(heard) and now == heard[-1].mac
        await receiver.shell(f"ip neigh del {vip} dev {interface} 2>/dev/null || true")
        told.append(f"{len(heard)} of {_ARP_COUNT} from {sender.name}, entry {'moved' if moved else 'did not move'}")
        ok = ok and moved and len(heard) >= _MOSTLY * _ARP_COUNT
    return Fact(Name.GRATUITOUS_ARP, ok, f"10 ms apart: {'; '.join(told)}")


async def _foreign(ground: Ground, one: NodeHand, other: NodeHand) -> Fact:
    vip = str(ground.site.gateway.pair.vip.ip)
    await other.heard()
    await _send_arps(one, vip, _ARP_COUNT, _FOREIGN_MAC)
    heard = [h for h in await _hear(other, "arp") if h.mac == _FOREIGN_MAC]
    await other.shell(f"ip neigh del {vip} dev {other.node.private_interface} 2>/dev/null || true")
    evidence = f"{len(heard)} of {_ARP_COUNT} frames from {_FOREIGN_MAC}"
    return Fact(Name.FOREIGN_MAC, len(heard) >= _MOSTLY * _ARP_COUNT, evidence)


async def _mtu(one: NodeHand, other: NodeHand) -> Fact:
    """Raise both interfaces as far as they go, try sizes, put the interfaces back."""
    before = {
        hand.name: await hand.shell(f"cat /sys/class/net/{hand.node.private_interface}/mtu") for hand in (one, other)
    }
    raised = []
    for hand in (one, other):
        try:
            await hand.shell(f"ip link set {hand.node.private_interface} mtu {max(SIZES)}")
            raised.append(hand.name)
        except CommandFailed:
            continue  # the driver knows a smaller maximum: the sizes above it cannot be sent
    try:
        await other.heard()
        destination = str(other.node.private_address.ip)
        sent = await one.send("sized", "--destination", destination, "--sizes", *map(str, SIZES))
        arrived = sorted({h.number for h in await _hear(other, "sized")})
    finally:
        for hand in (one, other):
            await hand.shell(f"ip link set {hand.node.private_interface} mtu {before[hand.name].strip()}")
    told = f"of {', '.join(map(str, sent))} sent unfragmented, {', '.join(map(str, arrived)) or 'none'} arrived"
    limits = "" if len(raised) == 2 else "; the interfaces themselves allow no larger MTU"
    if not arrived:
        return missing(Name.VLAN_MTU, f"not one sized packet arrived ({told})")
    return Fact(Name.VLAN_MTU, max(arrived), told + limits)
