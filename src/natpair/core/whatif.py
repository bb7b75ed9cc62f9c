"""Counts what a change of the configuration would do to the current flows, before anything is changed.

Each effect is one rule over (old, new, flows). A change that no rule mentions breaks no flow.
"""

# ruff: noqa: ARG001 - all rules share one signature, not all need all of it
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from natpair.core.model import Gateway

_BGP_KEYS = ("region", "route_servers", "local_as", "peer_as", "multihop_ttl")


@dataclass(frozen=True, slots=True)
class LiveFlow:
    """One translated flow: its client, its public address, and its remaining idle time in seconds."""

    protocol: str
    established: bool
    source: IPv4Address
    translated: IPv4Address
    left_seconds: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What one part of a change does: `breaks` flows end, `stalls` flows pause for a while, `ages` flows may expire.

    `elsewhere`: handing over first avoids it.
    """

    key: str
    text: str
    breaks: int = 0
    stalls: int = 0
    ages: int = 0
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """Where the change happens: the node, the flows that pass it now, and whether the peer would relay for it."""

    node: str
    flows: Sequence[LiveFlow] = ()
    relayed: bool = False


Rule = Callable[[Gateway, Gateway, Context], Iterator[Effect]]


def effects(old: Gateway, new: Gateway, scene: Context) -> tuple[Effect, ...]:
    """What changing from `old` to `new` does in `scene`, the worst first."""
    found = [effect for rule in _RULES for effect in rule(old, new, scene)]
    return tuple(sorted(found, key=lambda effect: (-effect.breaks, -effect.stalls, -effect.ages)))


def anything(flows: Sequence[LiveFlow]) -> Effect:
    """The effect of a change from an unknown configuration: every flow counts as broken."""
    text = "which configuration is in force cannot be told (there is no applied copy): any key may differ"
    return Effect("gateway.toml", text, breaks=len(flows), elsewhere=True)


def _fips(old: Gateway, new: Gateway, scene: Context) -> Iterator[Effect]:
    for fip in old.pair.fips:
        if fip not in new.pair.fips:
            count = sum(flow.translated == fip for flow in scene.flows)
            yield Effect("pair.fips", f"{fip} goes: flows under this address end", breaks=count)
    added = [str(fip) for fip in new.pair.fips if fip not in old.pair.fips]
    if added:
        text = f"{', '.join(added)} comes: new flows of some clients leave by it, old ones keep their address"
        yield Effect("pair.fips", text)


def _vip(old: Gateway, new: Gateway, scene: Context) -> Iterator[Effect]:
    if old.pair.vip.ip != new.pair.vip.ip:
        text = f"clients send to {old.pair.vip.ip} until their default route says {new.pair.vip.ip}"
        yield Effect("pair.vip", text, breaks=len(scene.flows))
    elif old.private_network != new.private_network:
        outside = sum(flow.source not in new.private_network for flow in scene.flows)
        yield Effect("pair.vip", f"clients outside {new.private_network} are cut off", breaks=outside)


def _bgp(old: Gateway, new: Gateway, scene: Context) -> Iterator[Effect]:
    changed = [f"bgp.{key}" for key in _BGP_KEYS if getattr(old.bgp, key) != getattr(new.bgp, key)]
    if old.timing.bgp_hold_seconds != new.timing.bgp_hold_seconds:
        changed.append("bgp.hold_seconds" if old.pair.profile == new.pair.profile else "pair.profile")
    if changed:
        text = "the BGP sessions of this node are opened anew: " + (
            "the other node relays until they stand" if scene.relayed else "no route leads here until they stand"
        )
        yield Effect(", ".join(changed), text, stalls=0 if scene.relayed else len(scene.flows), elsewhere=True)


def _timers(old: Gateway, new: Gateway, scene: Context) -> Iterator[Effect]:
    before, after = old.timing.detect_ms, new.timing.detect_ms
    if before != after:
        # Seen in the lab: a standby with timers faster than the active's adverts elects itself for a moment.
        first = "the node that serves" if after < before else "the standby"
        text = f"the nodes notice each other's death at different speeds until both have it: begin with {first}"
        yield Effect("pair.profile", text)


def _machine(old: Gateway, new: Gateway, scene: Context) -> Iterator[Effect]:
    before, after = old.node_named(scene.node), new.node_named(scene.node)
    for field in type(before).model_fields:
        if field != "name" and getattr(before, field) != getattr(after, field):
            text = f"{scene.node} is reached in another way: the pair is disturbed until both nodes know"
            yield Effect(f"node.{field}", text, stalls=len(scene.flows), elsewhere=True)


def _vrrp(old: Gateway, new: Gateway, scene: Context) -> Iterator[Effect]:
    if old.vrrp != new.vrrp:
        text = "the nodes do not hear each other's adverts until both have it: apply on the other node next"
        yield Effect("vrrp.router_id", text, stalls=len(scene.flows))


def _timeouts(old: Gateway, new: Gateway, scene: Context) -> Iterator[Effect]:
    for key, check in _CLOCKS.items():
        before, after = getattr(old.nat, key), getattr(new.nat, key)
        if after < before:
            idle = sum(check(flow) and before - flow.left_seconds > after for flow in scene.flows)
            yield Effect(f"nat.{key}", f"flows idle for more than {after} s are forgotten from now on", ages=idle)


def _size(old: Gateway, new: Gateway, scene: Context) -> Iterator[Effect]:
    if new.nat.max_flows < old.nat.max_flows and new.nat.max_flows <= len(scene.flows):
        yield Effect(
            "nat.max_flows", f"{len(scene.flows)} flows live now: no new one finds room until enough have ended"
        )


_CLOCKS: dict[str, Callable[[LiveFlow], bool]] = {
    "tcp_established_seconds": lambda flow: flow.protocol == "tcp" and flow.established,
    "udp_seconds": lambda flow: flow.protocol == "udp",
    "icmp_seconds": lambda flow: flow.protocol == "icmp",
}
_RULES: tuple[Rule, ...] = (_fips, _vip, _bgp, _timers, _machine, _vrrp, _timeouts, _size)
