"""The demo: five steps in one lab, three of them measured drills. It reports only what it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from natpair.errors import LabError
from natpair_lab.drill.kinds import KindName
from natpair_lab.drill.result import Report, RunResult
from natpair_lab.drill.runner import Options, Progress, drill_in
from natpair_lab.drill.text import picture
from natpair_lab.drill.traffic import Traffic
from natpair_lab.testbed.picture import draw
from natpair_lab.testbed.report import look
from natpair_lab.testbed.world import Lab

Tell = Callable[[str], None]

_VISITORS = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the final report: the measured value and its limit."""

    what: str
    measured: str
    promised: str
    held: bool


@dataclass(frozen=True, slots=True)
class Narrator:
    """The output of the demo: `tell` prints the text, `progress` shows what is being done."""

    tell: Tell
    progress: Progress
    ascii_only: bool = False

    def chapter(self, number: int, title: str) -> None:
        """Begin a step of the demo."""
        self.tell("")
        self.tell(f"[{number}/5] {title}")
        self.tell("")


def tell_story(lab: Lab, narrator: Narrator) -> tuple[Bar, ...]:
    """Run the demo on a running lab. Return the lines of the final report."""
    active, standby = _who_is_who(lab, narrator)
    _one_address(lab, narrator, active)
    planned = _planned(lab, narrator, active, standby)
    crash = _crash(lab, narrator)
    back = _return(lab, narrator)
    return tuple(bars(planned, crash, back))


def _who_is_who(lab: Lab, narrator: Narrator) -> tuple[str, str]:
    narrator.chapter(1, "Two real NAT nodes on one machine: keepalived, nftables, conntrackd, BIRD, agent")
    active, standby = lab.wait_ready()
    lab.warm()
    for line in draw(lab.topology, {node.name: node.role for node in look(lab).nodes}).splitlines():
        narrator.tell(line)
    narrator.tell("")
    narrator.tell(f"{active} is active: it has the VIP {lab.gateway.pair.vip.ip} and announces the public address.")
    narrator.tell(f"{standby} is standby: it has a copy of every connection and can take over at any time.")
    return active, standby


def _one_address(lab: Lab, narrator: Narrator, active: str) -> None:
    narrator.chapter(2, "Private clients reach the internet through one public address")
    servers = [str(address.ip) for address in lab.topology.internet]
    with Traffic(lab.popen, servers, _VISITORS) as traffic:
        traffic.wait_open()
        record = traffic.finish()
    seen = {flow.address.rpartition(":")[0] for flow in record.flows if flow.address}
    if not seen:
        raise LabError("the clients do not reach the internet host", fix=lab.diagnose())
    count = sum(1 for flow in record.flows if flow.address)
    narrator.tell(f"client-2 opened {count} connections through {active}. The internet host saw them come")
    narrator.tell(f"from {' and '.join(sorted(seen))}, not from a private address.")


def _planned(lab: Lab, narrator: Narrator, active: str, standby: str) -> Report:
    narrator.chapter(3, f"Maintenance: {active} hands over to {standby}, under traffic")
    report = drill_in(lab, Options(KindName.PLANNED), narrator.progress)
    _show(report, narrator)
    return report


def _crash(lab: Lab, narrator: Narrator) -> Report:
    narrator.chapter(4, "Power cut: the active node loses power")
    narrator.tell("Both cables are cut first, then all processes are killed: no daemon can announce its end.")
    report = drill_in(lab, Options(KindName.CRASH), narrator.progress)
    _show(report, narrator)
    run = report.runs[0]
    narrator.tell(f"{run.survivor} took over and announced itself to clients and fabric. {_flows(run)}.")
    return report


def _return(lab: Lab, narrator: Narrator) -> Report:
    narrator.chapter(5, "The failed node returns without an interruption")
    report = drill_in(lab, Options(KindName.RETURN), narrator.progress)
    run = report.runs[0]
    joined = "did not get in sync" if run.rejoined_ms is None else f"was in sync {run.rejoined_ms / 1000:.1f} s later"
    narrator.tell(f"This time {run.victim} lost power, and {run.survivor}, which is back, took over.")
    narrator.tell(f"Then {run.victim} was powered on: it joined as standby and {joined}.")
    narrator.tell(
        f"{run.survivor} stayed active. {run.packets_lost} of {run.packets_sent} packets were lost during the return."
    )
    return report


def _show(report: Report, narrator: Narrator) -> None:
    run = report.runs[0]
    if run.refused:
        narrator.tell(f"the pair refused: {run.refused}")
    narrator.tell("milliseconds after the event:")
    for line in picture(run, ascii_only=narrator.ascii_only):
        narrator.tell(line)
    narrator.tell("")


def _flows(run: RunResult) -> str:
    alive = run.flows_total - run.flows_broken
    same = "the same public address and port" if run.figure("address_changed") == 0 else "ANOTHER public address"
    return f"{alive} of {run.flows_total} connections survived, with {same}"


def bars(planned: Report, crash: Report, back: Report) -> Iterator[Bar]:
    """The final report: every figure with its limit."""
    quiet, hard, returned = planned.runs[0], crash.runs[0], back.runs[0]
    excess, outage = planned.bounds["excess_ms"], crash.bounds["outage_ms"]
    leaked = sum(report.summary.leaked_packets for report in (planned, crash, back))
    resets = sum(report.summary.resets for report in (planned, crash, back))
    yield Bar("switchover: packets lost", f"{quiet.packets_lost} of {quiet.packets_sent}", "0", not quiet.packets_lost)
    yield Bar("switchover: worst gap, above undisturbed", _ms(quiet.excess_ms), _ms(excess), quiet.excess_ms <= excess)
    yield _broken("handover", quiet)
    yield Bar("power cut: outage", _ms(hard.outage_ms), _ms(outage), hard.outage_ms <= outage)
    yield _broken("power cut", hard)
    kept = hard.figure("address_changed") == 0
    yield Bar("power cut: public address and port", hard.address_after or "none", hard.address_before, kept)
    synced = bool(returned.standby_synced) and not returned.wrong_active
    yield Bar("return: joins as standby, in sync", "yes" if synced else "no", "yes", synced)
    yield Bar("packets leaked with a private source", str(leaked), "0", not leaked)
    yield Bar("connections reset by a gateway", str(resets), "0", not resets)
    failed = [f"{report.kind} {failure.bound}" for report in (planned, crash, back) for failure in report.failed]
    yield Bar("all bounds of the three drills", ", ".join(failed) or "held", "held", not failed)


def _broken(event: str, run: RunResult) -> Bar:
    return Bar(f"{event}: connections broken", f"{run.flows_broken} of {run.flows_total}", "0", run.flows_broken == 0)


def _ms(value: float) -> str:
    return f"{round(value)} ms"  # an int knows no -0
