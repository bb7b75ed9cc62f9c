"""Unplanned changes of role: nat-b serves and something happens; nat-a is the node that we watch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from natpair.core.actions import Conntrack, ConntrackJob, ProbeVlan, ReassertVip, Reserve, Speak, WakeAt
from natpair.core.announcement import STANDBY_MED
from natpair.core.desired import BOOST, LEAD, Traffic, desired
from natpair.core.events import (
    ConntrackDone,
    ConntrackdStarted,
    Frozen,
    HealthRead,
    PeerHeard,
    Tick,
    VlanProbed,
    VrrpChanged,
)
from natpair.core.health import Health
from natpair.core.machine import adopt, step
from natpair.core.messages import Phase, VrrpRole
from natpair.core.moves import DUPLICATE_WINDOW
from natpair.core.rules import ASK_ALIVE, ASK_SILENT, YIELD_LIMIT, ask_alive
from natpair.core.state import HEARD_LATELY, Answer, NodeState, PeerView, initial, message_of
from natpair.core.wire import Path
from nodes import MINE, NEWER, SICK, TERMS, THEIRS, UNRESPONSIVE, WELL, active, hears, node, says, standby
from script import at, play

MASTER, BACKUP = VrrpChanged(VrrpRole.MASTER), VrrpChanged(VrrpRole.BACKUP)
FAULT, INIT = VrrpChanged(VrrpRole.FAULT), VrrpChanged(VrrpRole.INIT)
NEXT_EPOCH = 22
"""nat-a's epoch after a promotion: generation 11, above all seen."""


FRESH = TERMS["nat-a"].fresh
"""Seconds for which a message speaks of the present."""


def probe(action: object) -> bool:
    return isinstance(action, ProbeVlan)


def conntrack(job: ConntrackJob, epoch: int) -> Conntrack:
    return Conntrack(job, epoch)


COMPLETE, BULK, ABANDON = ConntrackJob.COMPLETE, ConntrackJob.BULK, ConntrackJob.ABANDON


def challenge_of(state: NodeState) -> int:
    assert state.challenge is not None
    return state.challenge.nonce


def challenging(last_heard: float = 0.0, *, on_vlan: float = 0.0) -> NodeState:
    """nat-a has just been elected by VRRP at 0.6 s, and asks; the peer was last heard then on the public path."""
    heard = {Path.PRIVATE: on_vlan, Path.PUBLIC: last_heard}
    state = standby(peer=PeerView(heard, says(Phase.ACTIVE)))
    return play(state, at(0.6, MASTER, Phase.CHALLENGING, probe))


def test_a_peer_about_which_vrrp_was_wrong_lately_is_asked_for_longer() -> None:
    state = replace(challenging(), refusals=1)
    assert step(state, Tick(), 0.6 + ask_alive(state) - 0.01).state.phase is Phase.CHALLENGING
    assert step(state, Tick(), 0.6 + ask_alive(state) + 0.01).state.phase is Phase.ACTIVE


# --- the peer has lost its power


def test_power_cut_is_a_takeover_after_a_challenge_that_nobody_answers() -> None:
    state = play(
        challenging(),
        at(0.6 + ASK_SILENT - 0.001, Tick()),
        at(0.6 + ASK_SILENT, Tick(), Phase.ACTIVE, conntrack(COMPLETE, NEXT_EPOCH)),
    )
    takeover = state.takeover
    assert (state.epoch, takeover.completing, takeover.fenced, takeover.boosted) == (NEXT_EPOCH, True, True, True)
    want = desired(state, 0.63)
    assert (want.traffic, want.duplicate, want.fence, want.boost) == (Traffic.LOCAL, True, True, BOOST)
    assert want.announcement.primary
    assert want.announcement.med == 2**31 - NEXT_EPOCH


def test_the_challenge_asks_to_be_woken_when_its_patience_ends() -> None:
    state = standby()
    outcome = step(state, MASTER, 0.6)
    assert {WakeAt(0.6 + ASK_SILENT), WakeAt(0.6 + ASK_ALIVE)} <= set(outcome.actions)
    assert Speak() in outcome.actions
    assert message_of(outcome.state, 0.6).challenge == challenge_of(outcome.state)


