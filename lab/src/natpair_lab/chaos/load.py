"""Faults by mass: floods, full tables, large datagrams, many flows, and takeovers in the midst of them."""

from __future__ import annotations

from collections.abc import Sequence

from natpair.errors import LabError
from natpair_lab.chaos.eyes import tracked
from natpair_lab.chaos.fault import Fault, Limits
from natpair_lab.chaos.scene import Scene

TENANT, OUTSIDE = "client-2", "internet"
_CALM_MS = 1000.0
"""A flood may make single packets late, but must not look like a failure."""
_FLOW_SHARE = 0.99
_ONE_TARGET = 60_000
_FLOOD = 1000
"""Fewer flows than that were no attempt on the table."""
_CROWD, _EACH_RATE = 10, 900
"""So many clients, each opening so many flows a second: below the default limit of 1024."""
_BULK = 20_000
_SWITCHOVERS = 5
_OLDER_BY_SECONDS = 130


def _tenant(scene: Scene) -> str:
    return str(scene.lab.topology.clients[1][1].ip)


def _spray(scene: Scene, count: int, rate: int, sources: Sequence[str], port: int = 0) -> None:
    target = scene.lab.topology.internet[-1].ip
    words = ("--source", ",".join(sources), "--target", target, "--count", count, "--rate", rate, "--port", port)
    scene.script(TENANT, "attack", "spray", *words, seconds=120)


def _crowd(scene: Scene) -> tuple[str, ...]:
    """Clients that are nobody else, so many that each stays below its limits while they open `_ONE_TARGET` flows."""
    hosts = scene.lab.gateway.private_network.broadcast_address
    return tuple(str(hosts - 1 - number) for number in range(_CROWD))


def forget(scene: Scene) -> None:
    """Delete the flows that a flood has made, on both nodes: waiting for them to time out takes five minutes."""
    for node in scene.lab.nodes:
        if scene.lab.powered(node):
            for source in (_tenant(scene), *_crowd(scene)):
                words = ("conntrack", "-D", "-p", "udp", "--orig-src", source)
                scene.lab.exec(node, words, check=False, timeout=60)


def table_full(scene: Scene) -> None:
    """One client opens more flows than the table holds; it must not get more than its share."""
    table = int(scene.run(scene.active, "sysctl", "-n", "net.netfilter.nf_conntrack_max"))
    _spray(scene, int(table * 1.05), 40_000, (_tenant(scene),))
    listed = f"conntrack -L -p udp --orig-src {_tenant(scene)} 2>/dev/null | wc -l"
    made, share = int(scene.run(scene.active, "sh", "-c", listed)), scene.lab.gateway.nat.flows_per_client
    scene.require("its share", _FLOOD < made <= share, f"{made} flows of {table} are its own, {share} its share")


def ports_used_up(scene: Scene) -> None:
    """60,000 flows to one and the same port of one target, of as many clients as their limits demand."""
    before = tracked(scene.lab, scene.active)
    _spray(scene, _ONE_TARGET, _CROWD * _EACH_RATE, _crowd(scene), port=9)
    made = tracked(scene.lab, scene.active) - before
    scene.require("flows to one target", made >= _FLOW_SHARE * _ONE_TARGET, f"{made} of {_ONE_TARGET} came about")


def syn_flood(scene: Scene) -> None:
    """SYNs to random ports of the FIP, from outside."""
    before = tracked(scene.lab, scene.active)
    fip, source = scene.lab.gateway.pair.fips[0], scene.lab.topology.internet[-1].ip
    scene.script(OUTSIDE, "attack", "syns", "--source", source, "--target", fip, "--count", 60_000, "--rate", 10_000)
    grown = tracked(scene.lab, scene.active) - before
    scene.require("no entries", grown < 1000, f"{grown} entries for connections that nobody asked for")


