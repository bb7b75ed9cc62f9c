"""The reconciler against a machine that keeps state and may refuse: a desired comes true, whatever was before."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natpair.agent import reconciler, repairer
from natpair.agent.contradictions import Contradictions
from natpair.agent.reconciler import Reconciler
from natpair.agent.repairer import Repairs
from natpair.core.announcement import Announcement, announcement_for
from natpair.core.desired import BOOST, Desired, Traffic
from natpair.core.events import Event, TrafficSwitched
from natpair.core.model import BgpPolicy
from natpair.core.paths import TRACK_BOOST, TRACK_HEALTH
from natpair.errors import CommandFailed, DaemonError
from natpair.render.bird import role_file
from natpair.system.nft import Ruleset
from samples import gateway

STANDBY = Announcement(primary=False, med=4294967294)
CLOSED = Desired(Traffic.CLOSED, duplicate=False, fence=False, announcement=STANDBY, eligible=False, boost=0)
LOCAL = Desired(
    Traffic.LOCAL,
    duplicate=True,
    fence=True,
    announcement=announcement_for(active=True, epoch=20, policy=BgpPolicy.NEWEST_WINS),
    eligible=True,
    boost=BOOST,
)
RELAY = replace(CLOSED, traffic=Traffic.RELAY, eligible=True)
wants = st.builds(
    Desired,
    traffic=st.sampled_from(Traffic),
    duplicate=st.booleans(),
    fence=st.booleans(),
    announcement=st.builds(
        announcement_for, active=st.booleans(), epoch=st.integers(1, 50), policy=st.just(BgpPolicy.NEWEST_WINS)
    ),
    eligible=st.booleans(),
    boost=st.sampled_from([0, BOOST]),
    peer_mac=st.sampled_from(["", "02:00:00:00:00:04"]),
)
NO_FORK = BlockingIOError(11, "Resource temporarily unavailable")
_MARK = re.compile(r'comment "natpair (traffic|duplicate|fence|peer)=([a-z0-9:]+)"')


def quiet(*_: object, **__: object) -> None:
    """A log that nobody reads."""


@dataclass
class Machine:
    """Kernel, BIRD and track files. `broken` names what refuses; `log` is what was done, in order."""

    marks: dict[str, str] = field(default_factory=dict)
    routes: bool = False
    role: str = role_file(STANDBY)
    tracks: dict[str, int] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    foreign: str = ""
    pinned: str = ""
    spare: bool = False
    looks: int = 0

    def refuse(self, what: str, error: Exception) -> None:
        if what in self.broken:
            raise error

    async def transact(self, text: str) -> None:
        self.refuse("nft", CommandFailed(["nft"], 1, "no"))
        if not self.spare:
            self.refuse("fork", NO_FORK)
        self.spare = False
        if "delete table" in text:
            self.foreign = ""
        self.marks |= dict(_MARK.findall(text))
        self.log.append("nft")

    async def ready(self) -> None:
        self.refuse("fork", NO_FORK)
        self.spare = True

    async def close(self) -> None:
        self.spare = False

    async def read(self) -> Ruleset | None:
        self.refuse("nft", CommandFailed(["nft"], None, "hangs"))
        self.refuse("fork", NO_FORK)
        self.looks += 1
        self.refuse("look", NO_FORK)
        if len(self.marks) < 4:
            return None
        on = {name: self.marks[name] == "on" for name in ("duplicate", "fence")}
        return Ruleset(
            f"{sorted(self.marks.items())}{self.foreign}", Traffic(self.marks["traffic"]), **on, peer=self.marks["peer"]
        )

    async def announce(self, text: str) -> None:
        self.refuse("bird", DaemonError("unresponsive"))
        self.role = text
        self.log.append("bird")

    async def announced(self) -> Announcement | None:
        self.refuse("bird", DaemonError("unresponsive"))
        med = int(self.role.split("MED = ")[1].split(";")[0])
        return Announcement(primary="(65000,1)" in self.role, med=med or None)

    async def pin(self, _interface: str, _address: IPv4Address, mac: str) -> None:
        self.pinned = mac

    def write_track(self, path: str, value: int) -> bool:
        self.refuse("tracks", OSError(28, "No space left on device"))
        changed = self.tracks.get(path) != value
        self.tracks[path] = value
        return changed


class Routes:
    """In place of `RelayRoutes`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    async def present(self) -> bool:
        return self.machine.routes

    async def add(self) -> None:
        self.machine.refuse("vlan", OSError(100, "Network is down"))
        self.machine.routes = True
        self.machine.log.append("routes")

    async def remove(self) -> None:
        self.machine.routes = False
        self.machine.log.append("no routes")


