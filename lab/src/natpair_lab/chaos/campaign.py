"""A campaign: runs chosen faults, all of them, or schedules of two drawn from a seed.

It can resume, and keeps histories.
"""

from __future__ import annotations

import random
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from natpair.errors import LabError, NatpairError, Usage
from natpair_lab.chaos import history as histories
from natpair_lab.chaos import result as results
from natpair_lab.chaos.catalogue import CATALOGUE, row
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import Fault, Invariant, Limits
from natpair_lab.chaos.faults import account
from natpair_lab.chaos.result import SCHEMA, FaultResult, Report, Verdict, count
from natpair_lab.chaos.runner import PREPARE_SECONDS, Progress, run_fault, verdict_on
from natpair_lab.chaos.text import line
from natpair_lab.drill.machine import load, this_machine
from natpair_lab.testbed import netns
from natpair_lab.testbed.topology import Design
from natpair_lab.testbed.world import Lab

PAIRED_BOUND_MS = 120_000.0
"""Two faults at once may take the whole pair down until one is repaired. Everything else must hold."""
_MOST_LATER_SECONDS = 2.0
_CLASSIC_SECONDS = 5.0
_CLASSIC_RECOVER_SECONDS = 5.0
"""The pair recovers within that time, by itself or, where the fault's description says so, by hand."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line."""

    faults: tuple[int, ...] = ()
    everything: bool = False
    campaign: int | None = None
    seed: int = 1
    schedule: int | None = None
    design: str = "natpair"
    name: str = "chaos"
    folder: Path = Path("natpair-chaos")
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to run and check: a fault, or a schedule as a fault of its own."""

    fault: Fault
    again: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """Two faults; the second starts so many seconds after the first has begun to take effect."""

    number: int
    first: int
    second: int
    later_seconds: float


def schedules(total: int, seed: int, ids: tuple[int, ...]) -> tuple[Schedule, ...]:
    """The campaign drawn by a seed from the faults `ids`. The n-th schedule does not depend on `total`."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable draw, not a secret
    drawn = []
    for number in range(1, total + 1):
        first, second = chance.sample(ids, 2)
        drawn.append(Schedule(number, first, second, round(chance.uniform(0, _MOST_LATER_SECONDS), 2)))
    return tuple(drawn)


def pairable() -> tuple[int, ...]:
    """The faults from which a campaign draws."""
    return tuple(n for n, fault in CATALOGUE.items() if not fault.alone and not fault.watched)


def paired(schedule: Schedule) -> Fault:
    """A schedule as one fault: inject the first, wait, inject the second.

    Flows may die, and the outage may last until the repair when both nodes are hit. Leaks, two owners, resets, clashing
    mappings, foreign addresses and a pair that does not recover are never acceptable.
    """
    first, second = row(schedule.first), row(schedule.second)

    def inject(context: Context) -> None:
        first.inject(context)
        context.checks.clear()  # a fault's own checks have bounds that hold for it alone
        context.pass_time(schedule.later_seconds)
        _patiently(second, context)

    def repair(context: Context) -> None:
        for fault in (second, first):
            with suppress(NatpairError):  # the other fault may have removed its node; the context undoes everything
                fault.repair(context)

    kept = (
        Invariant.LEAK,
        Invariant.OWNERS,
        Invariant.RESETS,
        Invariant.UNIQUE,
        Invariant.FIP_ONLY,
        Invariant.RECOVERS,
        Invariant.STATUS,
        Invariant.BOUNDED,
    )
    name = f"{first.name} + {schedule.later_seconds:g} s + {second.name}"
    grace = max(first.limits.fip_grace_ms, second.limits.fip_grace_ms)
    bends = Limits(transitions=8, recover_seconds=90, fip_grace_ms=grace and 20_000)
    key = f"{schedule.first}+{schedule.second}+{schedule.later_seconds:g}"
    return Fault(schedule.number, name, PAIRED_BOUND_MS, inject, repair, kept, bends, pair=key)


def _patiently(fault: Fault, context: Context) -> None:
    """Inject the second fault. If the first removed its target, record it: that is no failure of the pair."""
    left_out = ""
    try:
        fault.inject(context)
    except NatpairError as error:
        left_out = error.message
    context.checks.clear()
    if left_out:
        context.require(f"cut short: {fault.name}", True, left_out)


def jobs(options: Options) -> tuple[Job, ...]:
    """The faults and schedules to run; Usage if the options name none."""
    word = "" if options.design == "natpair" else f" --design {options.design}"
    if options.campaign is not None:
        drawn = schedules(options.campaign, options.seed, pairable())
        command = f"natpair chaos --campaign {options.campaign} --seed {options.seed}{word} --schedule"
        wanted = [s for s in drawn if options.schedule in (None, s.number)]
        if not wanted:
            raise Usage(f"there is no schedule {options.schedule}", fix=f"one of 1 to {options.campaign}")
        return tuple(Job(paired(s), f"{command} {s.number}") for s in wanted)
    ids = tuple(CATALOGUE) if options.everything else options.faults
    if not ids:
        raise Usage("no fault was named", fix="--fault N, --all or --campaign N; natpair chaos --list")
    return tuple(Job(row(n), f"natpair chaos --fault {n}{word}") for n in ids)


