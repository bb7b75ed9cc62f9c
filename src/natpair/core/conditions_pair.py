"""What is wrong between the two nodes: who serves, who could, and whether they hear and understand each other."""

# ruff: noqa: ARG001 - all judges share one signature, not all need the time
from __future__ import annotations

from collections.abc import Callable

from natpair.core.condition import Kind, Severity
from natpair.core.messages import Phase
from natpair.core.state import NodeState, flows_lacking, lacks_too_many
from natpair.core.wire import VERSION, Path


def _no_usable_standby(state: NodeState, now: float) -> str | None:
    if not state.claims_active:
        return None
    said = state.peer.fresh(state.terms, now)
    peer = state.terms.peer
    if said is None:
        return f"{peer}'s agent has been silent for {state.peer.age(now):.1f} s: there is no usable standby"
    if state.phase is Phase.HANDING_OVER or (said.ready and said.synced and not said.unanswered):
        return None
    if said.ready and said.unanswered:
        return f"{peer} would take over, but no packets came back when it served"
    why = "drained" if said.drained else f"{said.phase}" if not said.ready else "not in sync"
    return f"{peer} could not take over now ({why})"


def _nobody_active(state: NodeState, now: float) -> str | None:
    if state.claims_active or state.peer.active(state.terms, now) is not None:
        return None
    return f"neither {state.terms.me} nor {state.terms.peer} serves clients"


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
    def judge(state: NodeState, now: float) -> str | None:
        if state.peer.fresh(state.terms, now) is None:
            return None
        age = now - state.peer.heard[which]
        return f"no heartbeat on the {which} path for {age:.1f} s" if age > max(state.terms.fresh, 1.0) else None

    return judge


def _refused(state: NodeState, now: float) -> str | None:
    if state.phase is not Phase.REFUSED:
        return None
    return f"VRRP elected {state.terms.me} while {state.terms.peer} serves: adverts do not cross the VLAN"


def _lacking(state: NodeState, now: float) -> str | None:
    said = state.peer.fresh(state.terms, now)
    if said is None:
        return None
    if state.claims_active:
        who, sampled, lacking, flows = state.terms.peer, said.sampled, said.lacking, state.flows_to_hold
    else:
        who, sampled, lacking, flows = state.terms.me, state.health.sampled, state.health.lacking, said.flows
    if not lacks_too_many(sampled, lacking):
        return None
    about = flows_lacking(sampled, lacking, flows)
    return f"{who} lacks about {about} of {flows} flows ({lacking} of {sampled} sampled)"


def _peer_version(state: NodeState, now: float) -> str | None:
    version = state.health.foreign_version
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
        "heals within seconds; if not, drain one node",
        _two_active,
    ),
    Kind(
        "nobody-active",
        "No node serves clients, as far as this one can tell.",
        _CRITICAL,
        "look at the phase and the health of both nodes",
        _nobody_active,
    ),
    Kind(
        "no-usable-standby",
        "The other node could not take over at this moment.",
        _WARNING,
        "mend the peer: a failure now is an outage",
        _no_usable_standby,
    ),
    Kind(
        "flows-lacking",
        "The standby does not have flows that the active node has, to go by a sample: a failure now would break them. "
        "A resync is asked for again and again.",
        _WARNING,
        "check the VLAN between the nodes (large packets, too), then the logs of natpair-conntrackd on both",
        _lacking,
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
