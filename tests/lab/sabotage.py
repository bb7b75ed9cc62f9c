"""Ways to take one safeguard away from a running lab, so that a drill can be seen to fail for want of it.

Each function acts on a node behind natpair's back and leaves its traces in that node's namespaces only; a
reboot of the node or the end of the lab undoes them. The agent repairs, or steps down for, what it watches:
`sabotaged` therefore makes the sabotage a part of the event, a moment before it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from natpair.core import paths
from natpair.drill.kinds import KINDS, Kind, KindName
from natpair.drill.stage import Injection, Stage
from natpair.lab.wait import wait_until
from natpair.lab.world import Lab

Act = Callable[[Lab, str], None]

_FROZEN_MED = "2147483000"
_MUTE_FLUSH = Path(__file__).with_name("mute_flush.py")


def sabotaged(name: KindName, act: Act) -> Kind:
    """The drill `name` whose event begins with `act` on the node that is hit. For `runner.drill(…, kind=…)`."""
    honest = KINDS[name]

    def inject(stage: Stage) -> Injection:
        act(stage.lab, stage.victim)
        return honest.inject(stage)

    return replace(honest, inject=inject)


def open_input_and_fip_on_lo(lab: Lab, node: str) -> None:
    """Make the FIPs local and let the node's own stack answer for them.

    What a naive gateway does. With `drill flush` the stack resets every connection whose packet no longer
    finds its translation: the bound `resets` must fail.
    """
    for fip in lab.gateway.pair.fips:
        lab.exec(node, ["ip", "route", "flush", f"{fip}/32", "type", "blackhole"], check=False)
        lab.exec(node, ["ip", "address", "add", f"{fip}/32", "dev", "lo"], check=False)
    rules = "flush chain inet natpair input\nchain inet natpair input { policy accept; }\n"
    lab.exec(node, ["nft", "-f", "-"], stdin=rules, check=False)


def remove_leak_guards(lab: Lab, node: str) -> None:
    """Take away both guards against private sources on the uplink: the nftables chain and the filter on egress.

    With `drill flush`, or with the SNAT rule gone, the bound `leaked_packets` must fail.
    """
    interface = lab.gateway.node_named(node).public_interface
    lab.exec(node, ["tc", "filter", "del", "dev", interface, "egress"], check=False)
    lab.exec(node, ["nft", "flush", "chain", "ip", "natpair", "leak_guard"], check=False)


def freeze_med(lab: Lab) -> None:
    """Let both nodes announce one and the same MED whatever their epoch.

    A takeover then only ties with the dead node's stale route, and a fabric that prefers the older of two equal
    routes keeps it until the session times out: the bound `outage_ms` of `drill crash` must fail. Call it together
    with `Lab.fabric(prefer_older=True)`; the standby keeps its own community, so roles still show on the wire.
    """
    for node in lab.nodes:
        lab.exec(node, ["sed", "-i", f"s/bgp_med = MED;/bgp_med = {_FROZEN_MED};/", paths.BIRD_CONF])
        lab.exec(node, ["birdc", "-s", paths.BIRD_CTL, "configure"])


def drop_flush_internal(lab: Lab, node: str) -> subprocess.Popen[bytes]:
    """Keep the node's conntrackd from ever seeing `-f internal`: a proxy on its control socket swallows it.

    After a demotion the old copies stay, and as they expire their DELETEs kill flows on the new active. To see
    that within a drill, shorten the nodes' conntrack timeouts first. The caller ends the returned proxy.
    """
    real = paths.CONNTRACKD_CTL + ".real"
    proxy = lab.popen(node, [sys.executable, "-I", str(_MUTE_FLUSH), paths.CONNTRACKD_CTL, real], stdin=subprocess.PIPE)
    wait_until(
        lambda: lab.exec(node, ["test", "-S", real], check=False).returncode == 0,
        deadline_seconds=10,
        what="the proxy on conntrackd's control socket",
    )
    return proxy


def short_tcp_timeouts(lab: Lab, seconds: int) -> None:
    """Let idle TCP entries of both nodes expire soon, so that what expiry does is seen within a drill."""
    for node in lab.nodes:
        lab.exec(node, ["sysctl", "-qw", f"net.netfilter.nf_conntrack_tcp_timeout_established={seconds}"])
