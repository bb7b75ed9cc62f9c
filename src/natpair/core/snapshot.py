"""What the outside may see of a node: a plain document, the same for `status`, the drills and the metrics."""

from __future__ import annotations

from dataclasses import asdict

from natpair.core.conditions import conditions
from natpair.core.desired import desired
from natpair.core.messages import Phase
from natpair.core.state import Health, NodeState, flows_lacking
from natpair.core.wire import Path

SCHEMA = "natpair/status/v1"

_ROLES = {
    Phase.ACTIVE: "active",
    Phase.HANDING_OVER: "active",
    Phase.BOOTING: "booting",
    Phase.FAULT: "fault",
    Phase.YIELDING: "fault",
    Phase.REFUSED: "fault",
    Phase.DRAINED: "drained",
}

_HEALTH_WORDS = {
    "private_up": "private link up",
    "public_up": "public link up",
    "ruleset": "ruleset as rendered",
    "gateway": "gateway answers",
    "conntrackd": "conntrackd answers",
    "keepalived": "Keepalived answers",
}


def role(phase: Phase) -> str:
    """The word for people: active, standby, fault, drained or booting."""
    return _ROLES.get(phase, "standby")


def snapshot(state: NodeState, now: float) -> dict[str, object]:
    """The status document of one node; ages and times in milliseconds, as their names say."""
    wish = desired(state, now)
    community = f"{wish.announcement.community[0]}:{wish.announcement.community[1]}"
    return {
        "schema": SCHEMA,
        "node": state.terms.me,
        "peer": state.terms.peer,
        "role": role(state.phase),
        "phase": state.phase.value,
        "vrrp": state.vrrp.value,
        "epoch": state.epoch,
        "change_complete": state.phase is Phase.ACTIVE and not state.completing,
        "synced": state.synced(now),
        "ready": state.ready(now),
        "eligible": wish.eligible,
        "drained": state.drained,
        "boosted": state.boosted,
        "fenced": state.fenced,
        "config_hash": state.terms.config_hash,
        "preferred": state.terms.prefer or None,
        "desired": {
            "traffic": wish.traffic.value,
            "announcement": {"community": community, "med": wish.announcement.med},
        },
        "health": _health(state.health),
        "bgp": {"established": state.health.bgp_established, "total": state.health.bgp_total},
        "flows": state.health.flows,
        "most_flows": state.health.most_flows,
        "unanswered": state.unanswered(now),
        "replies": [asdict(one) for one in state.health.replies],
        "sync": _sync(state, now),
        "peer_view": _peer(state, now),
        "account": _account(state, now) if state.terms.watch.enabled else None,
        "conditions": [asdict(condition) for condition in conditions(state, now)],
    }


def _health(health: Health) -> list[dict[str, object]]:
    return [{"name": name, "ok": getattr(health, name), "detail": text} for name, text in _HEALTH_WORDS.items()]


def _sync(state: NodeState, now: float) -> dict[str, object]:
    """How well the standby's copy is, as far as this node knows: a sample's size, and what it says of all flows."""
    said = state.peer.fresh(state.terms, now)
    if state.claims_active:
        sampled, lacking = (said.sampled, said.lacking) if said is not None else (0, 0)
        return _estimate(sampled, lacking, state.flows_to_hold)
    flows = said.flows if said is not None else 0
    return _estimate(state.health.sampled, state.health.lacking, flows)


def _estimate(sampled: int, lacking: int, flows: int) -> dict[str, object]:
    return {"sampled": sampled, "lacking": lacking, "flows_lacking": flows_lacking(sampled, lacking, flows)}


def _account(state: NodeState, now: float) -> dict[str, object]:
    account = state.account
    works = (*account.ahead(state.terms.me), *account.ahead(state.terms.peer))
    return {
        "seen_ms": None if account.seen_at is None else round((now - account.seen_at) * 1000),
        "shares_missing": [{"fip": lack.fip, "node": lack.node or None, "why": lack.why} for lack in account.lacks],
        "maintenance": [
            {
                "node": work.node,
                "what": work.what,
                "begins_in_ms": None if work.begins_at is None else round((work.begins_at - now) * 1000),
                "handed_over": work.key in account.handed,
            }
            for work in works
        ],
        "trouble": [{"part": trouble.part, "why": trouble.why, "cure": trouble.cure} for trouble in account.troubles],
    }


def _peer(state: NodeState, now: float) -> dict[str, object]:
    said = state.peer.said
    view: dict[str, object] = {
        "heard_private_ms": round((now - state.peer.heard[Path.PRIVATE]) * 1000),
        "heard_public_ms": round((now - state.peer.heard[Path.PUBLIC]) * 1000),
        "fresh": state.peer.fresh(state.terms, now) is not None,
    }
    if said is not None:
        view |= {"role": role(said.phase), "phase": said.phase.value, "epoch": said.epoch, "vrrp": said.vrrp.value}
        view |= {"ready": said.ready, "synced": said.synced, "drained": said.drained, "flows": said.flows}
    return view
