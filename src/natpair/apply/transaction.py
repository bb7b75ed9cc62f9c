"""Check and install a set of files and reload the daemons, completely or not at all.

plan → check → stage → rename → reload → settle. If anything fails after the first rename (a daemon's refusal, a node
that does not become healthy, Ctrl-C), the previous files are restored and the daemons reloaded again. After a kill or
a power cut, `resume` does this: at the next apply, the next start of the agent or the next boot.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from natpair.apply import confirm, generations, leftovers, lock, reload, validation
from natpair.apply.confirm import Unconfirmed
from natpair.apply.reload import Step
from natpair.core import paths
from natpair.core.rendered import RenderedFile, digest_of
from natpair.errors import NatpairError, NoInput, NotReady
from natpair.system.files import Change, Replacement, read_if_there, recover
from natpair.system.signals import undisturbed

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Plan:
    """What an apply would do: the files that differ, the files to remove, and what to reload."""

    changed: tuple[RenderedFile, ...]
    steps: tuple[Step, ...]
    removed: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.changed and not self.removed


@dataclass(frozen=True, slots=True)
class Effects:
    """How to check files, perform steps and watch deadlines, and the root folder. Tests replace these with fakes."""

    check: Callable[[Sequence[RenderedFile], Sequence[RenderedFile]], None]
    perform: Callable[[Step], None]
    root: Path = _ROOT
    guard: Callable[[], None] = confirm.start_guard
    log: Callable[[str], None] = lambda _text: None
    tidy: Callable[[], None] = lambda: None
    add_address: Callable[[str, str], None] = lambda _interface, _address: None

    def place(self, path: str) -> Path:
        """The real place of a node's file `path`."""
        return self.root / path.lstrip("/")


class Settle(Protocol):
    """The check after all reloads: is the node as healthy as before?"""

    def done(self) -> None:
        """Called when the new files are in force. If it raises DaemonError, the apply is rolled back."""

    def undone(self) -> None:
        """Called when the previous files are in force again."""


class Nothing:
    """A check that always passes at once."""

    def done(self) -> None:
        """Nothing to wait for."""

    def undone(self) -> None:
        """Nothing to undo."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Options of an apply: the reason saved with the generation, and the time after which it rolls back.

    `grace_seconds` is the longest time for settling; the time to confirm starts after it. `addresses` (interface,
    address with its length) are added to the machine, and removed when they are not wanted any more.
    """

    why: str = "applied"
    confirm_seconds: float | None = None
    grace_seconds: float = 0.0
    addresses: tuple[tuple[str, str], ...] = ()


def _check(files: Sequence[RenderedFile], among: Sequence[RenderedFile]) -> None:
    validation.check(files, among=among)


def _log(text: str) -> None:
    _append(Path(paths.EVENTS), "apply", text=text)


REAL = Effects(check=_check, perform=reload.perform, log=_log, tidy=leftovers.tidy, add_address=leftovers.add_address)
_PLAIN = Terms()
_NOTHING = Nothing()


def make_plan(bundle: Sequence[RenderedFile], effects: Effects = REAL) -> Plan:
    """Compare `bundle` with the disk, without changing anything."""
    changed = tuple(file for file in bundle if _differs(file, effects.place(file.path)))
    wanted = {file.path for file in bundle}
    known = generations.newest(folder=effects.place(paths.GENERATIONS))
    ours = {file.path for file in known.files} if known else set()
    removed = tuple(sorted(path for path in ours - wanted if effects.place(path).exists()))
    return Plan(changed, reload.steps_for({*(file.path for file in changed), *removed}), removed)


def apply(
    bundle: Sequence[RenderedFile], effects: Effects = REAL, *, terms: Terms = _PLAIN, settle: Settle = _NOTHING
) -> Plan:
    """Install `bundle` and reload the daemons. Return what was done.

    Raise DaemonError or CommandFailed if a checker or a daemon refuses a file or if the node does not settle, and
    NotReady if another apply is running. In each case everything is as before.
    """
    journal = effects.place(paths.APPLY_JOURNAL)
    with alone(effects):
        _finish_interrupted(journal, effects)
        plan = make_plan(bundle, effects)
        if plan.empty:
            for interface, address in terms.addresses:
                effects.add_address(interface, address)
            settle.done()
            return plan
        effects.check(plan.changed, bundle)
        before = _keep_what_is_there(bundle, effects)
        with _guarded(before, terms, effects):
            changes = tuple(Change(effects.place(f.path), f.text, f.mode) for f in plan.changed)
            gone = tuple(Change(effects.place(path), None) for path in plan.removed)
            _carry_out(Replacement((*changes, *gone), journal), plan.steps, terms, effects, settle)
        # If the disk is full, the files stay in force, and the next apply saves them as "found in place".
        with suppress(OSError):
            generations.save(bundle, terms.why, folder=effects.place(paths.GENERATIONS))
        effects.log(f"{terms.why}: {'1 file' if len(plan.changed) == 1 else f'{len(plan.changed)} files'} changed")
        return plan


def resume(effects: Effects = REAL) -> str:
    """Undo a killed apply, and make sure that an unconfirmed apply still rolls back.

    Return what was done as text; empty if there was nothing to do or if an apply is running now.
    """
    said: list[str] = []
    note = effects.place(paths.UNCONFIRMED)
    try:
        with alone(effects):
            if _finish_interrupted(effects.place(paths.APPLY_JOURNAL), effects):
                said.append("an interrupted apply was undone")
        found = confirm.read(note)
        if found is not None and found.due:
            go_back(found.back_to, f"not confirmed in time: rolled back to {found.back_to}", effects)
            said.append(f"the last apply was not confirmed: rolled back to generation {found.back_to}")
        elif found is not None:
            confirm.write(found.in_this_boot(), note)
            effects.guard()
    except NotReady:
        return ""
    return "; ".join(said)


