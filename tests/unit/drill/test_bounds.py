from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import complaints
from natpair.config.load import load
from natpair.core.model import Gateway, Profile
from natpair_lab.drill import bounds
from natpair_lab.drill.analysis import analyse, summarise
from natpair_lab.drill.kinds import KINDS, Conditions, KindName
from natpair_lab.drill.machine import Machine
from natpair_lab.drill.records import Leak, Link, RunData, Seen
from natpair_lab.drill.result import Failure, Report, RunResult
from natpair_lab.drill.stage import Durations
from natpair_lab.drill.text import lines, picture
from natpair_lab.testbed.build import configuration
from natpair_lab.testbed.fabric import Knobs
from unit.drill.drill_samples import EVENT, MS, SECOND, flow, rst, run, stream, taps

GOOD = analyse(run())


@pytest.fixture(scope="module")
def gateway() -> Gateway:
    assert load is not None
    return configuration(None, None).gateway


def checked(limits: dict[str, float], *runs: RunResult) -> tuple[Failure, ...]:
    return bounds.check(limits, runs, summarise(runs))


def test_a_good_run_holds_all_that_always_holds() -> None:
    assert checked(dict(bounds.ALWAYS), GOOD) == ()


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_a_bound_is_at_most(value: float, limit: float) -> None:
    assert bounds.exceeds(value, limit) == (value > limit)


@pytest.mark.parametrize("value", [None, math.nan])
def test_what_was_not_measured_does_not_hold(value: float | None) -> None:
    assert bounds.exceeds(value, 1e9)


LEAK = Seen(EVENT, "nat-a", Link.PUBLIC, True, Leak("192.168.1.101", "198.51.100.10", 17))
RST = rst(EVENT, "192.0.2.221:1", "198.51.100.10:2", leaving=True, link=Link.PUBLIC)


@pytest.mark.parametrize(
    ("bound", "limit", "data"),
    [
        ("outage_ms", 900, run(udp=stream(((0, SECOND),)))),
        ("excess_ms", 50, run(udp=stream(((0, 60 * MS),)))),
        ("packets_lost", 0, run(udp=stream(((0, 4 * MS),)))),
        ("leaked_packets", 0, run(taps=taps(leaks=(LEAK,)))),
        ("resets", 0, run(taps=taps(resets=(RST,)))),
        ("flows_broken", 0, run(flows=(flow(error="ECONNRESET"),))),
        ("flows_broken_ratio", 0.001, run(flows=(flow(error="ECONNRESET"), *[flow()] * 900))),
        ("stalled_new", 0, run(connections=(flow(EVENT, started_ns=EVENT - SECOND),))),
        ("new_refused", 0, run(connections=(flow(0, connect_error="ECONNREFUSED"),))),
        ("wrong_active", 0, run(expected_active="nat-a")),
        ("address_changed", 0, run(udp=stream(((0, 60 * SECOND),)))),
        ("repaired_ms", 1000, run()),
        ("standby_not_synced", 0, run()),
        ("taps_lost", 0, run(taps=taps(lost=1))),
    ],
)
def test_every_bound_can_fail(bound: str, limit: float, data: RunData) -> None:
    failed = checked({bound: limit}, GOOD, analyse(data))
    assert {failure.bound for failure in failed} == {bound}
    assert failed[-1].run == (None if bound in bounds.OVER_ALL_RUNS else 1)


def test_one_flow_in_a_thousand_may_break_over_all_runs_together() -> None:
    many = analyse(run(flows=(flow(error="ECONNRESET"), *[flow()] * 499)))
    whole = analyse(run(flows=tuple([flow()] * 500)))
    assert checked({"flows_broken_ratio": 0.001}, many, whole) == ()
    assert checked({"flows_broken_ratio": 0.001}, many)


def test_a_run_that_measured_too_little_fails_whatever_it_saw() -> None:
    slow = analyse(run(udp=stream(every=4 * MS)))
    assert {failure.bound for failure in checked({}, slow)} == {"packets_per_second"}
    assert {failure.bound for failure in checked({}, analyse(run(flows=())))} == {"flows_total"}


