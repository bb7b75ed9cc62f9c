"""The composition root: the parts and their names, adoption."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest

from agent_bench import alive, begin
from commands import complaints
from natpair.agent import adoption, app, executor, reconciler
from natpair.agent.app import Agent
from natpair.agent.cell import StateCell
from natpair.agent.journal import Events, Remembered
from natpair.agent.loop import DecisionLoop
from natpair.core.actions import Conntrack, ConntrackJob, RepairShares, Reserve
from natpair.core.announcement import Announcement
from natpair.core.desired import Traffic
from natpair.core.events import AccountSeen, Event, Tick
from natpair.core.messages import Phase, VrrpRole
from natpair.core.state import Handover, initial
from natpair.core.status import Role, to_json
from natpair.errors import DaemonError
from natpair.system.nft import Ruleset
from nodes import TERMS, changed, says, standby


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    monkeypatch.setattr(app.journal, "Events", lambda **fields: Events(str(tmp_path / "events.jsonl"), **fields))
    monkeypatch.setattr(app.journal, "remember", lambda state: None)
    return Agent(begin(tmp_path), initial(TERMS["nat-a"], time.monotonic()))


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
    agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(app, "_WATCHER_RETRY_SECONDS", 0.01)
    watcher = Restless()
    watched = Agent(begin(tmp_path), agent.cell.get(), watcher)
    (task,) = [one for one in watched.tasks() if one.name not in {usual.name for usual in agent.tasks()}]
    assert (task.name, task.vital) == ("account", False)
    running = asyncio.ensure_future(watched.boundary.keep_running(task))
    async with asyncio.timeout(5):
        while watched.cell.get().account.seen_at is None:
            troubles = watched.cell.get().account.troubles
            assert not troubles or "KeyError" in troubles[0].why
            await asyncio.sleep(0.001)
    running.cancel()
    assert watcher.runs == 2
    watched.executor.execute([RepairShares()])
    agent.executor.execute([RepairShares()])  # an agent that does not watch has nothing to repair
    assert watcher.repairs == 1


async def test_status_before_anything_is_known_is_a_whole_document(agent: Agent) -> None:
    status = agent.status.status()
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
    async def no_ruleset() -> None:
        return None

    async def no_bird() -> None:
        raise DaemonError("not there")

    monkeypatch.setattr(app.journal, "recall", lambda: left)
    monkeypatch.setattr(adoption.nft, "read", no_ruleset)
    monkeypatch.setattr(adoption.bird, "reading", no_bird)
    await adoption.adopt_if_active(agent.cell, role, agent.events)
    state = agent.cell.get()
    assert state.phase is phase
    if phase is Phase.ACTIVE:
        assert (state.epoch, state.takeover.boosted, state.takeover.fenced) == (20, True, True)


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

    async def ruleset() -> Ruleset:
        return Ruleset("", traffic, duplicate=False, fence=False, peer="")

    async def reading() -> tuple[tuple[int, int], Announcement]:
        return (4, 4), Announcement(primary=True, med=med)

    monkeypatch.setattr(app.journal, "recall", Remembered)
    monkeypatch.setattr(adoption.nft, "read", ruleset)
    monkeypatch.setattr(adoption.bird, "reading", reading)
    await adoption.adopt_if_active(agent.cell, role, agent.events)
    state = agent.cell.get()
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
            raise DaemonError("unresponsive")

    monkeypatch.setattr(executor.conntrackd, "job", job)
    monkeypatch.setattr(executor, "_SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(executor, "_FAILED_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(agent.executor, "_handle", told.append)
    agent.executor.execute(
        Conntrack(which, 7) for which in (ConntrackJob.COMPLETE, ConntrackJob.BULK, ConntrackJob.ABANDON)
    )
    running = asyncio.ensure_future(agent.executor.run_jobs())
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
    running = asyncio.ensure_future(agent.executor.run_reservations())
    agent.executor.execute([Reserve(2000)])
    for _ in range(20):
        await asyncio.sleep(0.005)
    ended = running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not ended


ON_THE_WAY = ["system.keepalived", "agent.loop", "core.machine", "core.rules", "core.moves", "core.desired"]
"""From a line on Keepalived's FIFO to the reconciler, which asks `render.bird` and `system.bird` for the UPDATE."""


async def test_keepalived_s_line_reaches_the_reconciler_without_a_detour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without another task in between, and through no module of the agent that only hands it on."""
    monkeypatch.setattr(app.journal, "Events", lambda **fields: Events(str(tmp_path / "events.jsonl"), **fields))
    monkeypatch.setattr(app.journal, "remember", lambda state: None)
    started = begin(tmp_path)
    agent = Agent(started, alive(standby(said=says(Phase.YIELDING))))
    monkeypatch.setattr(reconciler.keepalived, "write_track", lambda _path, _value: False)
    started.fifo.listen(agent.loop.on_notify)
    os.write(started.fifo.fd, b'INSTANCE "pair" MASTER 240\n')
    entered: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and "agent.reconciler" not in entered:
            entered.append(str(frame.f_globals.get("__name__", "")).removeprefix("natpair."))

    sys.setprofile(note)
    await asyncio.sleep(0)  # the loop finds the line
    await asyncio.sleep(0)  # and has dealt with it
    sys.setprofile(None)
    assert agent.cell.get().phase is Phase.ACTIVE
    assert [name for name in dict.fromkeys(entered) if name in ON_THE_WAY] == ON_THE_WAY
    ours = {name for name in entered if name.startswith("agent.")}
    recording = {"agent.journal", "agent.disk"}
    assert ours - recording == {"agent.loop", "agent.cell", "agent.reconciler"}


async def test_arrivals_are_watched_for_while_the_role_is_being_handed_over(agent: Agent) -> None:
    """Packets for a FIP tell that the fabric has heard of it; before and afterwards nobody counts them."""
    taking = Handover(7, 0.0)
    before, sources = alive(standby()), agent.sources
    for handover, phase, waits in (
        (taking, Phase.PREPARING, True),
        (replace(taking, opening=True), Phase.PREPARING, False),
        (None, Phase.ACTIVE, False),
    ):
        agent.cell.put(replace(before, phase=phase, handover=handover))
        agent.cell.publish(before)
        assert sources.preparing.is_set() is waits
        before = agent.cell.get()


async def test_the_peer_s_mac_is_written_down_when_it_changes(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(app.journal, "save_peer_mac", written.append)
    before = alive(standby())
    for mac in ("02:00:00:00:00:04", "02:00:00:00:00:04", "02:00:00:00:00:05"):
        agent.cell.put(changed(before, peer_mac=mac))
        agent.cell.publish(before)
        before = agent.cell.get()
        assert agent.disks.var.flush(5.0)
    assert written == ["02:00:00:00:00:04", "02:00:00:00:00:05"]


def test_an_event_before_the_agent_is_wired_is_an_error(tmp_path: Path) -> None:
    loop = DecisionLoop(StateCell(alive(standby())), Events(str(tmp_path / "events.jsonl")))
    with pytest.raises(RuntimeError, match="before the agent was wired"):
        loop.handle(Tick())