@dataclass
class Rig:
    """An enforcer at work on a machine."""

    machine: Machine
    enforcer: Reconciler
    steps: list[str]
    switched: list[Event]

    async def desired(self, desired: Desired) -> None:
        self.enforcer.want(desired)
        async with asyncio.timeout(5):
            await self.enforcer.settled.wait()

    def is_as(self, desired: Desired) -> bool:
        on = {True: "on", False: "off"}
        marks = {"traffic": desired.traffic.value, "duplicate": on[desired.duplicate], "fence": on[desired.fence]}
        marks["peer"] = desired.peer_mac or "any"
        return (
            self.machine.marks == marks
            and self.machine.routes == (desired.traffic is Traffic.RELAY)
            and self.machine.role == role_file(desired.announcement)
            and self.machine.tracks == {TRACK_HEALTH: int(desired.eligible), TRACK_BOOST: desired.boost}
        )


def reconciler_of(handle: Callable[[Event], None], record: Callable[..., None]) -> Reconciler:
    stale = Contradictions(gateway().private_network, (), quiet)
    return Reconciler(gateway(), "nat-a", handle, record, Repairs(quiet), stale, asyncio.Event())


@asynccontextmanager
async def at_work(machine: Machine | None = None) -> AsyncIterator[Rig]:
    machine = machine or Machine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconciler.nft, "Loader", lambda: machine)
        patch.setattr(reconciler.nft, "read", machine.read)
        patch.setattr(reconciler.bird, "announce", machine.announce)
        patch.setattr(reconciler.bird, "announced", machine.announced)
        patch.setattr(reconciler.links, "pin_neighbour", machine.pin)
        patch.setattr(reconciler.leftovers, "note_peer", lambda *_: None)
        patch.setattr(reconciler.keepalived, "write_track", machine.write_track)
        patch.setattr(reconciler, "RelayRoutes", lambda *_: Routes(machine))
        patch.setattr(reconciler, "_RETRY_SECONDS", 0.01)
        patch.setattr(reconciler, "_RETRY_LIMIT_SECONDS", 0.02)
        steps, switched = list[str](), list[Event]()

        def record(_event: str, **fields: object) -> None:
            steps.append(str(fields["step"]))

        made = reconciler_of(switched.append, record)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(made.run())
            yield Rig(machine, made, steps, switched)
            running.cancel()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("desired", [CLOSED, LOCAL, RELAY], ids=["closed", "local", "relay"])
async def test_a_desired_comes_true_on_a_fresh_machine_and_is_read_back(desired: Desired) -> None:
    async with at_work() as rig:
        await rig.desired(desired)
        assert rig.is_as(desired)
        assert rig.enforcer.trouble == ""
        assert rig.enforcer.ruleset_ok()
        seen = rig.enforcer.observed
        assert seen.ruleset is not None
        assert (seen.ruleset.traffic, seen.announcement) == (desired.traffic, desired.announcement)
        local = desired.traffic is Traffic.LOCAL
        assert rig.switched[-1] == TrafficSwitched(local=local, duplicate=seen.ruleset.duplicate)


@pytest.mark.parametrize("desired", [CLOSED, LOCAL, RELAY], ids=["closed", "local", "relay"])
async def test_the_same_desired_twice_does_nothing(desired: Desired) -> None:
    async with at_work() as rig:
        await rig.desired(desired)
        done = len(rig.machine.log)
        await rig.desired(replace(desired))
        rig.enforcer.look_again()
        await asyncio.sleep(0.02)
        assert rig.machine.log[done:] == []


async def test_a_peer_that_is_gone_keeps_its_guard_and_loses_its_neighbour_entry() -> None:
    known = replace(LOCAL, peer_mac="02:00:00:00:00:04")
    async with at_work() as rig:
        for desired, pinned in ((known, known.peer_mac), (replace(known, peer_gone=True), ""), (known, known.peer_mac)):
            await rig.desired(desired)
            assert rig.is_as(desired), "VRRP is heard from that card alone"
            assert rig.machine.pinned == pinned


@settings(max_examples=40)
@given(st.lists(wants, min_size=1, max_size=12))
def test_a_random_walk_of_wants_ends_where_it_should(walk: list[Desired]) -> None:
    async def run() -> None:
        async with at_work() as rig:
            for desired in walk:
                await rig.desired(desired)
                assert rig.is_as(desired)

    asyncio.run(run())


async def test_only_the_newest_of_many_wants_counts() -> None:
    async with at_work() as rig:
        for _ in range(50):
            for desired in (LOCAL, RELAY, CLOSED):
                rig.enforcer.want(desired)
        await rig.desired(LOCAL)
        assert rig.is_as(LOCAL)
        assert len(rig.machine.log) < 10


