"""Faults that leave links, sessions and rulesets intact but break the service. Both nodes must report them."""

from __future__ import annotations

import signal

from natpair.core.status import Role
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import NO_OUTAGE_MS, STAYS, UNTOUCHED, Fault, Limits
from natpair_lab.testbed.topology import CLIENTS, FABRIC, FABRIC_PUBLIC

_OUT = Limits(transitions=2, path_ms=30_000, new_ms=30_000)
_OUT_FOR_BOTH = Limits(transitions=0, path_ms=30_000, new_ms=30_000)
"""The cause lies beyond both nodes, so a takeover would not help."""
_TOLD_MS = 8000
"""Three seconds from the cause, plus what a busy machine and the polling add."""
_OVER_MS = 8000
_OTHER_KEY = "another key, which is as long as a key has to be"


def told_by_both(context: Context, code: str) -> None:
    """Record how long it takes until both agents report a condition."""

    def all_say() -> bool:
        return all(code in context.conditions(node) for node in context.lab.nodes)

    context.check(f"{code} on both", context.wait(all_say, _TOLD_MS / 1000), _TOLD_MS)


def over_on_both(context: Context, code: str) -> None:
    """Record how long it takes until no agent reports a condition any more."""

    def none_says() -> bool:
        return not any(code in context.conditions(node) for node in context.lab.nodes)

    context.check(f"{code} over", context.wait(none_says, _OVER_MS / 1000), _OVER_MS)


@Fault(76, "the nodes have different keys", bound_ms=NO_OUTAGE_MS, invariants=UNTOUCHED, limits=STAYS, agents=True)
def keys_differ(context: Context) -> None:
    """A new key is made on the standby alone, and its agent restarts."""
    path = context.lab.gateway.heartbeat.key_file
    key = context.run(context.standby, "cat", path)

    def put(text: str) -> None:
        context.run(context.standby, "sh", "-c", f"cat > {path}", stdin=text)
        context.kill(context.standby, "agent", signal.SIGTERM)

    context.undo.append(lambda: put(key))
    put(_OTHER_KEY)
    told_by_both(context, "keys-differ")
    said = context.conditions(context.standby)
    context.require(
        "the standby does not report that no node serves", "nobody-active" not in said, f"it says {sorted(said)}"
    )
    context.undo.pop()()
    over_on_both(context, "keys-differ")


@Fault(77, "FIP shared to neither node", bound_ms=20_000, limits=_OUT_FOR_BOTH, agents=True)
def share_revoked_everywhere(context: Context) -> None:
    """The FIP is shared to neither node any more."""
    fip = context.lab.gateway.pair.fips[0]
    context.undo.append(lambda: context.lab.share(fip, context.lab.nodes))
    context.lab.share(fip, [])
    told_by_both(context, "no-replies")
    context.undo.pop()()
    over_on_both(context, "no-replies")


@Fault(78, "a FIP without free ports", bound_ms=NO_OUTAGE_MS, limits=STAYS, agents=True)
def ports_exhausted(context: Context) -> None:
    """Clients open more flows to one destination than a FIP has ports of that kind."""
    client = CLIENTS[1]
    network = context.lab.gateway.private_network
    addresses = [f"{network[-2 - n]}" for n in range(4)]
    for address in addresses:
        argv = ("ip", "address", "%s", f"{address}/{network.prefixlen}", "dev", "eth0")
        context.undo.append(lambda argv=argv: context.run(client, *(word.replace("%s", "del") for word in argv)))  # type: ignore[misc]
        context.run(client, *(word.replace("%s", "add") for word in argv))
    context.start(client, "ports", context.lab.topology.internet[0].ip, 10, *addresses)
    told_by_both(context, "ports-exhausted")
    context.pass_time(8)
    over_on_both(context, "ports-exhausted")


@Fault(80, "path beyond the gateway cut for the active node", bound_ms=10_000, limits=_OUT, agents=True)
def line_cut_for_active(context: Context) -> None:
    """Behind the provider's gateway, packets from and to the active node are dropped.

    The gateway and the standby's path work.
    """
    mac = context.run(context.active, "cat", f"/sys/class/net/{_public(context)}/address").strip()
    internet = context.lab.topology.internet_gateway.network

    def undo() -> None:
        for table in ("ip cut", "netdev cut"):
            context.run(FABRIC, "nft", f"add table {table}; delete table {table}")

    context.undo.append(undo)
    there = "add chain ip cut way { type filter hook forward priority 0 ; }"
    back = f"add chain netdev cut way {{ type filter hook egress device {FABRIC_PUBLIC} priority 0 ; }}"
    context.run(FABRIC, "nft", f"add table ip cut; {there}; add rule ip cut way ether saddr {mac} drop")
    rule = f"add rule netdev cut way ether daddr {mac} ip saddr {internet} drop"
    context.run(FABRIC, "nft", f"add table netdev cut; {back}; {rule}")
    context.pass_time(12)
    role = context.lab.role(context.standby)
    context.require("the standby serves", role is Role.ACTIVE, f"it is {role}")


def _public(context: Context) -> str:
    return context.lab.gateway.node_named(context.active).public_interface
