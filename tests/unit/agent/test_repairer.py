"""The repairer against things that are wrong, refuse to be repaired, or are undone each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from natpair.agent import repairer
from natpair.agent.repairer import RULESET, Repairer, Repairs
from natpair.apply import lock
from natpair.core.model import config_hash
from natpair.core.repair import LIMIT, Wrong
from natpair.drift import suspects
from natpair.drift.items import Files, Finding, Sysctls
from samples import gateway, rendered, text_with


@dataclass
class Log:
    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def __call__(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    def events(self, event: str) -> list[dict[str, object]]:
        return [fields for name, fields in self.lines if name == event]


@dataclass
class Thing:
    """A kind with one thing. `stubborn`: refuses to be repaired; `undone`: somebody undoes it at once."""

    value: int = 0
    stubborn: bool = False
    undone: bool = False
    blind: bool = False
    repaired: int = 0
    noticed: bool = False

    async def findings(self) -> list[Finding]:
        if self.blind:
            raise OSError("cannot look")
        return [Finding(Wrong("thing", str(self.value), "1"), self.repair)] if self.value != 1 else []

    async def repair(self) -> None:
        if self.stubborn:
            raise OSError("refused")
        self.repaired += 1
        self.value = 0 if self.undone else 1


def at_work(*things: Thing) -> tuple[Repairer, Repairs, Log]:
    log = Log()
    repairs = Repairs(log)
    return Repairer(things, repairs), repairs, log


async def test_what_is_wrong_is_put_right_and_told_with_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairer.suspects, "running", lambda: ("dockerd",))
    made, repairs, log = at_work(thing := Thing())
    await made.look()
    assert thing.value == 1
    assert log.events("repair") == [{"thing": "thing", "found": "0", "put": "1", "suspects": ["dockerd"]}]
    assert [entry.thing for entry in repairs.latest] == ["thing"]
    assert made.unrepaired == ()
    await made.look()
    assert len(log.lines) == 1, "a second look finds nothing"


async def test_one_that_cannot_be_looked_at_keeps_no_other_from_being_repaired() -> None:
    made, _, _ = at_work(Thing(blind=True), thing := Thing())
    await made.look()
    assert thing.value == 1


async def test_what_refuses_is_told_once_when_it_stays_and_makes_the_node_unfit() -> None:
    made, _, log = at_work(thing := Thing(stubborn=True))
    await made.look()
    assert made.unrepaired == (), "the first look may have come in the middle of something"
    for _ in range(3):
        await made.look()
    assert made.unrepaired == ("thing",)
    assert len(log.events("repair-not-done")) == 1
    thing.stubborn = False
    await made.look()
    assert (thing.value, made.unrepaired) == (1, ())


async def test_while_an_apply_is_at_work_nothing_is_put_right_and_nothing_held_against_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_LOCK", tmp_path / "lock")
    made, _, log = at_work(thing := Thing())
    with lock.alone(tmp_path / "lock"):
        for _ in range(3):
            await made.look()
    assert (thing.value, made.unrepaired, log.lines) == (0, (), [])
    await made.look()
    assert thing.value == 1


async def test_what_gives_notice_is_not_looked_at_all_the_time_unless_it_was_wrong() -> None:
    made, _, _ = at_work(quiet := Thing(), loud := Thing(noticed=True))
    await made.look(everything=False)
    assert (quiet.value, loud.value) == (1, 0)
    await made.look()
    assert loud.value == 1
    loud.value, loud.stubborn = 0, True
    await made.look()
    loud.stubborn = False
    await made.look(everything=False)
    assert loud.value == 1


async def test_a_fight_ends_after_a_few_rounds() -> None:
    made, _, log = at_work(thing := Thing(undone=True))
    for _ in range(3 * LIMIT):
        await made.look()
    assert thing.repaired == LIMIT
    assert made.unrepaired == ("thing",)
    assert [entry["thing"] for entry in log.events("repair-gave-up")] == ["thing"]


def test_the_kernel_names_who_changed_a_ruleset_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairer.suspects, "running", lambda: ())
    log = Log()
    repairs = Repairs(log)
    repairs.repaired(Wrong(RULESET, "gone", "as rendered"), ("firewalld",))
    repairs.repaired(Wrong("sysctl", "0", "1"))
    assert [entry["suspects"] for entry in log.events("repair")] == [["firewalld"], []]


async def test_a_sysctl_that_the_kernel_refuses_from_the_start_is_not_fought_for(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/forward").write_text("1\n")
    kept = Sysctls("net/forward = 1\n-net/absent = 5\n", root=tmp_path)
    assert await kept.findings() == []
    (tmp_path / "net/forward").write_text("0\n")
    (found,) = await kept.findings()
    assert found.wrong == Wrong("sysctl net/forward", "0", "1")
    assert found.repair is not None
    await found.repair()
    assert (tmp_path / "net/forward").read_text() == "1\n"


async def test_files_are_put_back_told_and_left_alone_while_another_configuration_comes(tmp_path: Path) -> None:
    path, absent = tmp_path / "bird.conf", tmp_path / "unit"
    bundle = [type(rendered("bird.conf"))(str(place), "right\n", 0o640) for place in (path, absent)]
    path.write_text("right\n")
    ours, told = [True], list[str]()
    kept = Files(bundle, lambda: ours[0], told.append)
    assert await kept.findings() == [], "what is not there at the start waits for an apply"
    path.write_text("wrong\n")
    ours[0] = False
    assert await kept.findings() == []
    ours[0] = True
    (found,) = await kept.findings()
    assert found.repair is not None
    await found.repair()
    assert (path.read_text(), path.stat().st_mode & 0o777, told) == ("right\n", 0o640, [str(path)])
    path.write_bytes(b"\xff\xfe no text")
    assert [found.wrong.found for found in await kept.findings()] == ["another text"]


def test_files_are_ours_until_another_gateway_toml_or_an_apply_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, lock_file = tmp_path / "gateway.toml", tmp_path / "apply.lock"
    monkeypatch.setattr(repairer.lock, "_LOCK", lock_file)
    unchanged = repairer._unchanged(config, config_hash(gateway()))
    assert not unchanged(), "no file at all"
    config.write_text("# a comment\n" + text_with())
    assert unchanged()
    config.write_text(text_with(('profile = "balanced"', 'profile = "fast"')))
    assert not unchanged()
    config.write_bytes(b"# m\xfcde\n" + text_with().encode())
    assert not unchanged(), "what cannot be read is somebody else's"
    config.write_text(text_with())
    with lock.alone(lock_file):
        assert not unchanged()
    assert unchanged(), "one that ended or was killed keeps nobody from it"


def test_suspects_are_processes_of_known_names(tmp_path: Path) -> None:
    for pid, name in (("1", "systemd"), ("20", "dockerd"), ("21", "dockerd"), ("self", "nft"), ("30", "firewalld")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "comm").write_text(f"{name}\n")
    (tmp_path / "40").mkdir()
    (tmp_path / "50").mkdir()
    # Cut by the kernel at 15 bytes, in the midst of a character.
    (tmp_path / "50/comm").write_bytes("überwachung-füü".encode()[:15] + b"\n")
    assert suspects.running(tmp_path) == ("dockerd", "firewalld")
