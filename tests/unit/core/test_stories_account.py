"""What the provider's account says: planned work on one node or both, shares that are gone, who does what about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from natpair.core.account import APART, MOST_REPAIRS, REPAIR_WINDOW, Account, Lack, Trouble, Work, looked
from natpair.core.actions import Conntrack, Journal, Note, RepairShares, Reply
from natpair.core.condition import Severity
from natpair.core.conditions import conditions
from natpair.core.events import AccountSeen, Asked, Event, RepairEnded, Tick, TrafficSwitched, Verb, VrrpChanged
from natpair.core.handover import ARP_GRACE
from natpair.core.machine import REQUEST_LIMIT, adopt, step
from natpair.core.messages import Phase, VrrpRole
from natpair.core.model import Watch
from natpair.core.state import NodeState, PeerView, initial
from natpair.core.wire import Path
from nodes import MINE, NEWER, TERMS, active, hears, node, says, standby
from script import at, play

FIP = "192.0.2.221"
LEAD = 900.0
GONE = Lack(FIP, "nat-b", "is not shared to nat-b", repairable=True)
NOT_OURS = Lack(FIP, "", "is not an address of this account", repairable=False)
COPYING = TrafficSwitched(local=True, duplicate=True)


def watching(state: NodeState, **settings: Any) -> NodeState:
    watch = Watch(enabled=True, maintenance_lead_seconds=int(LEAD), **settings)
    return replace(state, terms=replace(state.terms, watch=watch))


def work(on: str, begins_at: float | None, key: str = "") -> Work:
    return Work(on, key or f"{on}-work", "maintenance (reboot)", begins_at)


def seen(*works: Work, lacks: tuple[Lack, ...] = ()) -> AccountSeen:
    return AccountSeen(lacks, works, ())


def codes(state: NodeState, now: float) -> dict[str, tuple[Severity, str]]:
    return {one.code: (one.severity, one.text) for one in conditions(state, now)}


def left_for(what: str) -> Any:
    return lambda action: isinstance(action, Journal) and what in action.cause


def noted(what: str) -> Any:
    return lambda action: isinstance(action, Note) and what in action.text


def handed_over(state: NodeState, begin: float) -> NodeState:
    """The rest of a handover that has begun just before `begin`, from the giver's side."""
    opened = hears(Phase.PREPARING, prepared_for=state.epoch, epoch=NEWER, opened=True)
    taken = hears(Phase.ACTIVE, local_for=state.epoch, epoch=NEWER)
    return play(
        state,
        at(begin, COPYING),
        at(begin + 0.1, opened),
        at(begin + 0.15, opened),
        at(begin + 0.2, VrrpChanged(VrrpRole.FAULT)),
        at(begin + 0.3, taken),
        at(begin + 0.3 + ARP_GRACE, Tick(), Phase.STANDBY, Reply, Conntrack),
    )


def again_active(state: NodeState, now: float) -> NodeState:
    """The same node, active once more for whatever reason, with a synced standby beside it."""
    heard = PeerView(dict.fromkeys(Path, now), says(Phase.STANDBY, flushed_for=MINE))
    return replace(active(), terms=state.terms, account=state.account, peer=heard, since=now, refresh_at=now + 60)


# --- planned work on the active node


@pytest.mark.parametrize("begins", [LEAD, 60.0, -5.0, None], ids=["at-the-lead", "soon", "begun", "unknown"])
def test_the_active_leaves_for_work_that_is_due(begins: float | None) -> None:
    at_look = 0.1
    begins_at = None if begins is None else at_look + begins
    play(watching(active()), at(at_look, seen(work("nat-a", begins_at)), left_for("maintenance (reboot) on nat-a")))


