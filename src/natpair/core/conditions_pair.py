"""What is wrong between the two nodes: who serves, who could, and whether they hear and understand each other."""

# ruff: noqa: ARG001 - all checks share one signature, not all need the time
from __future__ import annotations

from collections.abc import Callable

from natpair.core.condition import Kind, Severity
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.state import NodeState, flows_missing, lacks_too_many
from natpair.core.wire import VERSION, Path

_OF_BOTH = frozenset({"nobody-active", "two-active", "keys-differ", "fip-announced-elsewhere"})
_FIRST_WORDS_SECONDS = 1.0
"""Seconds after the start of an agent in which its peer need not have been heard yet."""
CLOCK_SECONDS = 5.0
_SILENT_SECONDS = 1.5
_RESYNC_SECONDS = 3.0
"""Seconds after a resync was requested. The entries of 100,000 flows arrive within this time."""
SYNC_QUIET_SECONDS = 2.25
"""Seconds. conntrackd sends its peer at least one message a second (FTFW's keep-alive). One of them may be lost, and
the agent checks five times a second."""


def _no_usable_standby(state: NodeState, now: float) -> str | None:
    if not state.claims_active:
        return None
    said = state.peer.fresh(state.terms, now)
    peer = state.terms.peer
    if said is None and state.health.heartbeats.keys_differ:
        return f"it is not known whether {peer} could take over: its heartbeats do not verify"
    if said is None:
        return f"{peer}'s agent has been silent for {state.peer.age(now):.1f} s: there is no usable standby"
    if state.phase is Phase.HANDING_OVER or (said.ready and said.synced and not said.unanswered):
        return None
    if said.ready and said.unanswered:
        return f"{peer} would take over, but no replies came back when it was active"
    if said.drained:
        return f"{peer} is drained: it takes over only if {state.terms.me} is not heard any more"
    why = f"{said.phase}, VRRP {said.vrrp}" if not said.ready else "not in sync"
    own = [alarm.text for alarm in said.alarms if alarm.code not in _OF_BOTH]
    if own:
        why = own[0]
    return f"{peer} could not take over now ({why})"


def _not_wanted(state: NodeState, now: float) -> bool:
    """True if the peer is not drained."""
    said = state.peer.fresh(state.terms, now)
    return said is None or not said.drained


def _repair_standby(state: NodeState, now: float) -> str:
    peer = state.terms.peer
    return f"fix {peer}: a failure now is an outage" if _not_wanted(state, now) else f"'natpair undrain' on {peer}"


def _nobody_active(state: NodeState, now: float) -> str | None:
    if state.claims_active or state.peer.active(state.terms, now) is not None:
        return None
    # A peer may be active if its heartbeats do not verify, if its adverts are heard, or if it was heard just now.
    just_started = state.phase is Phase.BOOTING and now - state.since < _FIRST_WORDS_SECONDS
    if just_started or state.health.heartbeats.keys_differ or _serves_by_vrrp(state, now):
        return None
    said = state.peer.fresh(state.terms, now)
    drained = [state.terms.me] if state.drained else []
    drained += [state.terms.peer] if said is not None and said.drained else []
    why = f"; {' and '.join(drained)} {'are' if len(drained) > 1 else 'is'} drained" if drained else ""
    return f"neither {state.terms.me} nor {state.terms.peer} serves clients{why}"


def _blind(state: NodeState, now: float) -> str | None:
    if not state.blind(now):
        return None
    return f"{state.terms.peer} sees clients on the VLAN, {state.terms.me} sees neither clients nor {state.terms.peer}"


