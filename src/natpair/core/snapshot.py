"""The part of a node's status that follows from its state; the agent adds what it has read of the machine."""

from __future__ import annotations

from natpair.core.announcement import Announcement
from natpair.core.conditions import conditions
from natpair.core.desired import desired
from natpair.core.health import Health
from natpair.core.messages import Phase
from natpair.core.state import NodeState, flows_missing
from natpair.core.status import (
    AccountStatus,
    Announced,
    Bgp,
    Maintenance,
    MissingShare,
    PeerStatus,
    Reading,
    Role,
    Status,
    Sync,
    Target,
    Unreadable,
)
from natpair.core.wire import Path

_ROLES = {
    Phase.ACTIVE: Role.ACTIVE,
    Phase.HANDING_OVER: Role.ACTIVE,
    Phase.BOOTING: Role.BOOTING,
    Phase.FAULT: Role.FAULT,
    Phase.YIELDING: Role.FAULT,
    Phase.REFUSED: Role.FAULT,
    Phase.DRAINED: Role.DRAINED,
}

_HEALTH_WORDS = {
    "private_up": "private link up",
    "public_up": "public link up",
    "ruleset": "ruleset as rendered",
    "gateway": "gateway answers",
    "conntrackd": "conntrackd answers",
    "keepalived": "Keepalived answers",
}


def role(phase: Phase) -> Role:
    """The word for people."""
    return _ROLES.get(phase, Role.STANDBY)


def announced(announcement: Announcement) -> Announced:
    """An announcement as the status shows it."""
    high, low = announcement.community
    return Announced(f"{high}:{low}", announcement.med)


def snapshot(state: NodeState, now: float) -> Status:
    """The status of one node, without what only the agent knows; ages and times in milliseconds, as their names say."""
    wanted = desired(state, now)
    return Status(
        node=state.terms.me,
        peer=state.terms.peer,
        role=role(state.phase),
        phase=state.phase.value,
        vrrp=state.vrrp.value,
        epoch=state.epoch,
        change_complete=state.phase is Phase.ACTIVE and not state.takeover.completing,
        synced=state.synced(now),
        ready=state.ready(now),
        eligible=wanted.eligible,
        drained=state.drained,
        boosted=state.takeover.boosted,
        fenced=state.takeover.fenced,
        config_hash=state.terms.config_hash,
        preferred=state.terms.prefer or None,
        desired=Target(wanted.traffic.value, announced(wanted.announcement)),
        health=_health(state.health),
        bgp=Bgp(state.health.bgp.established, state.health.bgp.total),
        flows=state.health.flows,
        most_flows=state.health.table.most_flows,
        unanswered=state.unanswered(now),
        replies=state.health.replies,
        sync=_sync(state, now),
        peer_view=_peer(state, now),
        account=_account(state, now) if state.terms.watch.enabled else None,
        conditions=tuple(conditions(state, now)),
    )


def _health(health: Health) -> tuple[Reading, ...]:
    return tuple(Reading(name, getattr(health, name), text) for name, text in _HEALTH_WORDS.items())


def _sync(state: NodeState, now: float) -> Sync:
    """How complete the standby's copy is, as far as this node knows; of a silent standby all flows are missing."""
    if state.claims_active:
        said = state.peer.fresh(state.terms, now)
        sampled, missing, copied = (said.sampled, said.missing, said.flows) if said is not None else (0, 0, 0)
        flows = state.flows_to_hold
        return Sync(sampled, missing, flows, flows_missing(sampled, missing, flows, copied))
    sampled, missing, said = state.health.sync.sampled, state.health.sync.missing, state.peer.said
    if said is None or not said.active:
        return Sync(sampled, missing)
    return Sync(sampled, missing, said.flows, flows_missing(sampled, missing, said.flows, state.health.flows))


def _account(state: NodeState, now: float) -> AccountStatus:
    account = state.account
    works = (*account.ahead(state.terms.me), *account.ahead(state.terms.peer))
    return AccountStatus(
        seen_ms=None if account.seen_at is None else round((now - account.seen_at) * 1000),
        shares_missing=tuple(MissingShare(lack.fip, lack.node or None, lack.why) for lack in account.lacks),
        maintenance=tuple(
            Maintenance(
                node=work.node,
                what=work.what,
                begins_in_ms=None if work.begins_at is None else round((work.begins_at - now) * 1000),
                handed_over=work.key in account.handed,
            )
            for work in works
        ),
        trouble=tuple(Unreadable(trouble.part, trouble.why, trouble.fix) for trouble in account.troubles),
    )


def _peer(state: NodeState, now: float) -> PeerStatus:
    heard = {path: round((now - state.peer.heard[path]) * 1000) for path in Path}
    fresh = state.peer.fresh(state.terms, now) is not None
    said = state.peer.said
    if said is None:
        return PeerStatus(heard[Path.PRIVATE], heard[Path.PUBLIC], fresh)
    return PeerStatus(
        heard_private_ms=heard[Path.PRIVATE],
        heard_public_ms=heard[Path.PUBLIC],
        fresh=fresh,
        role=role(said.phase),
        phase=said.phase.value,
        vrrp=said.vrrp.value,
        epoch=said.epoch,
        ready=said.ready,
        synced=said.synced,
        drained=said.drained,
        flows=said.flows,
    )
