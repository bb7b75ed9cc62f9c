"""A node's network cards: taken out, put in, or missing at its boot.

A card that comes back has the name and the MAC it had, and another index; like a real one it is up and has no
addresses, unless the node's network manager is played too.
"""

from __future__ import annotations

from natpair.errors import LabError
from natpair_lab.testbed import netns
from natpair_lab.testbed.topology import Host, Link, Topology


def card_link(plan: Topology, node: str, switch: str) -> Link:
    """The cable in the card of `node` that leads to `switch`; LabError if there is none."""
    for link in plan.links_of(node):
        if link.far.host == switch:
            return link
    raise LabError(f"{node} has no card for the {switch} switch")


def take_out(lab: str, plan: Topology, node: str, switch: str) -> None:
    """The card is gone, and with it its addresses, routes and neighbours."""
    netns.unplug(lab, [card_link(plan, node, switch)])


def put_in(lab: str, plan: Topology, node: str, switch: str, *, configured: bool) -> None:
    """A card of the same name and MAC comes. `configured`: with what a network manager gives it, else merely up."""
    link = card_link(plan, node, switch)
    netns.wire(lab, plan, [link])
    lines = lines_of(plan.host(node), link.near.interface) if configured else [f"link set {link.near.interface} up"]
    netns.batch(lines, netns=netns.name_of(lab, node))


def lines_of(host: Host, interface: str) -> list[str]:
    """Those lines of a host's network that are for `interface`."""
    return [line for line in host.ip_lines if interface in line.split()]


def without(host: Host, interface: str) -> tuple[str, ...]:
    """The others."""
    return tuple(line for line in host.ip_lines if interface not in line.split())