def udp_flood(scene: Scene) -> None:
    """Small UDP packets and first fragments to the FIP, from outside."""
    fip, source = scene.lab.gateway.pair.fips[0], scene.lab.topology.internet[-1].ip
    words = ("--source", source, "--target", fip)
    scene.script(OUTSIDE, "attack", "spray", *words, "--count", 80_000, "--rate", 20_000)
    scene.script(OUTSIDE, "attack", "fragments", *words, "--count", 20_000, "--rate", 5000)


def cut_while_syncing(scene: Scene) -> None:
    """The active node loses power while thousands of new flows are being replicated."""
    _spray(scene, _BULK, _CROWD * _EACH_RATE, _crowd(scene))
    scene.power_cut(scene.active)


def idle_flows(scene: Scene) -> None:
    """The active node loses power; flows that say nothing must have as long to live on the standby as they had."""
    have, copies = (_lifetimes(scene, node) for node in (scene.active, scene.standby))
    short = [flow for flow, left in have.items() if flow in copies and copies[flow] < left - _OLDER_BY_SECONDS]
    shared = have.keys() & copies.keys()
    scene.require(
        "lifetimes kept", bool(shared) and not short, f"{len(short)} of {len(shared)} are shorter on the standby"
    )
    scene.power_cut(scene.active)


def _lifetimes(scene: Scene, node: str) -> dict[str, int]:
    rows = scene.run(node, "conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED").splitlines()
    words = (row.split() for row in rows)
    return {
        " ".join(w for w in row[4:] if w.startswith(("src=", "dst=", "sport=", "dport="))): int(row[2]) for row in words
    }


def large_datagrams(scene: Scene) -> None:
    """Datagrams of 60,000 bytes, in fragments, while the active node loses power."""
    scene.start(OUTSIDE, "datagrams", "serve")
    scene.pass_time(0.5)
    sender = scene.start(TENANT, "datagrams", "send", scene.lab.topology.internet[0].ip, 60_000, 20, 5)
    scene.pass_time(1.5)
    scene.power_cut(scene.active)
    scene.wait(lambda: sender.poll() is not None, 15)
    said = sender.stdout.read().decode() if sender.stdout is not None else ""
    lost = int(said.rpartition('"lost": ')[2].rstrip("}\n") or 10**6)
    # 20 a second: as many as the longest outage that is allowed swallows, and one more.
    scene.require("datagrams lost", lost <= 0.9 * 20 + 1, f"{lost} of 100")


def many_switchovers(scene: Scene) -> None:
    """Switchovers under thousands of flows, one after the other."""
    for number in range(_SWITCHOVERS):
        if not scene.eyes.agents_speak:
            raise LabError("this design has no switchover")
        scene.hand_over(f"switchover {number + 1}")


_STAYS = Limits(transitions=0)
_CROWDED = Limits(transitions=0, flows_growth=300_000, new_ms=2000)

FAULTS = (
    Fault(42, "one client wants the whole flow table", table_full, _CALM_MS, forget, limits=_CROWDED),
    Fault(43, "60,000 flows to one target", ports_used_up, _CALM_MS, forget, limits=_CROWDED),
    Fault(
        44, "SYN flood at the FIP", syn_flood, _CALM_MS, limits=_STAYS, scale="10,000/s, to leave a core to the rest"
    ),
    Fault(
        45, "flood of small packets and of fragments at the FIP", udp_flood, _CALM_MS, limits=_STAYS, scale="20,000/s"
    ),
    Fault(
        60,
        "power cut while 20,000 new flows are replicated",
        cut_while_syncing,
        900,
        forget,
        limits=Limits(flows_growth=100_000),
        scale="20,000 in place of 500,000 flows",
    ),
    Fault(
        61,
        "idle flows over a power cut",
        idle_flows,
        900,
        scale="remaining lifetimes compared in place of 30 min of silence",
    ),
    Fault(63, "fragmented 60 kB datagrams over a power cut", large_datagrams, 900),
    Fault(
        64,
        "switchovers under 2000 flows",
        many_switchovers,
        300,
        limits=Limits(transitions=_SWITCHOVERS, broken_ratio=0),
        scale="5 times under 2000 flows in place of 50 under 10,000",
        flows=2000,
        agents=True,
    ),
)
