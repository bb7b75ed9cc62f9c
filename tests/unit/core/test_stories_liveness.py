"""A node that can serve does: refused claims are checked again, drained nodes step in, one lost datagram is nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from natpair.core.actions import Conntrack, ConntrackJob, Reply, Speak
from natpair.core.conditions import conditions
from natpair.core.desired import BOOST, BOOST_MAX, desired
from natpair.core.events import Asked, ConntrackDone, HealthRead, Tick, Verb, VlanProbed, VrrpChanged
from natpair.core.health import Health
from natpair.core.machine import step
from natpair.core.messages import Phase, VrrpRole
from natpair.core.rules import ASK_AGAIN_FIRST, COMPLETIONS, INSIST, REFUSED_PAUSE_MAX, SYNC_PATIENCE, ask_alive
from natpair.core.state import (
    BLIND_SECONDS,
    DEFER_SECONDS,
    FALLS_FORGOTTEN,
    IDLE_SECONDS,
    LOSSES_BORNE,
    UNFIT_SECONDS,
    Handover,
    NodeState,
    PeerView,
    message_of,
)
from natpair.core.wire import Path
from nodes import MINE, NEWER, TERMS, WELL, active, changed, hears, node, says, standby

DETECT = TERMS["nat-a"].detect
MASTER, BACKUP = VrrpChanged(VrrpRole.MASTER), VrrpChanged(VrrpRole.BACKUP)
SEES, BLIND = replace(WELL, sees=3), replace(WELL, sees=0)
CUT_OFF = changed(WELL, gateway=False, bgp_established=0)


def live(state: NodeState, begin: float, end: float, **said: Any) -> NodeState:
    """Quarter by quarter of a second: health as it is, and the peer heard on the public path only, if at all."""
    moment = begin
    while moment <= end:
        state = step(state, HealthRead(state.health), moment).state
        if said:
            others = {key: value for key, value in said.items() if key != "phase"}
            state = step(state, hears(said["phase"], Path.PUBLIC, **others), moment).state
        state = step(state, Tick(), moment).state
        moment = round(moment + 0.25, 3)
    return state


# --- a refused claim (the VLAN link of the active node is dead)


def refused(health: Health = SEES) -> NodeState:
    heard = {Path.PRIVATE: 0.0, Path.PUBLIC: 1.0}
    state = node(Phase.REFUSED, says(Phase.ACTIVE, sees=0), health=health, vrrp=VrrpRole.FAULT, refusals=1)
    return replace(state, since=1.0, peer=PeerView(heard, says(Phase.ACTIVE, sees=0)))


def test_a_refused_node_claims_again_when_it_alone_hears_clients_on_a_silent_vlan() -> None:
    state = live(refused(), 1.25, 2.25, phase=Phase.ACTIVE, sees=0)
    assert state.phase is Phase.STANDBY
    assert desired(state, 2.25).eligible


@pytest.mark.parametrize(("ours", "theirs"), [(SEES, 1), (BLIND, 0), (WELL, 0), (SEES, None)])
def test_it_does_not_while_evidence_is_no_better(ours: Health, theirs: int | None) -> None:
    assert live(refused(ours), 1.25, 30.0, phase=Phase.ACTIVE, sees=theirs).phase is Phase.REFUSED


def test_its_pauses_grow_and_stay_below_ten_seconds() -> None:
    state = replace(refused(), refusals=9)
    assert live(state, 1.25, REFUSED_PAUSE_MAX, phase=Phase.ACTIVE, sees=0).phase is Phase.REFUSED
    assert live(state, 1.25, 1 + REFUSED_PAUSE_MAX, phase=Phase.ACTIVE, sees=0).phase is Phase.STANDBY


def test_it_claims_again_from_a_peer_that_says_that_it_cannot_serve() -> None:
    assert live(refused(BLIND), 1.25, 1.5, phase=Phase.ACTIVE, sees=0, unserving=True).phase is Phase.STANDBY


@pytest.mark.parametrize("said", [Phase.STANDBY, Phase.REFUSED])
def test_an_active_that_hears_nobody_on_the_vlan_yields_to_a_well_peer_that_hears_clients(said: Phase) -> None:
    state = live(active(health=BLIND), 0.25, 1.0 + BLIND_SECONDS + 1, phase=said, sees=2, able=True)
    assert state.phase is Phase.YIELDING


@pytest.mark.parametrize("heard", [{"sees": 0}, {"sees": None}, {"sees": 2, "able": False, "ready": False}])
def test_it_keeps_the_role_while_the_peer_is_no_better(heard: dict[str, object]) -> None:
    said = {"phase": Phase.REFUSED, "able": True, **heard}
    assert live(active(health=BLIND), 0.25, 20, **said).phase is Phase.ACTIVE


def test_it_keeps_the_role_while_the_vlan_carries_the_peers_voice() -> None:
    """Else whoever answers for clients to one node only could move the role."""
    state = active(health=BLIND)
    for moment in range(1, 40):
        state = step(state, hears(Phase.STANDBY, Path.PRIVATE, sees=4, able=True), moment / 2).state
        state = step(state, HealthRead(BLIND), moment / 2).state
    assert state.phase is Phase.ACTIVE


# --- drained


@pytest.mark.parametrize("said", [Phase.FAULT, Phase.BOOTING, Phase.YIELDING, Phase.DRAINED, Phase.REFUSED])
def test_a_drained_node_steps_in_for_a_peer_that_neither_serves_nor_could(said: Phase) -> None:
    state = node(Phase.DRAINED, says(said), drained=True)
    patience = DETECT + IDLE_SECONDS
    early = live(state, 0.25, patience, phase=said)
    assert not desired(early, patience).eligible
    late = live(state, 0.25, patience + 1, phase=said)
    assert desired(late, patience + 1).eligible
    asking = step(late, MASTER, patience + 1.1).state
    answered = hears(said, Path.PUBLIC, answer=asking.challenge.nonce if asking.challenge else 0)
    assert step(asking, answered, patience + 1.11).state.phase is Phase.ACTIVE


@pytest.mark.parametrize("said", [{"phase": Phase.ACTIVE}, {"phase": Phase.STANDBY}, {"phase": Phase.PREPARING}])
def test_it_does_not_for_a_peer_that_serves_or_could(said: dict[str, object]) -> None:
    state = live(node(Phase.DRAINED, says(Phase.ACTIVE), drained=True), 0.25, 30.0, **said)
    assert not desired(state, 30.0).eligible


def test_it_does_not_while_it_is_not_well_itself() -> None:
    state = live(node(Phase.DRAINED, says(Phase.FAULT), drained=True, health=CUT_OFF), 0.25, 30.0, phase=Phase.FAULT)
    assert not desired(state, 30.0).eligible


def test_an_active_that_cannot_serve_yields_to_a_drained_peer_that_could() -> None:
    said = {"phase": Phase.DRAINED, "able": True, "drained": True}
    state = active(health=CUT_OFF, said=says(**said))
    assert live(state, 0.25, UNFIT_SECONDS, **said).phase is Phase.ACTIVE
    assert live(state, 0.25, UNFIT_SECONDS + 1, **said).phase is Phase.YIELDING


def test_nobody_active_names_undrain_when_a_node_is_drained() -> None:
    state = node(Phase.DRAINED, says(Phase.FAULT), drained=True)
    (found,) = [c for c in conditions(state, 0.0) if c.code == "nobody-active"]
    assert "natpair undrain" in found.fix
    assert "nat-a is drained" in found.text
    (found,) = [c for c in conditions(node(Phase.FAULT, says(Phase.FAULT)), 0.0) if c.code == "nobody-active"]
    assert "drained" not in found.text


# --- a resync that never succeeds


def failing(state: NodeState, tries: int) -> tuple[NodeState, int]:
    """`state` after so many failures of its resync, and how often it asked for another."""
    asked = 0
    for number in range(tries):
        outcome = step(state, ConntrackDone(ConntrackJob.COMPLETE, MINE, False), 1.0 + number)
        state, asked = outcome.state, asked + (Conntrack(ConntrackJob.COMPLETE, MINE) in outcome.actions)
    return state, asked


def test_a_resync_that_always_fails_is_given_up_with_a_condition_and_tried_again_later() -> None:
    state, asked = failing(active(completing=True), COMPLETIONS)
    assert (state.takeover.completing, state.takeover.incomplete, asked) == (False, True, COMPLETIONS - 1)
    assert "resync-failed" in {c.code for c in conditions(state, 20.0)}
    outcome = step(state, Tick(), 60.0)
    assert Conntrack(ConntrackJob.COMPLETE, MINE) in outcome.actions
    ended = step(outcome.state, ConntrackDone(ConntrackJob.COMPLETE, MINE, True), 61.0).state
    assert "resync-failed" not in {c.code for c in conditions(ended, 61.0)}


@pytest.mark.parametrize("verb", [Verb.SWITCHOVER, Verb.DRAIN])
def test_force_passes_over_a_resync_that_is_not_complete(verb: Verb) -> None:
    state = active(completing=True)
    assert step(state, Asked(1, verb), 0.1).state.phase is Phase.ACTIVE
    assert step(state, Asked(1, verb, force=True), 0.1).state.phase is Phase.HANDING_OVER


# --- a challenge


def challenging() -> NodeState:
    heard = {Path.PRIVATE: 0.0, Path.PUBLIC: 0.55}
    return step(standby(peer=PeerView(heard, says(Phase.ACTIVE))), MASTER, 0.6).state


def test_the_question_is_repeated_and_so_is_the_answer() -> None:
    state = challenging()
    for moment in (0.611, 0.622, 0.653, 0.684):
        outcome = step(state, Tick(), moment)
        assert Speak() in outcome.actions, moment
        state = outcome.state
    asked = hears(Phase.CHALLENGING, Path.PUBLIC, challenge=7)
    answering = step(active(), asked, 0.6).state
    assert Speak() not in step(answering, asked, 0.604).actions, "the same question on the other path"
    assert Speak() in step(answering, asked, 0.6 + ASK_AGAIN_FIRST).actions


@pytest.mark.parametrize(("sees", "phase"), [(3, Phase.REFUSED), (0, Phase.ACTIVE)])
def test_a_heartbeat_that_says_active_is_an_answer_though_its_answers_are_lost(sees: int, phase: Phase) -> None:
    state = step(challenging(), VlanProbed(2, 3), 0.62).state
    for moment in (0.7, 0.9):
        state = step(state, hears(Phase.ACTIVE, Path.PUBLIC, sees=sees), moment).state
        assert state.phase is Phase.CHALLENGING
    assert step(state, Tick(), 0.601 + ask_alive(state)).state.phase is phase


def test_a_peer_that_is_active_and_cannot_serve_loses_a_challenge() -> None:
    answer = hears(Phase.ACTIVE, Path.PUBLIC, answer=2, unserving=True)
    assert step(challenging(), answer, 0.61).state.phase is Phase.ACTIVE


# --- cut off and deaf


def test_a_node_that_is_cut_off_and_deaf_steps_aside_for_a_peer_that_may_serve_unheard() -> None:
    state = live(active(health=CUT_OFF), 0.25, TERMS["nat-a"].hold + 2)
    assert state.phase is Phase.FAULT
    assert not desired(state, 20.0).eligible
    assert live(replace(state, health=WELL, vrrp=VrrpRole.FAULT), 20.0, 22.0).phase is Phase.STANDBY


def test_it_serves_again_when_that_peer_has_been_gone_for_long() -> None:
    state = replace(live(active(health=CUT_OFF), 0.25, TERMS["nat-a"].hold + 2), vrrp=VrrpRole.FAULT)
    assert live(state, 20.0, DEFER_SECONDS + 1).phase is Phase.STANDBY


def test_one_that_is_deaf_and_whose_next_hop_is_silent_keeps_the_role() -> None:
    """It may be silent to ARP only: sessions with route servers prove that packets get through."""
    assert live(active(health=replace(WELL, gateway=False)), 0.25, 30.0).phase is Phase.ACTIVE


def test_a_node_that_boots_alone_and_cut_off_waits_for_its_uplink_for_a_minute() -> None:
    state = node(Phase.BOOTING, health=CUT_OFF)
    assert live(state, 0.25, DEFER_SECONDS - 1).phase is Phase.BOOTING
    assert live(replace(state, health=WELL), 0.25, TERMS["nat-a"].hold + 1.5).phase is Phase.STANDBY
    assert live(state, 0.25, DEFER_SECONDS + 1).phase is Phase.STANDBY


def test_a_healthy_node_does_not_yield_to_a_newer_promotion_of_one_that_cannot_serve() -> None:
    state = step(active(), hears(Phase.ACTIVE, epoch=NEWER, unserving=True), 0.1).state
    assert state.phase is Phase.ACTIVE
    assert state.epoch > NEWER
    assert step(active(), hears(Phase.ACTIVE, epoch=NEWER), 0.1).state.phase is Phase.YIELDING


def test_an_active_that_cannot_serve_says_so() -> None:
    state = live(active(health=CUT_OFF), 0.25, UNFIT_SECONDS - 0.5)
    assert not message_of(state, UNFIT_SECONDS - 0.5).unserving
    assert message_of(live(state, UNFIT_SECONDS, UNFIT_SECONDS + 1), UNFIT_SECONDS + 1).unserving


@pytest.mark.parametrize("unserving", [True, False])
def test_a_node_that_has_just_booted_joins_without_the_flows_of_a_peer_that_cannot_serve(unserving: bool) -> None:
    state = node(Phase.BOOTING, says(Phase.ACTIVE))
    state = live(state, 0.25, 5.0, phase=Phase.ACTIVE, unserving=unserving, flows=100000)
    assert (state.phase is Phase.STANDBY) == unserving


# --- flapping that VRRP causes


def tossed(times: int) -> NodeState:
    state, now = standby(), 0.0
    for _ in range(times):
        state = replace(state, phase=Phase.ACTIVE, vrrp=VrrpRole.MASTER, epoch=MINE, since=now)
        now += 0.5
        state = step(state, BACKUP, now).state
        state = step(state, hears(Phase.ACTIVE), now).state
    return state


def test_a_node_that_vrrp_tosses_about_stays_out_for_longer_each_time() -> None:
    for losses, out in ((LOSSES_BORNE, 0.0), (LOSSES_BORNE + 1, 2.0), (LOSSES_BORNE + 3, 8.0)):
        state = tossed(losses)
        assert state.damping.losses == losses
        ended = state.damping.lost_at + out
        assert desired(step(state, hears(Phase.ACTIVE), ended + 0.1).state, ended + 0.1).eligible
        if out:
            assert not desired(step(state, hears(Phase.ACTIVE), ended - 0.1).state, ended - 0.1).eligible


def test_it_is_back_at_once_when_the_peer_does_not_serve() -> None:
    state = tossed(LOSSES_BORNE + 4)
    assert not desired(state, state.damping.lost_at + 0.1).eligible
    for said in (hears(Phase.STANDBY), hears(Phase.ACTIVE, unfit=True)):
        now = state.damping.lost_at + 0.2
        assert desired(step(state, said, now).state, now).eligible


def test_a_planned_switchover_is_no_such_loss() -> None:
    done = Handover(MINE, 0.0, prepared_at=0.1, released_at=0.2, local_at=0.3)
    state = replace(active(), phase=Phase.HANDING_OVER, handover=done, vrrp=VrrpRole.BACKUP)
    left = step(state, Tick(), 1.0).state
    assert (left.phase, left.damping.losses) == (Phase.STANDBY, 0)


# --- Keepalived that does not answer


def test_a_switchover_is_refused_with_the_reason_while_keepalived_does_not_answer() -> None:
    state = active(health=replace(WELL, keepalived=False))
    (reply,) = [a for a in step(state, Asked(1, Verb.SWITCHOVER), 0.1).actions if isinstance(a, Reply)]
    assert not reply.ok
    assert "Keepalived does not respond on nat-a" in reply.message


def test_an_active_agent_that_has_heard_nobody_yet_speaks_often_for_a_while() -> None:
    """It may have restarted while its peer took the role, and most packets may be lost."""
    state = active(said=None)
    assert Speak() in step(state, Tick(), INSIST).actions
    late = TERMS["nat-a"].hold + 2
    assert Speak() not in step(state, Tick(), late).actions
    aware = active(said=says(Phase.STANDBY))
    assert Speak() not in step(aware, Tick(), INSIST).actions


def test_a_node_that_yields_says_so_often_until_its_peer_claims_the_role() -> None:
    yielding = node(Phase.YIELDING, says(Phase.STANDBY))
    assert Speak() in step(yielding, Tick(), INSIST).actions
    assert Speak() not in step(replace(yielding, insisted_at=0.04), Tick(), 0.06).actions
    taken = node(Phase.YIELDING, says(Phase.ACTIVE), vrrp=VrrpRole.MASTER)
    assert Speak() not in step(taken, Tick(), INSIST).actions


# --- one side does not hear the other


def test_an_active_that_cannot_serve_steps_aside_for_an_active_peer_that_does_not_hear_it() -> None:
    """The peer's promotion is the older one: by epochs it would yield, but it never hears of ours."""
    ill = active(health=replace(WELL, gateway=False), said=says(Phase.ACTIVE))
    assert live(ill, 0.25, UNFIT_SECONDS - 0.5, phase=Phase.ACTIVE, epoch=MINE - 1).phase is Phase.ACTIVE
    assert live(ill, 0.25, UNFIT_SECONDS + 1, phase=Phase.ACTIVE, epoch=MINE - 1).phase is not Phase.ACTIVE
    both = live(ill, 0.25, UNFIT_SECONDS + 1, phase=Phase.ACTIVE, epoch=MINE - 1, unserving=True)
    assert both.phase is Phase.ACTIVE


