"""Random lives of an account: whatever is asked in whatever order, what must hold of the whole does."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.accounts import IMAGE, LINODE, OPEN, PUBLIC, VLAN, Account
from natpair_lab.emulator.interfaces import vlan_members
from natpair_lab.emulator.model import Status
from natpair_lab.emulator.world import SharesChanged

KINDS: list[dict[str, Any]] = [
    {},
    IMAGE | {"interfaces": [PUBLIC, VLAN]},
    IMAGE | {"interface_generation": "linode", "interfaces": [OPEN, {"vlan": {"vlan_label": "nat-lan"}}]},
    IMAGE | {"interface_generation": "linode", "interfaces": [{"vlan": {"vlan_label": "nat-lan"}}]},
    IMAGE | {"private_ip": True},
    {"region": "us-ord"},
]
ORDERS = (
    "create",
    "delete",
    "boot",
    "reboot",
    "shutdown",
    "ip",
    "share",
    "reserve",
    "attach",
    "wait",
)
step = st.tuples(st.sampled_from(ORDERS), st.integers(0, 5), st.integers(0, 5))


def pick(values: list[Any], index: int, otherwise: Any) -> Any:
    return values[index % len(values)] if values else otherwise


def request(account: Account, order: str, first: int, second: int) -> tuple[str, str, Any]:
    """A request that often makes sense."""
    store = account.api.store
    linode = pick(list(store.linodes), first, 1)
    other = pick(list(store.linodes), second, 1)
    address = str(pick(list(store.addresses), first, "203.0.113.9"))
    one = f"/linode/instances/{linode}"
    ipv4 = {"type": "ipv4", "public": second % 3 > 0}
    return {
        "create": ("POST", "/linode/instances", LINODE | KINDS[first]),
        "delete": ("DELETE", one, None),
        "boot": ("POST", f"{one}/boot", {}),
        "reboot": ("POST", f"{one}/reboot", {}),
        "shutdown": ("POST", f"{one}/shutdown", {}),
        "ip": ("POST", "/networking/ips", ipv4 | {"linode_id": linode}),
        "share": ("POST", "/networking/ips/share", {"linode_id": other, "ips": [address][: min(1, second)]}),
        "reserve": ("POST", "/networking/reserved/ips", {"region": "us-east"}),
        "attach": ("POST", f"/linode/instances/{other}/ips", {"type": "ipv4", "public": True, "address": address}),
        "wait": ("GET", "/linode/instances", None),
    }[order]


def check(account: Account) -> None:
    store = account.api.store
    for receiver, shared in store.shares.items():
        assert receiver in store.linodes
        assert shared
        assert len(set(shared)) == len(shared)
        for address in shared:
            assert store.addresses[address].region == store.linodes[receiver].region
            assert store.addresses[address].linode_id != receiver
    for address in store.addresses.values():
        assert address.linode_id in store.linodes or (address.linode_id is None and address.reserved)
        owner = store.linodes.get(address.linode_id or 0)
        assert owner is None or owner.region == address.region
    for linode in store.linodes.values():
        assert len(store.owned(linode.id, public=False)) <= 1
    assert {config.linode_id for config in store.configs.values()} <= set(store.linodes)
    assert {pending.linode_id for pending in store.pending} <= set(store.linodes)
    assert set(store.vlans) == {
        (region, lan) for region in ("us-east", "us-ord") for lan in vlan_members(store, region)
    }
    told = [notice.shares for notice in store.notices if isinstance(notice, SharesChanged)]
    assert not told or told[-1] == store.share_table()


@settings(max_examples=100)
@given(steps=st.lists(step, min_size=10, max_size=40))
def test_what_holds_of_every_account(steps: list[tuple[str, int, int]]) -> None:
    account = Account()
    pair = [account.create(), account.create(**IMAGE)]
    for owner, receiver in (pair, pair[::-1]):
        extra = account.do("POST", "/networking/ips", {"type": "ipv4", "public": True, "linode_id": owner["id"]})
        account.do("POST", "/networking/ips/share", {"linode_id": receiver["id"], "ips": [extra["address"]]})
    for order, first, second in steps:
        if order == "wait":
            account.later()
            assert all(one.status in (Status.RUNNING, Status.OFFLINE) for one in account.api.store.linodes.values())
            assert not account.api.store.pending
            assert all(event.status in ("finished", "failed") for event in account.api.store.events)
        method, path, body = request(account, order, first, second)
        before = (account.api.store.addresses.copy(), account.api.store.linodes.copy(), account.api.store.shares.copy())
        status, document = account.ask(method, path, body)
        assert status in (200, 400, 404), document
        if status != 200:
            assert before == (account.api.store.addresses, account.api.store.linodes, account.api.store.shares)
        check(account)
