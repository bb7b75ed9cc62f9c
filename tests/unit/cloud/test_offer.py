"""What the platform does not have is said before anything is made; what it costs comes from its own lists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloud.accounts import LEGACY, TEXT, changed, desk
from natpair.cloud.desired import wanted_of
from natpair.cloud.observed import Found
from natpair.cloud.platform import Offer, check_offer, prices, read_offer
from natpair.config.load import parse_draft
from natpair.errors import ConfigError
from natpair.linode.models import AccountSettings, AddressType, Image, LinodeType, Region
from natpair_lab.emulator.faults import Fault, Kind
from natpair_lab.emulator.platform import IMAGES, PLANS, REGIONS, reserved_ip_type
from natpair_lab.emulator.tokens import Token

OFFER = Offer(
    tuple(Region.model_validate(one.view()) for one in REGIONS.values()),
    tuple(LinodeType.model_validate(one.view()) for one in PLANS.values()),
    tuple(Image.model_validate(one.view()) for one in IMAGES.values()),
    (AddressType.model_validate(reserved_ip_type()),),
)
SERVERS = 'route_servers = ["2600:3c0f:99:34::1"]'


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ('"g6-nanode-1"', '"g6-nanode-2"', "cloud.type", "did you mean g6-nanode-1"),
        (
            '"g6-nanode-1"\n',
            '"g6-nanode-1"\nimage = "linode/debian21"\n',
            "cloud.image",
            "did you mean linode/debian1",
        ),
        ('"g6-nanode-1"\n', '"g6-nanode-1"\nimage = "linode/alpine3.20"\n', "cloud.image", "linode/debian12"),
        ('region = "us-ord"', f'region = "us-nowhere"\n{SERVERS}', "bgp.region", "us-ord"),
        ('region = "us-ord"', f'region = "us-den-1"\n{SERVERS}', "bgp.region", "Placement Group"),
    ],
)
def test_what_the_platform_lacks_is_named(old: str, new: str, key: str, words: str) -> None:
    wanted = wanted_of(parse_draft(changed((old, new))))
    with pytest.raises(ConfigError) as caught:
        check_offer(wanted, OFFER)
    assert key in {one.key for one in caught.value.problems}
    assert words in " ".join(one.accepted for one in caught.value.problems)


def test_what_it_has_passes() -> None:
    check_offer(wanted_of(parse_draft(TEXT)), OFFER)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('region = "us-ord"', SERVERS, "bgp.region"),
        ("[install]\nsource", "[install]\n# source", "install.source"),
        ('name = "nat-a"', 'name = "nat-a"\nprivate_interface = "ens4"', "node[0].private_interface"),
    ],
)
def test_what_cannot_be_made_is_named(old: str, new: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        wanted_of(parse_draft(changed((old, new))))
    assert key in {one.key for one in caught.value.problems}


def test_one_linode_is_not_both_nodes() -> None:
    both = changed(*((f'name = "nat-{one}"', f'name = "nat-{one}"\nlinode = 5') for one in "ab"))
    with pytest.raises(ConfigError) as caught:
        wanted_of(parse_draft(both))
    assert {one.key for one in caught.value.problems} == {"node[1].linode", "pair.fips[0]"}


def test_prices_are_the_platforms_in_that_region() -> None:
    empty = Found(nodes=(None, None))
    cheap = wanted_of(parse_draft(TEXT))
    dear = wanted_of(parse_draft(changed(('"us-ord"', '"br-gru"'))))
    assert [line.monthly for line in prices(cheap, empty, OFFER)] == [10.0, None, 0.0]
    assert prices(dear, empty, OFFER)[0].monthly == 14.0
    assert "reserved address costs $5.00" in prices(cheap, empty, OFFER)[1].note
    assert prices(cheap, empty, replace(OFFER, reserved=()))[1].note == ""


def test_resolvers_are_the_regions() -> None:
    assert str(OFFER.resolvers("us-ord")[0]).startswith("192.0.2.")
    assert OFFER.resolvers("us-nowhere") == ()


@pytest.mark.parametrize(
    ("setting", "text", "refused"),
    [
        ("legacy_config_only", TEXT, True),
        ("legacy_config_only", LEGACY, False),
        ("linode_only", LEGACY, True),
        ("linode_only", TEXT, False),
        ("legacy_config_default_but_linode_allowed", TEXT, False),
        ("linode_default_but_legacy_config_allowed", LEGACY, False),
        (None, TEXT, False),
    ],
)
def test_the_generation_must_be_one_that_the_account_allows(setting: str | None, text: str, refused: bool) -> None:
    offer = replace(OFFER, settings=AccountSettings(interfaces_for_new_linodes=setting))
    wanted = wanted_of(parse_draft(text))
    if not refused:
        check_offer(wanted, offer)
        return
    with pytest.raises(ConfigError) as caught:
        check_offer(wanted, offer)
    (problem,) = caught.value.problems
    assert problem.key == "cloud.generation"
    assert setting is not None
    assert setting.removesuffix("_only") in problem.accepted


async def test_a_price_that_cannot_be_read_stops_nothing() -> None:
    async with desk() as at:
        fault = Fault(kind=Kind.STATUS, status=404, times=None, path="/networking/reserved/ips/types")
        at.emulator.control.faults.active.append(fault)
        assert (await read_offer(at.client)).reserved == ()


async def test_settings_that_may_not_be_read_stop_nothing() -> None:
    async with desk() as at:
        at.emulator.api.tokens.set("any", Token(frozenset({"linodes:read_only"})))
        assert (await read_offer(at.client)).settings is None


@pytest.mark.parametrize(("name", "label"), [("nat-a", "nat-a-0badcafe"), ("1a", "node-1a-0badcafe")])
def test_a_label_begins_with_a_letter(name: str, label: str) -> None:
    text = changed(("[cloud]\n", '[cloud]\nstamp = "0badcafe"\n'), ('name = "nat-a"', f'name = "{name}"'))
    assert wanted_of(parse_draft(text)).nodes[0].label == label
