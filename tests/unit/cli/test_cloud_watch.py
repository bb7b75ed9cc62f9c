"""`natpair cloud watch`: what it tells, what it ends with, and whom it asks for a switchover."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from commands import complaints
from natpair.cli.commands import cloud_watch
from natpair.cli.commands.cloud_watch import changes
from natpair.cli.remote import Remote, leave
from natpair.core.account import APART, Account, Lack, Trouble, Work
from natpair.core.account_rules import no_way_out
from natpair.errors import NatpairError
from natpair_lab.emulator.faults import Kind
from nodes import TERMS, active
from watched import TOKEN, WatchedPair, watched_pair

# Stands for ssh and the natpair of a node: one file a node says what it is, a line is kept of what it was asked.
NODE = """\
import json, pathlib, sys
folder, node, *command = sys.argv[1:]
role = pathlib.Path(folder, node).read_text()
with pathlib.Path(folder, "asked").open("a") as file:
    file.write(f"{node} {' '.join(command)}\\n")
if role == "dead":
    sys.exit("no route to host")
if role == "garbled":
    print("Welcome to Debian")
elif command[1] == "status":
    print(json.dumps({"node": node, "role": role.split()[0]}))
elif role == "active unready":
    print(json.dumps({"ok": False, "message": "no switchover: the peer is drained"}))
    sys.exit(75)
else:
    print(json.dumps({"ok": True, "message": "done"}))