def run(options: Options, progress: Progress) -> Report:
    """Run all jobs that have no result yet. The lab is always removed if it was built here."""
    todo = jobs(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    done = {r.again: r for r in results.earlier(options.folder)} if options.resume else {}
    if not options.resume:
        (options.folder / results.FILE).unlink(missing_ok=True)
    started, found = time.monotonic(), []
    with _Labs(options, progress) as labs:
        for number, job in enumerate(todo, start=1):
            known = done.get(job.again)
            if known is None:
                progress(f"{number} of {len(todo)}: {job.fault.name}")
                known = _one(job, labs, options)
                results.append(options.folder, known)
                progress(line(known).strip() + (f": {known.reason}" if known.reason else ""))
            found.append(known)
    return report(options, tuple(found), time.monotonic() - started, labs.profile)


def _one(job: Job, labs: _Labs, options: Options) -> FaultResult:
    fault = job.fault
    if fault.agents and options.design != "natpair":
        why = "it is a fault of natpair's agent, which this design does not have"
        return FaultResult(fault.id, fault.name, Verdict.NOT_POSSIBLE, None, None, reason=why, again=job.again)
    if fault.needs and shutil.which(fault.needs) is None:
        why = f"this machine has no {fault.needs}"
        return FaultResult(fault.id, fault.name, Verdict.NOT_POSSIBLE, None, None, reason=why, again=job.again)
    if fault.watched and not labs.can_watch():
        why = f"no agent of the lab {options.name} watches an account; for another --name, chaos builds one that does"
        return FaultResult(fault.id, fault.name, Verdict.NOT_POSSIBLE, None, None, reason=why, again=job.again)
    if options.design != Design.NATPAIR.value:
        fault = replace(fault, limits=replace(fault.limits, recover_seconds=_CLASSIC_RECOVER_SECONDS))
    kind = "schedule" if options.campaign is not None else "fault"
    return run_fault(labs.ready(watched=fault.watched), fault, options.folder / f"{kind}-{fault.id}", again=job.again)


class _Labs:
    """The lab in use: one as long as it recovers, a new one when it does not."""

    def __init__(self, options: Options, progress: Progress) -> None:
        self._options = options
        self._progress = progress
        self._ours = not (netns.LABS / options.name).exists()
        self._lab: Lab | None = None
        self._watched = False
        self.profile = ""

    def __enter__(self) -> _Labs:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours and self._lab is not None:
            self._progress("removing the lab")
            self._lab.down()

    def ready(self, *, watched: bool) -> Lab:
        """A lab whose pair is ready, with or without an account that its agents watch."""
        self._watched, before = watched, self._watched
        if self._lab is not None and self._ours and watched is not before:
            self._lab.down()
            self._lab = None
        if self._lab is None:
            self._lab = self._new() if self._ours else self._found()
        elif not self._is_ready(self._lab):
            if not self._ours:
                raise LabError(f"the lab {self._lab.name} did not recover", fix=self._lab.diagnose())
            self._progress(f"the pair did not recover ({self._lab.diagnose()}): building a new lab")
            self._lab.down()
            self._lab = self._new()
        self.profile = self._lab.gateway.pair.profile.value
        return self._lab

    def _found(self) -> Lab:
        lab = Lab.attach(self._options.name)
        if lab.design.value != self._options.design:
            raise LabError(f"the lab {lab.name} has the {lab.design} design", fix=f"natpair lab down --name {lab.name}")
        return lab

    def can_watch(self) -> bool:
        """Whether a lab whose agents watch an account is possible: one of ours, or the existing one."""
        return self._ours or account.is_watched(self._found())

    def _new(self) -> Lab:
        if self._watched:
            return account.watched_lab(self._options.folder, self._options.name, self._progress)
        design = Design(self._options.design)
        return Lab.up(None, name=self._options.name, design=design, progress=self._progress)

    def _is_ready(self, lab: Lab) -> bool:
        """The pair is ready and clients get through. A classic pair needs the second check: it repairs no rules."""
        with suppress(LabError):
            lab.wait_ready(PREPARE_SECONDS if self._options.design == Design.NATPAIR.value else _CLASSIC_SECONDS)
            return lab.warm()
        return False


def report(options: Options, found: tuple[FaultResult, ...], seconds: float, profile: str) -> Report:
    """The JSON document of a run."""
    return Report(
        schema=SCHEMA,
        design=options.design,
        profile=profile,
        seed=options.seed if options.campaign is not None else None,
        faults=found,
        passed=count(found, Verdict.PASSED),
        failed=count(found, Verdict.FAILED),
        not_possible=count(found, Verdict.NOT_POSSIBLE),
        seconds=round(seconds, 1),
        machine=this_machine(),
        load_1min=load(),
    )


def again(folder: Path, options: Options) -> Report:
    """Check the history in `folder` again; this needs no lab."""
    record = histories.read(folder)
    first, *rest = record.fault.split("+")
    fault = paired(Schedule(0, int(first), int(rest[0]), float(rest[1]))) if rest else row(int(first))
    found = verdict_on(record, fault, folder, 0.0, "")
    return report(options, (found,), 0.0, "")