def test_a_peer_heard_a_moment_ago_is_given_more_time() -> None:
    """Until it has been silent for most of the detection time: a single lost heartbeat or answer decides nothing."""
    quiet = 0.55 + HEARD_LATELY * TERMS["nat-a"].detect
    play(
        challenging(last_heard=0.55),
        at(0.6 + ASK_SILENT + 0.01, Tick()),
        at(0.6 + ASK_ALIVE, Tick()),
        at(quiet - 0.001, Tick()),
        at(quiet + 0.001, Tick(), Phase.ACTIVE, conntrack(COMPLETE, NEXT_EPOCH)),
    )


def promoted() -> NodeState:
    return play(
        challenging(),
        at(0.63, Tick(), Phase.ACTIVE, conntrack(COMPLETE, NEXT_EPOCH)),
        at(0.7, ConntrackDone(COMPLETE, NEXT_EPOCH, True)),
    )


def test_the_dead_node_comes_back_as_standby_and_everything_raised_for_it_is_lowered() -> None:
    """Fence until it has flushed, then all flows to it, boost until it is in sync. It says FAULT, then joins."""
    state = play(
        promoted(),
        at(0.6 + DUPLICATE_WINDOW + 0.1, Tick()),
        at(40.0, hears(Phase.BOOTING, epoch=0)),
        at(40.1, hears(Phase.BOOTING, epoch=0, flushed_for=NEXT_EPOCH), conntrack(BULK, NEXT_EPOCH)),
    )
    assert (state.takeover.fenced, state.takeover.boosted) == (False, True)
    assert not desired(state, 40.1).duplicate
    assert not desired(state, 40.1).fence
    state = play(state, at(41, hears(Phase.STANDBY, flushed_for=NEXT_EPOCH, synced=False)))
    assert state.takeover.boosted
    state = play(state, at(42, hears(Phase.STANDBY, flushed_for=NEXT_EPOCH)))
    assert desired(state, 42).boost == LEAD


def test_the_fence_stays_while_the_peer_has_flushed_only_for_an_older_promotion() -> None:
    state = play(promoted(), at(60, hears(Phase.STANDBY, flushed_for=MINE, synced=False)))
    assert desired(state, 60).fence


def test_a_completion_that_fails_is_asked_again_until_it_works() -> None:
    state = play(
        challenging(),
        at(0.63, Tick(), Phase.ACTIVE, conntrack(COMPLETE, NEXT_EPOCH)),
        at(0.7, ConntrackDone(COMPLETE, NEXT_EPOCH, False), conntrack(COMPLETE, NEXT_EPOCH)),
        at(1.7, ConntrackDone(COMPLETE, NEXT_EPOCH, True)),
    )
    assert not state.takeover.completing


def test_a_completion_of_an_epoch_that_was_raised_meanwhile_is_asked_for_the_new_one() -> None:
    """Two promoted at the same moment, one gave in: without this the change was never complete, and nothing moved."""
    state = play(
        active(said=None, completing=True),
        at(0.1, hears(Phase.STANDBY, epoch=NEWER), conntrack(COMPLETE, 24)),
        at(0.2, ConntrackDone(COMPLETE, MINE, True)),
    )
    assert state.takeover.completing
    assert not play(state, at(0.3, ConntrackDone(COMPLETE, 24, True))).takeover.completing


def test_a_completion_that_fails_after_the_role_is_gone_is_not_asked_again() -> None:
    """conntrackd -R on a standby would fill the cache that was just flushed."""
    play(
        active(completing=True),
        at(0.1, BACKUP, Phase.STANDBY),
        at(0.2, ConntrackDone(COMPLETE, MINE, False)),
    )


def test_the_copies_of_the_standby_are_renewed_again_and_again() -> None:
    state = play(active(), at(60, hears(Phase.STANDBY), conntrack(BULK, MINE)), at(119, hears(Phase.STANDBY)))
    play(state, at(120, Tick(), conntrack(BULK, MINE)))


# --- only the VLAN between us, or somebody's link of it, has died


def answers(evidence: int | None, nonce: int, **more: object) -> PeerHeard:
    return hears(Phase.ACTIVE, Path.PUBLIC, answer=nonce, evidence=evidence, **more)


def test_the_standby_whose_vlan_link_died_lets_the_active_be() -> None:
    state = challenging(last_heard=0.55)
    nonce = challenge_of(state)
    state = play(
        state,
        at(0.61, answers(None, nonce)),
        at(0.62, VlanProbed(nonce, 0)),
        at(0.63, answers(2, nonce), Phase.REFUSED),
    )
    assert desired(state, 0.63).traffic is Traffic.RELAY
    assert not desired(state, 0.63).eligible, "a refused claim lets go of the VIP"
    assert desired(state, 0.63).announcement.med == STANDBY_MED


