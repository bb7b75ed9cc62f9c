"""The agent's watch on the account, against the real emulator: what it sees, what it repairs, and every way to fail."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from natpair.agent import account
from natpair.agent.account import AccountWatch
from natpair.cloud.watch import look as watch_look
from natpair.cloud.watch.look import LONGEST_PAUSE_SECONDS, Look, pause
from natpair.core.account import Trouble, Work
from natpair.core.events import AccountSeen, Event, RepairEnded
from natpair.errors import ApiError
from natpair.linode.transport import Limits
from natpair_lab.emulator.faults import Kind
from natpair_lab.emulator.tokens import Token as Granted
from unit.linode.fakeapi import FakeApi, raw, running
from watched import LONG, QUICK_PATIENCE, SHORT, TOKEN, Told, WatchedPair, watched_pair

FAULTS = [kind for kind in Kind if kind is not Kind.SCOPE]
THEIRS = "203.0.113.250"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[WatchedPair]:
    async with watched_pair(tmp_path) as made:
        yield made


def watcher(pair: WatchedPair, limits: Limits = LONG, **settings: Any) -> AccountWatch:
    return AccountWatch(pair.gateway(**settings), limits=limits, patience=QUICK_PATIENCE)


async def look(pair: WatchedPair, limits: Limits = LONG) -> AccountSeen:
    told = Told()
    await watcher(pair, limits).once(told.handle, told.record)
    return told.last


class Repairing(Told):
    """Answers a look with the desired to repair, as an active node's core does."""

    def __init__(self, asked: AccountWatch) -> None:
        super().__init__()
        self.asked = asked

    def handle(self, event: Event) -> None:
        super().handle(event)
        if isinstance(event, AccountSeen) and event.lacks:
            self.asked.repair()


# --- what is seen


async def test_a_pair_in_order_lacks_nothing(pair: WatchedPair) -> None:
    assert await look(pair) == AccountSeen((), (), (), ())


async def test_a_share_that_is_gone_is_named_with_its_node(pair: WatchedPair) -> None:
    pair.replace_shares("nat-b")
    (lack,) = (await look(pair)).lacks or ()
    assert (lack.fip, lack.node, lack.why, lack.repairable) == (str(pair.fip), "nat-b", "is not shared to nat-b", True)


async def test_a_fip_that_is_no_longer_ours_is_named_and_cannot_be_repaired(pair: WatchedPair) -> None:
    pair.replace_shares("nat-b")
    del pair.emulator.api.store.addresses[pair.fip]
    (lack,) = (await look(pair)).lacks or ()
    assert (lack.node, lack.repairable) == ("", False)
    assert "not an address of this account" in lack.why


@pytest.mark.parametrize(
    ("fields", "begins_in"),
    [
        ({"when": 3600}, 3600.0),
        ({"when": 3600, "not_before": 600}, 600.0),
        ({"when": 3600, "status": "pending"}, 3600.0),
        ({"when": 3600, "status": "in-progress"}, None),
        ({"when": 3600, "status": "a-new-word"}, None),
    ],
    ids=["scheduled", "not-before", "pending", "in-progress", "unknown"],
)
async def test_maintenance_is_told_with_its_moment(
    pair: WatchedPair, fields: dict[str, Any], begins_in: float | None
) -> None:
    pair.maintenance("nat-a", type="live_migration", **fields)
    before = time.monotonic()
    (work,) = (await look(pair)).planned or ()
    assert work.node == "nat-a"
    assert "live_migration" in work.what
    if begins_in is None:
        assert work.begins_at is None, "what nobody understands may begin at once"
    else:
        assert work.begins_at is not None
        assert abs(work.begins_at - before - begins_in) < 3


@pytest.mark.parametrize("status", ["completed", "canceled"])
async def test_maintenance_that_is_over_is_none(pair: WatchedPair, status: str) -> None:
    pair.maintenance("nat-a", status=status)
    assert (await look(pair)).planned == ()


async def test_maintenance_of_others_is_none_of_ours(pair: WatchedPair) -> None:
    other = pair.account.create(label="other", region="us-ord")
    pair.linodes["other"] = other["id"]
    pair.maintenance("other")
    assert (await look(pair)).planned == ()


