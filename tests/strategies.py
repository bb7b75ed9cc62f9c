"""Any valid gateway, as the TOML a user would write. Addresses are drawn so that the cross checks hold."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

from hypothesis import strategies as st

from natpair.core.model import BgpPolicy, Profile
from natpair.core.regions import DCIDS

Tables = dict[str, Any]

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,12}[a-z0-9])?", fullmatch=True)
interface_names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_.-]{0,14}", fullmatch=True).filter(lambda name: name != "lo")
ports = st.integers(1024, 65535)


@st.composite
def private_sides(draw: st.DrawFn) -> tuple[str, str, str]:
    """VIP and the two nodes' private addresses, with the prefix length of their subnet."""
    prefix = draw(st.integers(16, 29))
    network = IPv4Network((draw(st.integers(0x0A000000, 0x0AFFFFFF)), prefix), strict=False)
    offsets = st.integers(1, network.num_addresses - 2)
    hosts = draw(st.lists(offsets, min_size=3, max_size=3, unique=True))
    vip, first, second = (f"{network.network_address + host}/{prefix}" for host in hosts)
    return vip, first, second


@st.composite
def node_tables(draw: st.DrawFn, index: int, name: str, private_address: str) -> Tables:
    """One [[node]]; the two public subnets are taken from ranges that never meet the private one."""
    private, public = draw(st.lists(interface_names, min_size=2, max_size=2, unique=True))
    return {
        "name": name,
        "private_interface": private,
        "private_address": private_address,
        "public_interface": public,
        "public_address": f"203.0.{113 + index}.{draw(st.integers(1, 254))}/24",
        "public_address6": f"{IPv6Address(0x20010DB8 << 96 | index << 64 | draw(st.integers(2, 2**32)))}/64",
    }


@st.composite
def bgp_tables(draw: st.DrawFn) -> Tables:
    """[bgp] with a region or a list of route servers."""
    table: Tables = {"policy": draw(st.sampled_from([p.value for p in BgpPolicy]))}
    if draw(st.booleans()):
        table["region"] = draw(st.sampled_from(sorted(DCIDS)))
    else:
        suffixes = draw(st.lists(st.integers(1, 999), min_size=1, max_size=6, unique=True))
        table["route_servers"] = [f"2600:3c0f:99:34::{suffix}" for suffix in suffixes]
    if draw(st.booleans()):
        table["hold_seconds"] = draw(st.integers(4, 600))
    return table


@st.composite
def gateway_tables(draw: st.DrawFn) -> Tables:
    """A whole gateway.toml as tables; `dump_toml` makes text of it."""
    vip, first, second = draw(private_sides())
    name_a, name_b = draw(st.lists(names, min_size=2, max_size=2, unique=True))
    fips = draw(st.lists(st.integers(1, 254), min_size=1, max_size=16, unique=True))
    sync, heartbeat = draw(st.lists(ports, min_size=2, max_size=2, unique=True))
    udp = draw(st.integers(120, 3600))
    sources = draw(st.lists(st.integers(0, 2**32 - 1).map(lambda n: IPv4Network((n, 16), strict=False)), max_size=3))
    return {
        "pair": {
            "name": draw(names),
            "vip": vip,
            "fips": [str(IPv4Address("192.0.2.0") + n) for n in fips],
            "profile": draw(st.sampled_from([p.value for p in Profile])),
        },
        "node": [draw(node_tables(0, name_a, first)), draw(node_tables(1, name_b, second))],
        "vrrp": {"router_id": draw(st.integers(1, 255))},
        "bgp": draw(bgp_tables()),
        "sync": {"port": sync, "refresh_seconds": draw(st.integers(10, udp // 2))},
        "heartbeat": {"port": heartbeat},
        "nat": {"udp_seconds": udp, "max_flows": draw(st.integers(1024, 16_777_216))},
        "firewall": {
            "management_sources": [str(s) for s in sources],
            "management_tcp_ports": draw(st.lists(ports, max_size=4)),
        },
    }


def dump_toml(tables: Tables, *, reverse: bool = False) -> str:
    """TOML text of `tables`; `reverse` writes tables and keys in the opposite order, which means the same."""
    blocks = []
    for name, value in tables.items():
        entries = value if isinstance(value, list) else [value]
        # The order of [[node]] tables has a meaning, that of everything else has none.
        head = f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
        blocks.append("\n".join("\n".join([head, *_lines(entry, reverse)]) for entry in entries))
    return "\n\n".join(blocks[::-1] if reverse else blocks) + "\n"


def _lines(table: Tables, reverse: bool) -> list[str]:
    # JSON's strings, numbers and lists of them are TOML's as well.
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return lines[::-1] if reverse else lines