@pytest.mark.parametrize("count", [0, 2])
def test_a_tie_stays_as_it_is_and_is_counted(count: int) -> None:
    state = challenging(last_heard=0.55)
    nonce = challenge_of(state)
    after = play(state, at(0.61, VlanProbed(nonce, count)), at(0.62, answers(count, nonce), Phase.REFUSED))
    assert after.refusals == state.refusals + 1


def test_the_active_whose_vlan_link_died_loses_the_role_to_a_node_that_sees_clients() -> None:
    state = challenging(last_heard=0.55)
    nonce = challenge_of(state)
    play(
        state,
        at(0.61, answers(0, nonce)),
        at(0.62, VlanProbed(nonce, 2), Phase.ACTIVE, conntrack(COMPLETE, NEXT_EPOCH)),
    )


def test_an_active_that_is_heard_on_the_vlan_keeps_the_role_whoever_counts_more_clients() -> None:
    """VRRP alone is not understood: another router id, or adverts that a switch drops."""
    state = challenging(last_heard=0.55, on_vlan=0.5)
    nonce = challenge_of(state)
    state = play(state, at(0.61, VlanProbed(nonce, 3)), at(0.62, answers(2, nonce), Phase.REFUSED))
    assert not desired(state, 0.62).eligible


@pytest.mark.parametrize(("ours", "phase"), [(3, Phase.ACTIVE), (0, Phase.REFUSED)])
def test_evidence_that_stays_out_counts_as_none(ours: int, phase: Phase) -> None:
    state = challenging(last_heard=0.55)
    nonce = challenge_of(state)
    follows = [phase] + ([conntrack(COMPLETE, NEXT_EPOCH)] if phase is Phase.ACTIVE else [])
    play(state, at(0.61, VlanProbed(nonce, ours)), at(0.61, answers(None, nonce)), at(0.76, Tick(), *follows))


def test_evidence_that_stays_out_is_replaced_by_what_the_heartbeats_say() -> None:
    """It was lost on its way, most likely: the peer is not blind for that."""
    state = challenging(last_heard=0.55)
    nonce = challenge_of(state)
    heard = answers(None, nonce, sees=3)
    play(state, at(0.61, VlanProbed(nonce, 3)), at(0.61, heard), at(0.76, Tick(), Phase.REFUSED))


def test_answers_to_another_challenge_count_for_nothing() -> None:
    state = challenging(last_heard=0.55)
    nonce = challenge_of(state)
    play(
        state,
        at(0.61, answers(0, nonce + 2)),
        at(0.62, VlanProbed(nonce + 2, 5)),
        at(0.63, answers(4, nonce)),
        at(0.64, VlanProbed(nonce, 1), Phase.REFUSED),
    )


@pytest.mark.parametrize("phase", [Phase.YIELDING, Phase.FAULT, Phase.STANDBY, Phase.BOOTING, Phase.DRAINED])
def test_a_peer_that_answers_that_it_is_not_active_is_followed_at_once(phase: Phase) -> None:
    state = challenging(last_heard=0.55)
    answer = hears(phase, Path.PUBLIC, answer=challenge_of(state), ready=False)
    play(state, at(0.605, answer, Phase.ACTIVE, conntrack(COMPLETE, NEXT_EPOCH)))


@pytest.mark.parametrize("phase", [Phase.YIELDING, Phase.FAULT, Phase.DRAINED])
def test_a_peer_that_has_let_go_needs_no_challenge(phase: Phase) -> None:
    state = play(standby(), at(0.5, hears(phase)))
    play(state, at(0.6, MASTER, Phase.ACTIVE, conntrack(COMPLETE, NEXT_EPOCH)))


@pytest.mark.parametrize("role", [BACKUP, FAULT, INIT])
def test_keepalived_may_change_its_mind_while_we_ask(role: VrrpChanged) -> None:
    state = play(challenging(last_heard=0.55), at(0.61, role, Phase.STANDBY))
    assert state.challenge is None


def refused(since: float = 0.0, refusals: int = 1) -> NodeState:
    peer = PeerView({Path.PRIVATE: since - 5, Path.PUBLIC: since}, says(Phase.ACTIVE))
    return node(Phase.REFUSED, since=since, refusals=refusals, peer=peer, flushed_for=THEIRS)


def test_a_refused_node_stays_out_while_only_the_public_path_speaks() -> None:
    play(refused(), *[at(n / 10, hears(Phase.ACTIVE, Path.PUBLIC)) for n in range(1, 600)])


