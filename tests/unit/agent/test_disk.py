"""Nothing that decides waits for a disk: takeovers, drains and repairs while everything below /var and /etc hangs."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent_bench import alive, begin
from natpair.agent import disk, journal
from natpair.agent.account import AccountWatch
from natpair.agent.app import Agent
from natpair.agent.disk import Disks, Lane
from natpair.agent.findings import disk_trouble
from natpair.agent.journal import Events, LogStream
from natpair.agent.repairer import Repairer, Repairs
from natpair.core import paths
from natpair.core.actions import Reply
from natpair.core.conditions import conditions
from natpair.core.desired import Desired, Traffic
from natpair.core.events import Asked, Event, Verb
from natpair.core.messages import Phase, VrrpRole
from natpair.core.rendered import RenderedFile
from natpair.core.repair import Wrong
from natpair.core.state import NodeState
from natpair.drift.items import Files, Finding
from nodes import active, says, standby
from samples import gateway
from stalled import Stall, stalled

SOON = 5.0


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stall]:
    """/var/lib/natpair and /etc/natpair, here below tmp_path, hang; /run does not."""
    for name in ("var", "etc", "run"):
        (tmp_path / name).mkdir()
    var = str(tmp_path / "var")
    remember, drained = journal.remember, journal.save_drained
    monkeypatch.setattr(paths, "VAR", var)
    monkeypatch.setattr(journal, "remember", lambda state: remember(state, str(tmp_path / "run/state.json")))
    monkeypatch.setattr(journal, "save_drained", lambda desired: drained(desired, f"{var}/drained"))
    events = journal.Events
    monkeypatch.setattr(journal, "Events", lambda **fields: events(f"{var}/events.jsonl", **fields))
    with stalled(tmp_path / "var", tmp_path / "etc") as stall:
        yield stall


def within(seconds: float, story: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """Whether `story` ends in time; one that hangs is left behind, which a test of a hang must survive."""
    failures: list[BaseException] = []

    def play() -> None:
        try:
            asyncio.run(story())
        except BaseException as error:  # noqa: BLE001 - raised again where the test is
            failures.append(error)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    return not thread.is_alive()


def agent_of(state: NodeState, folder: Path) -> tuple[Agent, list[Desired]]:
    agent, wants = Agent(begin(folder), state), list[Desired]()
    agent.loop.connect(wants.append, agent.executor.execute)
    agent.vlan.claim_vip = lambda: None
    return agent, wants


def test_a_takeover_is_carried_out_while_the_disk_hangs(frozen: Stall, tmp_path: Path) -> None:
    """From Keepalived's line to the desired state of the reconciler, with all that is written down on the way."""
    wants: list[Desired] = []

    async def story() -> None:
        agent, seen = agent_of(alive(standby(said=says(Phase.YIELDING))), tmp_path)
        agent.loop.on_notify(VrrpRole.MASTER)
        agent.events.record("step", step="traffic-local", took_ms=0.1)
        wants.extend(seen)

    assert within(SOON, story)
    assert wants[-1].traffic is Traffic.LOCAL


def test_a_drain_is_answered_while_the_disk_hangs(frozen: Stall, tmp_path: Path) -> None:
    answers: list[Reply] = []

    async def story() -> None:
        agent, _ = agent_of(alive(standby()), tmp_path)
        agent.executor.expect_reply(1, answers.append)
        agent.loop.handle(Asked(1, Verb.DRAIN))

    assert within(SOON, story)
    assert [answer.ok for answer in answers] == [True]


class Other:
    """Something that is wrong beside the files."""

    noticed = False

    def __init__(self) -> None:
        self.repaired = False

    async def findings(self) -> list[Finding]:
        return [] if self.repaired else [Finding(Wrong("route", "gone", "there"), self.repair)]

    async def repair(self) -> None:
        self.repaired = True


def test_repairs_go_on_while_the_files_cannot_be_looked_at(frozen: Stall, tmp_path: Path) -> None:
    other, lane = Other(), Lane("etc", "etc")
    file = tmp_path / "etc/bird.conf"
    frozen.thaw()
    file.write_text("right\n")
    kept = Files([RenderedFile(str(file), "right\n")], lambda: True, lambda _path: None, lane.ask)
    with stalled(tmp_path / "etc"):
        repairer = Repairer([kept, other], Repairs(lambda *_, **__: None))
        assert within(SOON, repairer.look)
        assert within(SOON, repairer.look), "a second look waits no longer than the first"
        assert other.repaired
        assert repairer.unrepaired == ()


