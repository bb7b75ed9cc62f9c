from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from natpair.apply import confirm, generations
from natpair.apply import transaction as module
from natpair.apply.confirm import Unconfirmed
from natpair.apply.reload import Step
from natpair.apply.transaction import Effects, Terms, alone, apply, go_back, make_plan, resume
from natpair.core import paths
from natpair.core.rendered import RenderedFile
from natpair.errors import DaemonError, NoInput, NotReady
from natpair.render.bundle import render_all
from samples import gateway


@dataclass
class Machine:
    """Fake daemons: remember what they were told and what bird.conf said then; refuse on demand."""

    root: Path
    told: list[Step] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    refuse: set[Step] = field(default_factory=set)
    interrupt: Step | None = None
    bad_file: str = ""

    def effects(self) -> Effects:
        return Effects(check=self.check, perform=self.perform, root=self.root)

    def check(self, files: Sequence[RenderedFile], among: Sequence[RenderedFile]) -> None:
        assert set(files) <= set(among)
        self.checked = [file.path for file in files]
        if self.bad_file in self.checked:
            raise DaemonError("checked bad")

    def perform(self, step: Step) -> None:
        self.told.append(step)
        if step is self.interrupt:
            self.interrupt = None
            raise KeyboardInterrupt
        if step in self.refuse:
            raise DaemonError(f"{step} refuses")

    def kept(self, path: Path) -> bool:
        return path.is_relative_to(self.effects().place(paths.GENERATIONS))

    def snapshot(self) -> dict[str, str]:
        """What stands in the places the daemons read."""
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in self.root.rglob("*")
            if path.is_file() and ".natpair-" not in path.name and path.suffix != ".lock" and not self.kept(path)
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
    assert machine.checked == CHANGED


def test_a_plan_changes_nothing(machine: Machine) -> None:
    plan = make_plan(FAST, machine.effects())
    assert len(plan.changed) == len(FAST)
    assert machine.snapshot() == {}


def test_a_wrong_mode_is_a_difference(machine: Machine) -> None:
    apply(BALANCED, machine.effects())
    machine.effects().place(paths.BIRD_CONF).chmod(0o666)
    assert [file.path for file in apply(BALANCED, machine.effects()).changed] == [paths.BIRD_CONF]
    assert machine.effects().place(paths.BIRD_CONF).stat().st_mode & 0o777 == 0o644


def test_a_file_checked_bad_stops_it_before_anything(machine: Machine) -> None:
    apply(BALANCED, machine.effects())
    before, machine.bad_file = machine.snapshot(), paths.BIRD_CONF
    machine.told.clear()
    with pytest.raises(DaemonError, match="checked bad"):
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
    assert caught.value.__notes__ == ["during the rollback: keepalived: keepalived refuses"]


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
        def check(self, files: Sequence[RenderedFile], among: Sequence[RenderedFile]) -> None:
            apply(BALANCED, machine.effects())

    with pytest.raises(NotReady, match="another natpair apply"):
        apply(BALANCED, Reentrant(machine.root).effects())


def with_config(bundle: Sequence[RenderedFile], text: str) -> tuple[RenderedFile, ...]:
    return (RenderedFile(paths.CONFIG, text), RenderedFile(paths.APPLIED, text), *bundle)


OLD, NEW = with_config(BALANCED, "old"), with_config(FAST, "new")


def guarded(machine: Machine) -> tuple[Effects, list[str]]:
    guards: list[str] = []
    return replace(machine.effects(), guard=lambda: guards.append("guard")), guards


def kept(machine: Machine) -> list[tuple[int, str, str]]:
    folder = machine.effects().place(paths.GENERATIONS)
    found = [generations.load(number, folder=folder) for number in generations.numbers(folder=folder)]
    return [(one.number, one.why, one.config) for one in found]