@pytest.mark.parametrize(("refusals", "pause"), [(1, 1.0), (2, 2.0), (4, 8.0), (7, 60.0), (30, 60.0)])
def test_a_recovered_vlan_brings_it_back_later_after_each_refusal(refusals: int, pause: float) -> None:
    state = play(refused(refusals=refusals), at(pause - 0.01, hears(Phase.ACTIVE, Path.PRIVATE)))
    state = play(state, at(pause, hears(Phase.ACTIVE, Path.PRIVATE), Phase.STANDBY))
    assert desired(state, pause).eligible


@pytest.mark.parametrize(
    "event", [hears(Phase.YIELDING, Path.PUBLIC), hears(Phase.FAULT, Path.PUBLIC), hears(Phase.BOOTING, Path.PUBLIC)]
)
def test_a_refused_node_comes_back_at_once_when_the_peer_lets_go(event: PeerHeard) -> None:
    play(refused(), at(0.1, event, Phase.STANDBY))


def test_a_refused_node_comes_back_when_the_peer_falls_silent() -> None:
    play(refused(), at(FRESH, Tick()), at(FRESH + 0.01, Tick(), Phase.STANDBY))


def test_a_refusal_long_ago_does_not_delay_the_way_back() -> None:
    quiet = play(standby(refusals=6), *[at(float(n), hears(Phase.ACTIVE)) for n in range(1, 1000)])
    assert quiet.refusals == 0


# --- the side of the one that is asked


def test_the_active_answers_a_challenge_and_takes_its_clients_back() -> None:
    state = play(active(), at(1.0, hears(Phase.CHALLENGING, challenge=5), ProbeVlan(5), ReassertVip()))
    assert message_of(state, 1.0).answer == 5
    assert message_of(state, 1.0).evidence is None
    state = play(state, at(1.01, hears(Phase.CHALLENGING, Path.PUBLIC, challenge=5)), at(1.02, VlanProbed(5, 3)))
    assert message_of(state, 1.02).evidence == 3


def test_a_node_that_is_not_active_answers_without_claiming_anything() -> None:
    state = play(node(Phase.FAULT, says(Phase.STANDBY)), at(0.1, hears(Phase.CHALLENGING, challenge=5), ProbeVlan(5)))
    assert message_of(state, 0.1).answer == 5


def test_a_new_challenge_is_counted_anew() -> None:
    state = active(answer=Answer(5, 3))
    state = play(state, at(1.0, hears(Phase.CHALLENGING, challenge=7), ProbeVlan(7), ReassertVip()))
    assert message_of(state, 1.0).evidence is None


def test_an_answer_ends_with_the_question() -> None:
    state = play(active(answer=Answer(5, 3)), at(1.0, hears(Phase.REFUSED)))
    assert message_of(state, 1.0).answer == 0


# --- two who claim, higher epochs


def test_a_peer_that_claims_with_a_higher_epoch_is_the_newer_and_gets_the_role() -> None:
    state = play(active(), at(1.0, hears(Phase.ACTIVE, epoch=NEWER), Phase.YIELDING, conntrack(ABANDON, NEWER)))
    assert desired(state, 1.0).traffic is Traffic.RELAY
    assert not desired(state, 1.0).eligible
    state = play(state, at(1.1, FAULT, Phase.STANDBY), at(1.2, ConntrackDone(ABANDON, NEWER, True)))
    assert state.resync.flushed_for == NEWER


def test_a_peer_that_claims_with_a_lower_epoch_changes_nothing() -> None:
    state = active()
    after = play(state, *[at(n / 10, hears(Phase.ACTIVE, epoch=THEIRS)) for n in range(1, 50)])
    assert (after.phase, after.epoch) == (Phase.ACTIVE, MINE)


@pytest.mark.parametrize(
    "phase", [Phase.BOOTING, Phase.STANDBY, Phase.CHALLENGING, Phase.REFUSED, Phase.FAULT, Phase.DRAINED]
)
def test_a_higher_epoch_of_a_node_that_does_not_claim_makes_the_active_announce_above_it(phase: Phase) -> None:
    """Our disk was lost, or the other's promotion was called off: its announcement must not win."""
    state = play(active(), at(1.0, hears(phase, epoch=NEWER)))
    assert state.phase is Phase.ACTIVE
    assert state.epoch == 24
    ours, theirs = desired(state, 1.0).announcement.med, 2**31 - NEWER
    assert ours is not None
    assert ours < theirs


