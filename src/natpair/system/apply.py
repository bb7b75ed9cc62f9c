"""Puts a bundle of files in place and tells the daemons: judged first, whole or not at all.

plan → judge → stage → rename → reload. Whatever goes wrong after the first rename, a daemon's refusal, Ctrl-C or
a power cut, the previous files come back and the daemons are told again; after a kill the next run does it.
"""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from natpair.core import paths
from natpair.core.rendered import RenderedFile
from natpair.errors import NatpairError, NotReady
from natpair.system import judges, reload
from natpair.system.files import Change, Replacement, read_if_there, recover
from natpair.system.reload import Step

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Plan:
    """What an apply would do: the files that differ from what is in place, and who has to be told."""

    changed: tuple[RenderedFile, ...]
    steps: tuple[Step, ...]

    @property
    def empty(self) -> bool:
        """Whether everything is in place already."""
        return not self.changed


@dataclass(frozen=True, slots=True)
class Effects:
    """How files are judged and steps performed, and below which folder; tests put fakes here."""

    judge: Callable[[Sequence[RenderedFile], Sequence[RenderedFile]], None]
    perform: Callable[[Step], None]
    root: Path = _ROOT

    def place(self, path: str) -> Path:
        """Where the file called `path` on a node really is."""
        return self.root / path.lstrip("/")


def _judge(files: Sequence[RenderedFile], among: Sequence[RenderedFile]) -> None:
    judges.judge(files, among=among)


REAL = Effects(judge=_judge, perform=reload.perform)


def make_plan(bundle: Sequence[RenderedFile], effects: Effects = REAL) -> Plan:
    """Compare `bundle` with the disk; nothing is changed."""
    changed = tuple(file for file in bundle if _differs(file, effects.place(file.path)))
    return Plan(changed, reload.steps_for({file.path for file in changed}))


def apply(bundle: Sequence[RenderedFile], effects: Effects = REAL) -> Plan:
    """Make the disk and the daemons what `bundle` says; returns what was done.

    DaemonError or CommandFailed if a judge or a daemon refuses, NotReady if another apply is at work; in each
    case everything is as it was before.
    """
    journal = effects.place(paths.APPLY_JOURNAL)
    with _alone(journal):
        _finish_interrupted(journal, effects)
        plan = make_plan(bundle, effects)
        if plan.empty:
            return plan
        effects.judge(plan.changed, bundle)
        changes = tuple(Change(effects.place(f.path), f.text, f.mode) for f in plan.changed)
        _carry_out(Replacement(changes, journal), plan.steps, effects)
        return plan


def _carry_out(replacement: Replacement, steps: Sequence[Step], effects: Effects) -> None:
    try:
        replacement.stage()
        replacement.commit()
        for step in steps:
            effects.perform(step)
        replacement.close()
    except BaseException as error:
        with _undisturbed():
            replacement.rollback()
            _tell_again(steps, effects, error)
        raise


def _tell_again(steps: Sequence[Step], effects: Effects, error: BaseException) -> None:
    """Every step once more, with the previous files; one that fails is noted on `error` and does not stop the rest."""
    for step in steps:
        try:
            effects.perform(step)
        except NatpairError as failed:
            error.add_note(f"after going back to the previous files: {step}: {failed.message}")


def _finish_interrupted(journal: Path, effects: Effects) -> None:
    concerned = recover(journal)
    prefix = str(effects.root).rstrip("/")
    for step in reload.steps_for({str(path).removeprefix(prefix) for path in concerned}):
        effects.perform(step)


def _differs(file: RenderedFile, place: Path) -> bool:
    if read_if_there(place) != file.text:
        return True
    return place.stat().st_mode & 0o7777 != file.mode


@contextmanager
def _alone(journal: Path) -> Iterator[None]:
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NotReady("another natpair apply is at work", cure="wait until it has ended") from error
        yield


@contextmanager
def _undisturbed() -> Iterator[None]:
    # A second Ctrl-C must not stop half-way what undoes the first.
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