def test_work_far_ahead_is_told_and_left_alone_until_it_is_due() -> None:
    state = play(watching(active()), at(0.1, seen(work("nat-a", 0.1 + LEAD + 60))))
    severity, text = codes(state, 0.2)["maintenance-ahead"]
    assert severity is Severity.INFO
    assert "nat-a: maintenance (reboot), in 16 min" in text
    # Time alone does nothing: only a look does, and then with what the account says by then.
    later = 0.1 + 61
    heard = hears(Phase.STANDBY, flushed_for=MINE)
    state = play(state, at(later, heard, Conntrack), at(later + 0.1, hears(Phase.STANDBY)))
    play(state, at(later + 0.2, seen(work("nat-a", 0.1 + LEAD + 60)), Phase.HANDING_OVER))


def test_a_look_a_second_before_the_lead_time_does_nothing() -> None:
    state = play(watching(active()), at(0.1, seen(work("nat-a", 0.1 + LEAD + 1))))
    assert state.phase is Phase.ACTIVE
    assert state.request is None


def test_it_happens_once_for_each_piece_of_work() -> None:
    item = work("nat-a", 100.0)
    state = play(watching(active()), at(0.1, seen(item), Phase.HANDING_OVER))
    state = handed_over(state, 0.2)
    assert state.account.handed == (item.key,)
    back = again_active(state, 50.0)
    back = play(back, at(50.1, seen(item)), at(50.2, seen(item)))
    assert back.phase is Phase.ACTIVE, "an operator brought the role back on purpose"
    play(back, at(50.3, seen(item, work("nat-a", 200.0, "another")), Phase.HANDING_OVER))


def test_work_that_is_over_is_forgotten_and_the_next_of_its_kind_counts() -> None:
    item = work("nat-a", 100.0)
    state = handed_over(play(watching(active()), at(0.1, seen(item), Phase.HANDING_OVER)), 0.2)
    back = play(again_active(state, 500.0), at(500.1, seen()))
    assert back.account.handed == ()
    assert "maintenance-ahead" not in codes(back, 500.2)
    play(back, at(500.2, seen(replace(item, begins_at=600.0)), Phase.HANDING_OVER))


def test_work_that_is_called_off_in_time_moves_nothing() -> None:
    state = play(watching(active()), at(0.1, seen(work("nat-a", 0.1 + LEAD + 60))), at(0.2, seen()))
    assert "maintenance-ahead" not in codes(state, 0.2)
    assert state.phase is Phase.ACTIVE


def test_work_called_off_during_the_handover_does_not_break_it() -> None:
    state = play(watching(active()), at(0.1, seen(work("nat-a", 60.0)), Phase.HANDING_OVER), at(0.15, seen()))
    assert state.phase is Phase.HANDING_OVER
    assert handed_over(state, 0.2).phase is Phase.STANDBY


def test_an_operator_who_hands_over_while_work_is_due_has_done_it() -> None:
    item = work("nat-a", 100.0)
    state = play(watching(active(), switch_over=False), at(0.1, seen(item), Note))
    state = handed_over(play(state, at(0.15, Asked(1, Verb.SWITCHOVER), Phase.HANDING_OVER)), 0.2)
    assert state.account.handed == (item.key,)


def test_it_can_be_told_only_to_say_so() -> None:
    state = play(
        watching(active(), switch_over=False), at(0.1, seen(work("nat-a", 60.0)), noted("switch_over is false"))
    )
    severity, text = codes(state, 0.2)["maintenance-ahead"]
    assert (severity, "watch.switch_over is false" in text) == (Severity.WARNING, True)
    assert state.request is None


def test_work_on_the_standby_moves_nothing() -> None:
    assert play(watching(active()), at(0.1, seen(work("nat-b", 60.0)))).phase is Phase.ACTIVE
    assert play(watching(standby()), at(0.1, seen(work("nat-a", 60.0)))).phase is Phase.STANDBY


# --- the peer is not ready


