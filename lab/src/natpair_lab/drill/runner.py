"""Runs a drill: finds or builds a lab, repeats the event under traffic, and has the records checked.

The order inside a run matters. The taps open before the traffic and close before it ends. The flows are at least
`BASELINE_SECONDS` old at the event. Nothing is computed while something is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from natpair.core.model import Profile
from natpair.errors import LabError
from natpair_lab.drill.analysis import analyse, summarise
from natpair_lab.drill.bounds import check
from natpair_lab.drill.kinds import KINDS, READY_SECONDS, Conditions, Kind, KindName, Side
from natpair_lab.drill.machine import load, this_machine
from natpair_lab.drill.records import Observed, RunData
from natpair_lab.drill.result import Report, RunResult
from natpair_lab.drill.stage import Durations, Injection, Stage, active_node
from natpair_lab.drill.traffic import FLOW_CLIENT, MAX_FLOWS, Traffic, TrafficRecord, more_addresses, shared_out
from natpair_lab.drill.witnesses import Witnesses, WitnessRecord
from natpair_lab.testbed import netns
from natpair_lab.testbed.fabric import Knobs
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import DEFAULT_NAME, Lab

BASELINE_SECONDS = 5.2
"""Undisturbed time before each event. 5 s are promised; slightly more makes sure of them."""

RECOVERED_WITHIN_SECONDS = 9.0
PATIENT_SECONDS = 60.0
"""How long a drill waits for the stream to work again: normally, and with a patient kind."""

_CALM_SECONDS = 0.3
_PROVE_WITHIN_SECONDS = 10.0
_PATIENT_PROOF_SECONDS = 30.0
_ASKED_WITHIN_SECONDS = 5.0
_FELT_WITHIN_NS = 1_000_000_000
_PROVE_MARGIN_SECONDS = 0.5
_ROLE_SECONDS = 10.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line."""

    kind: KindName
    runs: int = 1
    flows: int = 100
    profile: Profile | None = None
    config: Path | None = None
    name: str = DEFAULT_NAME
    fabric: Knobs | None = None
    baseline_seconds: float = BASELINE_SECONDS
    durations: Durations = field(default_factory=Durations)


@dataclass(frozen=True, slots=True)
class _Marks:
    """The times of a run that the runner itself sets."""

    baseline_from_ns: int
    probe_ns: int
    answer_by_ns: int
    end_ns: int


def drill(options: Options, progress: Progress, *, kind: Kind | None = None) -> Report:
    """Run the whole drill and return its report. LabError if the lab or the pair fails before a run can be measured.

    `kind` replaces the kind of the table, for a drill of your own or one that is broken on purpose to see a bound fail.
    """
    _check(options)
    with a_lab(options, progress) as lab:
        return drill_in(lab, options, progress, kind=kind)


def drill_in(lab: Lab, options: Options, progress: Progress, *, kind: Kind | None = None) -> Report:
    """Run the drill in a lab that is up; the parts of `options` about building one are ignored."""
    chosen = kind or KINDS[options.kind]
    started = time.monotonic()
    with _fabric(lab, options):
        results, real_time = _all_runs(lab, chosen, options, progress)
        return _report(lab, chosen, options, results, real_time, time.monotonic() - started)


def _check(options: Options) -> None:
    if options.runs < 1:
        raise LabError("a drill needs at least one run", fix="--runs 1 or more")
    if not 1 <= options.flows <= MAX_FLOWS:
        raise LabError(f"{options.flows} flows are not possible", fix=f"--flows 1 to {MAX_FLOWS}")


@contextmanager
def a_lab(options: Options, progress: Progress) -> Iterator[Lab]:
    """The running lab of that name, or one that is built now and always removed afterwards."""
    if (netns.LABS / options.name).exists():
        lab = Lab.attach(options.name)
        _fits(lab, options)
        progress(f"using the lab {options.name} that is up")
        yield lab
        return
    lab = Lab.up(options.config, name=options.name, profile=options.profile, progress=progress)
    try:
        yield lab
    finally:
        progress("removing the lab")
        lab.down()


