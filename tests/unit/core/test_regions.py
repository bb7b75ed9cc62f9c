from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from natpair.core.model import Bgp
from natpair.core.regions import DCIDS, region_route_servers, route_servers
from samples import gateway


def test_the_data_centre_id_stands_in_decimal_digits() -> None:
    assert [str(server) for server in region_route_servers("us-ord")] == [
        "2600:3c0f:18:34::1",
        "2600:3c0f:18:34::2",
        "2600:3c0f:18:34::3",
        "2600:3c0f:18:34::4",
    ]


def test_no_two_regions_share_an_id() -> None:
    assert len(set(DCIDS.values())) == len(DCIDS)


@pytest.mark.parametrize("region", ["de-fra-2", "jp-tyo-3", "us-iad-2", "fr-par-2", "no-osl-1"])
def test_regions_whose_id_is_not_published_are_not_guessed(region: str) -> None:
    with pytest.raises(KeyError):
        region_route_servers(region)


def test_route_servers_of_the_file_go_before_the_region() -> None:
    given = gateway(('region = "us-ord"', 'region = "us-ord"\nroute_servers = ["2001:db8:5::1"]'))
    assert route_servers(given) == (IPv6Address("2001:db8:5::1"),)


def test_neither_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        route_servers(gateway().model_copy(update={"bgp": Bgp()}))
