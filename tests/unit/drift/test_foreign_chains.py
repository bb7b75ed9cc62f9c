"""Whose chains can be in the clients' way, out of all that nft lists."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from natpair.drift import foreign_chains
from natpair.drift.foreign_chains import Passage, chains_in_the_way


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


async def test_a_new_chain_is_looked_at_soon_and_often_and_told_after_a_few_packets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chains, counts = [listed()], {"offered": 0, "passed": 0, "arrived": 0, "routed": 0}

    async def nft(argv: list[str], **_: object) -> SimpleNamespace:
        return SimpleNamespace(stdout=chains[0] if "chains" in argv else "")

    monkeypatch.setattr(foreign_chains, "arun", nft)
    monkeypatch.setattr(foreign_chains.nft, "counters", lambda: dict(counts))
    watch = Passage()
    assert await watch.findings() == []
    assert not watch.restless, "without a chain of others there is nothing to be restless about"
    chains[0] = listed({})
    watch.changed()
    assert await watch.findings() == []
    assert watch.restless
    counts["offered"] += 10
    assert await watch.findings() == [], "too few to act"
    assert watch.barred == ("table ip stranger chain c",)
    counts["offered"] += 10
    assert len(await watch.findings()) == 1
    chains[0] = listed()
    watch.changed()
    assert await watch.findings() == []
    assert watch.barred == ()
    assert not watch.restless
