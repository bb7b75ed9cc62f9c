"""More private instances behind one lab client: addresses it has for as long as a drill lasts.

A gateway bounds what one client may have, so a hundred thousand connections must come from several.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

from natpair_lab.testbed import netns
from natpair_lab.testbed.topology import CLIENT_INTERFACE
from natpair_lab.testbed.world import Lab


def spare(network: IPv4Network, taken: Collection[IPv4Address], count: int) -> tuple[IPv4Address, ...]:
    """At most `count` addresses of `network` that nobody has, from its end; fewer where it has no more."""
    top, bottom = int(network.broadcast_address) - 1, int(network.network_address)
    free = (address for number in range(top, bottom, -1) if (address := IPv4Address(number)) not in taken)
    return tuple(address for address, _ in zip(free, range(count), strict=False))


@contextmanager
def more_addresses(lab: Lab, client: str, count: int) -> Iterator[Sequence[str]]:
    """Give `client` so many addresses more, as far as the private subnet has them; taken away at the end."""
    network = lab.gateway.private_network
    nodes = (node.private_address.ip for node in lab.gateway.node)
    taken = {lab.gateway.pair.vip.ip, *nodes, *(address.ip for _, address in lab.topology.clients)}
    chosen = spare(network, taken, count)
    words = [f"{address}/{network.prefixlen} dev {CLIENT_INTERFACE}" for address in chosen]
    namespace = lab.netns_of(client)
    netns.batch((f"addr replace {word}" for word in words), netns=namespace)
    try:
        yield [str(address) for address in chosen]
    finally:
        netns.batch((f"addr del {word}" for word in words), netns=namespace, force=True)