def _sync_stalled(state: NodeState, now: float) -> str | None:
    peer, me = state.terms.peer, state.terms.me
    said = state.peer.active(state.terms, now)
    if state.claims_active or said is None:
        return None
    # Only a repeated resync counts, after enough time. The first one may be slow.
    late = state.resync.pulls > 0 and state.resync.done_before(now - _RESYNC_SECONDS)
    if late and not state.synced(now):
        return f"{me} has {state.health.flows} of {said.flows} flows of {peer}: {_why_stalled(state, said)}"
    # The other case: this standby hears the peer's heartbeats on the VLAN, but nothing from its conntrackd.
    heard = now - state.peer.heard[Path.PRIVATE] <= state.terms.fresh
    calm = state.phase is Phase.STANDBY and now - state.since > SYNC_QUIET_SECONDS
    if not (calm and heard and state.health.conntrackd and _sync_quiet(state)) or _peer_replicates_nothing(said):
        return None
    return f"no sync message from {peer} for {state.health.sync.quiet_seconds:.0f} s, but its heartbeats arrive"


def _why_stalled(state: NodeState, said: PeerMessage) -> str:
    peer = state.terms.peer
    if _peer_replicates_nothing(said):
        return f"conntrackd of {peer} does not respond"
    if _sync_quiet(state):
        return f"no sync message arrives from {peer}'s VLAN address"
    if state.health.heartbeats.large_lost:
        return f"large packets from {peer} do not arrive over the VLAN"
    return f"sync messages from {peer} arrive, but entries are still missing"


def _sync_quiet(state: NodeState) -> bool:
    return state.health.sync.quiet_seconds > SYNC_QUIET_SECONDS


def _large_lost(state: NodeState, now: float) -> str | None:
    if not state.health.heartbeats.large_lost or now - state.peer.heard[Path.PRIVATE] > state.terms.fresh:
        return None
    peer = state.terms.peer
    return f"full-size packets from {peer} do not arrive over the VLAN, small ones do: conntrackd's are lost, too"


def _peer_replicates_nothing(said: PeerMessage) -> bool:
    return any(alarm.code == "conntrackd-not-responding" for alarm in said.alarms)


def _fix_sync(state: NodeState, now: float) -> str:
    peer, said = state.terms.peer, state.peer.said
    if said is not None and _peer_replicates_nothing(said):
        return f"see the log of natpair-conntrackd on {peer}"
    if _sync_quiet(state):
        return (
            f"on {peer}: 'ip route get' to this node must show {peer}'s own address as source, and natpair-conntrackd "
            "must run; firewalls between the nodes must allow UDP 'sync.port'"
        )
    if state.health.heartbeats.large_lost:
        return "large packets do not cross the VLAN: see the condition 'large-packets-lost'"
    return "check that no other tool drops UDP 'sync.port' on either node, and read conntrackd's logs"


def _resync_failed(state: NodeState, now: float) -> str | None:
    return "the resync after the last takeover has failed repeatedly" if state.takeover.incomplete else None


def _held_back(state: NodeState, now: float) -> str | None:
    if state.phase is not Phase.STANDBY or not (state.damping.tossed(now) and state.peer_serves(now)):
        return None
    return f"{state.terms.me} lost the role {state.damping.losses} times in a row and is out of the election for now"


def _serves_by_vrrp(state: NodeState, now: float) -> bool:
    """True if the peer's agent is not heard but its adverts are. Otherwise Keepalived would have elected this node."""
    unheard = state.peer.fresh(state.terms, now) is None
    return unheard and state.health.keepalived and state.vrrp is VrrpRole.BACKUP


def _peer_silent(state: NodeState, now: float) -> str | None:
    if state.claims_active or state.health.heartbeats.keys_differ or not _serves_by_vrrp(state, now):
        return None
    age, peer = state.peer.age(now), state.terms.peer
    return f"{peer} holds the VIP, and its agent has not been heard for {age:.1f} s" if age > _SILENT_SECONDS else None


def _keys_differ(state: NodeState, now: float) -> str | None:
    if not state.health.heartbeats.keys_differ:
        return None
    return f"heartbeats of {state.terms.peer} arrive and do not verify: the two nodes have different keys"


