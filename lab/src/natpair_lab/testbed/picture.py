"""Draws the lab in plain ASCII for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from natpair.core.regions import route_servers
from natpair_lab.testbed.topology import PUBLIC, VLAN, Topology

_COLUMN = 26
_MARGIN = "  "


def draw(plan: Topology, roles: Mapping[str, str]) -> str:
    """The network of `plan`; `roles` gives the present role of each node."""
    gateway = plan.gateway
    first, last = plan.internet[0], plan.internet[-1]
    nodes = [
        (node.name, roles.get(node.name, "?"), str(node.public_address.ip), str(node.private_address.ip))
        for node in gateway.node
    ]
    trunk = " " * (_COLUMN // 2 + 1) + "|"
    both = _row(["    |", "    |"])
    lines = [
        f"internet  {first.ip} to {last.ip}",
        trunk[3:],
        f"fabric    {plan.fabric_public[0].ip}, {len(route_servers(gateway))} route servers,"
        f" FIP {', '.join(map(str, gateway.pair.fips))}",
        trunk[3:],
        _bar(f"{PUBLIC} switch"),
        both,
        *(_row([node[field] for node in nodes]) for field in range(len(nodes[0]))),
        both,
        _bar(f"{VLAN} switch, gateway (VIP) {gateway.pair.vip.ip}"),
        both,
        _row([name for name, _ in plan.clients]),
        _row([str(address.ip) for _, address in plan.clients]),
    ]
    return "\n".join(_MARGIN + line.rstrip() for line in lines)


def _row(cells: Sequence[str]) -> str:
    return "".join(cell.ljust(_COLUMN) for cell in cells)


def _bar(label: str) -> str:
    return "=" * (2 * _COLUMN - 12) + f"  {label}"
