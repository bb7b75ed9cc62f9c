"""Puts a bundle of files in place and tells the daemons: judged first, whole or not at all.

plan → judge → stage → rename → reload → settle. Whatever goes wrong after the first rename, a daemon's refusal, health
that does not come back, Ctrl-C or a power cut, the previous files come back and the daemons are told again; after a
kill `resume` does it: the next apply, the next start of the agent, the next boot.
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
    """What an apply would do: the files that differ, those that are ours no longer, and who has to be told."""

    changed: tuple[RenderedFile, ...]
    steps: tuple[Step, ...]
    removed: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether everything is in place already."""
        return not self.changed and not self.removed


@dataclass(frozen=True, slots=True)
class Effects:
    """How files are judged, steps performed and deadlines watched, and below which folder; tests put fakes here."""

    judge: Callable[[Sequence[RenderedFile], Sequence[RenderedFile]], None]
    perform: Callable[[Step], None]
    root: Path = _ROOT
    guard: Callable[[], None] = confirm.start_guard
    log: Callable[[str], None] = lambda _text: None
    tidy: Callable[[], None] = lambda: None
    add_address: Callable[[str, str], None] = lambda _interface, _address: None

    def place(self, path: str) -> Path:
        """Where the file called `path` on a node really is."""
        return self.root / path.lstrip("/")


class Settle(Protocol):
    """What follows when everybody has been told: is the node as well as before?"""

    def done(self) -> None:
        """The new files are in force. DaemonError brings the previous ones back."""

    def undone(self) -> None:
        """The previous files are in force again."""


class Nothing:
    """Settles at once."""

    def done(self) -> None:
        """Nothing to wait for."""

    def undone(self) -> None:
        """Nothing to undo."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How an apply is to end: the reason that is kept with it, and after how long it goes back unless confirmed.

    `grace_seconds` is what settling may take; the time to confirm counts from its end. `addresses` (interface, address
    with its length) are put on the machine, and taken away again when they are wanted no longer.
    """

    why: str = "applied"
    confirm_seconds: float | None = None
    grace_seconds: float = 0.0
    addresses: tuple[tuple[str, str], ...] = ()


def _judge(files: Sequence[RenderedFile], among: Sequence[RenderedFile]) -> None:
    validation.judge(files, among=among)


def _log(text: str) -> None:
    _append(Path(paths.EVENTS), "apply", text=text)


REAL = Effects(judge=_judge, perform=reload.perform, log=_log, tidy=leftovers.tidy, add_address=leftovers.add_address)
_PLAIN = Terms()
_NOTHING = Nothing()


def make_plan(bundle: Sequence[RenderedFile], effects: Effects = REAL) -> Plan:
    """Compare `bundle` with the disk; nothing is changed."""
    changed = tuple(file for file in bundle if _differs(file, effects.place(file.path)))
    wanted = {file.path for file in bundle}
    known = generations.newest(folder=effects.place(paths.GENERATIONS))
    ours = {file.path for file in known.files} if known else set()
    removed = tuple(sorted(path for path in ours - wanted if effects.place(path).exists()))
    return Plan(changed, reload.steps_for({*(file.path for file in changed), *removed}), removed)


