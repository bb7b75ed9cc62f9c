"""Which route servers a Linode region has.

The API does not tell a region's data centre number (DCID); Linode's own cloud controller carries the same
table. Regions whose number is not published are left out on purpose: a guess would peer with strangers.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address
from types import MappingProxyType

from natpair.core.model import Gateway

ROUTE_SERVERS_PER_REGION = 4

# From linode-cloud-controller-manager's cilium_loadbalancers.go, the last version with BGP in it (before 8af0e9cd);
# 14 stand in Linode's failover guide too. us-west is in the guide alone, marked as being rebuilt: unproven.

DCIDS: Mapping[str, int] = MappingProxyType(
    {
        "ap-northeast": 11,
        "ap-south": 9,
        "ap-southeast": 16,
        "ap-west": 14,
        "au-mel": 45,
        "br-gru": 21,
        "ca-central": 15,
        "es-mad": 24,
        "eu-central": 10,
        "eu-west": 7,
        "fr-par": 19,
        "gb-lon": 44,
        "id-cgk": 29,
        "in-bom-2": 46,
        "in-maa": 25,
        "it-mil": 27,
        "jp-osa": 26,
        "nl-ams": 22,
        "se-sto": 23,
        "sg-sin-2": 48,
        "us-central": 2,
        "us-east": 6,
        "us-iad": 17,
        "us-lax": 30,
        "us-mia": 28,
        "us-ord": 18,
        "us-sea": 20,
        "us-southeast": 4,
        "us-west": 3,
    }
)


def region_route_servers(region: str) -> tuple[IPv6Address, ...]:
    """The four route servers of `region`; KeyError for a region whose number is unknown.

    The DCID stands in the third hextet as *decimal* digits: us-ord, 18, is `2600:3c0f:18:34::1`.
    """
    dcid = DCIDS[region]
    return tuple(IPv6Address(f"2600:3c0f:{dcid}:34::{n}") for n in range(1, ROUTE_SERVERS_PER_REGION + 1))


def route_servers(gateway: Gateway) -> tuple[IPv6Address, ...]:
    """`bgp.route_servers` if given, else those of `bgp.region`.

    KeyError when neither names any; a gateway that came through `config.load` always has them.
    """
    if gateway.bgp.route_servers:
        return gateway.bgp.route_servers
    if gateway.bgp.region is None:
        raise KeyError("bgp.region")
    return region_route_servers(gateway.bgp.region)