async def test_the_same_work_has_the_same_key_at_each_look_and_another_moment_another(pair: WatchedPair) -> None:
    pair.maintenance("nat-a", when=3600)
    first, second = [(await look(pair)).planned or () for _ in range(2)]
    assert [work.key for work in first] == [work.key for work in second]
    pair.emulator.control.clear_maintenance(None)  # type: ignore[arg-type]  # takes no fields
    pair.maintenance("nat-a", when=7200)
    assert [work.key for work in (await look(pair)).planned or ()] != [work.key for work in first]


@pytest.mark.parametrize(
    ("action", "status", "counts"),
    [
        ("linode_migrate", "scheduled", True),
        ("host_reboot", "started", True),
        ("linode_migrate", "finished", False),
        ("linode_boot", "started", False),
        ("linode_addip", "scheduled", False),
    ],
)
async def test_events_that_stop_or_move_a_linode_count(
    pair: WatchedPair, action: str, status: str, counts: bool
) -> None:
    store = pair.emulator.api.store
    entity = next(event.entity for event in store.events if event.entity and event.entity.id == pair.linodes["nat-b"])
    number = store.add_event(action, entity, status=status)
    events = (await look(pair)).events
    assert events is not None
    assert [work for work in events if work.key == f"event:{number}"] == (
        [Work("nat-b", f"event:{number}", f"{action} ({status}) at an unknown time", None)] if counts else []
    )


# --- what is repaired


async def test_a_share_is_repaired_and_other_peoples_stay(pair: WatchedPair) -> None:
    other = pair.account.create(label="theirs", region="us-ord")
    theirs = await asyncio.to_thread(pair.new_address, other["id"])
    pair.replace_shares("nat-b", theirs)
    repairing = watcher(pair, repair_shares="true")
    told = Repairing(repairing)
    await repairing.once(told.handle, told.record)
    assert pair.shares("nat-b") == {str(pair.fip), str(theirs)}
    assert told.events[1] == RepairEnded(None)
    assert told.last.lacks == (), "it looked again"
    assert told.lines == [("share-repaired", {"shares": [f"{pair.fip} to nat-b"]})]


async def test_nothing_is_written_unless_the_core_asks(pair: WatchedPair) -> None:
    pair.replace_shares("nat-b")
    await look(pair)
    assert not any(one.method == "POST" for one in pair.emulator.control.served)


@pytest.mark.parametrize("kind", [*FAULTS, Kind.SCOPE])
async def test_a_repair_that_fails_is_told_and_takes_nothing_away(pair: WatchedPair, kind: Kind) -> None:
    other = pair.account.create(label="theirs", region="us-ord")
    theirs = await asyncio.to_thread(pair.new_address, other["id"])
    pair.replace_shares("nat-b", theirs)
    pair.fault(kind=kind, method="POST", path="/networking/ips/share", times=None)
    repairing = watcher(pair, SHORT)
    told = Repairing(repairing)
    await repairing.once(told.handle, told.record)
    (ended,) = [event for event in told.events if isinstance(event, RepairEnded)]
    done = str(pair.fip) in pair.shares("nat-b")
    assert (ended.trouble is None) is done
    assert str(theirs) in pair.shares("nat-b")
    assert [line for line, _ in told.lines] == ["share-repaired" if done else "share-not-repaired"]
    if kind is Kind.SCOPE:
        assert ended.trouble is not None
        assert ended.trouble.refused
        assert "ips:read_write" in ended.trouble.fix


# --- every way to fail


