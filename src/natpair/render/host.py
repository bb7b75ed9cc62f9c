"""Settings of the kernel and the host: sysctls with their reasons, modules, run-time folders, the FIPs' blackhole."""

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
    """One value, the reason for it, and the sysctls that are set to it."""

    reason: str
    value: int
    keys: tuple[str, ...]


def forwarding(sides: Sides) -> tuple[Setting, ...]:
    """The sysctls that enable forwarding, in the required order: the first one sets all the others."""
    return (
        Setting("This node routes.", 1, ("net/ipv4/ip_forward",)),
        Setting(
            "Forward between these two interfaces. Network managers may set this per interface (systemd since 256).",
            1,
            _ipv4(sides, "forwarding", everywhere=False),
        ),
    )


PANIC = Setting("Reboot after a kernel panic. By default the machine would hang.", 10, ("-kernel/panic",))


def settings(sides: Sides) -> tuple[Setting, ...]:
    """Every sysctl of a node, except those that enable forwarding, in the order of the file."""
    return (*_router_settings(sides), *_flow_settings(sides), *_size_settings(sides))


def host_files(sides: Sides) -> tuple[RenderedFile, ...]:
    """The files for sysctl.d, modules-load.d and tmpfiles.d, the batch of routes, and the forwarding sysctls."""
    return (
        RenderedFile(paths.SYSCTL, fill("sysctl.conf.j2", sides, settings=settings(sides))),
        # Not in sysctl.d: systemd would load it seconds before the ruleset and the egress guard are in place.
        RenderedFile(paths.FORWARDING, fill("sysctl.conf.j2", sides, settings=forwarding(sides))),
        # This concerns the whole machine, not its network: natpair sets it only under systemd, and never in a lab.
        RenderedFile(paths.PANIC, fill("sysctl.conf.j2", sides, settings=(PANIC,))),
        RenderedFile(paths.NEEDRESTART, fill("needrestart.conf.j2", sides)),
        RenderedFile(paths.MODULES_LOAD, fill("modules.conf.j2", sides, modules=_MODULES)),
        RenderedFile(paths.TMPFILES, fill("tmpfiles.conf.j2", sides)),
        RenderedFile(paths.ROUTES, fill("routes.ip.j2", sides, metric=BLACKHOLE_METRIC)),
    )


def _ipv4(sides: Sides, name: str, *, everywhere: bool = True) -> tuple[str, ...]:
    # With slashes, because an interface name may contain a dot (sysctl.d(5)).
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
        Setting("Accept no IPv6 routes and addresses from instances on the VLAN.", 0, tuple(learnt)),
        Setting("A router ignores redirects, also in IPv6.", 0, _ipv6("accept_redirects", private, public)),
        Setting(
            "natpair forwards IPv4 only. As an IPv6 router the node would also lose its own SLAAC address.",
            0,
            ("net/ipv6/conf/all/forwarding",),
        ),
        Setting(
            "Loose mode: replies that the peer relays come in on the VLAN (RFC 3704 section 2.4).",
            2,
            _ipv4(sides, "rp_filter"),
        ),
        Setting("Answer ARP for an address only on its own link.", 1, _ipv4(sides, "arp_ignore")),
        Setting("Send ARP requests only with an address of the same link.", 2, _ipv4(sides, "arp_announce")),
        Setting("Do not answer ARP for other machines.", 0, tuple(proxies)),
        Setting(
            "Relayed replies leave on the link they came in on; send no redirects.", 0, _ipv4(sides, "send_redirects")
        ),
        Setting("A router ignores redirects.", 0, _ipv4(sides, "accept_redirects")),
        Setting("Refuse source-routed packets.", 0, _ipv4(sides, "accept_source_route")),
    )


def _conntrack(*names: str) -> tuple[str, ...]:
    return tuple(f"net/netfilter/nf_conntrack_{name}" for name in names)


def _flow_settings(sides: Sides) -> tuple[Setting, ...]:
    nat = sides.gateway.nat
    transitory = ("syn_sent", "syn_recv", "fin_wait", "close_wait", "last_ack", "close")
    return (
        Setting(
            "Always on: by default, flows that began while conntrackd did not run are never replicated.",
            1,
            _conntrack("events"),
        ),
        Setting(
            "A node that was active before has old TCP windows. Without this, 60 of 60 flows died; with it, none.",
            1,
            _conntrack("tcp_be_liberal"),
        ),
        Setting(
            "Pick up a flow that was not replicated in time; it continues, because ports are kept.",
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
            "TCP that waits for an answer: the kernel's default, in case other tuning has shortened it.",
            _UNANSWERED_SECONDS,
            _conntrack("tcp_timeout_unacknowledged", "tcp_timeout_max_retrans"),
        ),
        Setting(
            "A closed TCP port is held for 2 min (RFC 6888 REQ-8).",
            _TIME_WAIT_SECONDS,
            _conntrack("tcp_timeout_time_wait"),
        ),
        Setting(
            "UDP in use for more than 2 s: at least 2 min, recommended 5 min (RFC 4787 REQ-5).",
            nat.udp_seconds,
            _conntrack("udp_timeout_stream"),
        ),
        Setting(
            "UDP that was over within 2 s: 2 min (RFC 4787 REQ-5). The ruleset has shorter times for some ports.",
            ONE_SHOT_SECONDS,
            _conntrack("udp_timeout"),
        ),
        Setting("ICMP queries: at least 1 min (RFC 5508 REQ-2).", nat.icmp_seconds, _conntrack("icmp_timeout")),
    )


def _size_settings(sides: Sides) -> tuple[Setting, ...]:
    flows = sides.gateway.nat.max_flows
    return (
        Setting("Maximum number of flows (nat.max_flows).", flows, ("-net/netfilter/nf_conntrack_max",)),
        Setting("One hash bucket per flow keeps chains short.", flows, ("-net/netfilter/nf_conntrack_buckets",)),
        Setting(
            "Room for conntrackd's socket buffers.",
            NETLINK_BUFFER_MAX_BYTES,
            ("-net/core/rmem_max", "-net/core/wmem_max"),
        ),
        Setting(
            "Neighbours that are always kept: enough for a /20 of clients.",
            4096,
            ("-net/ipv4/neigh/default/gc_thresh1",),
        ),
        Setting("Above this number, neighbours expire sooner.", 8192, ("-net/ipv4/neigh/default/gc_thresh2",)),
        Setting("Maximum number of neighbours.", 16384, ("-net/ipv4/neigh/default/gc_thresh3",)),
    )
