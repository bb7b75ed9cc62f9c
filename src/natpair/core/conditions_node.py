"""What is wrong with the node itself: its links, its daemons, what it is configured to be."""

# ruff: noqa: ARG001 - all checks share one signature, not all need the time
from __future__ import annotations

from collections.abc import Callable

from natpair.core.condition import Kind, Severity
from natpair.core.desired import desired
from natpair.core.messages import Phase, VrrpRole
from natpair.core.state import NodeState


def _fact(name: str, text: str) -> Callable[[NodeState, float], str | None]:
    def check(state: NodeState, now: float) -> str | None:
        return None if getattr(state.health, name) else text

    return check


def _link_down(name: str) -> Callable[[NodeState, float], str | None]:
    def check(state: NodeState, now: float) -> str | None:
        if getattr(state.health, f"{name}_up"):
            return None
        interface, where = getattr(state.terms, f"{name}_interface"), "VLAN" if name == "private" else "public"
        return f"{interface} ({where}) {getattr(state.health, f'{name}_why') or 'is down'}"

    return check


def _vrrp_fault(state: NodeState, now: float) -> str | None:
    if state.damping.tossed(now) and state.peer_serves(now):
        return None  # this node stays out of the election on purpose
    # A node that cannot serve sets its Keepalived to FAULT itself, to leave the election.
    kept_out = not desired(state, now).eligible
    if state.phase is Phase.STANDBY and state.vrrp is VrrpRole.FAULT and now - state.since > 3 and not kept_out:
        return "Keepalived is in FAULT although this node is healthy"
    return None


def _chains(state: NodeState) -> tuple[str, ...]:
    """The other tools' chains that drop clients' packets, as `drift/foreign_chains.py` names them."""
    # On a node that is not active a few stray packets prove nothing.
    barred = state.health.barred if state.claims_active else ()
    named = dict.fromkeys(part for thing in (*state.health.unrepaired, *barred) for part in thing.split(", "))
    return tuple(part.removeprefix("table ").replace(" chain ", " ") for part in named if part.startswith("table "))


def _unrepaired(state: NodeState, now: float) -> str | None:
    things = [thing for thing in state.health.unrepaired if not thing.startswith("table ")]
    return f"changed again after each repair, or cannot be repaired: {', '.join(things)}" if things else None


def _clients_dropped(state: NodeState, now: float) -> str | None:
    chains = _chains(state)
    if chains:
        plural = "chains drop" if len(chains) > 1 else "chain drops"
        return f"another tool's {plural} clients' packets: {', '.join(chains)}"
    if state.claims_active and state.health.leaking:
        return "clients' packets are dropped because they are not translated to a FIP"
    return None


def _no_drops(state: NodeState, now: float) -> str:
    chains = _chains(state)
    if chains:
        return f"'nft delete chain {chains[0]}', or stop the tool that made it ('nft list ruleset')"
    return (
        "look for another tool that translates or marks them: 'nft list ruleset'; 'conntrack -L' shows flows of a FIP "
        "that was removed"
    )


def _serving(state: NodeState, now: float) -> bool:
    return state.claims_active


def _disk_stalled(state: NodeState, now: float) -> str | None:
    disk = state.health.disk
    return f"{disk.path} has not answered for {disk.seconds:.0f} s" if disk and disk.seconds is not None else None


def _disk_refuses(state: NodeState, now: float) -> str | None:
    disk = state.health.disk
    return f"{disk.path} cannot be written: {disk.error}" if disk and disk.error is not None else None


def _failed_parts(state: NodeState, now: float) -> str | None:
    failed = state.health.failed_parts
    return f"a part of the agent failed and was restarted: {'; '.join(failed)}" if failed else None


def _key_readable(state: NodeState, now: float) -> str | None:
    mode = state.health.heartbeats.key_mode
    return f"other users can read the key file (mode {mode:04o})" if mode and mode & 0o077 else None


def _key_missing(state: NodeState, now: float) -> str | None:
    return "the key file is missing: the agent could not start again" if state.health.heartbeats.key_missing else None


def _misplaced(state: NodeState, now: float) -> str | None:
    return "; ".join(state.health.addresses.misplaced) or None


def _unconfirmed(state: NodeState, now: float) -> str | None:
    at = state.health.rollback_at
    return None if at is None else f"an apply is not confirmed: it rolls back in {max(0, round(at - now))} s"


def _drained(state: NodeState, now: float) -> str | None:
    return f"{state.terms.me} is drained" if state.drained else None