@pytest.mark.parametrize("kind", FAULTS)
async def test_no_fault_of_the_api_holds_it_up_or_passes_unsaid(pair: WatchedPair, kind: Kind) -> None:
    pair.fault(kind=kind, times=None, seconds=30.0)
    told, watching = Told(), watcher(pair, SHORT)
    gaps: list[float] = []
    beating = asyncio.create_task(beats(gaps))
    began = time.monotonic()
    seen = await watching.once(told.handle, told.record)
    took = time.monotonic() - began
    async with asyncio.timeout(5):
        while not gaps:  # an answer can be here sooner than a beat, and a gap is known when it is over
            await asyncio.sleep(0)
    beating.cancel()
    assert took < 5, "a part has its time limit"
    assert max(gaps) < 0.5, "the agent's own loop goes on meanwhile"
    assert (told.last.lacks, told.last.planned, told.last.events) == (None, None, None)
    (trouble,) = told.last.troubles
    assert trouble.why
    assert not trouble.refused
    assert seen is not None
    assert seen.is_pressed
    pair.emulator.control.faults.active.clear()
    await watcher(pair).once(told.handle, told.record)
    assert told.last == AccountSeen((), (), (), ())


async def beats(gaps: list[float]) -> None:
    last = time.monotonic()
    while True:
        await asyncio.sleep(0.01)
        now = time.monotonic()
        gaps.append(now - last)
        last = now


@pytest.mark.parametrize(
    ("path", "left"),
    [("/account/maintenance", "planned"), ("/account/events", "events"), ("/linode/instances/*/ips", "lacks")],
)
async def test_what_fails_for_one_part_leaves_the_others(pair: WatchedPair, path: str, left: str) -> None:
    pair.maintenance("nat-a")
    pair.fault(kind=Kind.HANG, path=path, times=None)
    seen = await look(pair, SHORT)
    unreadable = {name for name in ("lacks", "planned", "events") if getattr(seen, name) is None}
    assert unreadable == {left}
    assert len(seen.troubles) == 1


@pytest.mark.parametrize(
    "answer",
    [
        raw("<html>Sign in to this hotel</html>"),
        raw("[]", content_type="application/json"),
        raw("x" * (SHORT.answer_bytes + 10)),
        raw("<html>bad gateway</html>", status=502),
        raw('{"address": 7}', content_type="application/json"),
        raw("", status=302),
    ],
    ids=["html", "a-list", "huge", "502", "nonsense", "redirect"],
)
async def test_whatever_answers_there_it_is_said(pair: WatchedPair, answer: Any) -> None:
    api = FakeApi()
    first = pair.gateway().node[0].public_address.ip
    api.on("GET", f"/networking/ips/{first}", answer)
    async with running(api):
        pair.url = api.url.removesuffix("/v4")
        seen = await look(pair, SHORT)
    (trouble,) = seen.troubles
    assert trouble.part == "which Linode is which node"
    assert TOKEN not in f"{seen}"


async def test_nobody_there_is_said(pair: WatchedPair) -> None:
    pair.url = "http://127.0.0.1:9"
    (trouble,) = (await look(pair)).troubles
    assert "cannot connect" in trouble.why


async def test_a_node_that_is_not_in_the_account_is_named(pair: WatchedPair) -> None:
    pair.replacements = (*pair.replacements[:2], ('"203.0.113.4/24"', '"203.0.113.99/24"'))
    (trouble,) = (await look(pair)).troubles
    assert "203.0.113.99, the public address of nat-b" in trouble.why
    assert trouble.refused


# --- the token


async def test_a_revoked_token_is_named_with_the_fix(pair: WatchedPair) -> None:
    pair.emulator.api.tokens.set(TOKEN, None)
    (trouble,) = (await look(pair)).troubles
    assert trouble.refused
    assert "Invalid Token" in trouble.why
    assert "make a new token" in trouble.fix


async def test_a_token_without_events_sees_the_rest_and_names_the_scope(pair: WatchedPair) -> None:
    scopes = frozenset({"linodes:read_only", "ips:read_only"})
    pair.emulator.api.tokens.set(TOKEN, Granted(scopes, frozenset()))
    pair.replace_shares("nat-b")
    told = Told()
    seen = await watcher(pair).once(told.handle, told.record)
    assert told.last.lacks
    assert told.last.events is None
    (trouble,) = told.last.troubles
    assert "events:read_only" in trouble.fix
    assert seen is not None
    assert not seen.is_pressed, "shares are looked at as often as before"