@pytest.mark.parametrize(
    ("peer", "why"),
    [
        (says(Phase.STANDBY, ready=False), "not ready"),
        (says(Phase.STANDBY, synced=False), "resync"),
        (says(Phase.DRAINED, drained=True), "drained"),
        (says(Phase.STANDBY, config_hash="other"), "another configuration"),
        (None, "has not been heard"),
    ],
    ids=["unready", "unsynced", "drained", "other-config", "silent"],
)
def test_never_to_a_peer_that_is_not_ready_and_it_is_said_once(peer: Any, why: str) -> None:
    due = seen(work("nat-a", 60.0))
    state = play(watching(active(said=peer)), at(0.1, due, noted(why)), at(0.1, due), at(0.1, due))
    assert (state.phase, state.request) == (Phase.ACTIVE, None)
    severity, text = codes(state, 0.1)["maintenance-ahead"]
    assert severity is Severity.WARNING
    assert why in text
    state = play(state, at(0.2, hears(Phase.STANDBY)), at(0.25, hears(Phase.STANDBY, Path.PUBLIC)))
    assert state.phase is Phase.ACTIVE, "not before the next look"
    play(state, at(0.3, due, Phase.HANDING_OVER))


def test_a_handover_that_fails_is_tried_again_at_the_next_look_and_no_sooner() -> None:
    due = seen(work("nat-a", 60.0))
    state = play(
        watching(active()), at(0.1, due, Phase.HANDING_OVER), at(0.2, hears(Phase.PREPARING, prepared_for=MINE))
    )
    state = play(state, at(1.2, Tick(), Phase.ACTIVE, Reply))
    assert state.account.handed == ()
    state = play(state, at(1.3, hears(Phase.STANDBY)), at(1.4, Tick()), at(1.5, hears(Phase.STANDBY)))
    assert state.phase is Phase.ACTIVE
    play(state, at(1.6, due, Phase.HANDING_OVER))


def test_a_request_that_comes_to_nothing_ends_and_the_next_look_asks_anew() -> None:
    """The peer became unready in the same moment."""
    due = seen(work("nat-a", 60.0))
    state = watching(active(completing=True))
    state = play(state, at(0.1, due))
    assert state.request is not None
    state = play(state, at(0.1 + REQUEST_LIMIT, Tick(), Reply))
    assert state.request is None


def test_it_does_not_take_an_operators_place_in_the_queue() -> None:
    asked = watching(active(completing=True))
    state = play(asked, at(0.1, Asked(7, Verb.SWITCHOVER)), at(0.2, seen(work("nat-a", 60.0))))
    assert state.request is not None
    assert state.request.number == 7


# --- both nodes have work


def test_the_role_goes_to_the_node_whose_work_is_later_and_stays_there() -> None:
    mine, theirs = work("nat-a", 100.0), work("nat-b", 700.0)
    state = play(watching(active()), at(0.1, seen(mine, theirs), Phase.HANDING_OVER))
    assert handed_over(state, 0.2).account.handed == (mine.key,)
    # Seen from nat-b, which has it now: its own work is due as well, but nat-a's is not over.
    theirs_now = watching(again_active(node(Phase.ACTIVE, me="nat-b"), 0.0))
    theirs_now = replace(theirs_now, terms=replace(TERMS["nat-b"], watch=theirs_now.terms.watch))
    theirs_now = play(theirs_now, at(0.1, seen(mine, theirs), noted("nat-a has work no later")))
    assert theirs_now.phase is Phase.ACTIVE
    # nat-a's work is over: now there is a better place.
    play(theirs_now, at(0.2, seen(theirs), Phase.HANDING_OVER))


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(100.0, 100.0), (100.0, 100.0 + APART), (100.0, 50.0), (None, None), (100.0, None), (100.0, -500.0)],
    ids=["the-same", "hardly-later", "earlier", "both-unknown", "theirs-unknown", "theirs-begun"],
)
def test_no_better_place_no_switchover(mine: float | None, theirs: float | None) -> None:
    both = seen(work("nat-a", mine), work("nat-b", theirs))
    state = play(watching(active()), at(0.1, both, noted("nat-b has work no later")))
    assert state.phase is Phase.ACTIVE
    assert "nat-b has work no later" in codes(state, 0.1)["maintenance-ahead"][1]


