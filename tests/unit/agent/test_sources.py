"""Readings become events: each daemon may be unresponsive, and the clock may have stood still."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
from pyroute2 import NetlinkError

from natpair.agent import daemons, sources
from natpair.agent.cell import StateCell
from natpair.agent.daemons import Daemons
from natpair.agent.sources import Sources
from natpair.agent.vlan import GatewayProbe
from natpair.core.announcement import Announcement
from natpair.core.events import (
    ArrivalSeen,
    ClientsSeen,
    ConntrackdStarted,
    Event,
    Frozen,
    HealthRead,
    Tick,
    VrrpChanged,
)
from natpair.core.health import Health
from natpair.core.messages import VrrpRole
from natpair.errors import DaemonError
from natpair.system.daemon import Process
from natpair.system.keepalived import VrrpDump
from nodes import active, standby
from samples import gateway

PRIMARY = Announcement(primary=True, med=7)
HAS_ADDRESS = sources.links.has_address


@dataclass
class Outside:
    """Everything that sources look at; names in `unresponsive` do not answer."""

    unresponsive: set[str] = field(default_factory=set)
    role: VrrpRole = VrrpRole.MASTER
    adverts: int = 0
    vip_here: bool = False
    up: bool = True
    incarnation: int = 1
    established: int = 3
    arrived: int = 0
    relayed: int = 0
    unrepaired: tuple[str, ...] = ()
    pid: int | None = None
    dumps: int = 0
    said_by_bird: list[Announcement | None] = field(default_factory=list)
    looked: int = 0
    synced: int = 0
    lines: int = 0
    answered: list[bool] = field(default_factory=list)
    leaks: int = 0

    def _unresponsive(self, name: str) -> None:
        if name in self.unresponsive:
            raise DaemonError(f"{name} does not respond")

    async def dump(self) -> VrrpDump:
        self.dumps += 1
        self._unresponsive("keepalived")
        return VrrpDump(self.role, self.adverts)

    async def plain_sessions(self) -> tuple[str, ...]:
        return ()

    async def reading(self, **_: object) -> tuple[tuple[int, int], Announcement]:
        self._unresponsive("bird")
        return (self.established, 4), PRIMARY

    async def command(self, *_: object, **__: object) -> str:
        self._unresponsive("conntrackd")
        return "cache internal:\ncurrent active connections:\t\t 17\n\nexternal inject: ..."

    def counters(self) -> dict[str, int]:
        known = {"fip_in": self.arrived, "relayed": self.relayed, "sync_in": self.synced}
        return {} if "counters" in self.unresponsive else known

    def counter(self, name: str) -> int:
        return self.counters().get(name, 0)

    async def has_address(self, _: IPv4Address) -> bool:
        return self.vip_here

    async def default_gateway(self, _: str) -> None:
        return None

    # as the FIFO, Keepalived's bindings, the daemons, the reconciler and the VLAN
    def deaf(self, _dump: VrrpDump) -> bool:
        return False

    def keepalived_said(self, answered: bool) -> None:
        self.answered.append(answered)

    def look(self) -> None:
        self.leaks += 1

    def bird_says(self, announcement: Announcement | None) -> None:
        self.said_by_bird.append(announcement)

    def ruleset_ok(self) -> bool:
        return "ruleset" not in self.unresponsive

    def look_at_tracks(self) -> None:
        pass

    def look_again(self) -> None:
        self.looked += 1

    def others(self, health: Health) -> Health:
        return replace(health, unrepaired=self.unrepaired)

    def clients(self) -> tuple[str, ...]:
        return ("192.168.1.101",)

    def refresh(self) -> None:
        pass

    def sees(self) -> int | None:
        return 2


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Outside:
    made = Outside()
    monkeypatch.setattr(sources.keepalived, "dump", made.dump)
    monkeypatch.setattr(daemons.bird, "reading", made.reading)
    monkeypatch.setattr(daemons.bird, "plain_sessions", made.plain_sessions)
    monkeypatch.setattr(daemons.conntrackd, "command", made.command)
    monkeypatch.setattr(daemons.conntrackd, "incarnation", lambda: made.incarnation)
    monkeypatch.setattr(daemons, "listener_of", lambda _: made.pid)
    monkeypatch.setattr(sources.nft, "counters", made.counters)
    monkeypatch.setattr(sources.nft, "counter", made.counter)
    monkeypatch.setattr(sources.links, "has_address", made.has_address)
    monkeypatch.setattr(sources.links, "default_gateway", made.default_gateway)
    monkeypatch.setattr(sources.links, "is_up", lambda _: made.up)
    monkeypatch.setattr(GatewayProbe, "ask", lambda _: "gateway" not in made.unresponsive)
    (tmp_path / "count").write_text("1234\n")
    monkeypatch.setattr(sources, "_FLOWS", str(tmp_path / "count"))
    return made


def made_from(outside: Outside, cell: StateCell | None = None) -> Sources:
    pair = gateway(extra="\n[health]\nprobe_interval_ms = 100\n")
    cell, probe, world = cell or StateCell(active()), GatewayProbe.of(pair, "nat-a"), cast(Any, outside)
    parts = (world, world, world, probe, world, world, world)
    return Sources(pair, "nat-a", cell, *parts, outside.others, asyncio.Event())


async def collect(
    work: Callable[[Callable[[Event], None]], Awaitable[None]], enough: Callable[[list[Event]], object]
) -> list[Event]:
    """Let a task run until what it told is enough."""
    events: list[Event] = []
    running = asyncio.ensure_future(work(events.append))
    try:
        async with asyncio.timeout(5):
            while not enough(events):
                await asyncio.sleep(0.002)
                assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return events


def readings(events: list[Event]) -> list[HealthRead]:
    return [event for event in events if isinstance(event, HealthRead)]


async def test_a_reading_has_everything(outside: Outside) -> None:
    events = await collect(made_from(outside).health, readings)
    health = readings(events)[0].health
    assert health.can_forward
    assert (health.public_up, health.gateway, health.keepalived) == (True, True, True)
    assert health.flows == 1234
    assert ClientsSeen(("192.168.1.101",)) in events


@pytest.mark.parametrize(
    ("unresponsive", "bad"),
    [("ruleset", "ruleset"), ("gateway", "gateway")],
)
async def test_what_does_not_answer_is_bad_and_nothing_else_is(outside: Outside, unresponsive: str, bad: str) -> None:
    outside.unresponsive.add(unresponsive)
    events = await collect(made_from(outside).health, readings)
    health = readings(events)[0].health
    assert not getattr(health, bad)
    good = {"ruleset", "gateway", "private_up", "public_up"} - {bad}
    assert all(getattr(health, name) for name in good)


async def test_what_other_tasks_have_found_is_in_it(outside: Outside) -> None:
    outside.unrepaired = ("ruleset",)
    events = await collect(made_from(outside).health, readings)
    assert readings(events)[0].health.unrepaired == ("ruleset",)


async def test_a_notice_is_read_at_once(outside: Outside) -> None:
    made = made_from(outside)

    def change(events: list[Event]) -> bool:
        seen = readings(events)
        if len(seen) == 1:
            outside.up = False
            made.wake()
        return len(seen) > 1

    events = await collect(made.health, change)
    assert [event.health.private_up for event in readings(events)[:2]] == [True, False]


async def test_a_missing_count_is_none(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_FLOWS", "/nowhere")
    events = await collect(made_from(outside).health, readings)
    assert readings(events)[0].health.flows == 0


# --- the election


async def test_the_role_is_read_back(outside: Outside) -> None:
    outside.role = VrrpRole.BACKUP
    events = await collect(made_from(outside).election, len)
    assert events == [VrrpChanged(VrrpRole.BACKUP)]


@pytest.mark.parametrize(("here", "role"), [(True, VrrpRole.MASTER), (False, VrrpRole.INIT)])
async def test_without_keepalived_the_place_of_the_vip_tells(outside: Outside, here: bool, role: VrrpRole) -> None:
    outside.unresponsive.add("keepalived")
    outside.vip_here = here
    made = made_from(outside)
    assert await made.vrrp_role() is role
    assert not made._facts().keepalived
    outside.unresponsive.clear()
    await made.vrrp_role()
    assert made._facts().keepalived


async def test_a_line_that_came_while_the_dump_was_written_is_the_newer(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_from(outside)

    async def slow() -> VrrpDump:
        outside.dumps += 1
        if outside.dumps == 1:
            outside.lines += 1
            return VrrpDump(VrrpRole.BACKUP, 0)
        return VrrpDump(VrrpRole.MASTER, 0)

    monkeypatch.setattr(sources.keepalived, "dump", slow)
    assert await collect(made.election, len) == [VrrpChanged(VrrpRole.MASTER)]


# --- the clock


class Time:
    """A clock that jumps while somebody sleeps."""

    def __init__(self, outside: Outside, jumps: list[float], adverts_per_second: float) -> None:
        self.now, self.outside, self.jumps, self.rate = 100.0, outside, jumps, adverts_per_second

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if not self.jumps:
            await asyncio.Event().wait()
        gap = max(self.jumps.pop(0), seconds)
        self.now += gap
        self.outside.adverts += int(gap * self.rate)
        await REAL_SLEEP(0)


REAL_SLEEP = asyncio.sleep


@pytest.mark.parametrize(
    ("jumps", "rate", "role", "frozen"),
    [
        ([0.0, 0.0, 0.0], 10.0, VrrpRole.MASTER, 0),
        ([0.0, 30.0, 0.0], 0.0, VrrpRole.MASTER, 1),
        ([0.0, 30.0, 0.0], 10.0, VrrpRole.MASTER, 0),
        ([0.0, 30.0, 0.0], 0.0, VrrpRole.BACKUP, 0),
        ([0.0, 0.5, 0.0], 0.0, VrrpRole.MASTER, 0),
    ],
    ids=["on-time", "machine-slept", "only-the-agent-slept", "backup", "a-short-stumble"],
)
async def test_only_a_machine_that_stood_still_as_a_whole_is_frozen(
    outside: Outside, monkeypatch: pytest.MonkeyPatch, jumps: list[float], rate: float, role: VrrpRole, frozen: int
) -> None:
    """Keepalived's own counter of adverts tells: it runs on when only the agent was stopped."""
    outside.role = role
    clock = Time(outside, list(jumps), rate)
    monkeypatch.setattr(sources.time, "monotonic", clock.monotonic)
    made = made_from(outside)
    await made.vrrp_role()
    spoken: list[float] = []
    monkeypatch.setattr(sources.asyncio, "sleep", clock.sleep)
    events: list[Event] = []
    running = asyncio.ensure_future(made.ticks(events.append, 0.1, lambda: spoken.append(clock.now)))
    for _ in range(50):
        await REAL_SLEEP(0)
    running.cancel()
    assert sum(isinstance(event, Frozen) for event in events) == frozen
    assert sum(isinstance(event, Tick) for event in events) == len(jumps) == len(spoken)


