"""Sharing replaces a whole list: what others share to the same Linode must come through every story."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.errors import ApiError, NotReady
from natpair.linode import sharing
from natpair.linode.models import Address, InstanceAddresses
from natpair.linode.sharing import Drift, DriftKind, Patience, Shares, find_drift
from unit.linode.account import FIP, FIP2, FOREIGN, RANGE, A, Account, B
from unit.linode.fakeapi import Seen, address, api_and_client, calling, half, lost, ok, refuse

SHARE = "/networking/ips/share"
SOON = Patience(settle_seconds=0.2, look_every_seconds=0.02)
V4, V4B = IPv4Address(FIP), IPv4Address(FIP2)


async def test_a_share_keeps_what_others_share() -> None:
    account = Account()
    async with api_and_client() as (api, client):
        account.serve(api)
        shares = await sharing.share(client, B, [V4, V4B], SOON)
        assert shares == Shares(frozenset(map(IPv4Address, (FIP, FIP2, FOREIGN))), frozenset({IPv6Address(RANGE)}))
        assert account.shares[B] == [FIP, FIP2, FOREIGN, RANGE]
        assert account.owners[FIP] == A


async def test_what_is_there_already_is_not_written() -> None:
    account = Account()
    account.shares[B].append(FIP)
    async with api_and_client() as (api, client):
        account.serve(api)
        await sharing.share(client, B, [V4], SOON)
        await sharing.unshare(client, B, [V4B], SOON)
        await sharing.share(client, A, [V4], SOON)  # the owner's own
        assert api.count("POST", SHARE) == 0


async def test_unsharing_takes_only_ours() -> None:
    account = Account()
    account.shares[B] += [FIP, FIP2]
    async with api_and_client() as (api, client):
        account.serve(api)
        await sharing.unshare(client, B, [V4, V4B], SOON)
        assert account.shares[B] == [FOREIGN, RANGE]


@pytest.mark.parametrize("broken", [lost, lambda work: half({"a": "b"}, work)], ids=["lost", "half"])
async def test_a_lost_answer_is_settled_by_reading_back(broken: Callable[[Callable[[], object]], object]) -> None:
    account = Account()
    async with api_and_client() as (api, client):
        account.serve(api)
        api.on("POST", SHARE, broken(lambda: account.shares[B].append(FIP)))  # type: ignore[arg-type]
        await sharing.share(client, B, [V4], SOON)
        assert api.count("POST", SHARE) == 1


async def test_a_lost_request_is_repeated_after_reading() -> None:
    account = Account()
    async with api_and_client() as (api, client):
        account.serve(api)
        api.on("POST", SHARE, lost(), calling(account.share))
        await sharing.share(client, B, [V4], SOON)
        assert api.count("POST", SHARE) == 2
        assert FOREIGN in account.shares[B]


async def test_another_writer_in_between_is_found_and_kept() -> None:
    account = Account()

    def overwritten(seen: Seen) -> object:
        account.share(seen)
        account.shares[B] = [FOREIGN, FIP2]  # somebody's own read-modify-write, based on an older list
        return {}

    async with api_and_client() as (api, client):
        account.serve(api)
        api.on("POST", SHARE, calling(overwritten), calling(account.share))
        await sharing.share(client, B, [V4], SOON)
        assert set(account.shares[B]) == {FIP, FIP2, FOREIGN}


async def test_a_share_that_never_shows_is_told() -> None:
    account = Account()
    async with api_and_client() as (api, client):
        account.serve(api)
        api.on("POST", SHARE, ok())
        with pytest.raises(NotReady, match=f"Linode {B}") as caught:
            await sharing.share(client, B, [V4], SOON)
        assert "Terraform" in caught.value.fix


@pytest.mark.parametrize("status", [401, 403])
async def test_a_missing_right_is_a_clear_word(status: int) -> None:
    async with api_and_client() as (api, client):
        Account().serve(api)
        api.on("POST", SHARE, refuse(status, "Your OAuth token is not authorized to use this endpoint."))
        with pytest.raises(ApiError, match="not authorized") as caught:
            await sharing.share(client, B, [V4], SOON)
        assert "ips:read_write linodes:read_write" in caught.value.fix
        assert caught.value.exit_code == 77


async def test_nothing_is_written_when_the_list_cannot_be_read_whole() -> None:
    async with api_and_client() as (api, client):
        Account().serve(api)
        api.on("GET", f"/networking/ipv6/ranges/{RANGE}", refuse(500, "no"))
        with pytest.raises(ApiError):
            await sharing.share(client, B, [V4], SOON)
        assert api.count("POST", SHARE) == 0


async def test_drift_is_found_and_repaired() -> None:
    account = Account()
    async with api_and_client() as (api, client):
        account.serve(api)
        drifts = await sharing.look_for_drift(client, [V4, V4B, IPv4Address("203.0.113.200")], [A, B], "us-ord")
        assert drifts == (
            Drift(DriftKind.NOT_SHARED, V4, B),
            Drift(DriftKind.NOT_SHARED, V4B, B),
            Drift(DriftKind.NOT_OURS, IPv4Address("203.0.113.200")),
        )
        left = await sharing.repair(client, drifts, SOON)
        assert [(one.kind, one.repairable) for one in left] == [(DriftKind.NOT_OURS, False)]
        assert api.count("POST", SHARE) == 1
        assert set(account.shares[B]) == {FIP, FIP2, FOREIGN, RANGE}
        assert await sharing.look_for_drift(client, [V4, V4B], [A, B], "us-ord") == ()


def _owner(**more: object) -> Address:
    return Address.model_validate(address(FIP, A) | more)


@pytest.mark.parametrize(
    ("owner", "kind"),
    [
        (_owner(region="us-sea"), DriftKind.OTHER_REGION),
        (_owner(vpc_nat_1_1={"address": "10.0.0.2"}), DriftKind.NOT_SHAREABLE),
    ],
)
def test_what_cannot_be_shared_is_named(owner: Address, kind: DriftKind) -> None:
    assert find_drift([V4], {V4: owner}, {}, "us-ord") == (Drift(kind, V4),)


ADDRESSES = st.frozensets(st.integers(1, 30).map(lambda n: IPv4Address(f"192.0.2.{n}")), max_size=8)
RANGES = st.frozensets(st.integers(1, 9).map(lambda n: IPv6Address(f"2001:db8:{n}::")), max_size=4)


@given(ADDRESSES, RANGES, ADDRESSES)
def test_merging_adds_ours_and_takes_nothing(
    theirs: frozenset[IPv4Address], ranges: frozenset[IPv6Address], ours: frozenset[IPv4Address]
) -> None:
    before = Shares(theirs, ranges)
    after = before.having(ours)
    assert set(after.listed()) == theirs | ours | ranges
    assert after.having(ours) == after
    assert after.missing(ours) == before.missing(ours)
    assert set(before.missing(ours).listed()) == (theirs - ours) | ranges


@given(ADDRESSES, st.dictionaries(st.integers(1, 3), ADDRESSES, min_size=1), st.integers(1, 4))
def test_drift_is_exactly_what_is_missing(
    fips: frozenset[IPv4Address], shared: dict[int, frozenset[IPv4Address]], owner: int
) -> None:
    owners = {fip: Address.model_validate(address(str(fip), owner)) for fip in fips}
    found = {
        linode: InstanceAddresses.model_validate(
            {"ipv4": {"shared": [address(str(one), 9) for one in sorted(addresses)]}}
        )
        for linode, addresses in shared.items()
    }
    drifts = find_drift(fips, owners, found, "us-ord")
    missing = {(fip, linode) for fip in fips for linode in shared if linode != owner and fip not in shared[linode]}
    assert {(drift.address, drift.receiver) for drift in drifts} == missing
    assert all(drift.repairable for drift in drifts)
