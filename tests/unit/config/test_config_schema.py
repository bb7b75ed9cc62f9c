from __future__ import annotations

import pytest

from natpair.config.load import parse
from natpair.errors import ConfigError, Problem
from samples import text_with


def only_problem(text: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    (problem,) = caught.value.problems
    return problem


CASES = [
    (('profile = "balanced"', 'profile = "quick"'), "pair.profile", 'one of "fast", "balanced", "conservative"'),
    (('vip = "192.168.1.1/24"', "vip = 3232235777"), "pair.vip", "an IPv4 address with prefix length"),
    (('vip = "192.168.1.1/24"', 'vip = "192.168.1.256/24"'), "pair.vip", "an IPv4 address with prefix length"),
    (('fips = ["192.0.2.221"]', "fips = []"), "pair.fips", "a list of 1 to 16"),
    (('fips = ["192.0.2.221"]', 'fips = "192.0.2.221"'), "pair.fips", "a list of 1 to 16"),
    (('fips = ["192.0.2.221"]', 'fips = ["192.0.2.221", 4]'), "pair.fips[1]", "an IPv4 address such as"),
    (('name = "nat-b"', 'name = "Nat B"'), "node[1].name", "lower-case letters, digits"),
    (('private_interface = "eth1"', 'private_interface = "eth1; rm"'), "node[0].private_interface", "at most 15"),
    (('region = "us-ord"', 'region = "us-ord"\nhold_seconds = 2'), "bgp.hold_seconds", "a whole number from 3 to"),
    (('region = "us-ord"', 'region = "us-ord"\nlocal_as = "65001"'), "bgp.local_as", "a whole number from 1 to"),
    (('region = "us-ord"', 'region = "us-ord"\nlocal_as = true'), "bgp.local_as", "a whole number from 1 to"),
    (('region = "us-ord"', 'region = "us-ord"\nlocal_as = 65001.0'), "bgp.local_as", "a whole number from 1 to"),
    (('region = "us-ord"', 'region = "us-ord"\nholdtime = 3'), "bgp.holdtime", "one of region, route_servers"),
    (('profile = "balanced"', 'profile = "balancd"'), "pair.profile", 'did you mean "balanced"? one of "fast"'),
    (('region = "us-ord"', 'region = "us-ord"\nvip = "192.168.1.1/24"'), "bgp.vip", "vip belongs in [pair]"),
    (('region = "us-ord"', 'region = "us-ord"\npublic_address6 = "x"'), "bgp.public_address6", "in [[node]]"),
    (('region = "us-ord"', 'region = "us-ord"\nhold_secnds = 3'), "bgp.hold_secnds", "did you mean hold_seconds?"),
    (('region = "us-ord"', "region = 2026-01-01"), "bgp.region", "text in quotes"),
    (("[bgp]", "[natt]\n[bgp]"), "natt", "did you mean nat?"),
    (("[bgp]", "[sync]\nport = 0\n[bgp]"), "sync.port", "a whole number from 1 to 65535"),
    (("[bgp]", "[nat]\nmax_flows = [1, 2]\n[bgp]"), "nat.max_flows", "a whole number from 1024 to"),
]


@pytest.mark.parametrize(("change", "key", "accepted"), CASES, ids=lambda value: str(value)[:40])
def test_each_fault_is_named_with_its_key_and_what_is_accepted(
    change: tuple[str, str], key: str, accepted: str
) -> None:
    problem = only_problem(text_with(change))
    assert problem.key == key
    assert accepted in problem.accepted
    assert problem.line is not None


def test_a_missing_node_is_no_list_of_derived_complaints() -> None:
    text = text_with()
    problem = only_problem(text[: text.rindex("[[node]]")] + '[bgp]\nregion = "us-ord"\n')
    assert (problem.key, problem.value, problem.message) == ("node", "", "the file has 1 node, but a pair needs 2")
    assert problem.accepted == "a [[node]] table for each of the two nodes"


def test_a_later_format_is_refused() -> None:
    problem = only_problem("schema_version = 2\n" + text_with())
    assert (problem.key, problem.accepted, problem.line) == ("schema_version", "1", 1)


@pytest.mark.parametrize(
    "text", ["pair = 3", "pair = []", "node = 3", 'node = ["x"]', "node = {}", "bgp = 1.5", "nat = [1]"]
)
def test_tables_of_the_wrong_kind_are_problems_and_no_crash(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


def test_a_long_value_is_shortened() -> None:
    problem = only_problem(text_with(('region = "us-ord"', f'region = "us-ord"\npolicy = "{"x" * 500}"')))
    assert len(problem.value) == 80