@pytest.mark.parametrize(("translating", "phase"), [(False, Phase.FAULT), (True, Phase.ACTIVE)])
def test_an_active_deaf_node_steps_aside_if_the_kernel_never_took_its_ruleset(translating: bool, phase: Phase) -> None:
    """A ruleset that somebody changed may still translate: then it is better than nobody."""
    state = active(health=replace(WELL, ruleset=False), translating=translating)
    assert live(state, 0.25, TERMS["nat-a"].hold + 2).phase is phase


def test_a_blind_node_stays_blind_while_most_messages_of_its_peer_are_lost() -> None:
    peer = PeerView({Path.PRIVATE: -5.0, Path.PUBLIC: 0.0}, says(Phase.ACTIVE, sees=3))
    state = standby(health=BLIND, blind_since=-BLIND_SECONDS, peer=peer)
    deaf = live(state, 0.25, 3.0)
    assert deaf.blind(3.0)
    assert not desired(deaf, 3.0).eligible
    assert step(deaf, HealthRead(SEES), 3.1).state.fitness.blind_since is None, "one client that is heard ends it"
    hint = changed(state, blind_since=-0.5)
    assert not live(hint, 0.25, 3.0).blind(3.0), "it was not said for long enough"
    gone = live(state, 0.25, DEFER_SECONDS + 1)
    assert not gone.blind(DEFER_SECONDS + 1)
    assert desired(gone, DEFER_SECONDS + 1).eligible