def _fits(lab: Lab, options: Options) -> None:
    fix = f"natpair lab down --name {lab.name}, or another --name"
    if options.config is not None:
        raise LabError(f"the lab {lab.name} is up already and has a configuration of its own", fix=fix)
    profile = lab.gateway.pair.profile
    if options.profile not in (None, profile):
        raise LabError(f"the lab {lab.name} runs the profile {profile}, not {options.profile}", fix=fix)


@contextmanager
def _fabric(lab: Lab, options: Options) -> Iterator[None]:
    """Set the fabric as the options ask, and restore it afterwards."""
    before = lab.knobs()
    if options.fabric is None or options.fabric == before:
        yield
        return
    lab.fabric(**asdict(options.fabric))
    try:
        yield
    finally:
        lab.fabric(**asdict(before))


def _all_runs(lab: Lab, kind: Kind, options: Options, progress: Progress) -> tuple[list[RunResult], bool]:
    results: list[RunResult] = []
    real_time = True
    for number in range(options.runs):
        progress(f"run {number + 1} of {options.runs}: waiting for one active node and one synced standby")
        active, standby = lab.wait_ready(READY_SECONDS)
        _wait_best_path(lab, active)
        progress(f"run {number + 1} of {options.runs}: {kind.story} ({active} is active)")
        victim = active if kind.hits is Side.ACTIVE else standby
        try:
            if kind.prepare is not None:
                active, victim = kind.prepare(lab, active, standby)
            data, in_real_time = one_run(lab, kind, options, active, victim)
        finally:
            kind.restore(lab, victim)
        real_time = real_time and in_real_time
        results.append(analyse(data))
        progress(f"run {number + 1} of {options.runs}: outage {results[-1].outage_ms:.0f} ms")
    return results, real_time


def _wait_best_path(lab: Lab, active: str) -> None:
    """Wait until the fabric's best path is the active node. A slow or load-sharing fabric may need some time."""
    if lab.knobs().load_share:
        return
    wait_until(
        lambda: lab.best_path() == (active,) or lab.knobs().ignore_med,
        deadline_seconds=READY_SECONDS,
        what=f"the fabric's best path to {active}",
        diagnose=lab.diagnose,
    )


def one_run(lab: Lab, kind: Kind, options: Options, active: str, victim: str) -> tuple[RunData, bool]:
    """Run one event under traffic. Returns everything recorded, and whether the tools had real-time priority."""
    survivor = next(node for node in lab.nodes if node != victim)
    servers = [str(address.ip) for address in lab.topology.internet]
    holders = len(shared_out(options.flows))
    with (
        more_addresses(lab, FLOW_CLIENT, holders if holders > 1 else 0) as sources,
        Witnesses(lab) as witnesses,
        Traffic(lab.popen, servers, options.flows, sources) as traffic,
    ):
        stage = Stage(lab, traffic, victim, survivor, witnesses, options.durations)
        traffic.wait_open()
        baseline_from = time.monotonic_ns()
        stage.pass_time(options.baseline_seconds)
        injection = kind.inject(stage)
        probe = _settle(stage, kind, injection)
        expected = survivor if kind.survivor_serves else victim
        deadline = answer_by(kind, injection, probe, traffic.asking_seconds)
        _prove(stage, kind, injection, deadline)
        after = _active_after(lab, expected)
        end = time.monotonic_ns()
        witnesses.stop()
        record = traffic.finish()
        seen = witnesses.read()
        real_time = traffic.real_time
    marks = _Marks(baseline_from, probe, deadline, end)
    observed = Observed(
        active_before=active,
        active_after=after,
        standby_synced=injection.standby_synced,
        repaired_ns=injection.repaired_ns,
        rejoined_ns=injection.rejoined_ns,
        moved_back_ns=injection.moved_back_ns,
        refused=injection.refused,
        refusals=injection.refusals,
    )
    return _data(stage, expected, injection, marks, observed, record, seen), real_time