def test_an_account_is_not_watched_at_the_price_of_the_loop(frozen: Stall, tmp_path: Path) -> None:
    heard: list[Event] = []
    settings = {"watch": {"enabled": True}, "linode": {"token_file": str(tmp_path / "etc/token")}}
    made = gateway()
    made = made.model_copy(
        update={"linode": made.linode.model_copy(update={"token_file": settings["linode"]["token_file"]})}
    )
    ticks: list[float] = []

    async def beat() -> None:
        for _ in range(20):
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    async def story() -> None:
        watcher = AccountWatch(made)
        await asyncio.gather(watcher.once(heard.append, lambda *_, **__: None), beat())

    assert within(SOON, story)
    assert max(after - before for before, after in itertools.pairwise(ticks)) < 3.0, "the stall lasts for a minute"
    assert "does not answer" in str(heard)


def test_a_disk_that_hangs_is_a_condition_and_keeps_no_node_from_being_ready(
    frozen: Stall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "PATIENCE_SECONDS", 0.05)

    async def story() -> None:
        agent, _ = agent_of(alive(standby()), tmp_path)
        agent.events.record("step", step="something")
        async with asyncio.timeout(SOON):
            while not (stall := disk_trouble(agent.disks, time.monotonic())):
                await asyncio.sleep(0.01)
        now = time.monotonic()
        state = agent.cell.get()
        state = replace(state, health=replace(state.health, disk=stall))
        (found,) = [one for one in conditions(state, now) if one.code == "disk-stalled"]
        assert paths.VAR in found.text
        assert state.ready(now) == agent.cell.get().ready(now)
        frozen.thaw()
        assert agent.events.flush(SOON)
        assert disk_trouble(agent.disks, time.monotonic()) is None

    assert within(2 * SOON, story)


# The lane


def test_jobs_are_done_in_order_and_the_newest_of_a_name_counts() -> None:
    lane, done, gate = Lane("lane", "disk"), list[str](), threading.Event()
    lane.put("first", lambda: gate.wait(SOON) and None)
    for word in ("old", "new"):
        lane.put("state", lambda word=word: done.append(word))  # type: ignore[misc]
    lane.put("last", lambda: done.append("last"))
    assert not lane.flush(0.05), "a flush ends at its deadline"
    gate.set()
    assert lane.flush(SOON)
    assert done == ["new", "last"]


def test_what_the_disk_refuses_is_known_and_done_again() -> None:
    lane, refused = Lane("lane", "disk"), [True]

    def write() -> None:
        if refused[0]:
            raise OSError(28, "No space left on device")

    lane.put("drained", write)
    assert lane.flush(SOON)
    assert lane.failures() == {"drained": "No space left on device"}
    refused[0] = False
    lane.retry()
    assert lane.flush(SOON)
    assert lane.failures() == {}


async def test_a_question_gets_its_answer_or_its_failure() -> None:
    lane = Lane("lane", "disk")
    assert await lane.ask("sum", lambda: 1 + 1) == 2
    with pytest.raises(ValueError, match="invalid literal"):
        await lane.ask("number", lambda: int("x"))
    gate = threading.Event()
    with pytest.raises(OSError, match="does not answer"):
        await lane.ask("slow", lambda: gate.wait(SOON), 0.05)
    with pytest.raises(OSError, match="does not answer"):
        await lane.ask("other", lambda: None, 0.05)
    with pytest.raises(OSError, match="not answered yet"):
        await lane.ask("other", lambda: None, 0.05)
    gate.set()
    assert lane.flush(SOON)
    assert await lane.ask("other", lambda: 3) == 3


def test_where_no_thread_can_be_started_the_next_job_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lane, done = Lane("lane", "disk"), list[str]()

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        lane.put("one", lambda: done.append("one"))
    lane.put("two", lambda: done.append("two"))
    assert lane.flush(SOON)
    assert done == ["one", "two"]