class Unsettled:
    """A node that is not as healthy as before."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def done(self) -> None:
        self.calls.append("done")
        raise DaemonError("not as healthy as before")

    def undone(self) -> None:
        self.calls.append("undone")


def test_each_apply_is_a_generation_and_one_can_go_back(machine: Machine) -> None:
    for bundle in (OLD, NEW, NEW):
        apply(bundle, machine.effects())
    assert kept(machine) == [(1, "applied", "old"), (2, "applied", "new")]
    go_back(1, "rolled back to 1", machine.effects())
    assert machine.snapshot() == {file.path.lstrip("/"): file.text for file in OLD}
    assert kept(machine)[-1] == (3, "rolled back to 1", "old")


def test_what_was_there_before_the_first_apply_is_kept_too(machine: Machine) -> None:
    for file in BALANCED:
        place = machine.effects().place(file.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(file.text)
    machine.effects().place(paths.CONFIG).write_text("old")
    apply(NEW, machine.effects())
    assert kept(machine) == [(1, "found in place", "old"), (2, "applied", "new")]


def test_an_edit_in_place_leaves_nothing_that_could_be_gone_back_to(machine: Machine) -> None:
    machine.effects().place(paths.ETC).mkdir(parents=True)
    machine.effects().place(paths.CONFIG).write_text("new")
    apply(NEW, machine.effects())
    assert kept(machine) == [(1, "applied", "new")]


def test_a_file_that_is_ours_no_longer_goes_and_comes_back(machine: Machine) -> None:
    extra = RenderedFile(f"{paths.GENERATED}/extra.conf", "x")
    apply((*OLD, extra), machine.effects())
    assert apply(OLD, machine.effects()).removed == (extra.path,)
    assert not machine.effects().place(extra.path).exists()
    go_back(1, "back", machine.effects())
    assert machine.effects().place(extra.path).read_text() == "x"


def test_a_node_that_does_not_settle_gets_everything_back(machine: Machine) -> None:
    apply(OLD, machine.effects())
    before, settle = machine.snapshot(), Unsettled()
    machine.told.clear()
    with pytest.raises(DaemonError, match="not as healthy"):
        apply(NEW, machine.effects(), settle=settle)
    assert machine.snapshot() == before
    assert settle.calls == ["done", "undone"]
    assert machine.told == [Step.BIRD, Step.KEEPALIVED] * 2
    assert len(kept(machine)) == 1


def test_an_unconfirmed_apply_is_watched_from_before_its_first_change(machine: Machine) -> None:
    apply(OLD, machine.effects())
    effects, guards = guarded(machine)
    note = effects.place(paths.UNCONFIRMED)
    apply(NEW, effects, terms=Terms(confirm_seconds=60))
    found = confirm.read(note)
    assert found is not None
    assert found.back_to == 1
    assert guards == ["guard"]
    # A second one does not make the first the one to go back to.
    apply(OLD, effects, terms=Terms(confirm_seconds=60))
    again = confirm.read(note)
    assert again is not None
    assert again.back_to == 1


def test_a_failed_apply_has_nothing_to_confirm(machine: Machine) -> None:
    apply(OLD, machine.effects())
    effects, _ = guarded(machine)
    machine.refuse = {Step.KEEPALIVED}
    with pytest.raises(DaemonError):
        apply(NEW, effects, terms=Terms(confirm_seconds=60))
    assert confirm.read(effects.place(paths.UNCONFIRMED)) is None


def test_nothing_to_go_back_to_is_said_before_anything_is_touched(machine: Machine) -> None:
    effects, _ = guarded(machine)
    with pytest.raises(NoInput, match="no generation"):
        apply(NEW, effects, terms=Terms(confirm_seconds=60))
    assert machine.snapshot() == {}


def test_resuming_undoes_a_cut_off_apply(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(OLD, machine.effects())
    before = machine.snapshot()
    with monkeypatch.context() as patch:
        patch.setattr(module.Replacement, "rollback", lambda self: None)
        machine.interrupt = Step.BIRD
        with pytest.raises(KeyboardInterrupt):
            apply(NEW, machine.effects())
    assert machine.snapshot() != before
    assert "was undone" in resume(machine.effects())
    assert machine.snapshot() == before
    assert resume(machine.effects()) == ""


def test_resuming_goes_back_when_the_time_is_over_and_has_it_watched_until_then(machine: Machine) -> None:
    apply(OLD, machine.effects())
    effects, guards = guarded(machine)
    apply(NEW, effects, terms=Terms(confirm_seconds=60))
    assert resume(effects) == ""
    assert guards == ["guard", "guard"]
    confirm.write(Unconfirmed(1, 0.0), effects.place(paths.UNCONFIRMED))
    assert "back to generation 1" in resume(effects)
    assert machine.effects().place(paths.APPLIED).read_text() == "old"
    assert confirm.read(effects.place(paths.UNCONFIRMED)) is None


def test_resuming_leaves_an_apply_at_work_alone(machine: Machine) -> None:
    with alone(machine.effects()):
        assert resume(machine.effects()) == ""


def test_a_full_disk_after_the_last_step_undoes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(OLD, machine.effects())
    with monkeypatch.context() as patch:
        patch.setattr(module.generations, "save", lambda *_args, **_more: (_ for _ in ()).throw(OSError(28, "full")))
        apply(NEW, machine.effects())
    assert machine.effects().place(paths.APPLIED).read_text() == "new"
    apply(OLD, machine.effects())
    assert [entry[1:] for entry in kept(machine)] == [("applied", "old"), ("found in place", "new"), ("applied", "old")]
