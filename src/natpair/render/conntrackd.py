"""conntrackd.conf: FTFW over UDP unicast on the private interface, entries injected into the peer's kernel."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from natpair.core import paths
from natpair.render.base import Checker, RenderedFile, Sides, fill
from natpair.render.keepalived import CONNTRACKD_RT_PRIORITY, RT_PRIORITY

_MIB = 1024 * 1024
NETLINK_BUFFER_BYTES = 8 * _MIB
NETLINK_BUFFER_MAX_BYTES = 64 * _MIB
_SMALLEST_HASH = 32_768
_FLOWS_PER_SOCKET_BYTE = 64
_RESEND_QUEUE = 131_072


def socket_buffer_bytes(max_flows: int) -> int:
    """8 to 24 MiB, depending on the table size: a burst of new flows must fit while the daemon does not run."""
    return min(24 * _MIB, max(8 * _MIB, max_flows * _FLOWS_PER_SOCKET_BYTE))


def conntrackd_file(sides: Sides) -> RenderedFile:
    """conntrackd.conf of one node."""
    gateway, both = sides.gateway, (sides.node, sides.peer)
    own4 = {gateway.pair.vip.ip, *(n.private_address.ip for n in both), *(n.public_address.ip for n in both)}
    text = fill(
        "conntrackd.conf.j2",
        sides,
        rt_priority=CONNTRACKD_RT_PRIORITY,
        keepalived_priority=RT_PRIORITY,
        queue_size=_RESEND_QUEUE,
        socket_buffer_bytes=socket_buffer_bytes(gateway.nat.max_flows),
        netlink_buffer_bytes=NETLINK_BUFFER_BYTES,
        netlink_buffer_max_bytes=NETLINK_BUFFER_MAX_BYTES,
        hash_size=max(_SMALLEST_HASH, gateway.nat.max_flows // 4),
        hash_limit=gateway.nat.max_flows * 2,
        ignored4=[IPv4Address("127.0.0.1"), *sorted(own4)],
        ignored6=[IPv6Address("::1"), *sorted(n.public_address6.ip for n in both)],
    )
    return RenderedFile(paths.CONNTRACKD_CONF, text, checker=Checker.CONNTRACKD)
