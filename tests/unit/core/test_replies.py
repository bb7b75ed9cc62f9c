"""Do packets come back? Stories of counts and probes, and what is to be said of each FIP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from natpair.core.account import Account, Lack
from natpair.core.comparison import may_help, outdone
from natpair.core.conditions import conditions
from natpair.core.events import HealthRead, PeerHeard, Tick, VlanProbed, VrrpChanged
from natpair.core.machine import peer_unready, step
from natpair.core.messages import Phase, VrrpRole
from natpair.core.replies import TO_ACT, TO_TELL, FipReplies, Replies, ReplyState, Where
from natpair.core.state import UNANSWERED_SECONDS, PeerView, message_of
from natpair.core.wire import Path
from nodes import WELL, active, changed, says, standby

A, B, OWN = "192.0.2.221", "192.0.2.222", "203.0.113.3"
PACE = 0.5
MISSES, FAR_ROUNDS = TO_ACT.misses, TO_ACT.rounds


class Story:
    """A node that reads its counts and sends its probes each half second."""

    def __init__(self, *fips: str, behind: bool = False) -> None:
        self.replies = Replies.of(fips, behind=behind)
        self.now = 100.0
        self.counts = dict.fromkeys(fips, (0, 0))

    def round(
        self, *, sent: int = 0, back: int = 0, answer: tuple[str, ...] = (), fips: tuple[str, ...] = (), far: int = -1
    ) -> None:
        self.now += PACE
        for fip in fips or self.counts:
            out, came = self.counts[fip]
            self.counts[fip] = (out + sent, came + back)
        self.replies = self.replies.counted(self.counts, self.now)
        asked = self.replies.to_ask(self.now)
        self.replies = self.replies.asked(asked) if asked else self.replies
        for address in answer:
            if address in asked or address == OWN:
                self.replies = self.replies.answered(address, self.now)
        if far >= 0:
            for fip in self.replies.want_far(self.now):
                self.replies = self.replies.asked_far(fip, far)

    def state(self, fip: str = A, *, settled: bool = True) -> tuple[ReplyState, Where]:
        (found,) = [one for one in self.replies.verdicts(self.now, settled=settled) if one.fip == fip]
        return found.state, found.where


def times(count: int, act: Callable[[], None]) -> None:
    for _ in range(count):
        act()


def test_an_idle_pair_whose_probes_are_answered_is_well() -> None:
    story = Story(A, B)
    times(20, lambda: story.round(answer=(OWN, A, B)))
    assert story.state(A) == story.state(B) == (ReplyState.ANSWERED, Where.NOWHERE)


def test_what_is_told_soon_is_acted_on_later() -> None:
    story = Story(A, B)
    times(4, lambda: story.round(answer=(OWN, A, B)))
    times(TO_TELL.misses, lambda: story.round(answer=(OWN, A)))
    assert story.state(B) == (ReplyState.SUSPECTED, Where.FIP)
    assert story.state(B, settled=False) == (ReplyState.ASKING, Where.FIP)
    times(TO_ACT.misses - TO_TELL.misses - 1, lambda: story.round(answer=(OWN, A)))
    assert story.state(B) == (ReplyState.SUSPECTED, Where.FIP)
    story.round(answer=(OWN, A))
    assert story.state(B) == (ReplyState.SILENT, Where.FIP)
    assert story.state(A) == (ReplyState.ANSWERED, Where.NOWHERE)


def test_clients_that_hear_nothing_are_told_after_two_probes() -> None:
    story = Story(A)
    story.round(sent=10, back=10)
    story.replies = story.replies.answered(OWN, story.now)
    times(3, lambda: story.round(sent=10, answer=(OWN,)))
    assert story.state() == (ReplyState.SUSPECTED, Where.FIP), "three readings after the last reply"


@pytest.mark.parametrize("echoes", [True, False])
def test_a_line_that_seems_cut_is_told_soon_if_anybody_behind_it_ever_answered_a_probe(echoes: bool) -> None:
    story = Story(A)
    times(4, lambda: story.round(sent=10, back=10, answer=(OWN, A)))
    story.replies = story.replies.answered(A, story.now)
    if echoes:
        story.replies = story.replies.answered_far(A, story.now)
    times(4, lambda: story.round(sent=10, answer=(OWN, A), far=3))
    told = (ReplyState.SUSPECTED, Where.LINE) if echoes else (ReplyState.ANSWERED, Where.NOWHERE)
    assert story.state() == told


def test_of_two_fips_the_dead_one_is_named_within_three_seconds() -> None:
    story = Story(A, B)
    times(4, lambda: story.round(answer=(OWN, A, B)))
    times(MISSES, lambda: story.round(answer=(OWN, A)))
    assert story.state(A) == (ReplyState.ANSWERED, Where.NOWHERE)
    assert story.state(B) == (ReplyState.SILENT, Where.FIP)
    assert story.replies.urgent(story.now)
    story.round(answer=(OWN, A, B))
    assert story.state(B) == (ReplyState.ANSWERED, Where.NOWHERE), "one answer ends it"


def test_two_lost_probes_are_no_news() -> None:
    story = Story(A)
    times(3, lambda: story.round(answer=(OWN, A)))
    times(TO_TELL.misses - 1, lambda: story.round(answer=(OWN,)))
    assert story.state()[0] is ReplyState.ANSWERED


def test_after_a_change_of_role_the_fabric_has_its_time() -> None:
    story = Story(A)
    times(MISSES + 2, lambda: story.round(answer=(OWN,)))
    assert story.state(settled=False) == (ReplyState.ASKING, Where.FIP)
    assert story.state(settled=True) == (ReplyState.SILENT, Where.FIP)


def test_clients_that_are_answered_need_no_probe() -> None:
    story = Story(A)
    times(3, lambda: story.round(sent=20, back=20))
    assert story.replies.to_ask(story.now) == ()
    assert story.state() == (ReplyState.ANSWERED, Where.NOWHERE)


def test_a_target_that_answers_nobody_proves_nothing() -> None:
    """Some routers answer no pings."""
    story = Story(A)
    times(30, lambda: story.round())
    assert story.state() == (ReplyState.UNKNOWN, Where.NOWHERE)


def test_an_idle_pair_says_nothing_when_the_gateway_stops_to_answer_pings() -> None:
    story = Story(A)
    times(4, lambda: story.round(answer=(OWN, A)))
    times(30, lambda: story.round())
    assert story.state()[0] is not ReplyState.SILENT


@pytest.mark.parametrize("sent", [0, 10])
def test_a_chosen_target_is_the_check(sent: int) -> None:
    story = Story(A, behind=True)
    times(4, lambda: story.round(answer=(OWN, A)))
    times(MISSES + 1, lambda: story.round(sent=sent))
    assert story.state() == (ReplyState.SILENT, Where.TARGET)
    assert story.replies.want_far(story.now) == (), "nobody else is asked"


def test_clients_without_replies_and_a_unresponsive_gateway() -> None:
    story = Story(A)
    times(4, lambda: story.round(sent=10, back=10, answer=(OWN, A)))
    story.replies = story.replies.answered(OWN, story.now)
    times(MISSES + 5, lambda: story.round(sent=10))
    assert story.state() == (ReplyState.SILENT, Where.TARGET)


def test_the_line_behind_the_gateway_is_cut() -> None:
    story = Story(A)
    times(4, lambda: story.round(sent=10, back=10, answer=(OWN, A)))
    times(FAR_ROUNDS + 3, lambda: story.round(sent=10, answer=(OWN, A), far=3))
    assert story.state() == (ReplyState.SILENT, Where.LINE)
    assert story.replies.suspect
    story.round(sent=10, back=1)
    assert story.state() == (ReplyState.ANSWERED, Where.NOWHERE)


def test_one_silent_destination_takes_longer_unless_the_peer_reaches_it() -> None:
    story = Story(A)
    times(4, lambda: story.round(sent=10, back=10, answer=(OWN, A)))
    times(FAR_ROUNDS + 3, lambda: story.round(sent=10, answer=(OWN, A), far=1))
    assert story.state()[0] is not ReplyState.SILENT
    story.replies = replace(story.replies, peer_reaches=True)
    assert story.state() == (ReplyState.SILENT, Where.LINE)


def test_the_peers_news_that_it_gets_answers_makes_a_node_ask_twice_more() -> None:
    """The line was cut for both, and is whole again: the peer asks more often than a node that has asked for long."""
    story = Story(A)
    times(4, lambda: story.round(sent=10, back=10, answer=(OWN, A)))
    times(30, lambda: story.round(sent=10, answer=(OWN, A), far=3))
    assert story.state()[0] is ReplyState.SILENT
    story.replies = story.replies.with_peer(reaches=True)
    assert story.state()[0] is not ReplyState.SILENT
    assert not story.replies.patient(A)
    story.round(sent=10, answer=(OWN, A), far=3)
    assert story.state()[0] is not ReplyState.SILENT
    story.replies = story.replies.with_peer(reaches=True)
    story.round(sent=10, answer=(OWN, A), far=3)
    assert story.state()[0] is ReplyState.SILENT, "only news counts"


def test_a_line_that_was_found_cut_is_asked_about_when_clients_are_silent() -> None:
    story = Story(A)
    times(4, lambda: story.round(sent=10, back=10, answer=(OWN, A)))
    times(20, lambda: story.round(sent=10, answer=(OWN, A), far=3))
    times(20, lambda: story.round(answer=(OWN, A)))
    assert story.replies.want_far(story.now) == (A,)
    story.replies = story.replies.answered_far(A, story.now)
    assert story.replies.want_far(story.now) == ()


def test_a_client_that_talks_to_nobody_is_no_outage_and_is_asked_about_ever_more_seldom() -> None:
    story = Story(A)
    times(40, lambda: story.round(sent=10, answer=(OWN, A), far=0))
    assert story.state() == (ReplyState.ANSWERED, Where.NOWHERE)
    assert not story.replies.urgent(story.now)


def test_a_dead_server_is_no_outage_where_a_router_behind_the_gateway_answers() -> None:
    story = Story(A)
    times(4, lambda: story.round(sent=10, back=10, answer=(OWN, A)))

    def round_() -> None:
        story.round(sent=10, answer=(OWN, A), far=1)
        story.replies = story.replies.answered_far(A, story.now)

    times(30, round_)
    assert story.state() == (ReplyState.ANSWERED, Where.NOWHERE)


def test_counts_that_went_back_are_those_of_a_new_table() -> None:
    story = Story(A)
    times(3, lambda: story.round(sent=30, back=30))
    story.counts = {A: (0, 0)}
    story.round()
    assert story.replies.tracks[A].lost == 0


def test_whoever_answers_for_a_fip_is_kept_until_it_is_ours_again() -> None:
    story = Story(A)
    times(MISSES, lambda: story.round(answer=(OWN,)))
    story.replies = story.replies.claimed(A, A)
    assert story.replies.verdicts(story.now, settled=True)[0].elsewhere == A
    story.round(answer=(OWN, A))
    assert story.replies.verdicts(story.now, settled=True)[0].elsewhere == ""


# What a node does about it

SILENT = FipReplies(A, ReplyState.SILENT, Where.FIP)
CUT = FipReplies(A, ReplyState.SILENT, Where.LINE)
TAKEN = FipReplies(A, ReplyState.SILENT, Where.FIP, elsewhere=A)


@pytest.mark.parametrize(
    ("found", "peer", "moves"),
    [
        ((SILENT,), {"reached": True}, True),
        ((SILENT,), {"reached": False}, False),
        ((SILENT,), {}, False),
        ((SILENT,), {"reached": True, "unanswered": True}, False),
        ((SILENT,), {"reached": True, "ready": False}, False),
        ((TAKEN,), {"reached": True}, False),
        ((TAKEN, FipReplies(B, ReplyState.SILENT, Where.FIP)), {"reached": True}, True),
        ((CUT,), {"reached": True}, True),
        ((CUT,), {"reached": False}, False),
        ((CUT,), {}, False),
        ((FipReplies(A, ReplyState.ASKING, Where.FIP),), {"reached": True}, False),
        ((FipReplies(A, ReplyState.SUSPECTED, Where.FIP),), {"reached": True}, False),
    ],
    ids=[
        "fip",
        "fip-for-both",
        "fip-untried",
        "peer-had-none",
        "peer-not-ready",
        "taken",
        "one-taken",
        "cut-here",
        "cut-for-both",
        "untried",
        "early",
        "suspected",
    ],
)
def test_the_role_moves_only_if_that_may_help(
    found: tuple[FipReplies, ...], peer: dict[str, object], moves: bool
) -> None:
    state = active(said=says(Phase.STANDBY, **peer), health=replace(WELL, replies=found))
    assert outdone(state, 0.1) is moves
    after = step(state, Tick(), 0.1).state
    assert (after.phase is Phase.YIELDING) is moves


def test_a_peer_that_claims_the_role_is_given_it_at_once() -> None:
    """It took seconds to find out that nothing comes back; a peer that is deaf to VRRP is never ready."""
    found = replace(WELL, replies=(SILENT,))
    for phase, moves in ((Phase.REFUSED, True), (Phase.DRAINED, False)):
        assert outdone(active(said=says(phase, able=True, reached=True), health=found), 0.1) is moves
    assert not outdone(active(said=says(Phase.REFUSED, able=True, reached=True, unanswered=True), health=found), 0.1)


@pytest.mark.parametrize(
    ("theirs", "peer_unanswered", "phase"),
    [(1, False, Phase.REFUSED), (0, False, Phase.ACTIVE), (1, True, Phase.ACTIVE)],
    ids=["peer-serves-some", "peer-serves-nobody", "no-better-there"],
)
def test_a_node_that_had_no_replies_does_not_take_the_role_back_for_one_client_more(
    theirs: int, peer_unanswered: bool, phase: Phase
) -> None:
    heard = PeerView({Path.PRIVATE: -5.0, Path.PUBLIC: 0.0}, says(Phase.ACTIVE))
    state = step(standby(peer=heard, unanswered_at=-1.0), VrrpChanged(VrrpRole.MASTER), 0.1).state
    assert state.challenge is not None
    nonce = state.challenge.nonce
    state = step(state, VlanProbed(nonce, 3), 0.12).state
    answer = says(Phase.ACTIVE, answer=nonce, evidence=theirs, unanswered=peer_unanswered)
    assert step(state, PeerHeard(Path.PUBLIC, answer), 0.13).state.phase is phase


def test_a_silent_fip_is_no_reason_to_call_the_loss_of_route_servers_new() -> None:
    """Which both may have lost (ADR 0022): the peer that only notices later is not the better one."""
    none = changed(WELL, bgp_established=0, replies=(SILENT,))
    assert not outdone(active(health=none, bgp_lost_at=-2.0), 0.1)


@pytest.mark.parametrize(
    "wrong",
    [{"bgp_established": 0}, {"public_up": False}, {"gateway": False}, {"ruleset": False}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_silence_that_has_another_cause_moves_nothing_when_the_cause_ends(wrong: dict[str, object]) -> None:
    """Both nodes lost it. Back again, the fabric has to learn anew where replies go: the peer would have none, too."""
    quiet = replace(WELL, replies=(SILENT,))
    ill = step(active(said=says(Phase.FAULT)), HealthRead(changed(quiet, **wrong)), 0.1).state
    assert "no-replies" not in {one.code for one in conditions(ill, 0.1)}
    back = step(ill, HealthRead(quiet), 10.0).state
    heard = step(back, PeerHeard(Path.PRIVATE, says(Phase.STANDBY)), 10.1).state
    assert heard.phase is Phase.ACTIVE
    assert not message_of(heard, 10.1).unanswered
    settled = 10.0 + heard.terms.hold + 1
    told = settled + heard.terms.notice
    for moment in (settled, settled + 0.5, told):
        heard = step(heard, PeerHeard(Path.PRIVATE, says(Phase.STANDBY, reached=True)), moment).state
    assert step(heard, HealthRead(quiet), told).state.phase is Phase.YIELDING, "it stays silent: the peer may help"


def test_a_peer_that_has_just_begun_to_get_answers_is_not_given_the_role_yet() -> None:
    """Both may have missed them, and this node is about to notice that they come again."""
    state = active(said=says(Phase.STANDBY), health=replace(WELL, replies=(SILENT,)))
    notice = state.terms.notice
    for moment, phase in ((1.0, Phase.ACTIVE), (1.5, Phase.ACTIVE), (1.0 + notice, Phase.YIELDING)):
        state = step(state, PeerHeard(Path.PRIVATE, says(Phase.STANDBY, reached=True)), moment).state
        assert state.phase is phase


def test_it_is_not_handed_back_and_forth() -> None:
    """Given away for nothing coming back, a node remembers that it had none either; so the other keeps the role."""
    before = active(said=says(Phase.STANDBY, reached=True))
    state = step(before, HealthRead(replace(WELL, replies=(SILENT,))), 0.1).state
    assert state.phase is Phase.YIELDING
    later = replace(state, phase=Phase.STANDBY)
    assert message_of(later, 30.0).unanswered
    assert not message_of(later, UNANSWERED_SECONDS + 1).unanswered
    other = active(said=says(Phase.STANDBY, unanswered=True, reached=True), health=replace(WELL, replies=(SILENT,)))
    assert step(other, Tick(), 0.2).state.phase is Phase.ACTIVE


def test_the_memory_ends_when_the_peer_hears_again_what_it_lacked_too() -> None:
    state = standby(said=says(Phase.ACTIVE, unanswered=True), unanswered_at=-1.0)
    recovered = step(state, PeerHeard(Path.PRIVATE, says(Phase.ACTIVE)), 0.1).state
    assert not recovered.unanswered(0.1)
    never = standby(unanswered_at=-1.0)
    assert step(never, PeerHeard(Path.PRIVATE, says(Phase.ACTIVE)), 0.1).state.unanswered(0.1), "the cause may be ours"


def test_no_switchover_to_a_node_that_had_no_replies() -> None:
    assert "no replies came back" in peer_unready(active(said=says(Phase.STANDBY, unanswered=True)), 0.1)
    silent = active(said=says(Phase.STANDBY, unanswered=True), health=replace(WELL, replies=(SILENT,)))
    assert peer_unready(silent, 0.1) == "", "no worse there than here"


def test_what_the_provider_does_not_share_there_would_not_be_answered_there() -> None:
    lacks = Account(lacks=(Lack(A, "nat-b", "is not shared", True),))
    state = active(health=replace(WELL, replies=(SILENT,)), account=lacks)
    assert not may_help(state, says(Phase.STANDBY, reached=True))
    assert may_help(replace(state, account=Account()), says(Phase.STANDBY, reached=True))