def _settle(stage: Stage, kind: Kind, injection: Injection) -> int:
    """Wait until the stream works again (with a limit) and calms down, then start the proof of the flows."""
    limit, moment = RECOVERED_WITHIN_SECONDS, injection.settled_ns
    if kind.patient:
        # Some events take effect a little later, such as the end of a session.
        limit, moment = PATIENT_SECONDS, moment + _FELT_WITHIN_NS
    stage.traffic.wait_echoed_after(moment, limit - _CALM_SECONDS)
    stage.pass_time(_CALM_SECONDS)
    return stage.traffic.begin_proof()


def answer_by(kind: Kind, injection: Injection, probe_ns: int, asking_seconds: float) -> int:
    """The time by which a flow must have given proof that it lives, in monotonic nanoseconds.

    `asking_seconds` is how long it takes to ask all flows. What exceeds five seconds is added.
    """
    more = max(0.0, asking_seconds - _ASKED_WITHIN_SECONDS)
    if kind.patient:
        # TCP doubles its retransmission interval each time: after 12 s without a path it may only send after 12 more.
        return probe_ns + int((_PATIENT_PROOF_SECONDS + more) * 1e9)
    return max(injection.event_ns, injection.settled_ns) + int((_PROVE_WITHIN_SECONDS + more) * 1e9)


def _prove(stage: Stage, kind: Kind, injection: Injection, answer_by_ns: int) -> None:
    """Wait for the proof of every flow, and at least as long as the kind requires."""
    # Half a second beyond the limit, so that a late answer is recorded as late and not as missing.
    stage.traffic.wait_proven(answer_by_ns / 1e9 + _PROVE_MARGIN_SECONDS)
    stage.pass_time(injection.event_ns / 1e9 + kind.after_seconds - time.monotonic())


def _active_after(lab: Lab, expected: str) -> str | None:
    """The node that is active at the end; the expected node gets some time to report it."""
    deadline = time.monotonic() + _ROLE_SECONDS

    def settled() -> tuple[str | None] | None:
        active = active_node(lab)
        return (active,) if active == expected or time.monotonic() > deadline else None

    return wait_until(settled, deadline_seconds=_ROLE_SECONDS * 2, what="an answer of the agents")[0]


def _data(
    stage: Stage,
    expected: str,
    injection: Injection,
    marks: _Marks,
    observed: Observed,
    traffic: TrafficRecord,
    seen: WitnessRecord,
) -> RunData:
    gateway = stage.lab.gateway
    return RunData(
        victim=stage.victim,
        survivor=stage.survivor,
        baseline_from_ns=marks.baseline_from_ns,
        event_ns=injection.event_ns,
        probe_ns=marks.probe_ns,
        answer_by_ns=marks.answer_by_ns,
        end_ns=marks.end_ns,
        observed=observed,
        expected_active=expected,
        # One and a half advertisement intervals: a claim ends when the next advert is overdue.
        advert_hold_ns=gateway.timing.advert_ms * 1_500_000,
        udp=traffic.udp,
        flows=traffic.flows,
        connections=traffic.connections,
        taps=seen.taps,
        routes=seen.routes,
        neighbours=seen.neighbours,
        steps=seen.steps,
        own_addresses=frozenset(
            str(address.ip) for node in gateway.node for address in (node.private_address, node.public_address)
        ),
        cut_ns=injection.cut_ns,
    )


def _report(
    lab: Lab, kind: Kind, options: Options, results: list[RunResult], real_time: bool, seconds: float
) -> Report:
    limits = kind.limits(Conditions(lab.gateway, lab.knobs(), options.durations))
    summary = summarise(results)
    failed = check(limits, results, summary)
    return Report(
        kind=kind.name.value,
        profile=lab.gateway.pair.profile.value,
        fabric=asdict(lab.knobs()),
        bounds=dict(limits),
        held=not failed,
        failed=failed,
        summary=summary,
        runs=tuple(results),
        machine=this_machine(),
        load_1min=load(),
        real_time=real_time,
        seconds=round(seconds, 1),
    )
