"""Ways to take one safeguard away from a running lab, so that a drill can be seen to fail for want of it.

Each function acts on a node behind natpair's back and leaves its traces in that node's namespaces only; a
reboot of the node or the end of the lab undoes them. The agent repairs, or steps down for, what it watches:
`flushed_after` therefore freezes the agent for a moment.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from natpair.core import paths
from natpair.render import services
from natpair.system.conntrackd import Command
from natpair_lab.drill.kinds import KINDS, Kind, KindName
from natpair_lab.drill.stage import Injection, Stage
from natpair_lab.testbed.fabric import Knobs
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

Act = Callable[[Lab, str], None]

_MOST = 0.6
"""Part of the flows that speak by themselves; the others are idle until they are asked."""
_SLACK_SECONDS = 2.0
_FROZEN_SECONDS = 1.0
"""Less than the agent's watchdog of 5 s; each connection of the drill speaks several times in it."""
_ESTABLISHED = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"
_MASK = "/run/established"
_UNRESPONSIVE_FLUSH = Path(__file__).with_name("unresponsive_flush.py")


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


def flushed_after(act: Act) -> Kind:
    """`drill flush` on a node that `act` has taken a safeguard from.

    The agent is frozen meanwhile, and for a second from the flush on. Otherwise it puts back what `act` did within
    0.15 s, often before the flush, and repairs the flush within 0.1 s, in which no packet of a connection may arrive.
    """
    flush = KINDS[KindName.FLUSH]

    def inject(stage: Stage) -> Injection:
        thaw = threading.Timer(_FROZEN_SECONDS, stage.lab.kill, (stage.victim, services.AGENT, signal.SIGCONT))
        stage.lab.kill(stage.victim, services.AGENT, signal.SIGSTOP)
        try:
            act(stage.lab, stage.victim)
        finally:
            thaw.start()  # only now: what `act` starts may take longer than the freeze on a busy machine
        try:
            return flush.inject(stage)
        finally:
            thaw.join()

    return replace(flush, inject=inject)


def remove_leak_guards(lab: Lab, node: str) -> None:
    """Take away both guards against private sources on the uplink: the nftables chain and the filter on egress.

    With `drill flush`, or with the SNAT rule gone, the bound `leaked_packets` must fail.
    """
    interface = lab.gateway.node_named(node).public_interface
    lab.exec(node, ["tc", "filter", "del", "dev", interface, "egress"], check=False)
    lab.exec(node, ["nft", "flush", "chain", "ip", "natpair", "leak_guard"], check=False)


def unresponsive(lab: Lab, node: str, *commands: Command) -> subprocess.Popen[bytes]:
    """Keep the node's conntrackd from ever seeing `commands`: a proxy on its control socket swallows them.

    Without `-f internal` after a demotion the copies that stay behind send DELETEs as they expire, which kill the
    flows on the new active. To see that, use `switchover_and_expiry`, and swallow `-n` and `-B` too: what they bring
    lives as long as the new active's own, and hides the harm. The caller ends the returned proxy.
    """
    real = paths.CONNTRACKD_CTL + ".real"
    argv = [
        sys.executable,
        "-I",
        str(_UNRESPONSIVE_FLUSH),
        paths.CONNTRACKD_CTL,
        real,
        *(str(int(c)) for c in commands),
    ]
    proxy = lab.popen(node, argv, stdin=subprocess.PIPE)
    wait_until(
        lambda: lab.exec(node, ["test", "-S", real], check=False).returncode == 0,
        deadline_seconds=10,
        what="the proxy on conntrackd's control socket",
    )
    return proxy


def crash_checked_as_if_med_counted() -> Kind:
    """`drill crash` with the bounds of a fabric that honours MED, whatever the fabric does.

    Without MED a takeover only ties with the dead node's stale route, and a fabric that prefers the older of two equal
    routes keeps it until the session times out.
    """
    crash = KINDS[KindName.CRASH]
    return replace(crash, limits=lambda conditions: crash.limits(replace(conditions, fabric=Knobs())))


def switchover_and_expiry(seconds: int) -> Kind:
    """`drill planned`, watched until the copies that stay behind on the old active node have expired.

    The old node's entries get `seconds` to live at their next packet, which is not replicated: the taker's live as
    long as ever. Flows are asked for proof only when all that expires has expired.
    """
    planned = KINDS[KindName.PLANNED]

    def inject(stage: Stage) -> Injection:
        _mask_established(stage.lab, stage.victim, seconds)
        wait_until(
            lambda: _short_lived(stage.lab, stage.victim, seconds) >= _MOST,
            deadline_seconds=20,
            what="short-lived entries on the active node",
        )
        done = planned.inject(stage)
        _pass(seconds + _SLACK_SECONDS)
        # A dump evicts what has expired; the kernel's own sweep may take a minute.
        stage.lab.exec(stage.victim, ["conntrack", "-L"])
        _pass(_SLACK_SECONDS)
        _unmask_established(stage.lab, stage.victim)
        return replace(done, settled_ns=time.monotonic_ns())

    return replace(planned, inject=inject)


def _mask_established(lab: Lab, node: str, seconds: int) -> None:
    """Set the timer to `seconds`, and lay a file over it that says what the agent wants to read: it would repair it."""
    wanted = lab.gateway.nat.tcp_established_seconds
    script = f"echo {seconds} > {_ESTABLISHED} && echo {wanted} > {_MASK} && mount --bind {_MASK} {_ESTABLISHED}"
    lab.exec(node, ["sh", "-c", script])


def _unmask_established(lab: Lab, node: str) -> None:
    wanted = lab.gateway.nat.tcp_established_seconds
    lab.exec(node, ["sh", "-c", f"umount {_ESTABLISHED} && echo {wanted} > {_ESTABLISHED}"])


def _pass(seconds: float) -> None:
    over = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= over, deadline_seconds=seconds + 60, what="the expiry of old entries")


def _short_lived(lab: Lab, node: str, seconds: int) -> float:
    listed = lab.exec(node, ["conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED"]).stdout.splitlines()
    remaining = [int(line.split()[2]) for line in listed]
    return sum(left <= seconds for left in remaining) / max(len(remaining), 1)
