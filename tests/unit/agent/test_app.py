"""The composition root: the parts and their names, adoption."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import complaints
from natpair.agent import app
from natpair.agent.app import Agent
from natpair.agent.journal import Events, Remembered
from natpair.core.actions import Conntrack, ConntrackJob
from natpair.core.announcement import Announcement
from natpair.core.desired import Traffic
from natpair.core.events import AccountSeen, Event
from natpair.core.messages import Phase, VrrpRole
from natpair.core.state import initial
from natpair.core.status import Role, to_json
from natpair.errors import DaemonError
from natpair.system.nft import Ruleset
from nodes import TERMS
from samples import gateway

KEY = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    monkeypatch.setattr(app.journal, "Events", lambda **fields: Events(str(tmp_path / "events.jsonl"), **fields))
    monkeypatch.setattr(app.journal, "remember", lambda state: None)
    return Agent(gateway(), "nat-a", initial(TERMS["nat-a"], time.monotonic()), KEY)


async def test_the_tasks_have_names_of_their_own(agent: Agent) -> None:
    tasks = agent.tasks()
    names = [task.name for task in tasks]
    assert len(set(names)) == len(names)
    assert {"reconciler", "health", "election", "watchdog", "control"} <= set(names)


class Restless:
    """A watcher with a bug, then one that works."""

    def __init__(self) -> None:
        self.runs = 0
        self.repairs = 0

    async def run(self, handle: Callable[[Event], None], record: Callable[..., None]) -> None:
        self.runs += 1
        if self.runs == 1:
            raise KeyError("a bug")
        handle(AccountSeen((), (), ()))
        await asyncio.Event().wait()

    def repair(self) -> None:
        self.repairs += 1


async def test_a_watcher_is_one_more_task_and_its_bugs_end_no_agent(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_WATCHER_RETRY_SECONDS", 0.01)
    watcher = Restless()
    watched = Agent(gateway(), "nat-a", agent.loop.state, KEY, watcher)
    names = {task.name for task in closed(watched)} - {task.name for task in closed(agent)}
    assert names == {"account"}
    running = asyncio.ensure_future(watched._run_watcher(watcher))
    async with asyncio.timeout(5):
        while watched.loop.state.account.seen_at is None:
            troubles = watched.loop.state.account.troubles
            assert not troubles or "KeyError" in troubles[0].why
            await asyncio.sleep(0.001)
    running.cancel()
    assert watcher.runs == 2
    watched.repair_shares()
    agent.repair_shares()  # an agent that does not watch has nothing to mend
    assert watcher.repairs == 1


def closed(agent: Agent) -> list[app.Task]:
    """The tasks of an agent that will not run."""
    return agent.tasks()


async def test_status_before_anything_is_known_is_a_whole_document(agent: Agent) -> None:
    status = agent.status()
    assert status.role is Role.BOOTING
    assert status.traffic == "none"
    assert status.announcement is None
    assert status.trouble == ""
    assert status.last_transition is None
    assert complaints(json.loads(json.dumps(to_json(status)))) == []


@pytest.mark.parametrize(
    ("left", "role", "phase"),
    [
        (Remembered(active=True, epoch=20, boosted=True, fenced=True), VrrpRole.MASTER, Phase.ACTIVE),
        (Remembered(active=True, epoch=20), VrrpRole.BACKUP, Phase.BOOTING),
        (Remembered(active=True, epoch=20), VrrpRole.INIT, Phase.BOOTING),
        (Remembered(active=False, epoch=20), VrrpRole.MASTER, Phase.BOOTING),
        (Remembered(), VrrpRole.MASTER, Phase.BOOTING),
    ],
)
async def test_a_node_is_adopted_only_if_it_served_and_still_has_the_vip(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, left: Remembered, role: VrrpRole, phase: Phase
) -> None:
    async def read() -> VrrpRole:
        return role

    async def no_ruleset() -> None:
        return None

    async def no_bird() -> None:
        raise DaemonError("not there")

    monkeypatch.setattr(app.journal, "recall", lambda: left)
    monkeypatch.setattr(agent.sources, "vrrp_role", read)
    monkeypatch.setattr(app.nft, "read", no_ruleset)
    monkeypatch.setattr(app.bird, "reading", no_bird)
    await app._adopt(agent)
    state = agent.loop.state
    assert state.phase is phase
    if phase is Phase.ACTIVE:
        assert (state.epoch, state.boosted, state.fenced) == (20, True, True)


@pytest.mark.parametrize(
    ("traffic", "role", "med", "epoch"),
    [
        (Traffic.LOCAL, VrrpRole.MASTER, 2**31 - 20, 20),
        (Traffic.LOCAL, VrrpRole.MASTER, None, None),
        (Traffic.RELAY, VrrpRole.MASTER, 2**31 - 20, 0),
        (Traffic.LOCAL, VrrpRole.BACKUP, 2**31 - 20, 0),
    ],
)
async def test_where_an_agent_left_no_word_the_kernel_is_believed(
    agent: Agent,
    monkeypatch: pytest.MonkeyPatch,
    traffic: Traffic,
    role: VrrpRole,
    med: int | None,
    epoch: int | None,
) -> None:
    """`state.json` is missing or of another version: a node that serves does so on, in the epoch BIRD announces."""

    async def read() -> VrrpRole:
        return role

    async def ruleset() -> Ruleset:
        return Ruleset("", traffic, duplicate=False, fence=False, peer="")

    async def reading() -> tuple[tuple[int, int], Announcement]:
        return (4, 4), Announcement(primary=True, med=med)

    monkeypatch.setattr(app.journal, "recall", Remembered)
    monkeypatch.setattr(agent.sources, "vrrp_role", read)
    monkeypatch.setattr(app.nft, "read", ruleset)
    monkeypatch.setattr(app.bird, "reading", reading)
    await app._adopt(agent)
    state = agent.loop.state
    assert (state.phase is Phase.ACTIVE) == (epoch != 0)
    if epoch is None:
        assert state.epoch > 2 * state.reserved, "above all that any promotion of this node can have had"
    else:
        assert state.epoch == epoch


async def test_jobs_run_one_after_the_other_and_tell_how_they_ended(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[ConntrackJob] = []
    told: list[object] = []

    async def job(which: ConntrackJob) -> None:
        ran.append(which)
        if which is ConntrackJob.BULK:
            raise DaemonError("mute")

    monkeypatch.setattr(app.conntrackd, "job", job)
    monkeypatch.setattr(app, "_ALIVE_SECONDS", 0.01)
    monkeypatch.setattr(agent.loop, "handle", told.append)
    for which in (ConntrackJob.COMPLETE, ConntrackJob.BULK, ConntrackJob.ABANDON):
        agent.conntrack(Conntrack(which, 7))
    running = asyncio.ensure_future(agent._run_jobs())
    async with asyncio.timeout(5):
        while len(told) < 3:
            await asyncio.sleep(0.005)
    running.cancel()
    assert ran == [ConntrackJob.COMPLETE, ConntrackJob.BULK, ConntrackJob.ABANDON]
    assert [getattr(done, "ok", None) for done in told] == [True, False, True]


async def test_a_full_disk_does_not_end_the_agent(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(ceiling: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(app.journal, "reserve_generation", full)
    running = asyncio.ensure_future(agent._run_reservations())
    agent.reserve(2000)
    for _ in range(20):
        await asyncio.sleep(0.005)
    ended = running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not ended
