from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given

from natpair.config.load import find_node, load, parse
from natpair.core.model import config_hash
from natpair.errors import ConfigError
from samples import EXAMPLE, gateway, text_with
from strategies import Tables, dump_toml, gateway_tables


def problems(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return {problem.key: problem.message for problem in caught.value.problems}


def test_the_example_loads() -> None:
    example = load(EXAMPLE)
    assert [node.name for node in example.node] == ["nat-a", "nat-b"]
    assert str(example.private_network) == "192.168.1.0/24"


@given(gateway_tables())
def test_any_valid_gateway_loads_and_the_order_of_keys_means_nothing(tables: Tables) -> None:
    straight, reversed_ = parse(dump_toml(tables)), parse(dump_toml(tables, reverse=True))
    assert straight == reversed_
    assert config_hash(straight) == config_hash(reversed_)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "the file does not exist"),
        (b"\xff\xfe", "byte 0xff at column 1 is not UTF-8"),
        (b"a = \n", "not valid TOML at column 5"),
        (b'[pair]\nname = "x\n', 'the closing " is missing'),
        (b"[pair", "not valid TOML"),
    ],
)
def test_a_file_that_is_not_toml_is_one_clear_problem(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "gateway.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert says in problem.message
    assert problem.accepted
    assert str(path) in str(caught.value)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert caught.value.problems[0].message == "is a folder"


def test_toml_errors_carry_their_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("[pair]\nname = nothing\n")
    assert caught.value.problems[0].line == 2


def test_an_empty_file_names_what_is_missing() -> None:
    assert problems("") == {
        "pair": "is missing",
        "node": "is missing",
        "bgp": "has neither a region nor route servers",
    }


def test_schema_and_cross_problems_come_together_in_the_order_of_the_lines() -> None:
    text = text_with(
        ('name = "natpair"', 'nmae = "natpair"'),
        ('private_address = "192.168.1.4/24"', 'private_address = "192.168.2.4/24"'),
        ('private_interface = "eth1"', "private_interface = 7"),
        ("us-ord", "us-nowhere"),
    )
    with pytest.raises(ConfigError) as caught:
        parse(text)
    found = caught.value.problems
    assert [(p.key, p.line) for p in found] == [
        ("pair.nmae", 5),
        ("node[0].private_interface", 12),
        ("node[1].private_address", 21),
        ("bgp.region", 27),
    ]
    assert found[0].accepted == "did you mean name?"
    assert found[2].value == "192.168.2.4/24"


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"name": "nat-b"}, "nat-b"),
        ({"hostname": "nat-a.example.org"}, "nat-a"),
        ({"addresses": [IPv4Address("192.168.1.4")]}, "nat-b"),
        ({"addresses": [IPv4Address("203.0.113.3")], "hostname": "nat-b"}, "nat-a"),
        ({"name": "nat-a", "addresses": [IPv4Address("203.0.113.4")]}, "nat-a"),
    ],
)
def test_a_machine_finds_itself(given_: dict[str, object], expected: str) -> None:
    assert find_node(gateway(), **given_).name == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given_",
    [
        {"name": "nat-c"},
        {"hostname": "elsewhere"},
        {},
        {"addresses": [IPv4Address("192.168.1.3"), IPv4Address("192.168.1.4")]},
    ],
)
def test_a_machine_that_is_neither_or_both_is_told_the_names(given_: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        find_node(gateway(), **given_)  # type: ignore[arg-type]
    assert "nat-a, nat-b" in caught.value.problems[0].accepted
