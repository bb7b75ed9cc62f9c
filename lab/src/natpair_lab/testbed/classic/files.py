"""Renders the files and services of a classic node. Pure. docs/classic.md says why each line is there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from natpair.core.model import Gateway, Node
from natpair.core.regions import route_servers
from natpair_lab.testbed.init import Unit

ETC = "/etc/classic"
ROLE_FILE = "/run/classic/role"
PREPARE, CONNTRACKD, SPEAKER, KEEPALIVED = "prepare", "conntrackd", "speaker", "keepalived"
PRIORITIES = (150, 100)
MAX_PASSWORD = 8
"""VRRPv2's simple password has eight bytes; Keepalived truncates longer ones."""

_HERE = Path(__file__).parent
SCRIPTS = ("check-upstream", "notify", "prepare", "speaker")
LAST_RESTART_MS = 2000
"""`RestartSec=2` of the speaker's unit."""


@dataclass(frozen=True, slots=True)
class ClassicFile:
    """One file on a node's disk."""

    path: str
    text: str
    mode: int = 0o644


def files(gateway: Gateway, name: str, targets: Sequence[IPv4Address], secret: str) -> tuple[ClassicFile, ...]:
    """All files of node `name`; `targets` are what its check script pings, `secret` is the same on both nodes."""
    node = gateway.node_named(name)
    return (
        *(ClassicFile(f"{ETC}/{script}", (_HERE / "etc" / script).read_text(), 0o755) for script in SCRIPTS),
        ClassicFile(f"{ETC}/settings", _settings(gateway, node, targets)),
        ClassicFile(f"{ETC}/keepalived.conf", _keepalived(gateway, node, secret[:MAX_PASSWORD]), 0o600),
        ClassicFile(f"{ETC}/conntrackd.conf", _conntrackd(gateway, node)),
        ClassicFile(f"{ETC}/gobgpd.toml", _gobgpd(gateway)),
        ClassicFile(f"{ETC}/nftables.conf", _nftables(gateway, node)),
        ClassicFile(f"{ETC}/sysctl.conf", _SYSCTLS),
    )


def units() -> tuple[Unit, ...]:
    """The services of a node in start order, restarted as the distribution's units restart them."""
    return (
        Unit(PREPARE, (f"{ETC}/prepare",), oneshot=True),
        Unit(CONNTRACKD, ("conntrackd", "-C", f"{ETC}/conntrackd.conf")),
        Unit(SPEAKER, (f"{ETC}/speaker",), restart_delay_ms=LAST_RESTART_MS),
        # Debian's unit of Keepalived has no Restart=.
        Unit(KEEPALIVED, _KEEPALIVED_ARGV, restart_delay_ms=None),
    )


_KEEPALIVED_ARGV = (
    *("keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp", "-f", f"{ETC}/keepalived.conf"),
    *("-p", "/run/classic/keepalived.pid", "-r", "/run/classic/vrrp.pid"),
)

_SYSCTLS = """\
net.ipv4.ip_forward = 1
net.ipv4.conf.all.send_redirects = 0
net.ipv4.conf.default.send_redirects = 0
net.ipv4.conf.all.accept_redirects = 0
net.ipv4.conf.default.accept_redirects = 0
net.ipv4.conf.all.rp_filter = 2
net.ipv4.conf.default.rp_filter = 2
net.ipv4.conf.all.arp_ignore = 1
net.ipv4.conf.all.arp_announce = 2
net.netfilter.nf_conntrack_tcp_timeout_established = 432000
net.netfilter.nf_conntrack_udp_timeout = 60
net.netfilter.nf_conntrack_udp_timeout_stream = 180
"""


def _settings(gateway: Gateway, node: Node, targets: Sequence[IPv4Address]) -> str:
    service = shlex.join([sys.executable, "-I", "-S", str(_HERE / "service.py")])
    values = {
        "FIPS": " ".join(map(str, gateway.pair.fips)),
        "PUBLIC": node.public_interface,
        "ROLE_FILE": ROLE_FILE,
        "TARGETS": " ".join(map(str, targets)),
        "SERVICE": service,
    }
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())


def _keepalived(gateway: Gateway, node: Node, password: str) -> str:
    # The first node starts as MASTER. Keepalived ignores nopreempt on such a node, so it always takes the role back.
    bit = gateway.bit_of(node.name)
    return f"""\
global_defs {{
    script_user root
    enable_script_security
}}

vrrp_script check_upstream {{
    script "{ETC}/check-upstream"
    interval 2
    fall 2
    rise 2
}}

vrrp_instance gateway {{
    state {("MASTER", "BACKUP")[bit]}
    interface {node.private_interface}
    virtual_router_id {gateway.vrrp.router_id}
    priority {PRIORITIES[bit]}
    advert_int 1
    preempt_delay 5
    nopreempt
    authentication {{
        auth_type PASS
        auth_pass {password}
    }}
    virtual_ipaddress {{
        {gateway.pair.vip} dev {node.private_interface}
    }}
    track_script {{
        check_upstream
    }}
    notify_master "{ETC}/notify master"
    notify_backup "{ETC}/notify backup"
    notify_fault "{ETC}/notify fault"
}}
"""


def _conntrackd(gateway: Gateway, node: Node) -> str:
    peer = gateway.peer_of(node.name)
    return f"""\
Sync {{
    Mode FTFW {{
        DisableExternalCache on
    }}
    UDP {{
        IPv4_address {node.private_address.ip}
        IPv4_Destination_Address {peer.private_address.ip}
        Port {gateway.sync.port}
        Interface {node.private_interface}
        Checksum on
    }}
    Options {{
        TCPWindowTracking on
    }}
}}

General {{
    LogFile off
    Syslog off
    LockFile /run/classic/conntrackd.lock
    UNIX {{
        Path /run/classic/conntrackd.ctl
    }}
}}
"""


def _gobgpd(gateway: Gateway) -> str:
    # Port -1: it only connects to others. The router id is lelastic's, the same on every node.
    neighbours = "\n".join(_neighbour(str(address), gateway) for address in route_servers(gateway))
    return f"""\
[global.config]
  as = {gateway.bgp.local_as}
  router-id = "10.0.0.1"
  port = -1

{neighbours}"""


def _neighbour(address: str, gateway: Gateway) -> str:
    return f"""\
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{address}"
    peer-as = {gateway.bgp.peer_as}
  [neighbors.ebgp-multihop.config]
    enabled = true
    multihop-ttl = {gateway.bgp.multihop_ttl}
  [neighbors.timers.config]
    connect-retry = 5
    hold-time = 9
    keepalive-interval = 3
  [neighbors.apply-policy.config]
    default-import-policy = "reject-route"
    default-export-policy = "accept-route"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
"""


def _nftables(gateway: Gateway, node: Node) -> str:
    private, public = node.private_interface, node.public_interface
    return f"""\
flush ruleset

table inet filter {{
    chain input {{
        type filter hook input priority filter; policy accept;
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "{private}" oifname "{public}" accept
    }}
}}

table ip nat {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {gateway.private_network} oifname "{public}" snat to {gateway.pair.fips[0]}
    }}
}}
"""
