"""The Cloud Firewall never stands in the way of a reply to a translated flow."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from natpair.cloud.firewall import FIRST_TRANSLATED_PORT, MOST_RULES, firewall_rules, same_rules
from natpair.errors import ConfigError
from natpair.linode.models import FirewallRules
from samples import gateway

SSH_FROM = '\n[firewall]\nmanagement_sources = ["198.51.100.0/24"]\nmanagement_tcp_ports = [22, 8443]\n'


def passes(rules: FirewallRules, protocol: str, source: str, port: int | None) -> bool:
    """What a stateless firewall that goes through its rules in order would do with a packet from outside."""
    for rule in rules.inbound:
        networks = [*rule.addresses.ipv4, *rule.addresses.ipv6]
        ports = [] if rule.ports is None else [int(one) for one in rule.ports.split(",")]
        met = any(ip_address(source) in ip_network(network) for network in networks)
        if rule.protocol == protocol and met and (not ports or port in ports):
            return rule.action == "ACCEPT"
    return rules.inbound_policy == "ACCEPT"


@pytest.mark.parametrize("extra", ["", SSH_FROM])
def test_any_reply_to_a_translated_flow_passes(extra: str) -> None:
    rules = firewall_rules(gateway(extra=extra))
    for port in (FIRST_TRANSLATED_PORT, 3780, 3781, 8443, 32768, 65535):
        assert passes(rules, "TCP", "192.0.2.80", port)
        assert passes(rules, "UDP", "192.0.2.53", port)
    assert passes(rules, "ICMP", "192.0.2.80", None)


def test_bgp_is_for_the_route_servers_alone() -> None:
    rules = firewall_rules(gateway())
    assert passes(rules, "TCP", "2600:3c0f:18:34::1", 179)
    assert not passes(rules, "TCP", "2600:3c0f:18:34::5", 179)
    assert not passes(rules, "TCP", "192.0.2.80", 179)


def test_ssh_is_for_the_management_alone_if_it_is_named() -> None:
    assert passes(firewall_rules(gateway()), "TCP", "192.0.2.80", 22)
    rules = firewall_rules(gateway(extra=SSH_FROM))
    assert passes(rules, "TCP", "198.51.100.7", 22)
    assert not passes(rules, "TCP", "192.0.2.80", 22)
    assert not passes(rules, "TCP", "2001:db8::1", 22)


def test_heartbeats_are_let_through_once_the_addresses_are_known() -> None:
    named = [rule.label for rule in firewall_rules(gateway()).inbound]
    assert "accept-heartbeat" in named
    keys = [f"node[{i}].{name}" for i in (0, 1) for name in ("public_address", "public_address6")]
    assert "accept-heartbeat" not in [rule.label for rule in firewall_rules(gateway(), keys).inbound]


def test_more_rules_than_the_platform_has_are_refused() -> None:
    ports = ", ".join(str(port) for port in range(2000, 2000 + 15 * (MOST_RULES - 3)))
    extra = f"\n[firewall]\nmanagement_tcp_ports = [{ports}]\n"
    with pytest.raises(ConfigError) as caught:
        firewall_rules(gateway(extra=extra))
    assert "26 Cloud Firewall rules" in caught.value.problems[0].message


def test_rules_are_compared_by_meaning() -> None:
    rules = firewall_rules(gateway(extra=SSH_FROM))
    spaced = tuple(
        one.model_copy(update={"ports": (one.ports or "").replace(", ", ",") or None, "label": None})
        for one in rules.inbound
    )
    assert same_rules(rules, rules.model_copy(update={"inbound": spaced}))
    assert not same_rules(rules, rules.model_copy(update={"inbound": spaced[1:]}))
    assert not same_rules(rules, rules.model_copy(update={"inbound_policy": "DROP"}))