async def test_a_watched_disk_that_refuses_is_told_once_and_again_when_it_came_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "PROBE_SECONDS", 0.02)
    told: list[str] = []
    disks = Disks(var=str(tmp_path / "var"), etc=str(tmp_path))
    watching = asyncio.create_task(disks.watch(lambda _event, **fields: told.append(fields["step"])))
    async with asyncio.timeout(SOON):
        while not told:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert told == ["probe-not-written"]
        (tmp_path / "var").mkdir()
        while disks.var.failures():
            await asyncio.sleep(0.01)
    watching.cancel()
    assert (tmp_path / "var/.alive").stat().st_size < 4096


async def test_a_stall_is_news_when_it_begins_and_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "PROBE_SECONDS", 0.02)
    monkeypatch.setattr(disk, "PATIENCE_SECONDS", 0.05)
    gate, news = threading.Event(), list[bool]()
    monkeypatch.setattr(disk, "probe", lambda _path: gate.wait(SOON))
    disks = Disks(var=str(tmp_path), etc=str(tmp_path))
    wake = lambda: news.append(disks.stalled(time.monotonic()) is not None)  # noqa: E731 - said once, where it is read
    watching = asyncio.create_task(disks.watch(lambda *_a, **_k: None, wake))
    async with asyncio.timeout(SOON):
        while not news:
            await asyncio.sleep(0.01)
        gate.set()
        while len(news) < 2:
            await asyncio.sleep(0.01)
    watching.cancel()
    assert news[:2] == [True, False]


# What is dropped


def test_lines_beyond_what_may_wait_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_WAITING_LINES", 10)
    gate, lane = threading.Event(), Lane("lane", "disk")
    lane.put("hang", lambda: gate.wait(SOON) and None)
    events = Events(str(tmp_path / "events.jsonl"), lane=lane)
    for number in range(25):
        events.record("step", number=number)
    assert events.dropped == 15
    assert len(events.recent) == 25, "memory has them all"
    gate.set()
    assert events.flush(SOON)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines[:-1]] == list(range(10))
    assert (lines[-1]["event"], lines[-1]["count"]) == ("events-lost", 15)


def test_lines_that_the_disk_refuses_are_counted(tmp_path: Path) -> None:
    events = Events(str(tmp_path / "absent/events.jsonl"))
    events.record("step")
    assert events.flush(SOON)
    assert events.dropped == 1
    (tmp_path / "absent").mkdir()
    events.record("step")
    assert events.flush(SOON)
    last = (tmp_path / "absent/events.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["count"] == 1
    assert events.dropped == 1


def test_an_earlier_agents_lines_are_recalled_before_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"time": 1, "event": "step"}\n{"time": 2, "event": "repair"}\n[1]\nhalf a li')
    events = Events(str(path))
    events.record("fifo")
    events.recall()
    assert [line["event"] for line in events.recent] == ["step", "repair", "fifo"]


def test_a_log_that_nobody_reads_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that hangs: its pipe fills, and then each write to it waits."""
    monkeypatch.setattr(journal, "_WAITING_LINES", 100)
    reading, writing = os.pipe()
    lane = Lane("log", "log")
    stream = LogStream(lane, writing)

    async def story() -> None:
        journal.log_to(stream)
        log = journal.event_log()
        for number in range(2000):
            log.info("transition", number=number, text="x" * 200)

    assert within(SOON, story)
    assert stream.dropped > 0
    os.close(reading)


async def test_the_agent_that_is_built_keeps_to_the_log_that_it_was_given(frozen: Stall, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    lane = Lane("log", "log")
    journal.log_to(LogStream(lane, writing))
    agent, _ = agent_of(alive(standby(said=says(Phase.YIELDING))), tmp_path)
    agent.loop.on_notify(VrrpRole.MASTER)
    assert lane.flush(SOON)
    assert json.loads(os.read(reading, 4096).splitlines()[0])["event"] == "transition"


def test_active_state_is_remembered_although_the_disk_hangs(frozen: Stall, tmp_path: Path) -> None:
    async def story() -> None:
        agent, _ = agent_of(alive(active(said=None)), tmp_path)
        agent.loop.handle(Asked(1, Verb.DRAIN))
        agent.events.record("step")

    assert within(SOON, story)
    assert not frozen.met or all("/run/" not in path for path in frozen.met)
