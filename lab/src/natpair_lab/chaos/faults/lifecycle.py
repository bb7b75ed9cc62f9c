"""Faults of whole machines: power, boot, stalls, upgrades."""

from __future__ import annotations

from natpair_lab.chaos.cgroups import Group, pids
from natpair_lab.chaos.context import LINKS, Context
from natpair_lab.chaos.fault import NO_OUTAGE_MS, OUTBOUND_FIRST, Fault, Limits
from natpair_lab.chaos.observer import owners
from natpair_lab.testbed.faults import service_named

_SERVICES = ("conntrackd", "speaker", "keepalived", "agent")


@Fault(68, "power cut of the active node", bound_ms=900)
def power_cut(context: Context) -> None:
    """The active node loses power: its cables go down first, then everything on it ends."""
    context.power_cut(context.active)


@Fault(55, "standby without power, then the active node's gateway does not respond", bound_ms=NO_OUTAGE_MS)
def last_node_doubts(context: Context) -> None:
    """The standby has no power. Then the active node's gateway stops answering ARP, but still forwards."""
    context.power_cut(context.standby)
    context.pass_time(2)
    node = context.lab.gateway.node_named(context.active)
    context.drop("public", f"oifname {context.port(context.active, 'public')} ether type arp arp operation reply")
    context.pass_time(6)
    context.require("keeps the VIP", owners(context.lab) == (node.name,), "the last node gave up the VIP")


@Fault(
    57,
    "public cable of the active node flaps at 1 Hz",
    bound_ms=1500,
    limits=Limits(transitions=2),
    scale="12 s instead of 60 s",
)
def flapping(context: Context) -> None:
    """The active node's public cable goes up and down once a second."""
    for _ in range(12):
        context.link(context.active, "public", "down")
        context.pass_time(0.5)
        context.link(context.active, "public", "up")
        context.pass_time(0.5)


@Fault(
    58,
    "rolling upgrade: every daemon restarted on each node, a switchover between",
    bound_ms=NO_OUTAGE_MS,
    scale="the same version on both sides: there is no earlier release yet",
    agents=True,
    alone=True,
)
def rolling_restart(context: Context) -> None:
    """Every daemon is restarted as in an upgrade: on the standby, then, after a switchover, on the other node."""
    for last in (False, True):
        for word in _SERVICES:
            context.lab.service(context.standby, service_named(context.lab, word), "restart")
            context.pass_time(0.5)
        context.wait_ready()
        if not last:
            context.hand_over()


@Fault(59, "each node rebooted in turn, a switchover between", bound_ms=NO_OUTAGE_MS, agents=True, alone=True)
def reboots(context: Context) -> None:
    """Each node is rebooted while it is the standby, with a switchover in between."""
    for last in (False, True):
        context.power_cut(context.standby)
        context.boot(context.standby)
        context.wait_ready()
        if not last:
            context.hand_over()


@Fault(
    65, "power cut of the active node, return, power cut of the other node", bound_ms=900, limits=Limits(transitions=2)
)
def there_and_back(context: Context) -> None:
    """The active node loses power and returns. As soon as the pair is complete, the other node loses power."""
    first = context.active
    context.power_cut(first)
    context.pass_time(1.5)
    context.boot(first)
    context.wait_ready()
    context.power_cut(context.active)


@Fault(
    66,
    "hypervisor stalls the active node for 1, 3 and 10 s",
    bound_ms=1500,
    limits=Limits(transitions=3),
    scale="without the stall of 60 s",
)
def stalled(context: Context) -> None:
    """The hypervisor stops the active node and its cables go down. It resumes without noticing the pause."""
    for seconds in (1, 3, 10):
        node = context.active
        group = Group("freezer", f"{context.lab.name}-{node}")
        context.undo.append(group.close)
        group.add(pids(context.lab, node))
        for link in LINKS:
            context.link(node, link, "dead")
        group.set("freezer.state", "FROZEN")
        context.pass_time(seconds)
        group.set("freezer.state", "THAWED")
        for link in LINKS:
            context.link(node, link, "up")
        context.pass_time(1)
        context.undo.pop()()
        context.wait_ready()


@Fault(
    69,
    "power cut of both nodes, one returns",
    bound_ms=15_000,
    limits=Limits(path_ms=8000, flow_kinds=OUTBOUND_FIRST),
    scale="serves within hold time + 2 s after its boot, as designed, instead of 3 s",
    alone=True,
)
def both_cut_one_returns(context: Context) -> None:
    """Both nodes lose power. Only one comes back; it must serve alone."""
    for node in context.lab.nodes:
        context.power_cut(node)
    context.pass_time(1)
    context.boot(context.active)
    bound = (context.lab.gateway.timing.bgp_hold_seconds + 2) * 1000
    alone = context.wait(lambda: context.lab.best_path() == (context.active,) == owners(context.lab), 30)
    context.check("serves alone", alone, bound, "counted from the end of the boot")