def apply(
    bundle: Sequence[RenderedFile], effects: Effects = REAL, *, terms: Terms = _PLAIN, settle: Settle = _NOTHING
) -> Plan:
    """Make the disk and the daemons what `bundle` says; returns what was done.

    DaemonError or CommandFailed if a judge or a daemon refuses or the node does not settle, NotReady if another apply
    is at work; in each case everything is as it was before.
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
        effects.judge(plan.changed, bundle)
        before = _keep_what_is_there(bundle, effects)
        with _guarded(before, terms, effects):
            changes = tuple(Change(effects.place(f.path), f.text, f.mode) for f in plan.changed)
            gone = tuple(Change(effects.place(path), None) for path in plan.removed)
            _carry_out(Replacement((*changes, *gone), journal), plan.steps, terms, effects, settle)
        # Full disk: what is in force stays so, and the next apply keeps it as found in place.
        with suppress(OSError):
            generations.save(bundle, terms.why, folder=effects.place(paths.GENERATIONS))
        effects.log(f"{terms.why}: {len(plan.changed)} files changed")
        return plan


def resume(effects: Effects = REAL) -> str:
    """Finish what a killed apply left: undo its half, and see that an unconfirmed one still goes back.

    Returns what was done in words, empty if there was nothing to do or an apply is at work right now.
    """
    said: list[str] = []
    note = effects.place(paths.UNCONFIRMED)
    try:
        with alone(effects):
            if _finish_interrupted(effects.place(paths.APPLY_JOURNAL), effects):
                said.append("an apply that was cut off has been undone")
        found = confirm.read(note)
        if found is not None and found.due:
            go_back(found.back_to, f"not confirmed in time: back to {found.back_to}", effects)
            said.append(f"the last apply was not confirmed: back to generation {found.back_to}")
        elif found is not None:
            confirm.write(found.in_this_boot(), note)
            effects.guard()
    except NotReady:
        return ""
    return "; ".join(said)


def resume_cut_off(effects: Effects = REAL) -> bool:
    """Undo the half that a killed apply left; whether there was one. False as well while an apply is at work."""
    with suppress(NotReady), alone(effects):
        return _finish_interrupted(effects.place(paths.APPLY_JOURNAL), effects)
    return False


def go_back(number: int, why: str, effects: Effects = REAL, *, settle: Settle = _NOTHING) -> Plan:
    """Make the node what generation `number` was; nothing is left to confirm then."""
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
        with undisturbed(children=True):  # a second Ctrl-C must not stop half-way what undoes the first
            replacement.rollback()
            for step in steps:
                _once_more(step, partial(effects.perform, step), error)
            settle.undone()
            # Last: an agent that ran with what is undone has ended by now, and puts nothing there any more.
            _once_more("leftovers", effects.tidy, error)
            effects.log(f"an apply was rolled back: {str(error) or type(error).__name__}")
        raise
    # What the new files do not want any more. It is no reason to go back: the next apply tries again.
    with suppress(NatpairError):
        effects.tidy()


def _once_more(name: str, act: Callable[[], None], error: BaseException) -> None:
    """A step with the previous files; a failure is noted on `error` and does not stop the rest."""
    try:
        act()
    except NatpairError as failed:
        error.add_note(f"after going back to the previous files: {name}: {failed.message}")


def _finish_interrupted(journal: Path, effects: Effects) -> bool:
    concerned = recover(journal)
    prefix = str(effects.root).rstrip("/")
    for step in reload.steps_for({str(path).removeprefix(prefix) for path in concerned}):
        effects.perform(step)
    if concerned:
        effects.tidy()
    return bool(concerned)


def _keep_what_is_there(bundle: Sequence[RenderedFile], effects: Effects) -> int | None:
    """The generation in force, kept now if nobody has kept it; None if there is nothing to go back to."""
    folder = effects.place(paths.GENERATIONS)
    known = generations.newest(folder=folder)
    config = read_if_there(effects.place(paths.APPLIED))
    if config is None:
        # Never applied here. A gateway.toml that was edited in place is the new one: the old one is nowhere.
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
    """Have the deadline watched from before the first change until after the last; a failed apply needs none."""
    note = effects.place(paths.UNCONFIRMED)
    if terms.confirm_seconds is None:
        yield
        confirm.clear(note)  # what was unconfirmed is not in force any more
        return
    if before is None:
        raise NoInput("there is no generation to go back to", cure="apply once without --confirm")
    earlier = confirm.read(note)
    # Two unconfirmed ones in a row: back to what was confirmed last, and a failed second leaves the first as it was.
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
    """Hold the lock of this machine's apply; NotReady if another process has it."""
    with lock.alone(effects.place(paths.APPLY_LOCK)):
        yield


def _append(log: Path, event: str, **fields: object) -> None:
    """Add one event of no agent to `log`; where there is no folder for it, or no room, the line is lost."""
    line = json.dumps({"time": time.time(), "node": "", "event": event, "transition": "", **fields})
    with contextlib.suppress(OSError), log.open("a") as file:
        file.write(line + "\n")