"""


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[WatchedPair]:
    async with watched_pair(tmp_path) as made:
        yield made


class Nodes:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "node.py").write_text(NODE)
        self.are(nat_a="active", nat_b="standby")

    def are(self, **roles: str) -> None:
        for name, role in roles.items():
            (self.folder / name.replace("_", "-")).write_text(role)

    @property
    def words(self) -> str:
        return shlex.join([sys.executable, str(self.folder / "node.py"), str(self.folder), "{node}"])

    @property
    def asked(self) -> list[str]:
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path)


def watching(pair: WatchedPair, *, remote: str = "", repair: bool = False) -> cloud_watch.Watching:
    gateway = pair.gateway()
    return cloud_watch.Watching(gateway, Remote(gateway, remote) if remote else None, repair=repair, as_json=True)


def lines(text: str) -> list[tuple[str, str | None]]:
    found = [json.loads(line) for line in text.splitlines()]
    assert [complaint for entry in found for complaint in complaints(entry)] == []
    return [(entry["event"], entry["node"]) for entry in found]


# --- what it tells


async def test_it_tells_what_is_new_and_what_is_over(pair: WatchedPair, capsys: pytest.CaptureFixture[str]) -> None:
    watch = watching(pair)
    assert await watch.once() == 0
    assert capsys.readouterr().out == ""
    pair.replace_shares("nat-b")
    pair.maintenance("nat-a", when=3600)
    assert await watch.once() == 2
    assert lines(capsys.readouterr().out) == [("share-missing", "nat-b"), ("maintenance-ahead", "nat-a")]
    assert await watch.once() == 2
    assert capsys.readouterr().out == "", "told already"
    pair.replace_shares("nat-b", pair.fip)
    assert await watch.once() == 2
    assert lines(capsys.readouterr().out) == [("share-missing-over", "nat-b")]


async def test_what_cannot_be_seen_has_the_exit_code_of_its_error(
    pair: WatchedPair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.emulator.api.tokens.set(TOKEN, None)
    assert await watching(pair).once() == 77
    assert lines(capsys.readouterr().out) == [("account-unreadable", None)]
    assert TOKEN not in capsys.readouterr().out


async def test_it_repairs_shares_if_told_to_and_keeps_other_peoples(
    pair: WatchedPair, capsys: pytest.CaptureFixture[str]
) -> None:
    other = pair.account.create(label="theirs", region="us-ord")
    theirs = await asyncio.to_thread(pair.new_address, other["id"])
    pair.replace_shares("nat-b", theirs)
    assert await watching(pair, repair=True).once() == 0
    assert pair.shares("nat-b") == {str(pair.fip), str(theirs)}
    told = [event for event, _ in lines(capsys.readouterr().out)]
    assert told == ["share-missing", "share-repaired", "share-missing-over"]


async def test_a_repair_that_is_refused_is_told(pair: WatchedPair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.replace_shares("nat-b")
    pair.fault(kind=Kind.SCOPE, method="POST", path="/networking/ips/share", times=None)
    assert await watching(pair, repair=True).once() == 2
    assert ("share-not-repaired", None) in lines(capsys.readouterr().out)


def test_findings_of_everything_at_once() -> None:
    lack = Lack("192.0.2.221", "nat-b", "is not shared to nat-b", repairable=True)
    work = Work("nat-a", "key", "maintenance (reboot)", None)
    trouble = Trouble("events", "list events: no", "give it a right")
    found = Account(lacks=(lack,), planned=(work,), troubles=(trouble,)).findings(["nat-a", "nat-b"])
    lines = [(one.code, one.node, one.text) for one in found]
    assert lines == [
        ("share-missing", "nat-b", "192.0.2.221 is not shared to nat-b"),
        ("maintenance-ahead", "nat-a", "maintenance (reboot)"),
        ("account-unreadable", "", "events: list events: no (give it a right)"),
    ]
    assert changes(lines, lines) == ()
    assert changes((), lines) == tuple(lines)
    assert changes(lines[:1], ()) == (("share-missing-over", *lines[0][1:]),)


async def test_work_that_two_lists_name_is_told_once(pair: WatchedPair, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        pair.maintenance("nat-a", when=3600)
    await watching(pair).once()
    assert lines(capsys.readouterr().out) == [("maintenance-ahead", "nat-a")]


# --- whom it asks


async def test_the_active_node_with_work_due_is_asked_once(
    pair: WatchedPair, nodes: Nodes, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.maintenance("nat-a", when=300)
    watch = watching(pair, remote=nodes.words)
    await watch.once()
    assert nodes.asked == ["nat-a natpair status --json", "nat-a natpair switchover --json"]
    assert ("switchover", "nat-a") in lines(capsys.readouterr().out)
    await watch.once()
    assert len(nodes.asked) == 2, "once for each piece of work"


async def test_a_standby_with_work_is_left_alone(pair: WatchedPair, nodes: Nodes) -> None:
    pair.maintenance("nat-b", when=300)
    await watching(pair, remote=nodes.words).once()
    assert nodes.asked == ["nat-b natpair status --json"]


async def test_work_far_ahead_asks_nobody(pair: WatchedPair, nodes: Nodes) -> None:
    pair.maintenance("nat-a", when=3600)
    await watching(pair, remote=nodes.words).once()
    assert nodes.asked == []


async def test_without_the_option_nobody_is_asked(pair: WatchedPair, nodes: Nodes) -> None:
    pair.maintenance("nat-a", when=300)
    await watching(pair).once()
    assert nodes.asked == []


async def test_two_with_work_the_later_one_gets_the_role_and_keeps_it(pair: WatchedPair, nodes: Nodes) -> None:
    pair.maintenance("nat-a", when=300)
    pair.maintenance("nat-b", when=500)
    watch = watching(pair, remote=nodes.words)
    await watch.once()
    nodes.are(nat_a="standby", nat_b="active")
    await watch.once()
    assert [line for line in nodes.asked if "switchover" in line] == ["nat-a natpair switchover --json"]


@pytest.mark.parametrize(
    ("role", "why"),
    [
        ("active unready", "the peer is drained"),
        ("dead", "no route to host"),
        ("garbled", "does not answer with JSON"),
    ],
)
async def test_a_refusal_is_told_once_and_tried_again(
    pair: WatchedPair, nodes: Nodes, role: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes.are(nat_a=role)
    pair.maintenance("nat-a", when=300)
    watch = watching(pair, remote=nodes.words)
    await watch.once()
    await watch.once()
    out = capsys.readouterr().out
    assert [event for event, _ in lines(out)].count("no-switchover") == 1
    assert why in out
    nodes.are(nat_a="active")
    await watch.once()
    assert ("switchover", "nat-a") in lines(capsys.readouterr().out)


async def test_the_address_stands_in_the_words_of_ssh(pair: WatchedPair, nodes: Nodes) -> None:
    gateway = pair.gateway()
    remote = Remote(gateway, f"{shlex.quote(sys.executable)} -c 'import sys; print(sys.argv[1:])' root@{{address}}")
    with pytest.raises(NatpairError, match=f"root@{gateway.node[0].public_address.ip}"):
        await remote.is_active("nat-a")


@pytest.mark.parametrize(("apart", "goes"), [(APART + 1, True), (APART - 1, False)])
async def test_it_decides_as_an_agent_does(pair: WatchedPair, nodes: Nodes, apart: float, goes: bool) -> None:
    """Work on the peer that begins no later keeps the role where it is, whoever asks."""
    works = (Work("nat-a", "one", "reboot", 10.0), Work("nat-b", "two", "reboot", 10.0 + apart))
    gateway, known = pair.gateway(), Account(planned=works)
    _, told = await leave(known, gateway, Remote(gateway, nodes.words), 0.0)
    state = replace(active(), account=known, terms=replace(TERMS["nat-a"], watch=gateway.watch))
    assert told[0][0] == ("switchover" if goes else "no-switchover")
    assert told[0][2].endswith("is active now" if goes else no_way_out(state, 0.0, ""))
    assert (no_way_out(state, 0.0, "") == "") is goes


async def test_only_one_node_a_look(pair: WatchedPair, nodes: Nodes) -> None:
    """Both claim to be active: whatever that is, the second is not asked on the strength of an old look."""
    nodes.are(nat_a="active", nat_b="active")
    works = (Work("nat-a", "one", "reboot", 10.0), Work("nat-b", "two", "reboot", 500.0))
    gateway = pair.gateway()
    account, told = await leave(Account(planned=works), gateway, Remote(gateway, nodes.words), 0.0)
    assert [event for event, _, _ in told] == ["switchover"]
    assert account == replace(Account(planned=works), handed=("one",))


# --- the command


async def command(pair: WatchedPair, *options: str) -> tuple[int, str, str]:
    file = pair.token_file.with_name("gateway.toml")
    file.write_text(pair.text())
    argv = ["-m", "natpair", "cloud", "watch", str(file), *options]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=pipe, stderr=pipe, env=dict(os.environ))
    out, err = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode is not None
    return child.returncode, out.decode(), err.decode()


async def test_once_for_a_timer_or_a_check(pair: WatchedPair) -> None:
    code, out, err = await command(pair, "--once")
    assert (code, err) == (0, "")
    assert "every FIP is shared to both nodes" in out
    pair.replace_shares("nat-b")
    code, out, _ = await command(pair, "--once")
    assert code == 2
    assert f"share-missing  {pair.fip} is not shared to nat-b" in out


async def test_a_token_that_others_may_read_is_refused(pair: WatchedPair) -> None:
    pair.token_file.chmod(0o644)
    code, out, err = await command(pair, "--once", "--json")
    assert (code, out) == (77, "")
    assert "chmod 600" in err
    assert TOKEN not in err