async def test_the_election_hears_of_it_before_anything_takes_time() -> None:
    async with at_work() as rig:
        rig.enforcer.want(LOCAL)
        assert rig.machine.tracks[TRACK_HEALTH] == 1
        assert rig.machine.log == []


async def test_the_relay_route_stands_before_the_ruleset_relays_and_after_it_stopped() -> None:
    async with at_work() as rig:
        await rig.desired(CLOSED)
        rig.machine.log.clear()
        await rig.desired(RELAY)
        assert rig.machine.log == ["routes", "nft"]
        await rig.desired(CLOSED)
        assert rig.machine.log == ["routes", "nft", "nft", "no routes"]


async def test_the_last_word_of_an_agent_takes_its_node_out_of_the_election_and_touches_nothing_else() -> None:
    async with at_work() as rig:
        await rig.desired(RELAY)
        rig.enforcer.stand_aside()
        assert rig.machine.tracks == {TRACK_HEALTH: 0, TRACK_BOOST: RELAY.boost}
        rig.machine.tracks[TRACK_HEALTH] = int(RELAY.eligible)
        assert rig.is_as(RELAY)


@pytest.mark.parametrize("refusing", ["nft", "bird", "tracks"])
async def test_what_is_refused_is_told_and_tried_until_it_works(refusing: str) -> None:
    async with at_work() as rig:
        await rig.desired(RELAY)
        rig.machine.broken.add(refusing)
        rig.enforcer.want(LOCAL)
        await until(lambda: rig.enforcer.trouble)
        rig.machine.broken.clear()
        await until(lambda: rig.is_as(LOCAL) and not rig.enforcer.trouble)


async def test_a_unresponsive_bird_does_not_keep_a_node_from_ceasing_to_serve() -> None:
    async with at_work() as rig:
        await rig.desired(LOCAL)
        rig.machine.broken.add("bird")
        rig.enforcer.want(CLOSED)
        await until(lambda: rig.machine.marks["traffic"] == "closed")
        assert not rig.enforcer.settled.is_set()


async def test_a_vlan_that_is_down_does_not_keep_a_node_from_ceasing_to_serve() -> None:
    async with at_work() as rig:
        await rig.desired(LOCAL)
        rig.machine.broken.add("vlan")
        rig.enforcer.want(RELAY)
        await until(lambda: rig.machine.marks["traffic"] == "relay")
        await until(lambda: rig.enforcer.trouble)
        rig.machine.broken.clear()
        await until(lambda: rig.is_as(RELAY))


async def test_a_strangers_change_is_found_repaired_and_counted() -> None:
    async with at_work() as rig:
        await rig.desired(LOCAL)
        rig.machine.foreign = "an accept in the wrong place"
        rig.enforcer.look_again()
        await until(lambda: not rig.machine.foreign)
        await until(lambda: rig.is_as(LOCAL))
        assert rig.enforcer.foreign_changes == 1
        assert rig.steps.count("repaired") == 2, "once at the start, once for the stranger"


@contextmanager
def apply_at_work(folder: Path) -> Iterator[Callable[[], None]]:
    """An apply in a process of its own; the value kills it."""
    lock = folder / "apply.lock"
    code = (
        "import pathlib, sys, time; from natpair.apply.lock import alone\n"
        "with alone(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    )
    running = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE)
    assert running.stdout is not None

    def kill() -> None:
        running.kill()
        running.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconciler.lock, "_LOCK", lock)
        running.stdout.readline()
        try:
            yield kill
        finally:
            kill()
            running.stdout.close()


async def test_an_apply_s_ruleset_stands_and_a_role_still_changes_meanwhile(tmp_path: Path) -> None:
    with apply_at_work(tmp_path) as kill:
        async with at_work() as rig:
            await rig.desired(RELAY)
            rig.machine.foreign = "the ruleset of the apply"
            rig.enforcer.look_again()
            await rig.desired(LOCAL)
            assert rig.is_as(LOCAL)
            assert rig.machine.foreign, "it is not loaded over"
            assert (rig.enforcer.foreign_changes, rig.steps.count("repaired")) == (0, 1)
            kill()
            rig.enforcer.look_again()
            await asyncio.sleep(0.05)
            assert rig.machine.foreign, "what the apply left is what is in force"
            rig.machine.foreign = "somebody else's"
            rig.enforcer.look_again()
            await until(lambda: not rig.machine.foreign)


