"""Everything that can be wrong with a pair, as one catalogue: code, severity, words, cure.

`status`, the metrics and the docs all read this one. A condition is a pure function of what one node
knows; it never asks the outside.
"""

# ruff: noqa: ARG001 - all judges share one signature, not all need the time
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from natpair.core.account_conditions import (
    account_unseen,
    hurts_now,
    maintenance_ahead,
    share_missing,
    work_is_due,
)
from natpair.core.messages import Phase, VrrpRole
from natpair.core.state import NodeState, flows_lacking, lacks_too_many
from natpair.core.wire import VERSION, Path

RELAY_PATIENCE = 6.0
"""Seconds a standby may relay before it is news: any fabric has converged by then."""


class Severity(StrEnum):
    """How soon somebody has to look."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is wrong: what, how bad, and what to do."""

    code: str
    severity: Severity
    text: str
    cure: str


@dataclass(frozen=True, slots=True)
class Kind:
    """An entry of the catalogue. `judge` gives the detail for people, or None while all is well.

    `severity` is the worst it can be; where `urgent` says that it is not now, `otherwise` holds.
    """

    code: str
    meaning: str
    severity: Severity
    cure: str
    judge: Callable[[NodeState, float], str | None]
    urgent: Callable[[NodeState, float], bool] = lambda _state, _now: True
    otherwise: Severity = Severity.INFO

    def severity_now(self, state: NodeState, now: float) -> Severity:
        """How bad it is as things stand."""
        return self.severity if self.urgent(state, now) else self.otherwise


def conditions(state: NodeState, now: float) -> tuple[Condition, ...]:
    """What is wrong now, worst first."""
    found = ((kind, kind.judge(state, now)) for kind in CATALOGUE)
    active = [
        Condition(kind.code, kind.severity_now(state, now), text, kind.cure) for kind, text in found if text is not None
    ]
    order = list(Severity)
    return tuple(sorted(active, key=lambda condition: order.index(condition.severity)))


def _no_usable_standby(state: NodeState, now: float) -> str | None:
    if not state.claims_active:
        return None
    said = state.peer.fresh(state.terms, now)
    peer = state.terms.peer
    if said is None:
        return f"{peer}'s agent has been silent for {state.peer.age(now):.1f} s: there is no usable standby"
    if state.phase is Phase.HANDING_OVER or (said.ready and said.synced):
        return None
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


def _no_bgp(state: NodeState, now: float) -> str | None:
    if state.health.bgp_established:
        return None
    return f"none of {state.health.bgp_total} BGP sessions is Established"


def _some_bgp(state: NodeState, now: float) -> str | None:
    up, total = state.health.bgp_established, state.health.bgp_total
    return f"{up} of {total} BGP sessions are Established" if 0 < up < total else None


def _fact(name: str, text: str) -> Callable[[NodeState, float], str | None]:
    def judge(state: NodeState, now: float) -> str | None:
        return None if getattr(state.health, name) else text

    return judge


def _refused(state: NodeState, now: float) -> str | None:
    if state.phase is not Phase.REFUSED:
        return None
    return f"VRRP elected {state.terms.me} while {state.terms.peer} serves: adverts do not cross the VLAN"


def _vrrp_fault(state: NodeState, now: float) -> str | None:
    if state.phase is Phase.STANDBY and state.vrrp is VrrpRole.FAULT and now - state.since > 3:
        return "Keepalived is in FAULT although this node is well"
    return None


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


def _relaying(state: NodeState, now: float) -> str | None:
    seconds = state.health.relaying_seconds
    if state.claims_active or now - state.since < RELAY_PATIENCE or seconds < RELAY_PATIENCE:
        return None
    return f"packets for a FIP have come here, and not to {state.terms.peer}, for {seconds:.0f} s"


def _peer_version(state: NodeState, now: float) -> str | None:
    version = state.health.foreign_version
    # One who is understood speaks our version: what else was heard is a recording.
    if not version or state.peer.fresh(state.terms, now) is not None:
        return None
    return f"{state.terms.peer} speaks protocol {version}, this node {VERSION}: they do not understand each other"


def _contested(state: NodeState, now: float) -> str | None:
    mac = state.health.contested
    return f"{mac} on the VLAN claims the VIP by ARP; it is claimed back each time" if mac else None


def _limited(state: NodeState, now: float) -> str | None:
    return "a client opens more flows than it may; the rest are refused" if state.health.limiting else None


def _astray(state: NodeState, now: float) -> str | None:
    things = state.health.astray
    return f"wrong, and put right in vain or not at all: {', '.join(things)}" if things else None


def _drained(state: NodeState, now: float) -> str | None:
    return f"{state.terms.me} is drained" if state.drained else None


_CRITICAL, _WARNING, _INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
_SEE_LOG = "see the log of natpair-{}"

CATALOGUE: tuple[Kind, ...] = (
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
        "no-bgp",
        "No session to any route server: the fabric cannot send traffic here.",
        _CRITICAL,
        "check the address share, then 'birdc show protocols'",
        _no_bgp,
    ),
    Kind(
        "share-missing",
        "A node may not announce a FIP: the provider does not share it there. A warning if only the standby lacks it.",
        _CRITICAL,
        "share it again, such as by 'natpair cloud apply'; 'watch.repair_shares' lets the agents do it",
        share_missing,
        hurts_now,
        _WARNING,
    ),
    Kind(
        "no-usable-standby",
        "The other node could not take over at this moment.",
        _WARNING,
        "mend the peer: a failure now is an outage",
        _no_usable_standby,
    ),
    Kind(
        "conntrackd-mute",
        "conntrackd does not answer: flows are not replicated.",
        _WARNING,
        _SEE_LOG.format("conntrackd"),
        _fact("conntrackd", "conntrackd is mute"),
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
        "bgp-degraded",
        "Some sessions are missing; one is enough to serve.",
        _WARNING,
        "'birdc -s /run/natpair/bird.ctl show protocols all'",
        _some_bgp,
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
        "vrrp-fault",
        "The agent would have this node elected, and Keepalived will not.",
        _WARNING,
        _SEE_LOG.format("keepalived"),
        _vrrp_fault,
    ),
    Kind(
        "fabric-disagrees",
        "This node is not active, and the fabric keeps sending it packets; they are relayed.",
        _WARNING,
        "see which node the route servers prefer, and why",
        _relaying,
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
    Kind(
        "vip-contested",
        "Somebody on the VLAN who is not of the pair answers ARP for the gateway address, by accident or to listen in.",
        _CRITICAL,
        "find the instance with this MAC and stop it",
        _contested,
    ),
    Kind(
        "client-limited",
        "A client has as many flows as nat.max_flows_per_client allows, or opens them faster than "
        "nat.new_flows_per_second_per_client. The others are not concerned.",
        _INFO,
        "'nft list set ip natpair clients_full' names who has too many; raise the limits if it is right",
        _limited,
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
        "maintenance-ahead",
        "The provider is about to work on a node's machine. A warning when it is the active one's and due.",
        _WARNING,
        "nothing, if the role moves in time; else 'natpair switchover' before it begins",
        maintenance_ahead,
        work_is_due,
    ),
    Kind(
        "account-unseen",
        "The provider's account cannot be read: missing shares and planned work go unnoticed. The pair still serves.",
        _WARNING,
        "mend what it says: the token of 'linode.token_file', its scopes, the way to the API",
        account_unseen,
    ),
    Kind(
        "drained",
        "An operator keeps this node from becoming active.",
        _INFO,
        "'natpair undrain' when the work is done",
        _drained,
    ),
)
