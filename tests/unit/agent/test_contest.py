"""A stranger who claims the VIP: answered at once, but not with a flood, and remembered for a minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from agent_bench import alive
from natpair.agent import contest
from natpair.agent.cell import StateCell
from natpair.agent.contest import REMEMBERED_SECONDS, Contest
from natpair.core.messages import Phase
from nodes import active, changed, says, standby

STRANGER, PEER = "02:00:00:00:00:09", "02:00:00:00:00:04"


class Clock:
    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(contest.time, "monotonic", lambda: made.now)
    return made


def between(claims: list[int], ours: bool = True) -> Contest:
    cell = StateCell(changed(active(said=None) if ours else standby(), peer_mac=PEER))
    return Contest(cell, lambda: claims.append(1), lambda _seconds, _what: None)


def test_a_stranger_is_answered_and_named(clock: Clock) -> None:
    made = between(claims := [])
    assert made.by() == ""
    made.seen(STRANGER)
    assert (len(claims), made.by()) == (1, STRANGER)


def test_the_peer_is_left_to_the_election_and_a_standby_answers_nobody(clock: Clock) -> None:
    made = between(claims := [])
    made.seen(PEER)
    idle = between(claims, ours=False)
    idle.seen(STRANGER)
    assert (claims, made.by(), idle.by()) == ([], "", "")


@pytest.mark.parametrize(("ours", "peer_serves", "claims"), [(True, False, 1), (True, True, 0), (False, False, 0)])
def test_a_claim_of_the_peer_that_was_no_takeover_is_answered_later(ours: bool, peer_serves: bool, claims: int) -> None:
    waiting, made = list[Callable[[], None]](), list[int]()
    serving = changed(active(said=None), peer_mac=PEER)
    cell = StateCell(serving)
    contest = Contest(cell, lambda: made.append(1), lambda _seconds, what: waiting.append(what))
    for _ in range(5):
        contest.seen(PEER)
    assert (made, len(waiting), contest.by()) == ([], 1, "")
    peer = alive(active(said=says(Phase.ACTIVE) if peer_serves else None)).peer
    cell.put(changed(replace(serving, peer=peer), peer_mac=PEER) if ours else changed(standby(), peer_mac=PEER))
    waiting.pop()()
    assert len(made) == claims
    contest.seen(PEER)
    assert len(waiting) == ours, "the next claim is looked into as well"


def test_a_flood_of_claims_is_not_answered_by_one(clock: Clock) -> None:
    made = between(claims := [])
    for _ in range(1000):
        made.seen(STRANGER)
        clock.now += 0.001
    assert 9 <= len(claims) <= 11


def test_it_is_forgotten_after_a_minute(clock: Clock) -> None:
    made = between([])
    made.seen(STRANGER)
    clock.now += REMEMBERED_SECONDS - 1
    assert made.by() == STRANGER
    clock.now += 1
    assert made.by() == ""