def test_the_last_word_of_a_peer_that_is_gone_makes_nobody_blind() -> None:
    """The clients left after it had: they are not heard any more, and it could not say so."""
    state = active(health=BLIND, said=says(Phase.STANDBY, sees=3))
    assert live(state, 2.0, 20.0).phase is Phase.ACTIVE


@pytest.mark.parametrize("phase", [Phase.BOOTING, Phase.FAULT])
def test_a_node_joins_without_the_flows_of_a_peer_that_is_not_fit_when_they_do_not_come(phase: Phase) -> None:
    state = node(phase, says(Phase.ACTIVE))
    early, late = SYNC_PATIENCE - 0.5, SYNC_PATIENCE + 0.5
    assert live(state, 0.25, early, phase=Phase.ACTIVE, unfit=True, flows=100000).phase is phase
    assert live(state, 0.25, late, phase=Phase.ACTIVE, unfit=True, flows=100000).phase is Phase.STANDBY
    assert live(state, 0.25, late, phase=Phase.ACTIVE, unfit=False, flows=100000).phase is phase


@pytest.mark.parametrize(
    ("phase", "moves"),
    [(Phase.REFUSED, True), (Phase.CHALLENGING, True), (Phase.BOOTING, False), (Phase.DRAINED, False)],
)
def test_an_unfit_active_makes_way_for_a_peer_that_claims_the_role(phase: Phase, moves: bool) -> None:
    """Deaf to VRRP, such a peer is never ready: it claims, is refused, and claims again."""
    state = active(health=replace(WELL, unrepaired=("forwarding",)), said=says(phase))
    before = live(state, 0.25, UNFIT_SECONDS - 0.5, phase=phase, able=True, ready=False)
    assert before.phase is Phase.ACTIVE
    after = live(state, 0.25, UNFIT_SECONDS + 0.5, phase=phase, able=True, ready=False)
    assert (after.phase is Phase.YIELDING) is moves


@pytest.mark.parametrize(("sees", "eligible"), [(0, True), (1, False), (None, False)])
def test_a_drained_node_steps_in_for_an_active_one_whose_link_of_the_vlan_is_dead(
    sees: int | None, eligible: bool
) -> None:
    heard = {Path.PRIVATE: -5.0, Path.PUBLIC: 0.0}
    state = node(Phase.DRAINED, drained=True, health=SEES, peer=PeerView(heard, says(Phase.ACTIVE, sees=sees)))
    end = DETECT + IDLE_SECONDS + 1
    state = live(state, 0.25, end, phase=Phase.ACTIVE, sees=sees)
    assert desired(state, end).eligible is eligible


# --- who outranks whom


def test_each_loss_in_a_row_raises_the_priority_of_the_next_promotion() -> None:
    """A peer whose agent is away may have been boosted before: the third try has to be above it."""
    state = changed(tossed(2), phase=Phase.ACTIVE, boosted=True)
    assert desired(state, state.damping.lost_at + 1).boost == BOOST + 2
    assert desired(changed(state, losses=99), state.damping.lost_at + 1).boost == BOOST_MAX
    assert desired(state, state.damping.lost_at + FALLS_FORGOTTEN).boost == BOOST