def test_an_unknown_moment_is_now_and_the_peer_is_better_until_its_own_time() -> None:
    play(watching(active()), at(0.1, seen(work("nat-a", None), work("nat-b", 5000.0)), Phase.HANDING_OVER))


@pytest.mark.parametrize("first", ["nat-a", "nat-b"])
@pytest.mark.parametrize("gap", [0.0, 30.0, 61.0, 600.0, 5000.0])
def test_two_nodes_with_work_change_the_role_at_most_once(first: str, gap: float) -> None:
    """The rule alone, looked at by whichever node is active, until both have begun: it never comes back."""
    other = "nat-b" if first == "nat-a" else "nat-a"
    works = (work(first, 1000.0), work(other, 1000.0 + gap))
    account, holder, moves = Account(planned=works), "nat-a", 0
    for now in range(0, 8000, 30):
        peer = "nat-b" if holder == "nat-a" else "nat-a"
        due = account.to_leave(holder, float(now), LEAD)
        if due is not None and account.obstacle(due, peer) is None:
            account, holder, moves = account.left(holder, float(now), LEAD), peer, moves + 1
    assert moves <= 1
    assert holder == (other if gap > APART else "nat-a") or moves == 0


# --- the agent restarts


def test_a_restarted_agent_knows_nothing_until_it_looks_and_then_what_it_did() -> None:
    item = work("nat-a", 100.0)
    fresh = watching(replace(initial(TERMS["nat-a"], 0.0), account=Account(handed=(item.key,))))
    back = adopt(fresh, MINE, 0.0)
    heard = [at(0.01, hears(Phase.STANDBY)), at(0.02, hears(Phase.STANDBY, Path.PUBLIC))]
    blind = AccountSeen(None, None, None, (Trouble("shares", "no answer"),))
    back = play(replace(back, refresh_at=60.0), *heard, at(0.03, blind), at(0.1, seen(item)))
    assert back.phase is Phase.ACTIVE, "it gave the role away for this work before it restarted"
    play(back, at(0.15, seen(item, work("nat-a", 100.0, "new")), Phase.HANDING_OVER))


def test_a_look_that_saw_nothing_forgets_nothing() -> None:
    item = work("nat-a", 5000.0)
    trouble = Trouble("maintenance", "list maintenance: no answer", "", refused=False)
    state = play(watching(active()), at(0.1, seen(item, lacks=(GONE,))))
    state = replace(state, account=replace(state.account, handed=(item.key,)))
    state = play(state, at(0.2, AccountSeen(None, None, None, (trouble,))))
    assert (state.account.planned, state.account.lacks, state.account.handed) == ((item,), (GONE,), (item.key,))
    assert state.account.seen_at == 0.1


def test_a_part_that_is_seen_counts_although_another_is_not() -> None:
    trouble = Trouble("events", "list events: not authorized", "", refused=True)
    partly = AccountSeen((), (work("nat-a", 60.0),), None, (trouble,))
    state = play(watching(active()), at(0.1, partly, Phase.HANDING_OVER))
    assert state.account.seen_at is None


# --- shares


def test_the_active_repairs_shares_if_it_may_at_every_look() -> None:
    state = watching(active(), repair_shares=True)
    failed = RepairEnded(Trouble("repair", "share addresses: HTTP 500"))
    state = play(
        state, at(0.1, seen(lacks=(GONE,)), RepairShares), at(0.2, failed), at(0.3, seen(lacks=(GONE,)), RepairShares)
    )
    assert "not repaired: share addresses: HTTP 500" in codes(state, 0.3)["share-missing"][1]
    gone_again = play(state, at(0.4, seen()), at(0.5, seen(lacks=(GONE,)), RepairShares))
    assert "not repaired" not in codes(gone_again, 0.5)["share-missing"][1], "that was another time"
    state = play(state, at(0.4, RepairEnded(None)), at(0.45, seen()))
    assert "share-missing" not in codes(state, 0.45)


