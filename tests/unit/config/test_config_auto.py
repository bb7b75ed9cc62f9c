"""The word "auto": where it may stand, what `check` says of it, and how values take its place in the file."""

from __future__ import annotations

import tomllib

import pytest

from natpair.config.auto import AUTO, STAMP, autos_in, fill, with_stamp
from natpair.config.load import parse, parse_draft
from natpair.errors import ConfigError
from samples import text_with

OPEN = (
    ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.221", "auto"]'),
    ('public_address = "203.0.113.3/24"', 'public_address = "auto"'),
    ('public_address6 = "2001:db8:100::3/64"', "public_address6 = 'auto'"),
)
KEYS = {"pair.fips[1]", "node[0].public_address", "node[0].public_address6", STAMP}


def open_text() -> str:
    return text_with(*OPEN, extra='\n[cloud]\nstamp = "auto" # later\n')


def test_check_names_each_auto_and_who_fills_it_in() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(open_text())
    assert {one.key for one in caught.value.problems} == KEYS
    assert all("natpair cloud apply" in one.message and one.line for one in caught.value.problems)


def test_a_draft_holds_stand_ins_and_says_where() -> None:
    draft = parse_draft(open_text())
    assert draft.autos == KEYS
    assert not draft.complete
    assert draft.gateway.cloud.stamp is None
    assert AUTO not in str(draft.gateway.model_dump())


def test_other_faults_of_an_open_file_are_found_too() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_draft(open_text().replace("192.168.1.4/24", "192.168.1.1/24").replace('stamp = "auto"', 'stamp = "xyz"'))
    assert {one.key for one in caught.value.problems} >= {"node[1].private_address", "cloud.stamp"}


def test_auto_is_no_value_elsewhere() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_draft(text_with(('vip = "192.168.1.1/24"', 'vip = "auto"')))
    assert [one.key for one in caught.value.problems] == ["pair.vip"]


def test_a_router_cannot_be_named_before_its_network_is_known() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_draft(text_with(*OPEN, extra='\n[health]\npublic_gateway = "203.0.113.1"\n'))
    (problem,) = caught.value.problems
    assert problem.key == "health.public_gateway"
    assert "cannot be checked" in problem.message


def test_values_are_written_and_all_else_stays_to_the_byte() -> None:
    values = {
        "pair.fips[1]": "192.0.2.7",
        "node[0].public_address": "198.51.100.3/24",
        "node[0].public_address6": "2001:db8:1::3/64",
        STAMP: "0badcafe",
    }
    made = fill(open_text(), values)
    expected = open_text()
    for value in ('"192.0.2.7"', '"198.51.100.3/24"'):
        expected = expected.replace('"auto"', value, 1)
    assert made == expected.replace("'auto'", '"2001:db8:1::3/64"').replace('"auto"', '"0badcafe"')
    assert autos_in(tomllib.loads(made)) == ()
    assert parse(made).cloud.stamp == "0badcafe"


@pytest.mark.parametrize(
    "end",
    ["", "\n", '\n[cloud]\ntype = "g6-nanode-1"\n', "\n  [ cloud ] # mine\n", '\n[cloud]\nstamp = "auto"', "\n[cloud]"],
)
def test_a_stamp_finds_its_place(end: str) -> None:
    text = text_with(extra=end)
    made = with_stamp(text, "0badcafe")
    before, after = tomllib.loads(text), tomllib.loads(made)
    assert after.pop("cloud") == before.pop("cloud", {}) | {"stamp": "0badcafe"}
    assert after == before
    for line in text.splitlines():
        assert line in made or "auto" in line


def test_a_stamp_that_finds_no_place_is_asked_for() -> None:
    with pytest.raises(ConfigError) as caught:
        with_stamp('cloud = { type = "g6-nanode-1" }\n', "0badcafe")
    assert "0badcafe" in caught.value.problems[0].accepted
