"""The agent sees that an apply ends: somebody goes back when its time is over, and nobody else is about to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from natpair.agent import applies
from natpair.agent.applies import Applies, Seen
from natpair.apply import confirm, lock
from natpair.apply.confirm import Unconfirmed


class Lane:
    """In place of a lane: at once."""

    async def ask(self, _name: str, work: Callable[[], object], _seconds: float | None) -> object:
        return work()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """How often somebody was sent to go back; note, journal and locks lie in `tmp_path`."""
    calls: list[str] = []
    monkeypatch.setattr(confirm, "start_guard", lambda: calls.append("guard"))
    monkeypatch.setattr(confirm.read, "__defaults__", (tmp_path / "unconfirmed",))
    monkeypatch.setattr(confirm.guarded, "__defaults__", (tmp_path / "unconfirmed",))
    monkeypatch.setattr(applies.paths, "APPLY_JOURNAL", str(tmp_path / "apply"))
    monkeypatch.setattr(lock, "_LOCK", tmp_path / "apply.lock")
    return calls


def watcher() -> Applies:
    return Applies(Lane(), lambda *_, **__: None)  # type: ignore[arg-type]


async def looks(made: Applies, number: int) -> None:
    for _ in range(number):
        await made.once()


@pytest.mark.parametrize(("left", "wanted"), [(60.0, []), (-1.0, []), (-9.0, ["guard"])])
async def test_an_overdue_note_that_nobody_waits_for(
    started: list[str], tmp_path: Path, left: float, wanted: list[str]
) -> None:
    confirm.write(Unconfirmed.after(left, 3), tmp_path / "unconfirmed")
    made = watcher()
    await looks(made, 2)
    assert started == wanted
    said = made.status()
    assert said is not None
    assert (said.back_to, said.seconds_left) == (3, pytest.approx(left, abs=2))


async def test_whoever_waits_already_is_left_to_it(started: list[str], tmp_path: Path) -> None:
    note = tmp_path / "unconfirmed"
    confirm.write(Unconfirmed.after(-9.0, 3), note)
    with confirm.only_guard(note):
        await looks(watcher(), 4)
    assert started == []


async def test_a_killed_apply_is_undone_and_one_at_work_left_alone(started: list[str], tmp_path: Path) -> None:
    (tmp_path / "apply").write_text("{}")
    made = watcher()
    with lock.alone(tmp_path / "apply.lock"):
        await looks(made, 3)
        assert started == []
    await looks(made, 2)
    assert started == ["guard"]
    await looks(made, 2)
    assert started == ["guard", "guard"], "again and again until it is done"


async def test_nothing_on_the_disk_is_nothing_to_do(started: list[str]) -> None:
    made = watcher()
    await looks(made, 3)
    assert (started, made.status(), Seen().reason) == ([], None, "")