async def test_a_gateway_that_has_not_answered_is_asked_sooner(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(GatewayProbe, "ask", lambda _: asked.append(0) or True)
    monkeypatch.setattr(GatewayProbe, "suspect", property(lambda _: True))
    monkeypatch.setattr(sources, "_SUSPECT_PACE", 0.001)
    running = asyncio.ensure_future(made_from(outside).health(lambda _: None))
    async with asyncio.timeout(1):  # 100 ms is its interval
        while len(asked) < 20:
            await asyncio.sleep(0.001)
    running.cancel()


# --- looks and arrivals


async def test_relaying_that_lasts_adds_up_and_ends(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_COUNTERS_SECONDS", 0.01)
    monkeypatch.setattr(sources, "_FULL_LOOK_EVERY", 1)
    made = made_from(outside)
    running = asyncio.ensure_future(made.looks())
    async with asyncio.timeout(5):
        while made._facts().relaying_seconds < 0.03:
            outside.relayed += 1
            await asyncio.sleep(0.002)
        while made._facts().relaying_seconds > 0:
            await asyncio.sleep(0.002)
    running.cancel()
    assert outside.looked > 3


async def test_the_silence_of_the_sync_is_news_as_soon_as_it_counts(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an active node, too, though less often: it sends the sync, and gets little of it."""
    monkeypatch.setattr(sources, "SYNC_QUIET_SECONDS", 0.3)
    for state, seconds in ((standby(), 0.5), (active(), 0.05)):
        made = made_from(outside, StateCell(state))
        monkeypatch.setattr(sources, "_COUNTERS_SECONDS", seconds)
        running = asyncio.ensure_future(made.looks())
        async with asyncio.timeout(5):
            for _ in range(5):
                outside.synced += 1
                await asyncio.sleep(0.1)
                assert made._facts().sync.quiet_seconds < 0.3
            began = time.monotonic()
            made._wake.clear()
            await made._wake.wait()
        assert 0.15 < time.monotonic() - began < 0.4
        assert made._facts().sync.quiet_seconds > 0.3
        running.cancel()


async def test_the_counters_are_there_from_the_start(outside: Outside) -> None:
    made = made_from(outside)
    running = asyncio.ensure_future(made.looks())
    await asyncio.sleep(0)
    running.cancel()
    assert "relayed" in made.counters


async def test_what_was_relayed_before_the_first_look_is_history(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_COUNTERS_SECONDS", 0.001)
    monkeypatch.setattr(sources, "_FULL_LOOK_EVERY", 1)
    made = made_from(outside)
    outside.relayed = 5000
    running = asyncio.ensure_future(made.looks())
    async with asyncio.timeout(5):
        while outside.looked < 3:
            assert made._facts().relaying_seconds == 0
            await asyncio.sleep(0)
    running.cancel()


async def test_counters_that_cannot_be_read_are_no_baseline(outside: Outside) -> None:
    made = made_from(outside)
    outside.arrived = 100
    outside.unresponsive.add("counters")
    events: list[Event] = []
    running = asyncio.ensure_future(made.arrivals(events.append))
    made.preparing.set()
    await asyncio.sleep(0.05)
    outside.unresponsive.clear()
    await asyncio.sleep(0.05)
    running.cancel()
    assert events == []


async def test_arrivals_are_told_only_while_somebody_waits_for_them(outside: Outside) -> None:
    made = made_from(outside)
    outside.arrived = 100
    events: list[Event] = []
    running = asyncio.ensure_future(made.arrivals(events.append))
    await asyncio.sleep(0.05)
    made.preparing.set()
    await asyncio.sleep(0.05)
    assert events == [], "what came before does not count"
    outside.arrived = 101
    async with asyncio.timeout(5):
        while not events:
            await asyncio.sleep(0.005)
    running.cancel()
    assert events == [ArrivalSeen()]


# --- the VIP


@pytest.mark.parametrize(("holds", "here", "news"), [(True, False, 1), (True, True, 0), (False, False, 0)])
async def test_a_vip_that_goes_away_under_a_node_that_serves_is_news(
    outside: Outside, holds: bool, here: bool, news: int
) -> None:
    made, events = made_from(outside, StateCell(active() if holds else standby())), list[Event]()
    outside.vip_here = here
    running = asyncio.ensure_future(made.vip(events.append))
    made.look_at_vip.set()
    await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert events == [VrrpChanged(VrrpRole.INIT)] * news


@pytest.mark.parametrize("line", [False, True])
async def test_a_vip_that_is_back_without_a_word_is_asked_about_at_once(outside: Outside, line: bool) -> None:
    """Somebody deleted it: Keepalived puts it back, stays MASTER and writes no line."""
    cell, events = StateCell(active()), list[Event]()
    made = made_from(outside, cell)

    def lose_the_role(event: Event) -> None:
        events.append(event)
        cell.put(standby())

    running = asyncio.ensure_future(made.vip(lose_the_role))
    for here in (False, True, True):
        outside.vip_here = here
        made.look_at_vip.set()
        await asyncio.sleep(0.01)
        outside.lines += line
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    lost, back = VrrpChanged(VrrpRole.INIT), VrrpChanged(VrrpRole.MASTER)
    assert events == ([lost] if line else [lost, back]), "a line is the newer news"
    assert outside.dumps == (0 if line else 1)


# --- BIRD and conntrackd


def asks(outside: Outside, killed: list[str] | None = None) -> Daemons:
    return Daemons(outside.said_by_bird.append, [].append if killed is None else killed.append)


async def rounds(made: Daemons, count: int, handle: Callable[[Event], None] = lambda _: None) -> None:
    """Let it ask so many times."""
    for _ in range(count):
        await made.once(handle)
        await asyncio.sleep(0.001)


async def test_only_news_wakes_those_who_check_the_health(outside: Outside) -> None:
    made = asks(outside)
    assert await made.once(lambda _: None), "the first answers are news"
    assert not await made.once(lambda _: None)
    for change in ({"established": 2}, {"unresponsive": {"conntrackd"}}, {"unresponsive": {"bird"}}):
        for name, value in change.items():
            setattr(outside, name, value)
        assert await made.once(lambda _: None), change
        assert not await made.once(lambda _: None), "and only once"


async def test_it_asks_for_ever_and_tells_of_news(outside: Outside) -> None:
    made, woken = asks(outside), asyncio.Event()
    async with asyncio.timeout(5):
        running = asyncio.ensure_future(made.run(lambda _: None, 0.001, woken.set))
        for established in (3, 2, 1):
            outside.established = established
            await woken.wait()
            woken.clear()
            assert made.bgp == (established, 4)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_their_answers_are_kept(outside: Outside) -> None:
    made = asks(outside)
    assert not made.conntrackd, "before it was asked it is not well"
    await rounds(made, 1)
    assert (made.bgp, made.conntrackd, outside.said_by_bird[0]) == ((3, 4), True, PRIMARY)
    assert made.cached == 17


@pytest.mark.parametrize(("unresponsive", "answers"), [("bird", ((0, 4), True)), ("conntrackd", ((3, 4), False))])
async def test_one_that_is_unresponsive_is_bad_and_the_other_is_not(
    outside: Outside, unresponsive: str, answers: tuple[tuple[int, int], bool]
) -> None:
    made = asks(outside)
    await rounds(made, 1)
    outside.unresponsive.add(unresponsive)
    await rounds(made, 1)
    assert (made.bgp, made.conntrackd) == answers
    assert outside.said_by_bird[-1] == (None if unresponsive == "bird" else PRIMARY)


async def test_a_new_conntrackd_is_news_and_one_that_is_away_is_not(outside: Outside) -> None:
    made, events = asks(outside), list[Event]()
    for incarnation in (1, 1, 0, 1, 2, 0, 3):
        outside.incarnation = incarnation
        made._follow_conntrackd(events.append)
    assert events == [ConntrackdStarted()] * 2


@pytest.mark.parametrize("unresponsive", ["bird", "conntrackd"])
async def test_one_that_is_unresponsive_for_too_long_is_killed_once_and_one_that_is_gone_is_not(
    outside: Outside, monkeypatch: pytest.MonkeyPatch, unresponsive: str
) -> None:
    killed = list[str]()
    outside.unresponsive.add(unresponsive)
    made = asks(outside, killed)
    both = (made._bird, made._conntrackd)
    for one in both:
        one.patience = 0.0
    outside.pid = None
    await rounds(made, 3)
    assert killed == [], "nobody listens"
    outside.unresponsive.clear()
    await rounds(made, 1)
    outside.unresponsive.add(unresponsive)
    for one in both:
        one.patience = 600.0
    with sleeper() as listener:
        outside.pid = listener.pid
        await rounds(made, 3)
        assert killed == [], "not yet"
        for one in both:
            one.patience = 0.0
        await rounds(made, 1)
        assert (listener.wait(5), killed) == (-signal.SIGKILL, [unresponsive])


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


class Refuses:
    """A kernel that answers nothing, as its netlink does now and then under load."""

    async def __aenter__(self) -> Refuses:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __getattr__(self, _name: str) -> Callable[..., Any]:
        async def refuse(*_: object, **__: object) -> None:
            raise NetlinkError(4, "Interrupted system call")

        return refuse


@pytest.fixture
def refusing(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.links, "has_address", HAS_ADDRESS)
    monkeypatch.setattr("natpair.system.rtnetlink.AsyncIPRoute", Refuses)
    monkeypatch.setattr(sources, "_VIP_RETRY_SECONDS", 0.01)


@pytest.mark.usefixtures("refusing")
async def test_a_kernel_that_cannot_say_where_the_vip_is_changes_nothing(outside: Outside) -> None:
    made = made_from(outside)
    outside.unresponsive.add("keepalived")
    events: list[Event] = []
    made.look_at_vip.set()
    watching = asyncio.ensure_future(made.vip(events.append))
    assert await made._read_role(events.append)
    await asyncio.sleep(0.05)
    assert events == []
    assert not watching.done()
    watching.cancel()


async def test_a_keepalived_that_does_not_answer_for_too_long_is_ended_once(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, now = list[str](), [100.0]
    with sleeper() as hung:
        monkeypatch.setattr(daemons.keepalived, "running", lambda: Process(hung.pid))
        monkeypatch.setattr(daemons.time, "monotonic", lambda: now[0])
        made = asks(outside, killed)
        for seconds, answered in ((0, False), (5, False), (2, True), (5, False), (9, False)):
            now[0] += seconds
            made.keepalived_said(answered)
        assert killed == [], "an answer begins it anew"
        now[0] += 1
        made.keepalived_said(False)
        assert (hung.wait(5), killed) == (-signal.SIGKILL, ["keepalived"])


async def test_whether_keepalived_answers_is_told_each_time(outside: Outside) -> None:
    made = made_from(outside)
    await made.vrrp_role()
    outside.unresponsive.add("keepalived")
    await made.vrrp_role()
    assert outside.answered == [True, False]


@pytest.mark.parametrize(
    ("late", "questions", "killed"), [(0.0, 4, True), (5.0, 3, False)], ids=["in time", "late ourselves"]
)
def test_the_time_by_which_we_were_late_is_no_silence(
    monkeypatch: pytest.MonkeyPatch, late: float, questions: int, killed: bool
) -> None:
    """On a slow machine the agent starved its own BIRD and then killed it for its silence."""
    monkeypatch.setattr(daemons, "_listener", lambda _: MagicMock(running=True))
    unresponsive, now, ended = daemons.Unresponsive("socket", 10.0), 0.0, False
    for _ in range(questions):
        asked, now = now, now + unresponsive.answer_seconds + late
        ended |= unresponsive.silent(now, asked)
    assert now >= unresponsive.patience
    assert ended is killed


def test_of_one_that_is_slow_an_answer_is_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "_listener", lambda _: None)
    unresponsive = daemons.Unresponsive("socket", 10.0)
    waited = []
    for n in range(4):
        waited.append(unresponsive.answer_seconds)
        unresponsive.silent(float(n), float(n))
    assert waited == [1.0, 2.0, 4.0, 4.0]
    unresponsive.heard()
    assert unresponsive.answer_seconds == 1.0


async def test_a_gateway_with_another_address_is_found_once_the_old_one_is_suspect(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes: list[IPv4Address | None] = [IPv4Address("203.0.113.1")]

    async def default_gateway(_: str) -> IPv4Address | None:
        return routes[-1]

    monkeypatch.setattr(sources.links, "default_gateway", default_gateway)
    made = made_from(outside)
    await made._ask_gateway()
    assert made._probe.target == routes[0]
    routes += [IPv4Address("203.0.113.254")]
    await made._ask_gateway()
    assert made._probe.target == routes[0], "it answers: nobody looks for another"
    made._probe._misses = 1
    await made._ask_gateway()
    assert made._probe.target == routes[1]
    routes += [None]
    await made._ask_gateway()
    assert made._probe.target == routes[1], "the last one known stays"