@pytest.mark.parametrize(
    ("state", "lack", "repairs"),
    [
        (active(), GONE, True),
        (standby(), GONE, False),
        (active(), NOT_OURS, False),
        (node(Phase.FAULT, says(Phase.FAULT)), GONE, True),
        (node(Phase.FAULT, says(Phase.FAULT), me="nat-b"), GONE, False),
        (
            node(Phase.FAULT, says(Phase.FAULT), me="nat-b", since=9.0, peer=PeerView(dict.fromkeys(Path, -60.0))),
            GONE,
            True,
        ),
    ],
    ids=["active", "standby", "not-ours", "nobody-first", "nobody-second", "alone"],
)
def test_one_node_repairs(state: NodeState, lack: Lack, repairs: bool) -> None:
    outcome = step(watching(state, repair_shares=True), seen(lacks=(lack,)), 0.1)
    assert (RepairShares() in outcome.actions) is repairs
    assert RepairShares() not in step(watching(state), seen(lacks=(lack,)), 0.1).actions, "not unless it is allowed"


def test_it_does_not_fight_whoever_takes_the_share_away() -> None:
    state = watching(active(), repair_shares=True)
    account = replace(state.account, repairs=tuple(float(n) for n in range(MOST_REPAIRS)))
    tired = replace(state, account=account)
    tired = play(tired, at(0.1, seen(lacks=(GONE,))))
    assert "something else removes it" in codes(tired, 0.1)["share-missing"][1]
    assert looked(account, REPAIR_WINDOW + 1.5, (), (), (), ()).repairs == (2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("state", "lack", "severity"),
    [
        (active(), GONE, Severity.WARNING),
        (active(), replace(GONE, node="nat-a"), Severity.CRITICAL),
        (standby(), GONE, Severity.CRITICAL),
        (active(), NOT_OURS, Severity.CRITICAL),
        (node(Phase.FAULT, says(Phase.FAULT)), GONE, Severity.CRITICAL),
    ],
    ids=["standby-lacks-it", "active-lacks-it", "the-active-peer-lacks-it", "nobody-has-it", "nobody-serves"],
)
def test_a_missing_share_names_fip_and_node_and_is_critical_where_it_hurts(
    state: NodeState, lack: Lack, severity: Severity
) -> None:
    told = play(watching(state), at(0.1, seen(lacks=(lack,))))
    assert codes(told, 0.1)["share-missing"] == (severity, f"{FIP} {lack.why}")


# --- the account cannot be seen


def unreadable(refused: bool) -> Event:
    trouble = Trouble("shares", "read an address: Invalid Token (HTTP 401)", "make a new token", refused)
    return AccountSeen(None, None, None, (trouble,))


def test_a_refused_token_is_named_at_once_with_the_fix() -> None:
    state = play(watching(active()), at(0.1, seen()), at(0.2, unreadable(refused=True)))
    assert "Invalid Token (HTTP 401) (make a new token)" in codes(state, 0.2)["account-unreadable"][1]


def test_a_hiccup_is_no_news_and_a_long_one_is() -> None:
    state = play(watching(active()), at(0.1, seen()), at(0.2, unreadable(refused=False)))
    assert "account-unreadable" not in codes(state, 89.0)
    assert "not read for 91 s" in codes(state, 91.1)["account-unreadable"][1]
    assert "account-unreadable" not in codes(play(state, at(0.3, seen())), 91.1)


def test_the_account_being_away_is_no_fault_of_the_node() -> None:
    state = play(watching(active()), at(0.1, unreadable(refused=True)))
    assert state.phase is Phase.ACTIVE
    assert state.can_serve(0.1)