def test_the_taker_of_a_handover_does_not_make_the_giver_announce_above_it() -> None:
    assert play(active(), at(1.0, hears(Phase.PREPARING, epoch=NEWER))).epoch == MINE


def test_a_lost_epoch_file_is_made_good_by_what_the_peer_says() -> None:
    lost = standby(generation_seen=0, reserved=0, epoch=0, said=None)
    state = play(lost, at(0.1, hears(Phase.ACTIVE, epoch=2001), conntrack(ABANDON, 2001)))
    state = play(
        state,
        at(0.7, MASTER, Phase.CHALLENGING, probe),
        at(1.0, Tick(), Phase.ACTIVE, conntrack(COMPLETE, 2002), Reserve(2001)),
    )
    assert desired(state, 1.0).announcement.med == 2**31 - 2002


def test_a_booted_node_tells_how_far_its_disk_has_counted() -> None:
    """nat-b promoted while we were frozen, then rebooted: its route may still be there, and ours must beat it."""
    booted = initial(TERMS["nat-b"], 0.0, reserved=1000)
    heard = PeerHeard(Path.PRIVATE, message_of(booted, 0.0))
    state = play(node(Phase.STANDBY, None), at(0.1, heard), at(0.2, MASTER, Phase.ACTIVE, lambda action: True))
    assert state.epoch > 2 * 1000


def test_a_sick_node_that_is_elected_leaves_the_role_to_a_ready_peer() -> None:
    sick = node(Phase.STANDBY, says(Phase.STANDBY), health=SICK)
    assert step(sick, MASTER, 0.1).state.epoch == 0, "no epoch is used up"


# --- Keepalived's word, and its silence


@pytest.mark.parametrize(("role", "phase"), [(FAULT, Phase.FAULT), (BACKUP, Phase.STANDBY), (INIT, Phase.STANDBY)])
def test_an_active_node_follows_keepalived_whatever_it_thinks(role: VrrpChanged, phase: Phase) -> None:
    state = play(active(), at(1.0, role, phase))
    assert desired(state, 1.0).traffic is not Traffic.LOCAL
    assert desired(state, 1.0).announcement.med == STANDBY_MED


def test_a_demoted_node_flushes_once_the_peer_claims_and_again_if_that_fails() -> None:
    play(
        active(),
        at(1.0, BACKUP, Phase.STANDBY),
        at(1.1, hears(Phase.ACTIVE, epoch=NEWER), conntrack(ABANDON, NEWER)),
        at(1.2, hears(Phase.ACTIVE, epoch=NEWER)),
        at(1.3, ConntrackDone(ABANDON, NEWER, False), conntrack(ABANDON, NEWER)),
        at(1.4, ConntrackDone(ABANDON, NEWER, True)),
        at(1.5, hears(Phase.ACTIVE, epoch=NEWER)),
    )


# --- the machine stood still, the agent restarted, conntrackd restarted


def test_a_frozen_machine_does_not_believe_that_it_is_still_active() -> None:
    lately = PeerView(dict.fromkeys(Path, 59.9), says(Phase.STANDBY))
    state = play(active(fenced=True, boosted=True, peer=lately), at(100.0, Frozen(40.0), Phase.BOOTING))
    want = desired(state, 100.0)
    assert (want.traffic, want.eligible, want.fence, want.boost) == (Traffic.CLOSED, False, False, 0)
    state = play(
        state,
        at(100.01, FAULT),
        at(100.1, hears(Phase.ACTIVE, epoch=NEWER), conntrack(ABANDON, NEWER)),
        at(100.2, ConntrackDone(ABANDON, NEWER, True)),
        at(100.6, hears(Phase.ACTIVE, epoch=NEWER), Phase.STANDBY),
    )
    assert desired(state, 100.6).traffic is Traffic.RELAY


def test_a_frozen_standby_only_forgets_what_it_heard() -> None:
    state = play(standby(), at(100.0, Frozen(40.0)))
    assert state.phase is Phase.STANDBY
    assert state.peer.said is None


@pytest.mark.parametrize("flags", [(False, False), (True, True)])
def test_an_agent_that_starts_on_a_serving_node_changes_nothing(flags: tuple[bool, bool]) -> None:
    boosted, fenced = flags
    fresh = node(Phase.BOOTING, epoch=0, vrrp=VrrpRole.INIT, generation_seen=0)
    state = adopt(fresh, MINE, 5.0, boosted=boosted, fenced=fenced)
    state = play(state, at(5.0, MASTER), at(5.0, HealthRead(WELL)), at(5.1, Tick()))
    want = desired(state, 5.1)
    assert (want.traffic, want.duplicate, want.eligible) == (Traffic.LOCAL, False, True)
    assert (want.boost, want.fence) == (BOOST if boosted else LEAD, fenced)
    assert want.announcement.med == 2**31 - MINE
    assert state.generation_seen >= MINE // 2


