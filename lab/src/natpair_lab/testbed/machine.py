"""The settings of a fresh lab node, compared with a real Debian machine, and every difference that is left.

Debian 12 ships no network settings: a machine has the values compiled into its kernel, and those of its network
manager. A network namespace inherits the IPv4 settings of the machine that runs the lab, so the lab sets all of them.
`tests/lab/test_world.py` compares a booted node with a machine that has just been switched on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

Settings = tuple[tuple[str, str], ...]

_KERNELS_IPV4: Mapping[str, int] = MappingProxyType(
    {
        "accept_redirects": 1,
        "arp_evict_nocarrier": 1,
        "igmpv2_unsolicited_report_interval": 10000,
        "igmpv3_unsolicited_report_interval": 1000,
        "secure_redirects": 1,
        "send_redirects": 1,
        "shared_media": 1,
    }
    | dict.fromkeys(
        (
            "accept_local",
            "arp_accept",
            "arp_announce",
            "arp_filter",
            "arp_ignore",
            "arp_notify",
            "bc_forwarding",
            "disable_policy",
            "disable_xfrm",
            "drop_gratuitous_arp",
            "drop_unicast_in_l2_multicast",
            "force_igmp_version",
            "ignore_routes_with_linkdown",
            "log_martians",
            "proxy_arp",
            "proxy_arp_pvlan",
            "route_localnet",
            "rp_filter",
            "src_valid_mark",
        ),
        0,
    )
)
"""net/ipv4/conf as compiled into a kernel (net/ipv4/devinet.c). `_lines` has what differs for "all"."""
_KERNELS_IPV6: Mapping[str, int] = MappingProxyType(
    {"accept_ra": 1, "accept_redirects": 1, "autoconf": 1, "disable_ipv6": 0}
)
_ANYWHERE = ("all", "default")


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a lab node and a real machine, and why it is acceptable."""

    what: str
    machine: str
    lab: str
    reason: str


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "kernel",
        "Debian 12's own, 6.1",
        "that of the machine that runs the lab",
        "namespaces share it; natpair asks the kernel for what depends on it (core.whatif, docs/architecture.md)",
    ),
    Difference(
        "nf_conntrack_max, nf_conntrack_buckets, net.core.*mem_max, net.ipv4.neigh.default.gc_thresh*",
        "as natpair sets them",
        "as the machine that runs the lab has them",
        "the kernel lets only the initial network namespace set them; the rendered file marks them as optional",
    ),
    Difference(
        "test for duplicates of the node's own IPv6 address",
        "done before network-online.target, for which natpair waits",
        "left out (nodad); the link-local address is tested",
        "it costs one second for each boot, and nothing differs afterwards",
    ),
    Difference(
        "router advertisements on the public interface",
        "sent by the provider; often the default route comes from them",
        "none are sent; a static default route, as Linode's Network Helper writes it",
        "tests/contract/test_ways_for_real.py checks the effect: a default route that expires",
    ),
    Difference(
        "network manager",
        "systemd-networkd or ifupdown",
        "none: addresses are set once, at boot",
        "tests do what it would do (chaos, row 79; tests/contract); promote_secondaries is as networkd sets it",
    ),
    Difference(
        "PID 1",
        "systemd",
        "testbed.init, which reads the same service table as the units",
        "systemd does not run in a bare namespace without a cgroup of its own; its part is tested on real machines",
    ),
    Difference(
        "/etc",
        "of a fresh image",
        "a copy of /etc of the machine that runs the lab, without its natpair",
        "the lab installs nothing; each daemon gets the names of its files, so the rest of /etc does not matter",
    ),
    Difference(
        "disk",
        "a file system of its own",
        "a folder of the machine that runs the lab",
        "chaos makes a full, a read-only and a stalled disk (rows 46 and 70)",
    ),
    Difference(
        "clock",
        "one for each machine",
        "that of the machine that runs the lab",
        "CLOCK_REALTIME has no namespace",
    ),
)
"""All differences that are left. Tests show that all other network settings are the same."""


def node_settings(interfaces: Iterable[str]) -> Settings:
    """The settings of a machine before natpair comes: the kernel's own values, and those of a network manager.

    The latter is promote_secondaries: when an address is removed, the other addresses of its network stay.
    networkd sets it for each interface that it manages, and Debian 13 for all (linux-sysctl-defaults).
    """
    return tuple(_lines(tuple(interfaces)))


def _lines(interfaces: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    yield "net/ipv4/ip_forward", "0"
    yield "net/ipv6/conf/all/forwarding", "0"
    for place in (*_ANYWHERE, *interfaces):
        for key, value in _KERNELS_IPV4.items():
            yield f"net/ipv4/conf/{place}/{key}", str(value)
        for key, value in _KERNELS_IPV6.items():
            yield f"net/ipv6/conf/{place}/{key}", str(value)
        # The compiled value of each "all" differs from the "default" for new interfaces.
        yield f"net/ipv6/conf/{place}/accept_dad", "0" if place == "all" else "1"
        yield f"net/ipv4/conf/{place}/accept_source_route", "0" if place == "all" else "1"
        yield f"net/ipv4/conf/{place}/promote_secondaries", "0" if place == "all" else "1"