def _clocks_differ(state: NodeState, now: float) -> str | None:
    ahead = state.health.heartbeats.clock_ahead
    if abs(ahead) <= CLOCK_SECONDS or state.peer.fresh(state.terms, now) is None:
        return None
    word = "ahead of" if ahead > 0 else "behind"
    return f"the clock of {state.terms.me} is {abs(ahead):.0f} s {word} that of {state.terms.peer}"


def _twice(state: NodeState, now: float) -> str | None:
    return (
        f"another machine also has an address of the pair: {', '.join(state.health.addresses.twice)}"
        if state.health.addresses.twice
        else None
    )


def _two_active(state: NodeState, now: float) -> str | None:
    if state.phase is not Phase.ACTIVE:
        return None
    rival = state.peer.active(state.terms, now)
    if rival is None or rival.phase is Phase.HANDING_OVER:
        return None
    return f"{state.terms.peer} is active, too, with epoch {rival.epoch}; this node has epoch {state.epoch}"


def _config_differs(state: NodeState, now: float) -> str | None:
    said = state.peer.fresh(state.terms, now)
    if said is None or said.config_hash == state.terms.config_hash:
        return None
    return f"{state.terms.peer} runs configuration {said.config_hash}, this node {state.terms.config_hash}"


def _path_silent(which: Path) -> Callable[[NodeState, float], str | None]:
    def check(state: NodeState, now: float) -> str | None:
        if state.peer.fresh(state.terms, now) is None:
            return None
        age = now - state.peer.heard[which]
        return f"no heartbeat on the {which} path for {age:.1f} s" if age > max(state.terms.fresh, 1.0) else None

    return check


def _refused(state: NodeState, now: float) -> str | None:
    if state.phase is not Phase.REFUSED:
        return None
    return f"VRRP elected {state.terms.me} while {state.terms.peer} serves: adverts do not cross the VLAN"


def _missing(state: NodeState, now: float) -> str | None:
    said = state.peer.fresh(state.terms, now)
    if said is None:
        return None
    if state.claims_active:
        who, sampled, missing, flows = state.terms.peer, said.sampled, said.missing, state.flows_to_hold
    else:
        who, sampled, missing, flows = state.terms.me, state.health.sync.sampled, state.health.sync.missing, said.flows
    if not lacks_too_many(sampled, missing):
        return None
    about = flows_missing(sampled, missing, flows)
    return f"{who} is missing about {about} of {flows} flows ({missing} of {sampled} sampled)"


def _peer_version(state: NodeState, now: float) -> str | None:
    version = state.health.heartbeats.foreign_version
    # A peer that is understood uses our version. A message with another version is then an old recording.
    if not version or state.peer.fresh(state.terms, now) is not None:
        return None
    return f"{state.terms.peer} uses protocol version {version}, this node {VERSION}: they cannot read each other"


_CRITICAL, _WARNING, _INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO

