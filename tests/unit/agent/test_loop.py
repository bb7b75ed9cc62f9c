"""The loop hands on what the core says, in the order that a failover needs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import get_args

import pytest

from agent_bench import BenchMaker, alive
from natpair.agent.executor import Executor
from natpair.core.account import Lack, Work
from natpair.core.actions import Action, Conntrack, Reply
from natpair.core.desired import Desired, Traffic
from natpair.core.events import AccountSeen, Asked, HealthRead, Tick, Verb, VrrpChanged
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.model import Watch
from natpair.core.rules import ASK_SILENT
from natpair.core.state import NodeState
from nodes import WELL, active, changed, says, standby


def orphaned() -> NodeState:
    """A standby whose peer has not been heard for a while."""
    return alive(standby(), age=2.0)


MASTER = VrrpChanged(VrrpRole.MASTER)


async def test_a_takeover_reaches_every_effect(bench: BenchMaker) -> None:
    made = bench(orphaned())
    made.loop.handle(MASTER)
    assert made.effects.named("probe") == [2]
    async with asyncio.timeout(5):
        while made.state.phase is not Phase.ACTIVE:
            await asyncio.sleep(ASK_SILENT / 3)  # the timer that the core asked for does it
    (job,) = made.jobs()
    assert isinstance(job, Conntrack)
    desired = made.effects.named("want")[-1]
    assert isinstance(desired, Desired)
    assert desired.traffic is Traffic.LOCAL
    last = made.effects.named("send")[-1]
    assert isinstance(last, PeerMessage)
    assert last.active
    assert made.remembered[-1].active
    assert made.remembered[-1].epoch == made.state.epoch


async def test_what_a_failover_waits_for_comes_first(bench: BenchMaker) -> None:
    made = bench(alive(standby(said=says(Phase.YIELDING))))
    made.loop.handle(MASTER)
    names = [name for name, _ in made.effects.calls]
    assert names[0] == "want"
    assert made.state.phase is Phase.ACTIVE


async def test_a_transition_is_written_down_with_a_name_of_its_own(bench: BenchMaker) -> None:
    made = bench(alive(standby(said=says(Phase.YIELDING))))
    assert made.executor.last_transition is None
    made.loop.handle(MASTER)
    (line,) = made.lines()
    assert (line["event"], line["before"], line["after"]) == ("transition", "standby", "active")
    assert line["transition"]
    assert made.executor.last_transition is not None
    assert made.executor.last_transition.after == "active"


async def test_a_request_gets_its_own_answer_once(bench: BenchMaker) -> None:
    made = bench(alive(active(said=None)))
    answers: list[Reply] = []
    made.executor.expect_reply(7, answers.append)
    made.executor.expect_reply(8, answers.append)
    made.loop.handle(Asked(7, Verb.SWITCHOVER))
    made.loop.handle(Asked(7, Verb.SWITCHOVER))
    assert [answer.number for answer in answers] == [7]


async def test_drained_is_written_down(bench: BenchMaker) -> None:
    made = bench(alive(standby()))
    made.loop.handle(Asked(1, Verb.DRAIN))
    made.loop.handle(Asked(2, Verb.UNDRAIN))
    assert made.effects.named("save_drained") == [True, False]


async def test_nothing_is_remembered_while_nothing_changes(bench: BenchMaker) -> None:
    made = bench(alive(active()))
    for _ in range(5):
        made.loop.handle(Tick())
    assert made.remembered == []
    assert made.effects.named("send") == []


async def test_its_message_is_that_of_its_state(bench: BenchMaker) -> None:
    made = bench(alive(active()))
    assert made.executor.message().phase is Phase.ACTIVE
    assert made.executor.message().epoch == made.state.epoch


@pytest.mark.parametrize("kind", get_args(Action), ids=lambda kind: kind.__name__)
def test_every_kind_of_action_has_a_handler(kind: type) -> None:
    dispatcher = vars(Executor)["_act"].dispatcher
    assert dispatcher.dispatch(kind) is not dispatcher.dispatch(object)


async def test_work_ahead_is_acted_on_written_down_and_remembered(bench: BenchMaker) -> None:
    """What a look leads to: a note while the peer is not ready, a repair; what was done is there for the next agent."""
    settings = Watch(enabled=True, repair_shares=True)
    state = alive(active(said=says(Phase.STANDBY, ready=False)))
    made = bench(replace(state, terms=replace(state.terms, watch=settings)))
    lack = Lack("192.0.2.221", "nat-b", "is not shared to nat-b", repairable=True)
    made.loop.handle(AccountSeen((lack,), (Work("nat-a", "key", "reboot", None),), ()))
    assert made.effects.named("repair_shares") == [None]
    (line,) = made.lines()
    assert line["event"] == "note"
    assert "nat-b is not ready" in line["text"]
    made.state = replace(made.state, account=replace(made.state.account, handed=("key",)))
    made.loop.handle(VrrpChanged(VrrpRole.FAULT))
    assert made.remembered[-1].handed == ("key",)


async def test_the_peer_hears_of_what_the_latest_reading_shows(bench: BenchMaker) -> None:
    made = bench(alive(active()))
    made.loop.handle(HealthRead(changed(WELL, refusing=True)))
    assert [alarm.code for alarm in made.executor.message().alarms] == ["ports-exhausted"]
    made.loop.handle(HealthRead(WELL))
    assert made.executor.message().alarms == ()
