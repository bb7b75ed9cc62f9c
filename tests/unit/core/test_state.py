"""What can be read straight off a state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace

import pytest

from natpair.core.events import HealthRead
from natpair.core.health import Health
from natpair.core.machine import step
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.model import TIMINGS, Profile
from natpair.core.state import BGP_GRACE, SYNC_RATIO, SYNC_SETTLE, SYNC_SLACK, NodeState, PeerView, Terms
from natpair.core.wire import Path
from nodes import NO_BGP, TERMS, THEIRS, WELL, active, node, says, standby
from samples import gateway

HOLD, FRESH = TERMS["nat-a"].hold, TERMS["nat-a"].fresh


@pytest.mark.parametrize("profile", Profile)
def test_the_terms_follow_the_profile_and_tell_the_nodes_apart(profile: Profile) -> None:
    pair = gateway(('profile = "balanced"', f'profile = "{profile}"'))
    ours, theirs = Terms.of(pair, "nat-a", "x"), Terms.of(pair, "nat-b", "x")
    assert (ours.me, ours.peer, ours.bit) == (theirs.peer, theirs.me, 1 - theirs.bit)
    timing = TIMINGS[profile]
    assert (ours.detect, ours.hold) == (timing.detect_ms / 1000, timing.bgp_hold_seconds)
    assert 0.02 <= ours.beat <= 0.2
    assert 3 * ours.beat <= max(ours.fresh, 3 * 0.02), "a lost message or two is no silence"
    assert ours.fresh < ours.hold


def leaves(of: object) -> Iterator[object]:
    """The values of a record and of the records in it."""
    for field in fields(of):  # type: ignore[arg-type]
        value = getattr(of, field.name)
        if is_dataclass(value):
            yield from leaves(value)
        else:
            yield value


def test_a_missing_reading_counts_as_bad() -> None:
    assert not any(leaves(Health()))
    assert not Health().can_forward
    assert not node(Phase.STANDBY, health=Health()).can_serve(0.0)


@pytest.mark.parametrize("name", ["private_up", "public_up", "ruleset", "gateway"])
def test_each_of_these_is_needed_to_serve(name: str) -> None:
    assert active().can_serve(0.0)
    assert not active(health=replace(WELL, **{name: False})).can_serve(0.0)


@pytest.mark.parametrize("name", ["conntrackd", "keepalived"])
def test_a_daemon_that_packets_do_not_need_is_no_reason_to_stop(name: str) -> None:
    assert active(health=replace(WELL, **{name: False})).can_serve(0.0)


def read(state: NodeState, health: Health, now: float) -> NodeState:
    return step(state, HealthRead(health), now).state


def test_bgp_has_a_grace_that_counts_from_the_loss() -> None:
    state = read(active(said=None), NO_BGP, 1.0)
    state = read(state, NO_BGP, 1.0 + BGP_GRACE / 2)
    assert state.can_serve(1.0 + BGP_GRACE - 0.01)
    assert not state.can_serve(1.0 + BGP_GRACE)
    assert read(state, WELL, 3.0).fitness.bgp_lost_at is None


def test_a_node_that_never_had_bgp_has_no_grace() -> None:
    assert not read(node(Phase.BOOTING, health=Health()), NO_BGP, 1.0).can_serve(1.0)


def peer(private: float, public: float, said: PeerMessage | None = None) -> PeerView:
    return PeerView({Path.PRIVATE: private, Path.PUBLIC: public}, said)


def test_silence_is_silence_on_both_paths_for_longer_than_a_stale_route_lives() -> None:
    terms = TERMS["nat-a"]
    assert not peer(0.0, 0.0).silent(terms, HOLD + 1)
    assert peer(0.0, 0.0).silent(terms, HOLD + 1.1)
    assert not peer(0.0, 5.0).silent(terms, HOLD + 1.1)
    assert peer(2.0, 5.0).age(6.0) == 1.0


def test_only_fresh_words_count() -> None:
    terms, said = TERMS["nat-a"], says(Phase.ACTIVE)
    view = peer(0.0, 0.0, said)
    assert view.fresh(terms, FRESH) == said
    assert view.fresh(terms, FRESH + 0.01) is None
    assert view.active(terms, FRESH) == said
    assert peer(0.0, 0.0, says(Phase.STANDBY)).active(terms, 0.0) is None
    assert peer(0.0, 0.0).active(terms, 0.0) is None


@pytest.mark.parametrize(
    ("changes", "synced"),
    [
        ({}, True),
        ({"flushed_for": THEIRS - 2}, False),
        ({"pulled_at": -SYNC_SETTLE / 2}, False),
        ({"said": says(Phase.STANDBY)}, False),
        ({"said": None, "flushed_for": 0}, False),
        ({"health": replace(WELL, conntrackd=False)}, False),
        ({"health": replace(WELL, flows=int(1000 * SYNC_RATIO) - SYNC_SLACK)}, True),
        ({"health": replace(WELL, flows=int(1000 * SYNC_RATIO) - SYNC_SLACK - 1)}, False),
    ],
)
def test_in_sync_means_flushed_settled_and_as_many_flows(changes: dict[str, object], synced: bool) -> None:
    assert standby(**changes).synced(0.0) is synced


def test_an_idle_pair_is_in_sync() -> None:
    idle = says(Phase.ACTIVE, flows=0)
    assert standby(said=idle, health=replace(WELL, flows=0)).synced(0.0)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("role", VrrpRole)
def test_ready_is_a_standby_whose_keepalived_waits(phase: Phase, role: VrrpRole) -> None:
    ready = node(phase, says(Phase.ACTIVE), vrrp=role).ready(0.0)
    assert ready is (phase is Phase.STANDBY and role is VrrpRole.BACKUP)
