"""Faults by load: floods, full tables, large datagrams, many flows, and takeovers during these."""

from __future__ import annotations

from collections.abc import Sequence

from natpair.errors import LabError
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import STAYS, Fault, Limits
from natpair_lab.chaos.observer import tracked

TENANT, OUTSIDE = "client-2", "internet"
_CALM_MS = 1000.0
_CROWDED = Limits(transitions=0, flows_growth=300_000, new_ms=2000)
"""A flood may delay single packets, but must not look like a failure of the node."""
_FLOW_SHARE = 0.99
_ONE_TARGET = 60_000
_FLOOD = 1000
"""With fewer flows the fault would not have tested the table."""
_CROWD, _EACH_RATE = 10, 900
"""This many clients, each opening this many flows per second: below the default limit of 1024."""
_BULK = 20_000
_SWITCHOVERS = 5
_OLDER_BY_SECONDS = 130


def _tenant(context: Context) -> str:
    return str(context.lab.topology.clients[1][1].ip)


def _spray(context: Context, count: int, rate: int, sources: Sequence[str], port: int = 0) -> None:
    target = context.lab.topology.internet[-1].ip
    words = ("--source", ",".join(sources), "--target", target, "--count", count, "--rate", rate, "--port", port)
    context.script(TENANT, "attack", "spray", *words, seconds=120)


def _crowd(context: Context) -> tuple[str, ...]:
    """Extra clients, so many that each stays below its limits while together they open `_ONE_TARGET` flows."""
    hosts = context.lab.gateway.private_network.broadcast_address
    return tuple(str(hosts - 1 - number) for number in range(_CROWD))


def forget(context: Context) -> None:
    """Delete the flows of a flood on both nodes. Otherwise they time out only after five minutes."""
    for node in context.lab.nodes:
        if context.lab.powered(node):
            for source in (_tenant(context), *_crowd(context)):
                words = ("conntrack", "-D", "-p", "udp", "--orig-src", source)
                context.lab.exec(node, words, check=False, timeout=60)


@Fault(42, "one client tries to fill the flow table", bound_ms=_CALM_MS, repair=forget, limits=_CROWDED)
def table_full(context: Context) -> None:
    """One client opens more flows than the table holds. It must not get more than its share."""
    table = int(context.run(context.active, "sysctl", "-n", "net.netfilter.nf_conntrack_max"))
    _spray(context, int(table * 1.05), 40_000, (_tenant(context),))
    listed = f"conntrack -L -p udp --orig-src {_tenant(context)} 2>/dev/null | wc -l"
    made, share = int(context.run(context.active, "sh", "-c", listed)), context.lab.gateway.nat.flows_per_client
    context.require("its share", _FLOOD < made <= share, f"{made} flows of {table} are its own, {share} its share")


@Fault(43, "60,000 flows to one target", bound_ms=_CALM_MS, repair=forget, limits=_CROWDED)
def ports_used_up(context: Context) -> None:
    """60,000 flows to one port of one target, from as many clients as their limits require."""
    before = tracked(context.lab, context.active)
    _spray(context, _ONE_TARGET, _CROWD * _EACH_RATE, _crowd(context), port=9)
    made = tracked(context.lab, context.active) - before
    context.require("flows to one target", made >= _FLOW_SHARE * _ONE_TARGET, f"{made} of {_ONE_TARGET} were opened")


@Fault(
    44, "SYN flood at the FIP", bound_ms=_CALM_MS, limits=STAYS, scale="10,000/s, so that a core is left for the rest"
)
def syn_flood(context: Context) -> None:
    """SYNs to random ports of the FIP, from outside."""
    before = tracked(context.lab, context.active)
    fip, source = context.lab.gateway.pair.fips[0], context.lab.topology.internet[-1].ip
    context.script(OUTSIDE, "attack", "syns", "--source", source, "--target", fip, "--count", 60_000, "--rate", 10_000)
    grown = tracked(context.lab, context.active) - before
    context.require("no entries", grown < 1000, f"{grown} entries for unsolicited connections")


@Fault(45, "flood of small packets and of fragments at the FIP", bound_ms=_CALM_MS, limits=STAYS, scale="20,000/s")
def udp_flood(context: Context) -> None:
    """Small UDP packets and first fragments to the FIP, from outside."""
    fip, source = context.lab.gateway.pair.fips[0], context.lab.topology.internet[-1].ip
    words = ("--source", source, "--target", fip)
    context.script(OUTSIDE, "attack", "spray", *words, "--count", 80_000, "--rate", 20_000)
    context.script(OUTSIDE, "attack", "fragments", *words, "--count", 20_000, "--rate", 5000)


@Fault(
    60,
    "power cut while 20,000 new flows are replicated",
    bound_ms=900,
    repair=forget,
    limits=Limits(flows_growth=100_000),
    scale="20,000 instead of 500,000 flows",
)
def cut_while_syncing(context: Context) -> None:
    """The active node loses power while thousands of new flows are being replicated."""
    _spray(context, _BULK, _CROWD * _EACH_RATE, _crowd(context))
    context.power_cut(context.active)


@Fault(
    61, "idle flows during a power cut", bound_ms=900, scale="compares remaining lifetimes instead of 30 min of silence"
)
def idle_flows(context: Context) -> None:
    """The active node loses power. Idle flows must have as much lifetime left on the standby as they had before."""
    have, copies = (_lifetimes(context, node) for node in (context.active, context.standby))
    short = [flow for flow, left in have.items() if flow in copies and copies[flow] < left - _OLDER_BY_SECONDS]
    shared = have.keys() & copies.keys()
    context.require(
        "lifetimes kept", bool(shared) and not short, f"{len(short)} of {len(shared)} are shorter on the standby"
    )
    context.power_cut(context.active)


def _lifetimes(context: Context, node: str) -> dict[str, int]:
    rows = context.run(node, "conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED").splitlines()
    words = (row.split() for row in rows)
    return {
        " ".join(w for w in row[4:] if w.startswith(("src=", "dst=", "sport=", "dport="))): int(row[2]) for row in words
    }


@Fault(63, "fragmented 60 kB datagrams during a power cut", bound_ms=900)
def large_datagrams(context: Context) -> None:
    """Datagrams of 60,000 bytes, in fragments, while the active node loses power."""
    context.start(OUTSIDE, "datagrams", "serve")
    context.pass_time(0.5)
    sender = context.start(TENANT, "datagrams", "send", context.lab.topology.internet[0].ip, 60_000, 20, 5)
    context.pass_time(1.5)
    context.power_cut(context.active)
    context.wait(lambda: sender.poll() is not None, 15)
    said = sender.stdout.read().decode() if sender.stdout is not None else ""
    lost = int(said.rpartition('"lost": ')[2].rstrip("}\n") or 10**6)
    # 20 a second: the longest allowed outage loses this many, plus one.
    context.require("datagrams lost", lost <= 0.9 * 20 + 1, f"{lost} of 100")


@Fault(
    64,
    "switchovers with 2000 flows",
    bound_ms=300,
    limits=Limits(transitions=_SWITCHOVERS, broken_ratio=0),
    scale="5 times with 2000 flows instead of 50 times with 10,000",
    flows=2000,
    agents=True,
    alone=True,
)
def many_switchovers(context: Context) -> None:
    """Repeated switchovers under thousands of flows."""
    for number in range(_SWITCHOVERS):
        if not context.observer.agents_speak:
            raise LabError("this design has no switchover")
        context.hand_over(f"switchover {number + 1}")
