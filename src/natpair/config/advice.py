"""Warnings about valid settings that are probably a mistake, each with the key, the value and a suggestion.

A file with warnings can be used. `natpair check` prints them; with `--strict` they are errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from ipaddress import collapse_addresses

from natpair.core.model import BgpPolicy, Gateway, Profile
from natpair.errors import Problem

Rule = Callable[[Gateway], Iterator[Problem]]

_BYTES_PER_FLOW = 400
_MANY_FLOWS = 2_000_000
_FEW_FLOWS_PER_FIP = 16_384
_PORTS_PER_FIP = 64_512
_HOURS_12 = 43_200
_TEN_MINUTES = 600


def advise(gateway: Gateway) -> list[Problem]:
    """All warnings about a valid gateway, without line numbers."""
    return [advice for rule in _RULES for advice in rule(gateway)]


def _profile(gateway: Gateway) -> Iterator[Problem]:
    if gateway.pair.profile is Profile.FAST:
        message = f"a pause of {gateway.timing.detect_ms} ms, as in a live migration, causes a takeover"
        yield Problem("pair.profile", "fast", message, '"balanced", unless you have measured these machines')


def _failback(gateway: Gateway) -> Iterator[Problem]:
    seconds = gateway.pair.failback_seconds
    if seconds is not None and seconds < _TEN_MINUTES:
        message = "a node that fails repeatedly moves the role each time"
        yield Problem("pair.failback_seconds", str(seconds), message, f"{_TEN_MINUTES} or more, or `natpair failback`")


def _hold(gateway: Gateway) -> Iterator[Problem]:
    hold = gateway.bgp.hold_seconds
    if hold is not None and hold > 30:
        message = f"a dead node's route may stay for {hold} s if a router ignores MED"
        yield Problem("bgp.hold_seconds", str(hold), message, "not set, which takes the profile's value")
    if gateway.bgp.policy is BgpPolicy.PRIMARY_SECONDARY:
        message = f"after a power cut, traffic stops for the BGP hold time, {gateway.timing.bgp_hold_seconds} s"
        yield Problem("bgp.policy", "primary-secondary", message, '"newest-wins", unless the routers ignore MED')


def _sizes(gateway: Gateway) -> Iterator[Problem]:
    flows, fips = gateway.nat.max_flows, len(gateway.pair.fips)
    if flows > _MANY_FLOWS:
        memory = flows * _BYTES_PER_FLOW // 1_000_000
        yield Problem(
            "nat.max_flows",
            str(flows),
            f"a full table takes {memory} MB on both nodes",
            "twice the number of flows you expect",
        )
    if flows < _FEW_FLOWS_PER_FIP:
        yield Problem(
            "nat.max_flows", str(flows), "a few busy clients can fill the table", f"at least {_FEW_FLOWS_PER_FIP}"
        )
    if flows > 8 * fips * _PORTS_PER_FIP:
        addresses = "1 floating address has" if fips == 1 else f"{fips} floating addresses have"
        message = f"{addresses} only {fips * _PORTS_PER_FIP} ports per destination"
        yield Problem(
            "nat.max_flows", str(flows), message, "more addresses in pair.fips, if many clients use one destination"
        )


def _timeouts(gateway: Gateway) -> Iterator[Problem]:
    nat = gateway.nat
    if nat.tcp_established_seconds > _HOURS_12:
        message = "connections whose endpoints are gone stay in the table for this time"
        yield Problem("nat.tcp_established_seconds", str(nat.tcp_established_seconds), message, f"at most {_HOURS_12}")
    if nat.udp_seconds < 300:
        message = "is below the 5 minutes that RFC 4787 REQ-5 recommends: idle VPN tunnels and calls can break"
        yield Problem("nat.udp_seconds", str(nat.udp_seconds), message, "300 or more")


def _management(gateway: Gateway) -> Iterator[Problem]:
    ports, sources = gateway.firewall.management_tcp_ports, gateway.firewall.management_sources
    everywhere = any(network.prefixlen == 0 for network in collapse_addresses(sources))
    if ports and (everywhere or not sources):
        message = f"everyone on the internet can connect to TCP {', '.join(map(str, ports))} of both nodes"
        shown = json.dumps([str(network) for network in sources])
        yield Problem("firewall.management_sources", shown, message, "the networks from which you manage the nodes")


def _nodes_alike(gateway: Gateway) -> Iterator[Problem]:
    first, second = gateway.node
    pairs = [(node.private_interface, node.public_interface) for node in gateway.node]
    if pairs[0] == pairs[1][::-1]:
        message = f"the two interfaces of {second.name} are swapped compared with {first.name}"
        yield Problem("node[1].private_interface", second.private_interface, message, f'"{first.private_interface}"')
    networks = [node.public_address.network for node in gateway.node]
    if networks[0] != networks[1]:
        message = f"is in a different subnet from {first.name}'s {first.public_address}, which is unusual"
        accepted = f"the address that 'ip address' shows on {second.name}"
        yield Problem("node[1].public_address", str(second.public_address), message, accepted)


def _probes(gateway: Gateway) -> Iterator[Problem]:
    health = gateway.health
    notice = health.probe_interval_ms * health.probe_failures
    if notice < 300:
        message = f"a node becomes unhealthy after only {notice} ms without an answer from the router"
        accepted = "probe_interval_ms x probe_failures of 500 ms or more"
        yield Problem("health.probe_failures", str(health.probe_failures), message, accepted)
    if notice > 10_000:
        message = f"a dead uplink is detected only after {notice / 1000:g} s"
        accepted = "probe_interval_ms x probe_failures of 10 s or less"
        yield Problem("health.probe_failures", str(health.probe_failures), message, accepted)


def _refresh(gateway: Gateway) -> Iterator[Problem]:
    refresh = gateway.sync.refresh_seconds
    if refresh < 20:
        message = "the active node sends all flows this often, which with a full table loads the VLAN"
        yield Problem("sync.refresh_seconds", str(refresh), message, "30 to 120")


_RULES: tuple[Rule, ...] = (_profile, _failback, _hold, _sizes, _timeouts, _management, _probes, _refresh, _nodes_alike)