async def test_a_dead_apply_lets_nobody_rest(tmp_path: Path) -> None:
    with apply_at_work(tmp_path) as kill:
        kill()
        async with at_work() as rig:
            await rig.desired(LOCAL)
            rig.machine.foreign = "an accept in the wrong place"
            rig.enforcer.look_again()
            await until(lambda: not rig.machine.foreign)


async def test_a_repair_names_the_stranger_and_not_our_own_nft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairer.suspects, "running", lambda: ())
    machine = Machine()
    transact = machine.transact
    async with at_work(machine) as rig:
        repairs = rig.enforcer._repairs

        async def noticed(text: str) -> None:
            await transact(text)
            repairs.authors = ("nft",)  # the kernel's notice of this very load

        monkeypatch.setattr(machine, "transact", noticed)
        await rig.desired(LOCAL)
        machine.foreign, repairs.authors = "an accept in the wrong place", ("firewalld",)
        rig.enforcer.look_again()
        await until(lambda: repairs.latest)
        assert [entry.suspects for entry in repairs.latest] == [("firewalld",)]


async def test_a_flushed_ruleset_comes_back_as_it_was() -> None:
    async with at_work() as rig:
        await rig.desired(LOCAL)
        rig.machine.marks.clear()
        rig.enforcer.look_again()
        await until(lambda: rig.is_as(LOCAL))


@pytest.mark.parametrize("reading", [None, STANDBY])
async def test_a_bird_that_says_otherwise_is_told_again(reading: Announcement | None) -> None:
    async with at_work() as rig:
        await rig.desired(LOCAL)
        rig.machine.role = role_file(STANDBY)
        rig.enforcer.bird_says(reading)
        await until(lambda: rig.is_as(LOCAL))


async def test_a_bird_that_says_the_same_is_left_alone() -> None:
    async with at_work() as rig:
        await rig.desired(LOCAL)
        done = len(rig.machine.log)
        rig.enforcer.bird_says(LOCAL.announcement)
        await asyncio.sleep(0.02)
        assert rig.machine.log[done:] == []


async def test_under_the_policy_without_med_a_reading_without_med_is_the_same() -> None:
    async with at_work() as rig:
        quiet = replace(LOCAL, announcement=Announcement(primary=True, med=None))
        await rig.desired(quiet)
        done = len(rig.machine.log)
        rig.enforcer.look_again()
        await asyncio.sleep(0.02)
        assert rig.machine.log[done:] == []


async def test_the_ruleset_counts_as_good_for_as_long_as_a_repair_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_work() as rig:
        await rig.desired(LOCAL)
        rig.machine.broken.add("nft")
        rig.enforcer.want(CLOSED)
        await until(lambda: rig.enforcer.trouble)
        assert rig.enforcer.ruleset_ok()
        monkeypatch.setattr(reconciler, "_REPAIR_SECONDS", 0.0)
        assert not rig.enforcer.ruleset_ok()


def test_before_the_first_desired_the_ruleset_is_not_known_to_be_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "_REPAIR_SECONDS", 0.0)
    made = reconciler_of(quiet, quiet)
    assert not made.ruleset_ok()
    assert made.trouble == "", "what was not tried yet has not failed"


async def test_what_cannot_be_looked_at_is_loaded_once() -> None:
    async with at_work() as rig:
        await rig.desired(RELAY)
        rig.machine.broken.add("look")
        rig.machine.log.clear()
        rig.enforcer.want(LOCAL)
        looks = rig.machine.looks
        await until(lambda: rig.machine.looks > looks + 4)
        assert rig.machine.log.count("nft") == 1
        rig.machine.broken.clear()
        await rig.desired(LOCAL)
        assert rig.is_as(LOCAL)


@pytest.mark.parametrize("looked", [False, True])
async def test_without_a_fork_the_nft_that_waits_carries_the_change_of_role_out(
    monkeypatch: pytest.MonkeyPatch, looked: bool
) -> None:
    monkeypatch.setattr(reconciler, "_IDLE_SECONDS", 0.01)
    async with at_work() as rig:
        await rig.desired(RELAY)
        await until(lambda: rig.machine.spare)
        rig.machine.broken.add("fork")
        if looked:
            rig.enforcer.look_again()
            await until(lambda: "temporarily" in rig.enforcer.trouble)
        rig.enforcer.want(LOCAL)
        await until(lambda: rig.machine.marks["traffic"] == "local")
        await until(lambda: "temporarily" in rig.enforcer.trouble)
        assert not rig.machine.spare
        rig.machine.broken.clear()
        await rig.desired(replace(LOCAL, duplicate=False))
        assert rig.is_as(replace(LOCAL, duplicate=False))
        assert (rig.enforcer.trouble, rig.enforcer.foreign_changes) == ("", 0)
