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
"""After the start of an agent, until its peer has been heard."""
CLOCK_SECONDS = 5.0
_SILENT_SECONDS = 1.5
_RESYNC_SECONDS = 3.0
"""After a resync was asked for: the entries of 100,000 flows come within this."""
SYNC_QUIET_SECONDS = 2.25
"""conntrackd says at least one thing a second to its peer (FTFW's keep-alive). One of them may be lost, and it is
looked for five times a second."""


def _no_usable_standby(state: NodeState, now: float) -> str | None:
    if not state.claims_active:
        return None
    said = state.peer.fresh(state.terms, now)
    peer = state.terms.peer
    if said is None and state.health.heartbeats.keys_differ:
        return f"what {peer} could do is not known: its heartbeats do not verify"
    if said is None:
        return f"{peer}'s agent has been silent for {state.peer.age(now):.1f} s: there is no usable standby"
    if state.phase is Phase.HANDING_OVER or (said.ready and said.synced and not said.unanswered):
        return None
    if said.ready and said.unanswered:
        return f"{peer} would take over, but no packets came back when it served"
    if said.drained:
        return f"{peer} is drained: it would take over only if {state.terms.me} fell silent"
    why = f"{said.phase}, VRRP {said.vrrp}" if not said.ready else "not in sync"
    own = [alarm.text for alarm in said.alarms if alarm.code not in _OF_BOTH]
    if own:
        why = own[0]
    return f"{peer} could not take over now ({why})"


def _not_wanted(state: NodeState, now: float) -> bool:
    """The peer is not kept out by an operator."""
    said = state.peer.fresh(state.terms, now)
    return said is None or not said.drained


def _repair_standby(state: NodeState, now: float) -> str:
    peer = state.terms.peer
    return f"fix {peer}: a failure now is an outage" if _not_wanted(state, now) else f"'natpair undrain' on {peer}"


def _nobody_active(state: NodeState, now: float) -> str | None:
    if state.claims_active or state.peer.active(state.terms, now) is not None:
        return None
    # Who is not understood may serve; so may one whose adverts are heard, or who has not been heard for a moment.
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
    return f"{state.terms.peer} hears clients on the VLAN, {state.terms.me} hears nobody there"


def _sync_stalled(state: NodeState, now: float) -> str | None:
    peer, me = state.terms.peer, state.terms.me
    said = state.peer.active(state.terms, now)
    if state.claims_active or said is None:
        return None
    # A resync that was asked for again, and had its time: the first one may only be slow.
    late = state.resync.pulls > 0 and state.resync.done_before(now - _RESYNC_SECONDS)
    if late and not state.synced(now):
        return f"{me} has {state.health.flows} of {said.flows} flows of {peer}: {_why_stalled(state, said)}"
    # A standby that hears the peer's heartbeats on the VLAN, and nothing of its conntrackd.
    heard = now - state.peer.heard[Path.PRIVATE] <= state.terms.fresh
    calm = state.phase is Phase.STANDBY and now - state.since > SYNC_QUIET_SECONDS
    if not (calm and heard and state.health.conntrackd and _sync_quiet(state)) or _peer_replicates_nothing(said):
        return None
    return f"no sync message of {peer} has arrived for {state.health.sync.quiet_seconds:.0f} s, and heartbeats do"


def _why_stalled(state: NodeState, said: PeerMessage) -> str:
    peer = state.terms.peer
    if _peer_replicates_nothing(said):
        return f"conntrackd of {peer} does not respond"
    if _sync_quiet(state):
        return f"no sync message of {peer} arrives from its VLAN address"
    if state.health.heartbeats.large_lost:
        return f"large packets of {peer} do not cross the VLAN"
    return f"sync messages of {peer} arrive, but entries stay missing"


def _sync_quiet(state: NodeState) -> bool:
    return state.health.sync.quiet_seconds > SYNC_QUIET_SECONDS


def _large_lost(state: NodeState, now: float) -> str | None:
    if not state.health.heartbeats.large_lost or now - state.peer.heard[Path.PRIVATE] > state.terms.fresh:
        return None
    peer = state.terms.peer
    return f"packets of full size do not come from {peer} over the VLAN, and small ones do: conntrackd's are lost, too"


def _peer_replicates_nothing(said: PeerMessage) -> bool:
    return any(alarm.code == "conntrackd-not-responding" for alarm in said.alarms)


def _fix_sync(state: NodeState, now: float) -> str:
    peer, said = state.terms.peer, state.peer.said
    if said is not None and _peer_replicates_nothing(said):
        return f"see the log of natpair-conntrackd on {peer}"
    if _sync_quiet(state):
        return (
            f"on {peer}: 'ip route get' to this node must show {peer}'s own address as source, and natpair-conntrackd "
            "must run; a firewall between the nodes must pass UDP 'sync.port'"
        )
    if state.health.heartbeats.large_lost:
        return "large packets do not cross the VLAN: see the condition 'large-packets-lost'"
    return "check that no other tool drops UDP 'sync.port' on either node, and conntrackd's logs"


def _resync_failed(state: NodeState, now: float) -> str | None:
    return "the resync after the last takeover has failed again and again" if state.takeover.incomplete else None


def _held_back(state: NodeState, now: float) -> str | None:
    if state.phase is not Phase.STANDBY or not (state.damping.tossed(now) and state.peer_serves(now)):
        return None
    return f"{state.terms.me} lost the role {state.damping.losses} times in a row to VRRP, and stays out for a while"