KINDS: tuple[Kind, ...] = (
    Kind(
        "two-active",
        "Both nodes claim to be active. One heartbeat on either path ends this, so it lasts seconds at most.",
        _CRITICAL,
        "wait some seconds; if it stays, drain one node",
        _two_active,
    ),
    Kind(
        "nobody-active",
        "No node serves clients, as far as this node knows.",
        _CRITICAL,
        "check the phase and the health of both nodes; run 'natpair undrain' on a drained one",
        _nobody_active,
    ),
    Kind(
        "vlan-link-dead",
        "The peer sees clients on the VLAN, and this node sees neither clients nor the peer there. An active node "
        "gives the role to a healthy peer.",
        _CRITICAL,
        "check the VLAN interface of this node: the cable, the switch port, the VLAN ID",
        _blind,
    ),
    Kind(
        "keys-differ",
        "Heartbeats arrive from the peer's address but do not verify, so each node treats the other as silent.",
        _CRITICAL,
        "put the same key file (heartbeat.key_file) on both nodes, then run 'systemctl restart natpair-agent' where "
        "you changed it",
        _keys_differ,
    ),
    Kind(
        "address-twice",
        "Another machine answers ARP for an address of this node or of its peer.",
        _WARNING,
        "find the machine with this MAC and give it another address",
        _twice,
        told=True,
    ),
    Kind(
        "peer-silent",
        "The other node holds the VIP, but its agent is not heard, so a change of role would not be coordinated.",
        _WARNING,
        "'systemctl status natpair-agent' on the other node",
        _peer_silent,
    ),
    Kind(
        "clocks-differ",
        "The clocks of the nodes are more than 5 s apart. This only matters when you compare their logs.",
        _INFO,
        "use the same time servers on both nodes",
        _clocks_differ,
    ),
    Kind(
        "no-usable-standby",
        "The other node could not take over now.",
        _WARNING,
        "fix the peer: a failure now is an outage; run 'natpair undrain' there if it is drained",
        _no_usable_standby,
        _not_wanted,
        fix_for=_repair_standby,
    ),
    Kind(
        "flows-missing",
        "A sample shows that flows of the active node are missing on the standby. A failure now would break them. The "
        "standby requests resyncs repeatedly.",
        _WARNING,
        "check the VLAN between the nodes (large packets, too), then the logs of natpair-conntrackd on both",
        _missing,
    ),
    Kind(
        "large-packets-lost",
        "Full-size packets do not cross the VLAN between the nodes, small ones do. Flows are replicated in large "
        "packets, so a failure now would break flows.",
        _WARNING,
        "set both nodes' VLAN interfaces to the MTU that the VLAN carries ('ip link'); look for a firewall that drops "
        "large packets or fragments",
        _large_lost,
        told=True,
    ),
    Kind(
        "sync-stalled",
        "The standby gets no message from the peer's conntrackd, or flows are still missing after a repeated resync. A "
        "failure now would break them.",
        _WARNING,
        "check conntrackd on both nodes, the addresses they send from, the MTU of the VLAN, and other tools' firewalls",
        _sync_stalled,
        told=True,
        fix_for=_fix_sync,
    ),
    Kind(
        "resync-failed",
        "After a takeover conntrackd has to adopt the flows and send them all to the peer. That has failed too often. "
        "The agent tries again at each refresh ('sync.refresh_seconds').",
        _WARNING,
        "see the log of natpair-conntrackd; flows may be missing on the other node",
        _resync_failed,
    ),
    Kind(
        "role-held-back",
        "This node has lost the role repeatedly although it is healthy. It leaves the election for 2, 4, 8, ... "
        "seconds, at most 60, while the peer serves.",
        _WARNING,
        "check the VLAN between the nodes: VRRP adverts or heartbeats are lost",
        _held_back,
    ),
    Kind(
        "private-path-silent",
        "The peer's heartbeats arrive only on the public path.",
        _WARNING,
        "check the VLAN between the nodes",
        _path_silent(Path.PRIVATE),
    ),
    Kind(
        "public-path-silent",
        "The peer's heartbeats arrive only over the VLAN. A challenge over the public path would get no answer.",
        _WARNING,
        "check the public path between the nodes",
        _path_silent(Path.PUBLIC),
    ),
    Kind(
        "claim-refused",
        "Keepalived elected this node, but the peer is active, so this node has left the election.",
        _WARNING,
        "check the VLAN between the nodes",
        _refused,
    ),
    Kind(
        "config-differs",
        "The nodes run different configurations. A switchover is refused until they match.",
        _WARNING,
        "put the same gateway.toml on both nodes, then run 'natpair apply'",
        _config_differs,
    ),
    Kind(
        "peer-version",
        "The agents use different versions of their protocol, so each treats the other as silent.",
        _WARNING,
        "upgrade the node with the older natpair ('natpair --version')",
        _peer_version,
    ),
)
