"""What the kernel and the host need: sysctls with their reasons, modules, run-time folders, the FIP's blackhole."""

from __future__ import annotations

from dataclasses import dataclass

from natpair.core import paths
from natpair.render.base import RenderedFile, Sides, fill
from natpair.render.conntrackd import NETLINK_BUFFER_MAX_BYTES
from natpair.render.nftables import ONE_SHOT_SECONDS

BLACKHOLE_METRIC = 1000
_TIME_WAIT_SECONDS = 120
_UNANSWERED_SECONDS = 300
_MODULES = (
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_nat",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_connlimit",
    "nft_fib_ipv4",
    "nft_hash",
    "nft_limit",
    "nft_nat",
    "nft_reject_ipv4",
    "nft_dup_ipv4",
    "cls_bpf",
    "sch_ingress",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, why it is set, and the sysctls that get it."""

    reason: str
    value: int
    keys: tuple[str, ...]


def forwarding(sides: Sides) -> tuple[Setting, ...]:
    """What makes a node a router, in the order in which it must be set: the first one sets all the others."""
    return (
        Setting("This node routes.", 1, ("net/ipv4/ip_forward",)),
        Setting(
            "Between these two: network managers set this for each interface (systemd since version 256).",
            1,
            _ipv4(sides, "forwarding", everywhere=False),
        ),
    )


PANIC = Setting("A kernel that panics boots again; left alone it would hang for good.", 10, ("-kernel/panic",))


def settings(sides: Sides) -> tuple[Setting, ...]:
    """Every sysctl of a node but the one that makes it a router, in the order of the file."""
    return (*_router_settings(sides), *_flow_settings(sides), *_size_settings(sides))


def host_files(sides: Sides) -> tuple[RenderedFile, ...]:
    """sysctl.d, modules-load.d, tmpfiles.d, the batch of routes, and what makes the node a router."""
    return (
        RenderedFile(paths.SYSCTL, fill("sysctl.conf.j2", sides, settings=settings(sides))),
        # Not in sysctl.d: systemd would read it seconds before the ruleset and the egress guard stand.
        RenderedFile(paths.FORWARDING, fill("sysctl.conf.j2", sides, settings=forwarding(sides))),
        # Of the machine, not of its network: natpair itself sets it only where systemd runs, and never in a lab.
        RenderedFile(paths.PANIC, fill("sysctl.conf.j2", sides, settings=(PANIC,))),
        RenderedFile(paths.NEEDRESTART, fill("needrestart.conf.j2", sides)),
        RenderedFile(paths.MODULES_LOAD, fill("modules.conf.j2", sides, modules=_MODULES)),
        RenderedFile(paths.TMPFILES, fill("tmpfiles.conf.j2", sides)),
        RenderedFile(paths.ROUTES, fill("routes.ip.j2", sides, metric=BLACKHOLE_METRIC)),
    )


def _ipv4(sides: Sides, name: str, *, everywhere: bool = True) -> tuple[str, ...]:
    # Slashes: an interface name may hold a dot (sysctl.d(5)).
    places = ("all", "default") if everywhere else ()
    return tuple(
        f"net/ipv4/conf/{place}/{name}"
        for place in (*places, sides.node.private_interface, sides.node.public_interface)
    )


def _ipv6(name: str, *places: str) -> tuple[str, ...]:
    return tuple(f"net/ipv6/conf/{place}/{name}" for place in places)


def _router_settings(sides: Sides) -> tuple[Setting, ...]:
    private, public = sides.node.private_interface, sides.node.public_interface
    learnt = (key for name in ("accept_ra", "autoconf") for key in _ipv6(name, private))
    proxies = (key for name in ("proxy_arp", "proxy_arp_pvlan") for key in _ipv4(sides, name, everywhere=False))
    return (
        Setting(
            "The sessions with the route servers run over IPv6.",
            0,
            _ipv6("disable_ipv6", "all", "default", public),
        ),
        Setting("No instance on the VLAN tells a node its IPv6 routes and addresses.", 0, tuple(learnt)),
        Setting("A router takes no redirects, in IPv6 neither.", 0, _ipv6("accept_redirects", private, public)),
        Setting(
            "IPv4 is what is translated; as an IPv6 router the node would also lose its own SLAAC address.",
            0,
            ("net/ipv6/conf/all/forwarding",),
        ),
        Setting(
            "Loose: replies that the peer relays come in on the VLAN (RFC 3704 section 2.4).",
            2,
            _ipv4(sides, "rp_filter"),
        ),
        Setting("Answer ARP for an address only on its own link.", 1, _ipv4(sides, "arp_ignore")),
        Setting("Ask by ARP only with an address of that link.", 2, _ipv4(sides, "arp_announce")),
        Setting("Answer ARP for nobody else.", 0, tuple(proxies)),
        Setting("Relayed replies leave by the link they came in on: tell nobody.", 0, _ipv4(sides, "send_redirects")),
        Setting("A router takes no redirects.", 0, _ipv4(sides, "accept_redirects")),
        Setting("Nor do packets choose their own path.", 0, _ipv4(sides, "accept_source_route")),
    )


def _conntrack(*names: str) -> tuple[str, ...]:
    return tuple(f"net/netfilter/nf_conntrack_{name}" for name in names)


def _flow_settings(sides: Sides) -> tuple[Setting, ...]:
    nat = sides.gateway.nat
    transitory = ("syn_sent", "syn_recv", "fin_wait", "close_wait", "last_ack", "close")
    return (
        Setting(
            "Always: with the default, flows that began while conntrackd was away are never replicated.",
            1,
            _conntrack("events"),
        ),
        Setting(
            "A node that was active before judges live flows by old windows: 60 of 60 died without this, 0 with it.",
            1,
            _conntrack("tcp_be_liberal"),
        ),
        Setting(
            "A flow that was not replicated in time heals, as ports are kept.",
            1,
            _conntrack("tcp_loose"),
        ),
        Setting(
            "Established TCP: at least 2 h 4 min (RFC 5382 REQ-5).",
            nat.tcp_established_seconds,
            _conntrack("tcp_timeout_established"),
        ),
        Setting(
            "TCP opening and closing: at least 4 min (RFC 5382 REQ-5), after a reset too (RFC 7857 section 2).",
            nat.tcp_transitory_seconds,
            _conntrack(*(f"tcp_timeout_{state}" for state in transitory)),
        ),
        Setting(
            "TCP that waits for an answer: the kernel's own value, which others' tuning must not shorten.",
            _UNANSWERED_SECONDS,
            _conntrack("tcp_timeout_unacknowledged", "tcp_timeout_max_retrans"),
        ),
        Setting(
            "A closed TCP port is held for 2 min (RFC 6888 REQ-8).",
            _TIME_WAIT_SECONDS,
            _conntrack("tcp_timeout_time_wait"),
        ),
        Setting(
            "UDP that has been used for more than 2 s: at least 2 min, 5 recommended (RFC 4787 REQ-5).",
            nat.udp_seconds,
            _conntrack("udp_timeout_stream"),
        ),
        Setting(
            "UDP that was over within 2 s: 2 min (RFC 4787 REQ-5). For known ports the ruleset has less.",
            ONE_SHOT_SECONDS,
            _conntrack("udp_timeout"),
        ),
        Setting("ICMP queries: at least 1 min (RFC 5508 REQ-2).", nat.icmp_seconds, _conntrack("icmp_timeout")),
    )


def _size_settings(sides: Sides) -> tuple[Setting, ...]:
    flows = sides.gateway.nat.max_flows
    return (
        Setting("The most flows at once (nat.max_flows).", flows, ("-net/netfilter/nf_conntrack_max",)),
        Setting("One hash bucket a flow keeps chains short.", flows, ("-net/netfilter/nf_conntrack_buckets",)),
        Setting(
            "Room for conntrackd's socket buffers.",
            NETLINK_BUFFER_MAX_BYTES,
            ("-net/core/rmem_max", "-net/core/wmem_max"),
        ),
        Setting("Neighbours kept: a /20 of clients without churn.", 4096, ("-net/ipv4/neigh/default/gc_thresh1",)),
        Setting("Neighbours at which ageing speeds up.", 8192, ("-net/ipv4/neigh/default/gc_thresh2",)),
        Setting("Neighbours at most.", 16384, ("-net/ipv4/neigh/default/gc_thresh3",)),
    )
