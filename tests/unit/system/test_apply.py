from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from natpair.core import paths
from natpair.core.rendered import RenderedFile
from natpair.errors import DaemonError, NotReady
from natpair.render.bundle import render_all
from natpair.system import apply as module
from natpair.system.apply import Effects, apply, make_plan
from natpair.system.reload import Step
from samples import gateway


@dataclass
class Machine:
    """Fake daemons: remember what they were told and what bird.conf said then; refuse on demand."""

    root: Path
    told: list[Step] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)
    refuse: set[Step] = field(default_factory=set)
    interrupt: Step | None = None
    bad_file: str = ""

    def effects(self) -> Effects:
        return Effects(judge=self.judge, perform=self.perform, root=self.root)

    def judge(self, files: Sequence[RenderedFile], among: Sequence[RenderedFile]) -> None:
        assert set(files) <= set(among)
        self.judged = [file.path for file in files]
        if self.bad_file in self.judged:
            raise DaemonError("judged bad")

    def perform(self, step: Step) -> None:
        self.told.append(step)
        if step is self.interrupt:
            self.interrupt = None
            raise KeyboardInterrupt
        if step in self.refuse:
            raise DaemonError(f"{step} refuses")

    def snapshot(self) -> dict[str, str]:
        """What stands in the places the daemons read."""
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in self.root.rglob("*")
            if path.is_file() and ".natpair-" not in path.name and path.suffix != ".lock"
        }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


BALANCED = render_all(gateway(), "nat-a")
FAST = render_all(gateway(('profile = "balanced"', 'profile = "fast"')), "nat-a")
CHANGED = [paths.BIRD_CONF, paths.KEEPALIVED_CONF]


def test_the_first_apply_places_all_and_tells_all(machine: Machine) -> None:
    done = apply(BALANCED, machine.effects())
    assert [file.path for file in done.changed] == [file.path for file in BALANCED]
    assert machine.told == list(Step)
    assert machine.snapshot() == {file.path.lstrip("/"): file.text for file in BALANCED}


def test_the_second_one_does_nothing(machine: Machine) -> None:
    apply(BALANCED, machine.effects())
    machine.told.clear()
    assert apply(BALANCED, machine.effects()).empty
    assert machine.told == []


def test_only_those_concerned_are_told(machine: Machine) -> None:
    apply(BALANCED, machine.effects())
    machine.told.clear()
    done = apply(FAST, machine.effects())
    assert [file.path for file in done.changed] == CHANGED
    assert machine.told == [Step.BIRD, Step.KEEPALIVED]
    assert machine.judged == CHANGED


def test_a_plan_changes_nothing(machine: Machine) -> None:
    plan = make_plan(FAST, machine.effects())
    assert len(plan.changed) == len(FAST)
    assert machine.snapshot() == {}


def test_a_wrong_mode_is_a_difference(machine: Machine) -> None:
    apply(BALANCED, machine.effects())
    machine.effects().place(paths.BIRD_CONF).chmod(0o666)
    assert [file.path for file in apply(BALANCED, machine.effects()).changed] == [paths.BIRD_CONF]
    assert machine.effects().place(paths.BIRD_CONF).stat().st_mode & 0o777 == 0o644


def test_a_file_judged_bad_stops_it_before_anything(machine: Machine) -> None:
    apply(BALANCED, machine.effects())
    before, machine.bad_file = machine.snapshot(), paths.BIRD_CONF
    machine.told.clear()
    with pytest.raises(DaemonError, match="judged bad"):
        apply(FAST, machine.effects())
    assert machine.snapshot() == before
    assert machine.told == []


def test_a_daemon_that_refuses_gets_its_previous_file_back(machine: Machine) -> None:
    apply(BALANCED, machine.effects())
    before = machine.snapshot()
    machine.told.clear()
    machine.refuse = {Step.KEEPALIVED}
    with pytest.raises(DaemonError, match="keepalived refuses") as caught:
        apply(FAST, machine.effects())
    assert machine.snapshot() == before
    assert machine.told == [Step.BIRD, Step.KEEPALIVED] * 2
    assert caught.value.__notes__ == ["after going back to the previous files: keepalived: keepalived refuses"]


@pytest.mark.parametrize("step", [Step.BIRD, Step.KEEPALIVED])
def test_an_interruption_undoes_it(machine: Machine, step: Step) -> None:
    apply(BALANCED, machine.effects())
    before, machine.interrupt = machine.snapshot(), step
    with pytest.raises(KeyboardInterrupt):
        apply(FAST, machine.effects())
    assert machine.snapshot() == before
    assert machine.told[-2:] == [Step.BIRD, Step.KEEPALIVED]


def test_a_first_apply_that_is_refused_leaves_no_file(machine: Machine) -> None:
    machine.refuse = {Step.SYSCTL}
    with pytest.raises(DaemonError):
        apply(BALANCED, machine.effects())
    assert machine.snapshot() == {}


def test_after_a_kill_the_next_run_goes_back_first(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(BALANCED, machine.effects())
    with monkeypatch.context() as patch:
        # A kill: the undoing never runs.
        patch.setattr(module.Replacement, "rollback", lambda self: None)
        machine.interrupt = Step.BIRD
        with pytest.raises(KeyboardInterrupt):
            apply(FAST, machine.effects())
    machine.told.clear()
    assert apply(BALANCED, machine.effects()).empty
    assert machine.told == [Step.BIRD, Step.KEEPALIVED]


def test_two_at_once_are_refused(machine: Machine) -> None:
    class Reentrant(Machine):
        def judge(self, files: Sequence[RenderedFile], among: Sequence[RenderedFile]) -> None:
            apply(BALANCED, machine.effects())

    with pytest.raises(NotReady, match="another natpair apply"):
        apply(BALANCED, Reentrant(machine.root).effects())
