"""Runs the nemesis: injects each fault in a ready lab under traffic, repairs it, and checks the history.

One lab serves many faults as long as it recovers to a ready pair. If it does not, it is built again. The order within
one fault matters: taps open before the traffic and close after it; flows are at least two seconds old at the event; and
they are asked for proof while the fault still lasts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from natpair.errors import LabError, NatpairError
from natpair_lab.chaos import history as histories
from natpair_lab.chaos.checker import check, outage_ms
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import Fault
from natpair_lab.chaos.history import Aftermath, History, Resources
from natpair_lab.chaos.observer import Observer
from natpair_lab.chaos.result import FaultResult, Verdict, reason
from natpair_lab.drill.traffic import Traffic, TrafficRecord
from natpair_lab.drill.witnesses import Witnesses, WitnessRecord
from natpair_lab.testbed.world import Lab

BASELINE_SECONDS = 2.4
WATCH_SECONDS = 3.0
PREPARE_SECONDS = 45.0
_RECOVERED_WITHIN_SECONDS = 10.0
_CALM_SECONDS = 0.3
_PROVE_SECONDS = 10.5

Progress = Callable[[str], None]


@dataclass(slots=True)
class _Marks:
    """The times of one fault, set as they happen."""

    baseline: int = 0
    event: int = 0
    calm: int = 0
    probe: int = 0
    repair: int = 0
    ready: int | None = None
    end: int = 0


def run_fault(lab: Lab, fault: Fault, folder: Path, *, again: str) -> FaultResult:
    """Run one fault in a lab that is up and keep its history in `folder`. LabError if the pair is not ready for it."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        record = _record(lab, fault, folder)
    except NatpairError as error:
        # A fault that could not be injected to its end proves nothing: it counts as failed, with the reason.
        why = f"not completed: {error.message}"
        seconds = round(time.monotonic() - started, 1)
        return FaultResult(
            fault.id,
            fault.name,
            Verdict.FAILED,
            None,
            fault.bound_ms,
            (),
            (),
            why,
            fault.scale,
            seconds,
            str(folder),
            again,
        )
    histories.write(record, folder)
    return verdict_on(record, fault, folder, round(time.monotonic() - started, 1), again)


def verdict_on(record: History, fault: Fault, folder: Path, seconds: float, again: str) -> FaultResult:
    """Check a history. It is worthless if a tap missed packets or the stream never ran."""
    findings, measured = check(record, fault), outage_ms(record)
    why = reason(findings, record.checks, measured, fault.bound_ms)
    blind = f"the taps missed {record.taps.lost} packets" if record.taps.lost else ""
    blind = blind if record.udp.sent_ns else "no echo stream was sent"
    why = "; ".join(words for words in (blind, why) if words)
    return FaultResult(
        id=fault.id,
        name=fault.name,
        verdict=Verdict.FAILED if why else Verdict.PASSED,
        measured_ms=measured,
        bound_ms=fault.bound_ms,
        invariants=findings,
        checks=record.checks,
        reason=why,
        scale=fault.scale,
        seconds=seconds,
        history=str(folder),
        again=again,
    )


def _record(lab: Lab, fault: Fault, folder: Path) -> History:
    servers = [str(address.ip) for address in lab.topology.internet]
    with Observer(lab, folder) as observer:
        active, standby = observer.wait_ready(PREPARE_SECONDS)
        observer.sample()
        before, path = observer.resources(), lab.best_path()
        with Witnesses(lab, folder) as witnesses, Traffic(lab.popen, servers, fault.flows) as traffic:
            context = Context(lab, traffic, active, standby, observer)
            marks = _Marks()
            try:
                _carry_through(context, fault, marks, witnesses)
            finally:
                # Whatever happened: the next fault must find nothing of this one left in the lab.
                context.make_whole()
            ended = _Ended(observer.aftermath(marks.ready), observer.resources())
            marks.end = time.monotonic_ns()
            witnesses.stop()
            observer.close()
            record = traffic.finish()
            seen = witnesses.read()
    return _history(context, fault, active, path, marks, before, ended, record, seen)


@dataclass(frozen=True, slots=True)
class _Ended:
    aftermath: Aftermath
    after: tuple[Resources, ...]


def _carry_through(context: Context, fault: Fault, marks: _Marks, witnesses: Witnesses) -> None:
    context.traffic.wait_open()
    marks.baseline = time.monotonic_ns()
    context.pass_time(BASELINE_SECONDS)
    marks.event = time.monotonic_ns()
    fault.inject(context)
    marks.calm = time.monotonic_ns()
    context.traffic.wait_echoed_after(marks.calm, _RECOVERED_WITHIN_SECONDS)
    context.pass_time(_CALM_SECONDS)
    marks.probe = context.traffic.begin_proof()
    context.traffic.wait_proven(marks.calm / 1e9 + _PROVE_SECONDS)
    context.pass_time(marks.event / 1e9 + WATCH_SECONDS - time.monotonic())
    marks.repair = time.monotonic_ns()
    fault.repair(context)
    context.make_whole()
    witnesses.learn_ports()
    with suppress(LabError):
        context.observer.wait_ready(fault.limits.recover_seconds)
        marks.ready = time.monotonic_ns()
    context.traffic.wait_echoed_after(time.monotonic_ns(), _RECOVERED_WITHIN_SECONDS)
    context.pass_time(_CALM_SECONDS)


def _history(
    context: Context,
    fault: Fault,
    active: str,
    path: tuple[str, ...],
    marks: _Marks,
    before: tuple[Resources, ...],
    ended: _Ended,
    traffic: TrafficRecord,
    seen: WitnessRecord,
) -> History:
    gateway, observer = context.lab.gateway, context.observer
    own = (a for node in gateway.node for a in (node.private_address, node.public_address))
    return History(
        fault=fault.key,
        nodes=context.lab.nodes,
        active=active,
        baseline_ns=marks.baseline,
        event_ns=marks.event,
        calm_ns=marks.calm,
        repair_ns=marks.repair,
        probe_ns=marks.probe,
        end_ns=marks.end,
        fips=tuple(str(fip) for fip in gateway.pair.fips),
        own_addresses=frozenset(str(address.ip) for address in own),
        vip_start=observer.vip_start,
        path_start=path,
        udp=traffic.udp,
        aftermath=ended.aftermath,
        flows=traffic.flows,
        connections=traffic.connections,
        taps=replace(seen.taps, lost=seen.taps.lost + observer.lost),
        aliens=observer.aliens(),
        routes=seen.routes,
        neighbours=seen.neighbours,
        vips=observer.vips(),
        offers=tuple(observer.offers),
        dark=context.darkness(marks.end),
        statuses=tuple(observer.statuses),
        before=before,
        after=ended.after,
        checks=tuple(context.checks),
        agents_speak=observer.agents_speak,
        felt_ns=context.felt_ns,
        provider=frozenset({str(context.lab.topology.api.ip)} if context.lab.api() else ()),
    )