_CRITICAL, _WARNING, _INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
_SEE_LOG = "see the log of natpair-{}"

KINDS: tuple[Kind, ...] = (
    Kind(
        "private-link-down",
        "The interface of the VLAN is down, missing or without carrier.",
        _CRITICAL,
        "check the VLAN's interface with 'ip link', and the VLAN in the provider's configuration of this machine",
        _link_down("private"),
    ),
    Kind(
        "public-link-down",
        "The public interface is down, missing or without carrier.",
        _CRITICAL,
        "check the public interface with 'ip link'",
        _link_down("public"),
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
        "The nftables ruleset, the routes or BIRD's state are not as configured, and repair has failed for a second.",
        _CRITICAL,
        "'trouble' in 'natpair status --json' says what was refused",
        _fact("ruleset", "the ruleset is not as rendered"),
    ),
    Kind(
        "keepalived-not-responding",
        "Keepalived does not write its state when asked.",
        _CRITICAL,
        _SEE_LOG.format("keepalived"),
        _fact("keepalived", "Keepalived does not respond"),
    ),
    Kind(
        "conntrackd-not-responding",
        "conntrackd does not respond, so flows are not replicated.",
        _WARNING,
        _SEE_LOG.format("conntrackd"),
        _fact("conntrackd", "conntrackd does not respond"),
        told=True,
    ),
    Kind(
        "vrrp-fault",
        "Keepalived stays in FAULT although the agent allows this node to be elected.",
        _WARNING,
        _SEE_LOG.format("keepalived"),
        _vrrp_fault,
    ),
    Kind(
        "repair-gave-up",
        "Something is changed again after each repair, or cannot be repaired. natpair pauses the repair, and a healthy "
        "peer takes over.",
        _WARNING,
        "'repairs' in 'natpair status --json' names the programs that may have changed it: stop them",
        _unrepaired,
        told=True,
    ),
    Kind(
        "clients-dropped",
        "This node drops clients' packets, in another tool's chain or because they are not translated. On a node that "
        "is not active it is a warning.",
        _CRITICAL,
        "find the chain that drops them: 'nft list ruleset'",
        _clients_dropped,
        _serving,
        _WARNING,
        told=True,
        fix_for=_no_drops,
    ),
    Kind(
        "disk-stalled",
        "A disk does not respond. The node serves and takes over as usual. Events, 'drain' and repairs of files wait, "
        "and restarting a service may hang.",
        _WARNING,
        "look for I/O errors with 'dmesg' and check the state of the volume; replace the machine if it stays",
        _disk_stalled,
        told=True,
    ),
    Kind(
        "disk-refuses",
        "A disk cannot be written: it is full or read-only. Events are lost meanwhile ('events_dropped' in 'natpair "
        "status --json' counts them).",
        _WARNING,
        "free space ('df -h', 'df -i'); if it has become read-only, see 'dmesg'",
        _disk_refuses,
        told=True,
    ),
    Kind(
        "agent-failing",
        "A part of the agent failed and was restarted. This is a bug. The rest of the agent keeps working. The "
        "condition is shown for a minute.",
        _WARNING,
        "open an issue with this line; if it stays, restart natpair-agent, which loses no packet",
        _failed_parts,
    ),
    Kind(
        "address-misplaced",
        "An address of the pair is on the wrong interface.",
        _WARNING,
        "remove it there with 'ip addr del', and find out what added it ('ip -d addr', the network configuration)",
        _misplaced,
        told=True,
    ),
    Kind(
        "key-readable",
        "Users other than root can read the pair's key. Anyone who has it can send messages as either agent.",
        _WARNING,
        "run 'chmod 0600' on the file of heartbeat.key_file; if somebody may have read it, make a new key for both "
        "nodes",
        _key_readable,
        told=True,
    ),
    Kind(
        "key-missing",
        "The pair's key file is missing. The agent read it earlier and keeps working, but could not start without it.",
        _WARNING,
        "copy the file of heartbeat.key_file from the other node, with mode 0600",
        _key_missing,
        told=True,
    ),
    Kind(
        "unconfirmed-apply",
        "An 'apply --confirm' is not confirmed yet. Without confirmation it rolls back to the earlier configuration.",
        _INFO,
        "run 'natpair confirm' to keep it, or 'natpair rollback' to roll back now",
        _unconfirmed,
        told=True,
    ),
    Kind(
        "drained",
        "An operator has drained this node, so it does not become active.",
        _INFO,
        "run 'natpair undrain' when the work is done",
        _drained,
    ),
)