@pytest.mark.parametrize("mode", [0o644, 0o640, None])
async def test_a_token_file_that_others_may_read_or_that_is_not_there(pair: WatchedPair, mode: int | None) -> None:
    if mode is None:
        pair.token_file.unlink()
    else:
        pair.token_file.chmod(mode)
    (trouble,) = (await look(pair)).troubles
    assert (trouble.part, trouble.refused) == ("token", True)
    assert str(pair.token_file) in trouble.why
    assert trouble.fix
    assert TOKEN not in f"{trouble}"


async def test_the_environment_is_no_place_for_an_agents_token(
    pair: WatchedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINODE_TOKEN", TOKEN)
    pair.token_file.unlink()
    assert (await look(pair)).lacks is None


async def test_a_token_is_exchanged_without_a_restart(pair: WatchedPair) -> None:
    told, watching = Told(), watcher(pair)
    pair.emulator.api.tokens.set(TOKEN, None)
    await watching.once(told.handle, told.record)
    assert told.last.lacks is None
    pair.token_file.write_text("another-token")
    await watching.once(told.handle, told.record)
    assert told.last.lacks == ()


# --- the pace


def test_the_pause_grows_while_it_fails_and_has_a_limit_and_a_jitter() -> None:
    usual = [pause(30.0, failures, 0.0, 0.5) for failures in range(6)]
    assert usual == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    assert pause(30.0, 10_000, 0.0, 0.5) == LONGEST_PAUSE_SECONDS
    assert pause(3600.0, 3, 0.0, 0.5) == 3600.0, "never faster than asked for"
    assert (pause(30.0, 0, 0.0, 0.0), pause(30.0, 0, 0.0, 1.0)) == (27.0, 33.0)
    assert pause(30.0, 1, 500.0, 0.5) == 500.0, "the API's own desired"


def test_what_counts_as_pressed() -> None:
    refused, broken = Trouble("events", "x", refused=True), Trouble("events", "x")
    assert not Look(AccountSeen((), (), (), ())).is_pressed
    assert not Look(AccountSeen((), (), None, (refused,))).is_pressed
    assert Look(AccountSeen((), (), None, (broken,))).is_pressed
    assert not Look(AccountSeen(None, None, None, (refused,))).is_pressed, "who fixes the token should not have to wait"


@pytest.mark.parametrize(
    ("status", "retryable", "refused"),
    [(401, False, True), (500, True, False), (429, True, False), (None, True, False)],
)
def test_what_counts_as_refused(status: int | None, retryable: bool, refused: bool) -> None:
    error = ApiError("x", status, (), retryable=retryable, retry_after_seconds=7.0)
    assert watch_look._trouble("events", error).refused is refused
    assert Look(AccountSeen((), (), None, ()), errors=(error,)).retry_after_seconds == 7.0


async def test_it_goes_on_looking_after_failures(pair: WatchedPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "pause", lambda *_: 0.01)
    pair.fault(kind=Kind.STATUS, times=6)
    told = Told()
    task = asyncio.create_task(watcher(pair).run(told.handle, told.record))
    async with asyncio.timeout(10):
        while not told.events or told.last.lacks is None:
            await asyncio.sleep(0.01)
    task.cancel()
    assert len(told.events) > 1


async def test_the_two_clocks_agree(pair: WatchedPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API names moments on the wall clock, the core reckons on the monotonic one."""
    monkeypatch.setattr(watch_look.time, "monotonic", lambda: 1000.0)
    pair.maintenance("nat-a", when=600)
    (work,) = (await look(pair)).planned or ()
    assert work.begins_at is not None
    assert abs(work.begins_at - 1600.0) < 3


# --- what an agent that does not watch pays


HEAVY = """
import sys, natpair.agent.app
print(*(name for name in sys.modules if name.startswith(('natpair.linode', 'natpair.cloud', 'stamina'))))
"""


def test_an_agent_that_does_not_watch_loads_nothing_of_it() -> None:
    def loaded(more: str) -> list[str]:
        return subprocess.run(
            [sys.executable, "-c", more + HEAVY], capture_output=True, text=True, check=True
        ).stdout.split()

    assert loaded("") == []
    assert "natpair.linode.transport" in loaded("import natpair.agent.account"), "the other case, so that this can fail"