def resume_cut_off(effects: Effects = REAL) -> bool:
    """Undo a killed apply. Return whether there was one; also False while an apply is running."""
    with suppress(NotReady), alone(effects):
        return _finish_interrupted(effects.place(paths.APPLY_JOURNAL), effects)
    return False


def go_back(number: int, why: str, effects: Effects = REAL, *, settle: Settle = _NOTHING) -> Plan:
    """Return the node to generation `number`. Nothing is left to confirm then."""
    kept = generations.load(number, folder=effects.place(paths.GENERATIONS))
    plan = apply(kept.bundle, effects, terms=Terms(why=why), settle=settle)
    confirm.clear(effects.place(paths.UNCONFIRMED))
    return plan


def _carry_out(replacement: Replacement, steps: Sequence[Step], terms: Terms, effects: Effects, settle: Settle) -> None:
    try:
        replacement.stage()
        for interface, address in terms.addresses:
            effects.add_address(interface, address)
        replacement.commit()
        for step in steps:
            effects.perform(step)
        settle.done()
        replacement.close()
    except BaseException as error:
        with undisturbed(children=True):  # a second Ctrl-C must not interrupt the rollback
            replacement.rollback()
            for step in steps:
                _once_more(step, partial(effects.perform, step), error)
            settle.undone()
            # Last, because by now the agent with the undone configuration has ended and changes nothing any more.
            _once_more("leftovers", effects.tidy, error)
            effects.log(f"an apply was rolled back: {str(error) or type(error).__name__}")
        raise
    # Remove what the new files do not need any more. A failure is no reason to roll back: the next apply tries again.
    with suppress(NatpairError):
        effects.tidy()


def _once_more(name: str, act: Callable[[], None], error: BaseException) -> None:
    """Perform a step with the previous files. A failure is noted on `error` and does not stop the other steps."""
    try:
        act()
    except NatpairError as failed:
        error.add_note(f"during the rollback: {name}: {failed.message}")


def _finish_interrupted(journal: Path, effects: Effects) -> bool:
    concerned = recover(journal)
    prefix = str(effects.root).rstrip("/")
    for step in reload.steps_for({str(path).removeprefix(prefix) for path in concerned}):
        effects.perform(step)
    if concerned:
        effects.tidy()
    return bool(concerned)


def _keep_what_is_there(bundle: Sequence[RenderedFile], effects: Effects) -> int | None:
    """The number of the generation in force, saved now if it is not yet; None if there is nothing to roll back to."""
    folder = effects.place(paths.GENERATIONS)
    known = generations.newest(folder=folder)
    config = read_if_there(effects.place(paths.APPLIED))
    if config is None:
        # Never applied here. A gateway.toml that was edited in place is the new one; the old one is lost.
        config = read_if_there(effects.place(paths.CONFIG))
        if config is None or config in (file.text for file in bundle):
            return known.number if known else None
    there = [RenderedFile(paths.APPLIED, config)]
    for file in (*bundle, *(known.files if known else ())):
        text = read_if_there(effects.place(file.path))
        if text is not None and file.path not in {paths.CONFIG, *(kept.path for kept in there)}:
            mode = effects.place(file.path).stat().st_mode & 0o7777
            there.append(RenderedFile(file.path, text, mode, file.checker))
    if known is not None and known.digest == digest_of(there):
        return known.number
    return generations.save(there, "found in place", folder=folder).number


@contextmanager
def _guarded(before: int | None, terms: Terms, effects: Effects) -> Iterator[None]:
    """Have the deadline watched from before the first change. A failed apply restores the earlier note."""
    note = effects.place(paths.UNCONFIRMED)
    if terms.confirm_seconds is None:
        yield
        confirm.clear(note)  # the unconfirmed configuration is not in force any more
        return
    if before is None:
        raise NoInput("there is no generation to roll back to", fix="run the first apply without --confirm")
    earlier = confirm.read(note)
    # After two unconfirmed applies, roll back to the last confirmed one. If the second fails, keep the first's note.
    back_to = earlier.back_to if earlier is not None else before
    confirm.write(Unconfirmed.after(terms.grace_seconds + terms.confirm_seconds, back_to), note)
    effects.guard()
    try:
        yield
    except BaseException:
        if earlier is not None:
            confirm.write(earlier, note)
        else:
            confirm.clear(note)
        raise
    confirm.write(Unconfirmed.after(terms.confirm_seconds, back_to), note)


def _differs(file: RenderedFile, place: Path) -> bool:
    if read_if_there(place) != file.text:
        return True
    return place.stat().st_mode & 0o7777 != file.mode


@contextmanager
def alone(effects: Effects = REAL) -> Iterator[None]:
    """Hold the lock of this machine's apply. Raise NotReady if another process has it."""
    with lock.alone(effects.place(paths.APPLY_LOCK)):
        yield


def _append(log: Path, event: str, **fields: object) -> None:
    """Add one event of no agent to `log`; where there is no folder for it, or no room, the line is lost."""
    line = json.dumps({"time": time.time(), "node": "", "event": event, "transition": "", **fields})
    with contextlib.suppress(OSError), log.open("a") as file:
        file.write(line + "\n")
