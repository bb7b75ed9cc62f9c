"""Drills in a real lab. Bounds are generous: this machine is shared; what is exact is leaks, resets and addresses.

The negative controls take one safeguard away and expect the drill to notice: a bar that cannot fail is none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.sabotage import (
    crash_checked_as_if_med_counted,
    flushed_after,
    open_input_and_fip_on_lo,
    remove_leak_guards,
    switchover_and_expiry,
    unresponsive,
)
from natpair.core.model import Profile
from natpair.system.conntrackd import Command
from natpair_lab.drill.kinds import Kind, KindName
from natpair_lab.drill.result import Report, RunResult
from natpair_lab.drill.runner import Options, drill
from natpair_lab.drill.stage import Durations
from natpair_lab.testbed.world import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

NAME = f"td{os.getpid() % 10000}"
GENEROUS_CRASH_MS = 3 * 900.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    built = Lab.up(None, name=NAME, profile=Profile.BALANCED)
    try:
        yield built
    finally:
        built.down()


def one(kind: KindName, custom: Kind | None = None, **changes: object) -> tuple[Report, RunResult]:
    options = replace(Options(kind, name=NAME, flows=60), **changes)  # type: ignore[arg-type]
    report = drill(options, lambda _: None, kind=custom)
    return report, report.runs[0]


def assert_innocent(run: RunResult) -> None:
    assert run.leaked_packets == run.resets == run.taps_lost == 0
    assert run.address_before == run.address_after != ""
    assert run.packets_per_second >= 500
    assert run.flows_total >= 60


def test_power_cut(lab: Lab) -> None:
    report, run = one(KindName.CRASH, runs=2)
    assert {item.victim for item in report.runs} == set(lab.nodes)
    assert report.summary.flows_broken_ratio <= 0.001
    for run in report.runs:
        assert_innocent(run)
        assert 0 < run.outage_ms < GENEROUS_CRASH_MS
        assert run.outage_ms > run.baseline_gap_ms
        assert None not in (run.steps_ms.detection, run.steps_ms.update_on_the_wire, run.steps_ms.best_path_moved)


def test_switchover(lab: Lab) -> None:
    _, run = one(KindName.PLANNED)
    assert_innocent(run)
    assert run.flows_broken == 0
    assert run.packets_lost == 0
    assert run.role_changes == 1


def test_back_and_forth(lab: Lab) -> None:
    report, run = one(KindName.BACK_AND_FORTH)
    assert_innocent(run)
    assert run.role_changes == 2
    assert report.summary.flows_broken_ratio <= 0.001


@pytest.mark.parametrize("kind", [KindName.STANDBY_VLAN, KindName.AGENT_KILL, KindName.RETURN])
def test_what_the_active_must_not_feel(lab: Lab, kind: KindName) -> None:
    _, run = one(kind)
    assert_innocent(run)
    assert run.packets_lost == 0
    assert run.role_changes == 0
    assert run.wrong_active == 0


@pytest.mark.parametrize("kind", [KindName.VLAN, KindName.UPLINK])
def test_a_link_of_the_active_goes_down(lab: Lab, kind: KindName) -> None:
    _, run = one(kind)
    assert_innocent(run)
    assert run.outage_ms < 4500
    assert run.wrong_active == 0


def test_flushed_ruleset(lab: Lab) -> None:
    _, run = one(KindName.FLUSH)
    assert_innocent(run)
    assert run.repaired_ms is not None
    assert run.repaired_ms < 3000


def test_partition(lab: Lab) -> None:
    _, run = one(KindName.PARTITION, durations=Durations(partition_seconds=15))
    assert_innocent(run)
    assert run.two_claimants_ms <= 3000
    assert run.flows_broken == 0


class TestNegativeControls:
    def test_a_fip_on_lo_resets_connections(self, lab: Lab) -> None:
        report, run = one(KindName.FLUSH, flushed_after(open_input_and_fip_on_lo))
        assert run.resets > 0
        assert "resets" in {failure.bound for failure in report.failed}
        for node in lab.nodes:
            for fip in lab.gateway.pair.fips:
                lab.exec(node, ["ip", "address", "del", f"{fip}/32", "dev", "lo"], check=False)

    def test_without_leak_guards_private_sources_leak(self, lab: Lab) -> None:
        report, run = one(KindName.FLUSH, flushed_after(remove_leak_guards))
        assert run.leaked_packets > 0
        assert "leaked_packets" in {failure.bound for failure in report.failed}

    @pytest.mark.parametrize("flush", [True, False])
    def test_without_the_flush_on_demotion_expiring_copies_kill_live_flows(self, lab: Lab, flush: bool) -> None:
        lab.wait_ready()
        refreshes = (Command.REQUEST_DUMP, Command.SEND_BULK)
        swallowed = refreshes if flush else (*refreshes, Command.FLUSH_INTERNAL)
        proxies = [unresponsive(lab, node, *swallowed) for node in lab.nodes]
        try:
            report, run = one(KindName.PLANNED, switchover_and_expiry(6))
        finally:
            for proxy in proxies:
                proxy.communicate(timeout=10)
        assert (run.flows_broken == 0) is flush
        assert ("flows_broken" in {failure.bound for failure in report.failed}) is not flush

    def test_without_med_the_stale_route_stays_where_the_older_one_is_preferred(self, lab: Lab) -> None:
        lab.wait_ready()
        lab.fabric(prefer_older=True, ignore_med=True)
        report, run = one(KindName.CRASH, crash_checked_as_if_med_counted())
        lab.fabric()
        assert run.outage_ms > 1500
        assert "outage_ms" in {failure.bound for failure in report.failed}


def test_json_is_one_document_and_the_exit_code_tells(lab: Lab) -> None:
    argv = [sys.executable, "-m", "natpair", "drill", "planned", "--lab", "--name", NAME, "--flows", "40", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["held"] else 2)
    assert len(document["runs"]) == 1
    assert document["kind"] == "planned"
    assert document["bounds"]["packets_lost"] == 0


def test_no_traffic_program_or_tap_is_left_behind(lab: Lab) -> None:
    one(KindName.PLANNED, flows=20)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    ours = [line for line in listed.splitlines() if f"np-{NAME}-" in line and "tcpdump" in line]
    assert ours == []
    for node in (*lab.nodes, "client-1", "client-2", "internet"):
        inside = lab.exec(node, ["ps", "-eo", "args"]).stdout
        assert "natpair_lab.drill" not in inside