def _serves_by_vrrp(state: NodeState, now: float) -> bool:
    """The peer's agent is not heard, but its adverts are: otherwise Keepalived would have elected this node."""
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
        f"somebody else has an address of the pair, too: {', '.join(state.health.addresses.twice)}"
        if state.health.addresses.twice
        else None
    )


def _two_active(state: NodeState, now: float) -> str | None:
    if state.phase is not Phase.ACTIVE:
        return None
    rival = state.peer.active(state.terms, now)
    if rival is None or rival.phase is Phase.HANDING_OVER:
        return None
    return f"{state.terms.peer} claims the role too, with epoch {rival.epoch} against our {state.epoch}"


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
    # One who is understood speaks our version: what else was heard is a recording.
    if not version or state.peer.fresh(state.terms, now) is not None:
        return None
    return f"{state.terms.peer} speaks protocol {version}, this node {VERSION}: they do not understand each other"


_CRITICAL, _WARNING, _INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO

KINDS: tuple[Kind, ...] = (
    Kind(
        "two-active",
        "Both nodes claim to be active. Bounded to seconds by the heartbeat on either path.",
        _CRITICAL,
        "recovers within seconds; if not, drain one node",
        _two_active,
    ),
    Kind(
        "nobody-active",
        "No node serves clients, as far as this one can tell.",
        _CRITICAL,
        "look at the phase and the health of both nodes; 'natpair undrain' on one that is drained",
        _nobody_active,
    ),
    Kind(
        "vlan-link-dead",
        "The peer hears clients on the VLAN, and this node hears neither clients nor the peer there. An active node "
        "gives the role to a peer that is well.",
        _CRITICAL,
        "check the VLAN interface of this node: the cable, the switch port, the VLAN's number",
        _blind,
    ),
    Kind(
        "keys-differ",
        "Heartbeats come from the peer's address and do not verify: each node takes the other for silent.",
        _CRITICAL,
        "put the same key file (heartbeat.key_file) on both nodes, then 'systemctl restart natpair-agent' where it was "
        "changed",
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
        "The other node holds the VIP, but its agent is not heard: a change of role would not be coordinated.",
        _WARNING,
        "'systemctl status natpair-agent' on the other node",
        _peer_silent,
    ),
    Kind(
        "clocks-differ",
        "The clocks of the nodes are more than 5 s apart. Nothing depends on it but reading their logs side by side.",
        _INFO,
        "let both follow the same time servers",
        _clocks_differ,
    ),
    Kind(
        "no-usable-standby",
        "The other node could not take over at this moment.",
        _WARNING,
        "fix the peer: a failure now is an outage; 'natpair undrain' there if it was drained",
        _no_usable_standby,
        _not_wanted,
        fix_for=_repair_standby,
    ),
    Kind(
        "flows-missing",
        "The standby does not have flows that the active node has, to go by a sample: a failure now would break them. "
        "A resync is asked for again and again.",
        _WARNING,
        "check the VLAN between the nodes (large packets, too), then the logs of natpair-conntrackd on both",
        _missing,
    ),
    Kind(
        "large-packets-lost",
        "Packets as large as the interface sends do not cross the VLAN between the nodes, small ones do. The flows' "
        "copies go in large packets: a failure now would break flows.",
        _WARNING,
        "give both nodes' VLAN interfaces the MTU that the VLAN carries ('ip link'); look for a firewall that drops "
        "large packets or fragments",
        _large_lost,
        told=True,
    ),
    Kind(
        "sync-stalled",
        "The standby gets no message of the peer's conntrackd, or has asked for the flows again and still does not "
        "have them: a failure now would break them.",
        _WARNING,
        "check conntrackd on both nodes, the addresses they send from, the MTU of the VLAN, and other tools' firewalls",
        _sync_stalled,
        told=True,
        fix_for=_fix_sync,
    ),
    Kind(
        "resync-failed",
        "After a takeover conntrackd has to adopt the flows and tell the peer all; it has failed too often. It is "
        "tried again at each refresh ('sync.refresh_seconds').",
        _WARNING,
        "see the log of natpair-conntrackd; the other node may lack flows",
        _resync_failed,
    ),
    Kind(
        "role-held-back",
        "The role has moved again and again without a fault of this node. It leaves the election for 2, 4, 8, ... "
        "seconds, at most 60, as long as the peer serves.",
        _WARNING,
        "check the VLAN between the nodes: adverts of VRRP or heartbeats are lost",
        _held_back,
    ),
    Kind(
        "private-path-silent",
        "The peer's heartbeat comes by the public path only.",
        _WARNING,
        "check the VLAN between the nodes",
        _path_silent(Path.PRIVATE),
    ),
    Kind(
        "public-path-silent",
        "The peer's heartbeat comes by the VLAN only: a challenge would go unanswered.",
        _WARNING,
        "check the public path between the nodes",
        _path_silent(Path.PUBLIC),
    ),
    Kind(
        "claim-refused",
        "Keepalived elected this node, but the peer serves: this node has left the election.",
        _WARNING,
        "check the VLAN between the nodes",
        _refused,
    ),
    Kind(
        "config-differs",
        "The nodes run different configurations; a switchover is refused meanwhile.",
        _WARNING,
        "the same gateway.toml on both nodes, then 'natpair apply'",
        _config_differs,
    ),
    Kind(
        "peer-version",
        "The agents speak different versions of their protocol: to each the other is silent.",
        _WARNING,
        "upgrade the node with the older natpair ('natpair --version')",
        _peer_version,
    ),
)
