"""The Cloud Firewall for the nodes' public interfaces. Pure.

It keeps state per node, so after a takeover the other node's firewall does not know the flows that moved. A rule can
match the sender and the port, but not whether a packet is for a FIP. So the firewall accepts everything that may be a
reply to a translated flow, in any state. That is everything except ports below 1024: Linux translates a source port to
one in the same range, and clients do not use privileged ports. The nodes' own nftables rules filter traffic to the
nodes in any case; this firewall is a second layer for BGP and ssh.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from natpair.core.model import Gateway
from natpair.core.regions import route_servers
from natpair.errors import ConfigError, Problem
from natpair.linode.models import FirewallRule, FirewallRules, RuleAddresses

MOST_RULES, MOST_ADDRESSES, MOST_PORTS = 25, 255, 15
FIRST_TRANSLATED_PORT = 1024

_BGP = "179"
_ANYONE = RuleAddresses(ipv4=("0.0.0.0/0",), ipv6=("::/0",))


def firewall_rules(gateway: Gateway, open_keys: Collection[str] = ()) -> FirewallRules:
    """The rules for a pair. The values of `open_keys` are not known yet. Raise ConfigError for too many rules."""
    inbound = (*_management(gateway), *_bgp(gateway), *_heartbeat(gateway, open_keys), _accept("icmp", "ICMP", _ANYONE))
    if len(inbound) > MOST_RULES:
        accepted = f"fewer sources or ports, or cloud.firewall = false; a Cloud Firewall has at most {MOST_RULES} rules"
        problem = Problem("firewall", "", f"needs {len(inbound)} Cloud Firewall rules", accepted)
        raise ConfigError("gateway.toml", [problem])
    return FirewallRules(inbound=inbound, inbound_policy="ACCEPT", outbound=(), outbound_policy="ACCEPT")


def same_rules(one: FirewallRules, other: FirewallRules) -> bool:
    """Whether two sets of rules have the same effect, however the API writes them."""
    return _meaning(one) == _meaning(other)


def _meaning(rules: FirewallRules) -> object:
    sides = tuple(tuple(_essence(rule) for rule in side) for side in (rules.inbound, rules.outbound))
    return (*sides, rules.inbound_policy, rules.outbound_policy)


def _essence(rule: FirewallRule) -> object:
    ports = (rule.ports or "").replace(" ", "")
    return rule.action, rule.protocol, ports, frozenset(rule.addresses.ipv4), frozenset(rule.addresses.ipv6)


def _management(gateway: Gateway) -> Iterator[FirewallRule]:
    sources = [str(network) for network in gateway.firewall.management_sources]
    ports = gateway.firewall.management_tcp_ports
    allowed = [RuleAddresses(ipv4=part) for part in _parts(sources, MOST_ADDRESSES)] or [_ANYONE]
    for part in _parts([str(port) for port in ports], MOST_PORTS):
        for addresses in allowed:
            yield _accept("management", "TCP", addresses, ", ".join(part))
    closed = [str(port) for port in ports if port < FIRST_TRANSLATED_PORT] if sources else []
    for part in _parts(closed, MOST_PORTS):
        yield _drop("management", "TCP", ", ".join(part))


def _bgp(gateway: Gateway) -> Iterator[FirewallRule]:
    servers = RuleAddresses(ipv6=tuple(f"{server}/128" for server in route_servers(gateway)))
    yield _accept("bgp", "TCP", servers, _BGP)
    yield _drop("bgp", "TCP", _BGP)


def _heartbeat(gateway: Gateway, open_keys: Collection[str]) -> Iterator[FirewallRule]:
    # The policy accepts this anyway; the rule is for users who make that policy stricter.
    nodes = list(enumerate(gateway.node))
    ipv4 = [f"{node.public_address.ip}/32" for i, node in nodes if f"node[{i}].public_address" not in open_keys]
    ipv6 = [f"{node.public_address6.ip}/128" for i, node in nodes if f"node[{i}].public_address6" not in open_keys]
    if ipv4 or ipv6:
        addresses = RuleAddresses(ipv4=tuple(ipv4), ipv6=tuple(ipv6))
        yield _accept("heartbeat", "UDP", addresses, str(gateway.heartbeat.port))


def _parts(items: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]


def _accept(what: str, protocol: str, addresses: RuleAddresses, ports: str | None = None) -> FirewallRule:
    return FirewallRule(action="ACCEPT", protocol=protocol, ports=ports, addresses=addresses, label=f"accept-{what}")


def _drop(what: str, protocol: str, ports: str) -> FirewallRule:
    return FirewallRule(action="DROP", protocol=protocol, ports=ports, addresses=_ANYONE, label=f"drop-{what}")
