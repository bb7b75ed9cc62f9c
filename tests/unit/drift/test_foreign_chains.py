"""Whose chains can be in the clients' way, out of all that nft lists."""

from __future__ import annotations

import json

import pytest

from natpair.drift.foreign_chains import chains_in_the_way


def listed(*chains: dict[str, object]) -> str:
    usual = {"family": "ip", "table": "stranger", "name": "c", "type": "filter", "hook": "forward", "policy": "drop"}
    return json.dumps({"nftables": [{"metainfo": {}}, *({"chain": {**usual, **chain}} for chain in chains)]})


@pytest.mark.parametrize(
    "harmless",
    [
        {"table": "natpair"},
        {"hook": "input"},
        {"hook": None},
        {"family": "ip6"},
        {"type": "nat"},
    ],
)
def test_ours_and_those_beside_the_way_are_not_suspected(harmless: dict[str, object]) -> None:
    assert chains_in_the_way(listed(harmless)) == ()


def test_those_that_drop_by_policy_are_named_and_all_if_none_does() -> None:
    open_one = {"family": "inet", "name": "open", "policy": "accept"}
    assert [str(c) for c in chains_in_the_way(listed({}, open_one))] == ["table ip stranger chain c"]
    assert [str(c) for c in chains_in_the_way(listed(open_one))] == ["table inet stranger chain open"]
