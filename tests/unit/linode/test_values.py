"""What is asked for and what is read, as values."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Interface, IPv6Address

import pytest
from pydantic import ValidationError

from natpair.linode import models
from natpair.linode.bodies import (
    MOST_USER_DATA_BYTES,
    Generation,
    NewInstance,
    VlanAttachment,
    one_more_address,
    rules_body,
)
from unit.linode.fakeapi import instance

VLAN = VlanAttachment("nat-lan", IPv4Interface("192.168.1.2/24"))


def new(**more: object) -> dict[str, object]:
    return NewInstance("nat-a", "us-ord", "g6-nanode-1", vlan=VLAN, firewall_id=5, **more).body()  # type: ignore[arg-type]


def test_the_older_generation_has_one_firewall_for_the_linode() -> None:
    body = new(generation=Generation.LEGACY)
    assert body["interfaces"] == [
        {"purpose": "public"},
        {"purpose": "vlan", "label": "nat-lan", "ipam_address": "192.168.1.2/24"},
    ]
    assert (body["firewall_id"], body["interface_generation"]) == (5, "legacy_config")
    assert "network_helper" not in body


def test_the_newer_generation_has_one_for_the_public_interface_and_no_network_helper() -> None:
    body = new()
    public, vlan = body["interfaces"]  # type: ignore[misc]
    assert public["firewall_id"] == 5
    assert public["default_route"] == {"ipv4": True, "ipv6": True}
    assert vlan == {"vlan": {"vlan_label": "nat-lan", "ipam_address": "192.168.1.2/24"}}
    assert body["network_helper"] is False
    assert "firewall_id" not in body


def test_user_data_stops_below_what_failed_live() -> None:
    longest = b"x" * (MOST_USER_DATA_BYTES - 1)
    assert base64.b64decode(new(user_data=longest)["metadata"]["user_data"]) == longest  # type: ignore[index]
    with pytest.raises(ValueError, match="16384 bytes"):
        new(user_data=longest + b"x")


def test_what_is_new_to_us_is_ignored_and_what_we_need_is_not() -> None:
    read = models.Instance.model_validate(instance(7, "a", status="quantum", shiny=True, tags=None))
    assert (read.status, read.running, read.tags) == ("quantum", False, ())
    with pytest.raises(ValidationError):
        models.Instance.model_validate({"id": 7, "label": "a"})
    with pytest.raises(ValidationError):
        read.id = 8  # type: ignore[misc]


@pytest.mark.parametrize("text", ["2001:db8::", "2001:db8::/64"])
def test_a_range_is_read_with_or_without_its_length(text: str) -> None:
    read = models.RangeSummary.model_validate({"range": text, "prefix": 64, "region": "us-ord"})
    assert read.range == IPv6Address("2001:db8::")


def test_maintenance_begins_at_the_earliest_word_in_utc() -> None:
    work = {"entity": {"id": 7, "type": "linode"}, "type": "reboot", "status": "pending"}
    assert models.Maintenance.model_validate(work).begins is None
    times = {"when": "2026-11-22T10:00:00", "not_before": "2026-11-22T11:30:00+02:00"}
    assert models.Maintenance.model_validate(work | times).begins == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def test_a_region_may_have_its_own_price() -> None:
    plan = {"id": "p", "label": "P", "vcpus": 1, "memory": 1024, "network_out": 1000, "transfer": 1000}
    prices = {"price": {"monthly": 5.0}, "region_prices": [{"id": "id-cgk", "monthly": 6.0}]}
    read = models.LinodeType.model_validate(plan | prices)
    assert [read.price_in(region).monthly for region in ("id-cgk", "us-ord")] == [6.0, 5.0]


@pytest.mark.parametrize("generation", Generation)
def test_no_firewall_is_said_and_not_left_to_the_accounts_default(generation: Generation) -> None:
    body = NewInstance("nat-a", "us-ord", "g6-nanode-1", generation=generation).body()
    place = body["interfaces"][0] if generation is Generation.LINODE else body
    assert place["firewall_id"] == -1


def test_a_family_without_addresses_is_left_out_of_a_rule() -> None:
    addresses = models.RuleAddresses(ipv6=("2001:db8::/32",))
    rule = models.FirewallRule(action="ACCEPT", protocol="TCP", ports="179", addresses=addresses)
    rules = models.FirewallRules(inbound=(rule,), inbound_policy="DROP", outbound_policy="ACCEPT")
    assert rules_body(rules)["inbound"][0]["addresses"] == {"ipv6": ["2001:db8::/32"]}


def test_no_rules_are_read_as_null_or_as_a_list() -> None:
    policies = {"inbound_policy": "DROP", "outbound_policy": "ACCEPT"}
    read = models.FirewallRules.model_validate(policies | {"inbound": None, "outbound": []})
    assert (read.inbound, read.outbound) == ((), ())


def test_a_further_address_restates_those_that_are_there() -> None:
    existing = [models.PublicAddress(address=IPv4Address("203.0.113.3"), primary=True)]
    assert one_more_address(existing)["public"]["ipv4"]["addresses"] == [
        {"address": "203.0.113.3", "primary": True},
        {"address": "auto", "primary": False},
    ]