def test_a_ready_peer_heard_before_the_first_reading_does_not_take_the_role_from_an_adopted_node() -> None:
    fresh = node(Phase.BOOTING, epoch=0, vrrp=VrrpRole.INIT, health=Health())
    state = play(adopt(fresh, MINE, 0.0), at(0.05, hears(Phase.STANDBY)))
    state = play(state, at(0.1, HealthRead(SICK)), at(0.7, hears(Phase.STANDBY)))
    play(state, at(0.06 + TERMS["nat-a"].notice, hears(Phase.STANDBY), Phase.YIELDING))


def test_an_adopted_epoch_older_than_the_reserved_ones_does_not_lower_them() -> None:
    assert adopt(node(Phase.BOOTING, generation_seen=500), MINE, 0.0).generation_seen == 500


def test_conntrackd_restarted_on_the_active_tells_the_peer_all() -> None:
    play(
        active(),
        at(1.0, ConntrackdStarted(), conntrack(COMPLETE, MINE)),
        at(1.5, ConntrackDone(COMPLETE, MINE, True)),
    )


def test_conntrackd_restarted_on_the_standby_is_flushed_again_and_out_of_sync_meanwhile() -> None:
    state = standby()
    assert state.synced(0.0)
    state = play(state, at(0.1, ConntrackdStarted(), conntrack(ABANDON, THEIRS)))
    assert not state.synced(0.1)
    state = play(state, at(0.2, ConntrackDone(ABANDON, THEIRS, True)))
    assert not state.synced(0.3), "the table fills for a moment"
    assert play(state, at(0.51, hears(Phase.ACTIVE))).synced(0.51)


def test_a_unresponsive_conntrackd_is_asked_when_it_answers_again() -> None:
    play(
        node(Phase.STANDBY, says(Phase.ACTIVE), flushed_for=None, flushing=THEIRS),
        at(0.1, HealthRead(UNRESPONSIVE)),
        at(0.2, ConntrackDone(ABANDON, THEIRS, False)),
        at(0.3, Tick()),
        at(0.4, HealthRead(WELL), conntrack(ABANDON, THEIRS)),
    )


# --- the active falls ill


def test_an_unhealthy_active_gives_the_role_to_a_ready_peer() -> None:
    state = play(active(), at(0.1, HealthRead(SICK), Phase.YIELDING))
    assert not desired(state, 0.1).eligible
    play(
        state,
        at(0.2, FAULT),
        at(0.3, hears(Phase.ACTIVE, epoch=NEWER), conntrack(ABANDON, NEWER), Phase.FAULT),
    )


@pytest.mark.parametrize(
    "peer",
    [
        says(Phase.STANDBY, ready=False),
        says(Phase.FAULT),
        says(Phase.BOOTING),
        says(Phase.DRAINED, drained=True),
        says(Phase.REFUSED),
        None,
    ],
    ids=["not-ready", "fault", "booting", "drained", "refused", "silent"],
)
def test_an_unhealthy_active_without_a_better_peer_serves_on(peer: object) -> None:
    """The internet being away for both must never take both down."""
    state = play(active(said=peer), at(0.1, HealthRead(SICK)), at(0.2, Tick()))
    assert desired(state, 0.2).traffic is Traffic.LOCAL
    assert desired(state, 0.2).eligible


def test_what_a_silent_peer_once_said_of_itself_does_not_count() -> None:
    play(active(), at(5.0, Tick()), at(5.1, HealthRead(SICK)))


def yielding(said: object = None) -> NodeState:
    return node(Phase.YIELDING, said or says(Phase.STANDBY))


def test_a_node_that_yields_takes_the_role_back_if_the_peer_does_not_come() -> None:
    waiting = [at(n / 10, hears(Phase.STANDBY)) for n in range(1, 10 * int(YIELD_LIMIT))]
    play(yielding(), *waiting, at(YIELD_LIMIT, hears(Phase.STANDBY), Phase.STANDBY))


def test_a_node_that_yields_is_back_in_the_election_when_the_peer_falls_silent() -> None:
    play(yielding(), at(FRESH, Tick()), at(FRESH + 0.01, Tick(), Phase.STANDBY))