class TestKinds:
    def limits(self, gateway: Gateway, kind: KindName, *, fabric: Knobs | None = None, **durations: bool) -> object:
        conditions = Conditions(gateway, fabric or Knobs(), Durations(**durations))
        return KINDS[kind].limits(conditions)

    def test_every_word_has_its_kind(self) -> None:
        assert set(KINDS) == set(KindName)

    @pytest.mark.parametrize("kind", list(KindName))
    def test_each_forbids_leaks_and_resets(self, gateway: Gateway, kind: KindName) -> None:
        limits = dict(self.limits(gateway, kind))  # type: ignore[call-overload]
        assert limits["leaked_packets"] == limits["resets"] == limits["address_changed"] == 0
        assert limits["flows_broken_ratio"] == 0.001

    @pytest.mark.parametrize("kind", list(KindName))
    def test_each_bound_is_a_figure_of_a_run(self, gateway: Gateway, kind: KindName) -> None:
        for name in dict(self.limits(gateway, kind)):  # type: ignore[call-overload]
            if name not in bounds.OVER_ALL_RUNS:
                GOOD.figure(name)

    @pytest.mark.parametrize(
        ("profile", "worst"), [(Profile.FAST, 200), (Profile.BALANCED, 900), (Profile.CONSERVATIVE, 4500)]
    )
    def test_a_crash_by_profile(self, gateway: Gateway, profile: Profile, worst: float) -> None:
        changed = gateway.model_copy(update={"pair": gateway.pair.model_copy(update={"profile": profile})})
        assert dict(self.limits(changed, KindName.CRASH))["outage_ms"] == worst  # type: ignore[call-overload]

    def test_a_crash_on_a_fabric_that_cannot_see_the_newest(self, gateway: Gateway) -> None:
        limits = dict(self.limits(gateway, KindName.CRASH, fabric=Knobs(ignore_med=True)))  # type: ignore[call-overload]
        assert limits["outage_ms"] == gateway.timing.bgp_hold_seconds * 1000 + 1000

    def test_planned_is_strict_on_any_fabric(self, gateway: Gateway) -> None:
        for fabric in (Knobs(), Knobs(converge_ms=3000), Knobs(ignore_med=True), Knobs(load_share=True)):
            limits = dict(self.limits(gateway, KindName.PLANNED, fabric=fabric))  # type: ignore[call-overload]
            assert limits["packets_lost"] == limits["flows_broken"] == limits["stalled_new"] == 0
            assert limits["excess_ms"] == 50


def report(*runs: RunResult, limits: dict[str, float] | None = None) -> Report:
    limits = dict(bounds.ALWAYS) if limits is None else limits
    failed = checked(limits, *runs)
    machine = Machine("a processor", 2, "6.1", {"bird": "2.13"}, "0.1.0")
    return Report("crash", "balanced", {}, limits, not failed, failed, summarise(runs), runs, machine, 0.5, True, 12.0)


class TestReport:
    def test_the_document_has_every_promised_name(self) -> None:
        document = json.loads(json.dumps(report(GOOD, GOOD).document(), allow_nan=False))
        assert complaints(document) == []
        assert next(iter(document)) == "schema"
        assert {"kind", "profile", "bounds", "runs", "summary", "held", "machine"} <= set(document)
        assert len(document["runs"]) == 2
        promised = (
            "victim outage_ms baseline_gap_ms packets_sent packets_lost flows_total flows_broken young_flows_total"
            " young_flows_broken new_refused stalled_new resets leaked_packets address_before address_after steps_ms"
        )
        assert set(promised.split()) <= set(document["runs"][0])
        assert set(document["summary"]["outage_ms"]) == {"p50", "p99", "max"}
        assert len(document["runs"][0]["steps_ms"]) == 5

    def test_complete_also_when_a_bound_failed(self) -> None:
        bad = report(GOOD, analyse(run(udp=stream(((0, SECOND),)))), limits={"outage_ms": 900})
        document = bad.document()
        assert document["held"] is False
        assert document["failed"][0]["bound"] == "outage_ms"
        assert len(document["runs"]) == 2

    def test_text_says_what_held(self) -> None:
        text = "\n".join(lines(report(GOOD)))
        assert "all bounds held" in text
        assert "nat-a" in text

    def test_text_names_each_failed_bound(self) -> None:
        text = "\n".join(lines(report(GOOD, limits={"outage_ms": 1, "repaired_ms": 1000})))
        assert "outage_ms: 2, bound 1 (run 1)" in text
        assert "repaired_ms: not measured" in text

    @given(st.integers(10, 5000))
    def test_the_picture_shows_the_silence_and_fits(self, length_ms: int) -> None:
        result = analyse(run(udp=stream(((0, length_ms * MS),))))
        drawn = list(picture(replace(result), ascii_only=True))
        assert all(len(line) < 130 for line in drawn)
        assert ("." in drawn[0].split("longest")[0]) == (result.outage_ms > 20)
