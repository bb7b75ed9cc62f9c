"""IP Sharing and addresses: what one call replaces, and everything that is refused."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from emulator.accounts import LINODE, Account
from emulator.served import QUICK
from natpair_lab.emulator.api import Api
from natpair_lab.emulator.state import Policy, Store
from natpair_lab.emulator.world import SharesChanged

SHARE = "/networking/ips/share"


def extra_ip(account: Account, linode: Any, **more: Any) -> str:
    body = {"type": "ipv4", "public": True, "linode_id": linode["id"]} | more
    return str(account.do("POST", "/networking/ips", body)["address"])


@pytest.fixture
def pair(account: Account) -> tuple[Any, Any]:
    return account.create(label="nat-a"), account.create(label="nat-b")


def test_a_share_replaces_the_receivers_whole_set(account: Account, pair: tuple[Any, Any]) -> None:
    first, second = pair
    one, other = extra_ip(account, first), extra_ip(account, first)
    account.do("POST", SHARE, {"linode_id": second["id"], "ips": [one]})
    account.do("POST", SHARE, {"linode_id": second["id"], "ips": [other, other]})
    assert account.shared(second) == [other]
    account.do("POST", SHARE, {"linode_id": second["id"], "ips": []})
    assert account.shared(second) == []


def test_an_address_can_have_several_receivers_and_keeps_its_owner(account: Account, pair: tuple[Any, Any]) -> None:
    owner, second = pair
    third, fip = account.create(), extra_ip(account, pair[0])
    for receiver in (second, third):
        account.do("POST", SHARE, {"linode_id": receiver["id"], "ips": [fip]})
    (share,) = account.api.store.share_table()
    assert (share.owner_id, share.receivers) == (owner["id"], (second["id"], third["id"]))
    seen = account.do("GET", f"/linode/instances/{second['id']}/ips")["ipv4"]["shared"][0]
    assert seen == account.do("GET", f"/networking/ips/{fip}")
    account.do("POST", SHARE, {"linode_id": second["id"], "ips": []})
    assert (account.shared(second), account.shared(third)) == ([], [fip])


def test_the_world_hears_of_changes_and_only_of_changes(account: Account, pair: tuple[Any, Any]) -> None:
    first, second = pair
    body = {"linode_id": second["id"], "ips": [extra_ip(account, first)]}
    account.do("POST", SHARE, body)
    account.do("POST", SHARE, body)
    notices = account.api.store.notices
    assert [len(one.shares) for one in notices if isinstance(one, SharesChanged)] == [1]
    account.later()
    account.do("DELETE", f"/linode/instances/{first['id']}")
    assert [one.shares for one in account.api.store.notices if isinstance(one, SharesChanged)] == [()]
    assert account.shared(second) == []


@pytest.mark.parametrize(
    ("ips", "complaint"),
    [
        (None, "ips is required"),
        ("203.0.113.2", "must be an array"),
        ([1], "must be a string"),
        ([""], "not a valid IP"),
        (["203.0.113.300"], "not a valid IP"),
        (["203.0.113.2/32"], "Omit the prefix"),
        (["203.0.113.250"], "does not belong"),
        (["2001:db8::"], "not an IPv6 range"),
        (["OWN"], "already assigned to Linode"),
        (["AFAR"], "not in the region"),
        (["RESERVED"], "not assigned to a Linode"),
    ],
)
def test_what_cannot_be_shared(account: Account, pair: tuple[Any, Any], ips: Any, complaint: str) -> None:
    first, second = pair
    good = extra_ip(account, first)
    account.do("POST", SHARE, {"linode_id": second["id"], "ips": [good]})
    real = {
        "OWN": second["ipv4"][0],
        "AFAR": account.create(region="us-ord")["ipv4"][0],
        "RESERVED": account.do("POST", "/networking/reserved/ips", {"region": "us-east"})["address"],
    }
    named = [real.get(ip, ip) for ip in ips] if isinstance(ips, list) else ips
    ((status, field, reason),) = account.reasons("POST", SHARE, {"linode_id": second["id"], "ips": named})
    assert status == 400
    assert field.startswith("ips")
    assert complaint in reason
    assert account.shared(second) == [good]


def test_every_wrong_address_is_told_at_once(account: Account, pair: tuple[Any, Any]) -> None:
    good = extra_ip(account, pair[0])
    body = {"linode_id": pair[1]["id"], "ips": ["x", good, "y"]}
    assert [field for _, field, _ in account.reasons("POST", SHARE, body)] == ["ips[0]", "ips[2]"]


@pytest.mark.parametrize("linode_id", [None, "1", True, 1])
def test_the_receiver_must_be_a_linode_of_the_account(account: Account, linode_id: Any) -> None:
    ((status, field, _),) = account.reasons("POST", SHARE, {"linode_id": linode_id, "ips": []})
    assert (status, field) == (400, "linode_id")


def test_private_addresses_can_be_shared(account: Account, pair: tuple[Any, Any]) -> None:
    private = extra_ip(account, pair[0], public=False)
    assert private.startswith("192.168.")
    account.do("POST", SHARE, {"linode_id": pair[1]["id"], "ips": [private]})
    assert account.shared(pair[1]) == [private]
    assert "already has a private" in account.reasons("POST", "/networking/ips", _private(pair[0]))[0][2]


def _private(linode: Any) -> dict[str, Any]:
    return {"type": "ipv4", "public": False, "linode_id": linode["id"]}


def test_more_addresses_than_allowed_need_a_ticket(account: Account, pair: tuple[Any, Any]) -> None:
    for _ in range(7):
        extra_ip(account, pair[0])
    body = {"type": "ipv4", "public": True, "linode_id": pair[0]["id"]}
    assert "technical justification" in account.reasons("POST", "/networking/ips", body)[0][2]


def test_a_reserved_address_outlives_its_linode(account: Account, pair: tuple[Any, Any]) -> None:
    first, second = pair
    fip = account.do("POST", "/networking/reserved/ips", {"region": "us-east"})["address"]
    account.do("POST", f"/linode/instances/{first['id']}/ips", {"type": "ipv4", "public": True, "address": fip})
    account.do("POST", SHARE, {"linode_id": second["id"], "ips": [fip]})
    account.do("DELETE", f"/linode/instances/{first['id']}")
    assert account.do("GET", f"/networking/ips/{fip}")["linode_id"] is None
    account.do("DELETE", f"/networking/reserved/ips/{fip}")
    assert account.ask("GET", f"/networking/ips/{fip}")[0] == 404
    assert account.shared(second) == []


def test_addresses_come_from_the_pools_that_are_given() -> None:
    pools = (IPv4Network("192.0.2.192/29"), IPv4Network("198.51.100.0/30"))
    account = Account(Api(Store(timing=QUICK, policy=Policy(public_pools=pools))))
    given = [account.do("POST", "/networking/reserved/ips", {"region": "us-east"}) for _ in range(6)]
    assert [one["address"] for one in given[:2]] == ["192.0.2.194", "192.0.2.195"]
    assert (given[0]["gateway"], given[0]["prefix"]) == ("192.0.2.193", 29)
    assert (given[5]["address"], given[5]["gateway"], given[5]["prefix"]) == ("198.51.100.2", "198.51.100.1", 30)
    refusal = account.reasons("POST", "/linode/instances", LINODE)[0]
    assert refusal[2].startswith("No IPv4 addresses")
    assert account.do("GET", "/linode/instances")["results"] == 0
