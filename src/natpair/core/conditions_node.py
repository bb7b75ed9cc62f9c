"""What is wrong with the node itself: its links, its daemons, what it is configured to be."""

# ruff: noqa: ARG001 - all judges share one signature, not all need the time
from __future__ import annotations

from collections.abc import Callable

from natpair.core.condition import Kind, Severity
from natpair.core.messages import Phase, VrrpRole
from natpair.core.state import NodeState


def _fact(name: str, text: str) -> Callable[[NodeState, float], str | None]:
    def judge(state: NodeState, now: float) -> str | None:
        return None if getattr(state.health, name) else text

    return judge


def _vrrp_fault(state: NodeState, now: float) -> str | None:
    if state.tossed(now) and state.peer_serves(now):
        return None  # it is kept out on purpose
    if state.phase is Phase.STANDBY and state.vrrp is VrrpRole.FAULT and now - state.since > 3:
        return "Keepalived is in FAULT although this node is well"
    return None


def _astray(state: NodeState, now: float) -> str | None:
    things = state.health.astray
    return f"wrong, and put right in vain or not at all: {', '.join(things)}" if things else None


def _disk_stalled(state: NodeState, now: float) -> str | None:
    health = state.health
    return f"{health.disk_path} has not answered for {health.disk_seconds:.0f} s" if health.disk_seconds else None


def _disk_refuses(state: NodeState, now: float) -> str | None:
    health = state.health
    return f"{health.disk_path} cannot be written: {health.disk_error}" if health.disk_error else None


def _failed_parts(state: NodeState, now: float) -> str | None:
    failed = state.health.failed_parts
    return f"the agent started a failed part of itself again: {'; '.join(failed)}" if failed else None


def _drained(state: NodeState, now: float) -> str | None:
    return f"{state.terms.me} is drained" if state.drained else None


_CRITICAL, _WARNING, _INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
_SEE_LOG = "see the log of natpair-{}"

KINDS: tuple[Kind, ...] = (
    Kind(
        "private-link-down",
        "The interface of the VLAN is down, missing or without carrier.",
        _CRITICAL,
        "check the VLAN interface",
        _fact("private_up", "private link is down"),
    ),
    Kind(
        "public-link-down",
        "The public interface is down, missing or without carrier.",
        _CRITICAL,
        "check the uplink",
        _fact("public_up", "public link is down"),
    ),
    Kind(
        "gateway-unreachable",
        "The next hop of the public side has not answered ARP several times in a row.",
        _CRITICAL,
        "check the uplink",
        _fact("gateway", "the gateway does not answer ARP"),
    ),
    Kind(
        "ruleset-wrong",
        "What nftables, the routes or BIRD hold is not as wished, and repair has failed for a second.",
        _CRITICAL,
        "'trouble' in 'natpair status --json' says what is refused",
        _fact("ruleset", "the ruleset is not as rendered"),
    ),
    Kind(
        "keepalived-mute",
        "Keepalived does not write its state when asked.",
        _CRITICAL,
        _SEE_LOG.format("keepalived"),
        _fact("keepalived", "Keepalived is mute"),
    ),
    Kind(
        "conntrackd-mute",
        "conntrackd does not answer: flows are not replicated.",
        _WARNING,
        _SEE_LOG.format("conntrackd"),
        _fact("conntrackd", "conntrackd is mute"),
    ),
    Kind(
        "vrrp-fault",
        "The agent would have this node elected, and Keepalived will not.",
        _WARNING,
        _SEE_LOG.format("keepalived"),
        _vrrp_fault,
    ),
    Kind(
        "repair-gave-up",
        "Something is changed back as often as natpair puts it right, or cannot be put right. It is left alone for a "
        "while, and a peer that is well takes over.",
        _WARNING,
        "'repairs' in 'natpair status --json' names who may have done it: stop that",
        _astray,
    ),
    Kind(
        "disk-stalled",
        "A disk does not answer. The node serves and takes over as usual; events, 'drain' and repairs of files wait, "
        "and a restart of anything may hang.",
        _WARNING,
        "look for I/O errors with 'dmesg', and at the state of the volume; replace the machine if it stays",
        _disk_stalled,
    ),
    Kind(
        "disk-refuses",
        "A disk answers, and refuses to be written: it is full or read-only. Events are lost meanwhile "
        "('events_dropped' in 'natpair status --json' counts them).",
        _WARNING,
        "make room ('df -h', 'df -i'); if it has become read-only, see 'dmesg'",
        _disk_refuses,
    ),
    Kind(
        "agent-failing",
        "A part of the agent failed and was started again: a bug. The rest goes on; told for a minute.",
        _WARNING,
        "open an issue with this line; if it stays, restart natpair-agent, which costs no packet",
        _failed_parts,
    ),
    Kind(
        "drained",
        "An operator keeps this node from becoming active.",
        _INFO,
        "'natpair undrain' when the work is done",
        _drained,
    ),
)
