"""A node's network cards: removes them, adds them, or leaves one out at boot.

A card that comes back has its old name and MAC, and another index. Like a real card it is up and has no addresses,
unless the lab also does what the node's network manager would do.
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
    """Remove a card, and with it its addresses, routes and neighbours."""
    netns.unplug(lab, [card_link(plan, node, switch)])


def put_in(lab: str, plan: Topology, node: str, switch: str, *, configured: bool) -> None:
    """Add a card of the same name and MAC.

    `configured`: with what a network manager gives it; otherwise it is only up.
    """
    link = card_link(plan, node, switch)
    netns.wire(lab, plan, [link])
    lines = lines_of(plan.host(node), link.near.interface) if configured else [f"link set {link.near.interface} up"]
    netns.batch(lines, netns=netns.name_of(lab, node))


def lines_of(host: Host, interface: str) -> list[str]:
    """The lines of a host's network that are about `interface`."""
    return [line for line in host.ip_lines if interface in line.split()]


def without(host: Host, interface: str) -> tuple[str, ...]:
    """All other lines."""
    return tuple(line for line in host.ip_lines if interface not in line.split())
