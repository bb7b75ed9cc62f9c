"""Every invariant holds in an uneventful history, and says no to at least one that breaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from natpair_lab.chaos.checker import check, outage_ms
from natpair_lab.chaos.fault import WORDS, Invariant
from natpair_lab.chaos.history import Aftermath, Check, Dark, History, Offer, Resources, StatusSeen, VipChange
from natpair_lab.chaos.result import reason
from natpair_lab.drill.pcap import Reset, ResetKind
from natpair_lab.drill.records import Link, Seen, Sighting, UdpRecord
from unit.chaos.histories import (
    FIP,
    A,
    B,
    at,
    connections,
    fault,
    found,
    history,
    leak,
    limits,
    lost,
    moved,
    statuses,
)
from unit.drill.drill_samples import END, EVENT, MS, SECOND, START, flow, rst, taps


def test_an_uneventful_history_holds_everything() -> None:
    findings = check(history(), fault())
    assert [finding for finding in findings if not finding.held] == []
    assert {finding.invariant for finding in findings} == set(WORDS)


def test_an_empty_history_proves_nothing() -> None:
    nothing = UdpRecord((), (), ())
    empty = history(flows=(), connections=(), statuses=(), after=(), vip_start=(), offers=(), udp=nothing)
    # I1 and I5 count what taps saw, which say themselves what they missed; I9 looks once, at the end.
    for invariant in set(Invariant) - {Invariant.LEAK, Invariant.RESETS, Invariant.RECOVERS}:
        finding = found(invariant, empty)
        assert not finding.held, invariant
        assert finding.value is None


@pytest.mark.parametrize(
    ("invariant", "missing"),
    [
        (Invariant.OWNERS, {"vip_start": ()}),
        (Invariant.OWNERS, {"offers": ()}),
        (Invariant.UNTOUCHED, {"vip_start": ()}),
        (Invariant.STATUS, {"statuses": tuple(s for s in statuses() if s.node == A)}),
        (Invariant.BOUNDED, {"before": ()}),
        (Invariant.BOUNDED, {"after": (Resources(A, 100_000, 100, 1000),)}),
    ],
)
def test_a_part_that_is_missing_is_not_made_up_for_by_the_rest(invariant: Invariant, missing: dict[str, Any]) -> None:
    finding = found(invariant, history(**missing))
    assert finding.value is None
    assert not finding.held
    assert finding.detail


def test_a_vip_that_came_after_the_watch_began_was_seen() -> None:
    assert found(Invariant.OWNERS, history(vip_start=(), vips=(VipChange(START, A, True),))).held


def test_leak() -> None:
    assert not found(Invariant.LEAK, history(taps=taps(leaks=(leak("192.168.1.101"),)))).held
    assert found(Invariant.LEAK, history(taps=taps(leaks=(leak("192.168.1.101", leaving=False),)))).held


def test_a_source_that_is_public_and_foreign_is_a_leak_too() -> None:
    finding = found(Invariant.LEAK, history(aliens=(leak("198.18.7.7"),)))
    assert not finding.held
    assert "198.18.7.7" in finding.detail


def test_a_packet_that_both_taps_saw_counts_once() -> None:
    twice = history(taps=taps(leaks=(leak("192.168.1.101"),)), aliens=(leak("192.168.1.101"),))
    assert found(Invariant.LEAK, twice).value == 1


def long_silence() -> History:
    """Eleven seconds without a reply."""
    sent = tuple(range(START, at(20_000), 10 * MS))
    got = tuple(0 if at(0) <= moment < at(11_000) else moment + MS for moment in sent)
    return history(udp=UdpRecord(sent, got, ()), end_ns=at(20_000))


def test_nobody_serves_though_a_node_could() -> None:
    finding = found(Invariant.SERVED, long_silence())
    assert not finding.held
    assert finding.detail
    assert found(Invariant.SERVED, long_silence(), limits=limits(served_ms=12_000)).held
    assert found(Invariant.SERVED, history(udp=lost((0, 5_000)))).held


def test_a_node_without_power_or_links_could_not_have_served() -> None:
    dark = (Dark(A, "power", at(0), at(11_000)), Dark(B, "public", at(0), at(6_000)))
    assert found(Invariant.SERVED, replace(long_silence(), dark=dark)).held, "B had five seconds"
    assert not found(Invariant.SERVED, replace(long_silence(), dark=dark[:1])).held, "B could have served"


def test_two_owners_of_the_vip() -> None:
    both = history(vips=(VipChange(at(100), B, True), VipChange(at(3600), B, False)))
    finding = found(Invariant.OWNERS, both)
    assert not finding.held
    assert finding.value == 3500
    assert found(Invariant.OWNERS, both, limits=limits(owners_ms=4000)).held


def test_two_primaries_at_the_route_servers() -> None:
    assert not found(Invariant.OWNERS, history(offers=(Offer(START, (A,)), Offer(at(0), (A, B))))).held


def test_a_node_without_power_owns_nothing() -> None:
    cut = history(
        vips=(VipChange(at(500), B, True),),
        offers=(Offer(START, (A,)), Offer(at(500), (A, B))),
        dark=(Dark(A, "power", at(0), END),),
    )
    assert found(Invariant.OWNERS, cut).value == 0
    assert not found(Invariant.OWNERS, replace(cut, dark=(Dark(A, "public", at(0), END),))).held, (
        "the VLAN still hears it"
    )


def test_the_best_path_elsewhere() -> None:
    finding = found(Invariant.PATH, history(routes=(moved(100, B), moved(2300, A))))
    assert not finding.held
    assert finding.value == 2200
    assert not found(Invariant.PATH, history(routes=(moved(100), moved(2300, A)))).held, "no route at all is no better"


def test_a_path_that_was_wrong_before_the_event_is_not_its_doing() -> None:
    assert found(Invariant.PATH, history(path_start=(B,), routes=(moved(0, A),))).held


@pytest.mark.parametrize(
    "broken",
    [flow(changed_to=f"{FIP}:6000"), flow(error="ECONNRESET"), flow(proven_ns=0), flow(proven_ns=at(15_000))],
    ids=["another port", "reset", "no answer", "too late"],
)
def test_a_broken_flow(broken: object) -> None:
    assert not found(Invariant.FLOWS, history(flows=(broken,), connections=())).held


def test_young_flows_and_kinds_that_a_fault_excuses_do_not_count() -> None:
    young = flow(opened=at(-1000), error="ECONNRESET")
    assert found(Invariant.FLOWS, history(flows=(flow(), young), connections=())).held
    excused = history(flows=(flow(), flow(kind="push", proven_ns=0)), connections=())
    assert not found(Invariant.FLOWS, excused).held
    assert found(Invariant.FLOWS, excused, limits=limits(flow_kinds=("echo",))).held


def test_a_reset_that_nobody_sent() -> None:
    own = rst(at(10), f"{FIP}:5000", "198.51.100.10:7101", leaving=True, link=Link.PUBLIC)
    assert not found(Invariant.RESETS, history(taps=taps(resets=(own,)))).held
    sent = rst(at(9), "192.168.1.101:5000", "198.51.100.10:7101", leaving=False, link=Link.VLAN)
    assert found(Invariant.RESETS, history(taps=taps(resets=(sent, own)))).held


@pytest.mark.parametrize(
    ("source", "to", "held"),
    [
        ("203.0.113.3:40000", "198.51.100.20:80", True),
        (f"{FIP}:40000", "198.51.100.20:80", False),
        ("192.168.1.1:40000", "198.51.100.20:80", False),
        ("203.0.113.3:40000", "198.51.100.10:7101", False),
    ],
)
def test_a_node_may_end_its_own_connection_to_the_api_and_no_other(source: str, to: str, held: bool) -> None:
    ended = taps(resets=(rst(at(10), source, to, leaving=True, link=Link.PUBLIC),))
    assert found(Invariant.RESETS, history(taps=ended, provider=frozenset({"198.51.100.20"}))).held is held
    assert not found(Invariant.RESETS, history(taps=ended)).held


@pytest.mark.parametrize(
    ("code", "link", "held"), [(13, Link.VLAN, True), (1, Link.VLAN, False), (13, Link.PUBLIC, False)]
)
def test_only_a_client_over_its_limit_may_be_told_so(code: int, link: Link, held: bool) -> None:
    told = Reset(
        ResetKind.ICMP_UNREACHABLE, "192.168.1.102:1", "198.51.100.13:2", code << 16, "192.168.1.1", "192.168.1.102"
    )
    assert found(Invariant.RESETS, history(taps=taps(resets=(Seen(at(5), A, link, True, told),)))).held is held


def test_two_live_flows_under_one_mapping() -> None:
    one, other = flow(address=f"{FIP}:5000"), flow(opened=at(200), address=f"{FIP}:5000")
    assert not found(Invariant.UNIQUE, history(flows=(one, other), connections=())).held
    ended = replace(one, error="closed", error_ns=at(100))
    assert found(Invariant.UNIQUE, history(flows=(ended, other), connections=())).held
    elsewhere = replace(other, server="198.51.100.11:7101")
    assert found(Invariant.UNIQUE, history(flows=(one, elsewhere), connections=())).held


def test_new_connections_that_wait_or_are_refused() -> None:
    waited = tuple(c for c in connections() if not EVENT - 2000 * MS <= c.opened_ns - 700 * MS < EVENT + 100 * MS)
    long = history(connections=waited)
    assert found(Invariant.NEW, long).value == pytest.approx(2150, abs=60)
    assert not found(Invariant.NEW, long).held
    assert found(Invariant.NEW, long, bound_ms=2000).held
    refused = replace(flow(opened=0), started_ns=at(100), connect_error="ECONNREFUSED")
    assert not found(Invariant.NEW, history(connections=(*connections(), refused))).held


def test_another_address_than_a_fip() -> None:
    strange = flow(opened=at(300), address="203.0.113.3:5000")
    assert not found(Invariant.FIP_ONLY, history(flows=(strange,))).held
    assert found(Invariant.FIP_ONLY, history(flows=(strange,)), limits=limits(fip_grace_ms=1000)).held
    assert not found(Invariant.FIP_ONLY, history(flows=(strange,)), limits=limits(fip_grace_ms=200)).held
    seen = replace(lost(), seen=(Sighting(START, f"{FIP}:4000"), Sighting(at(9), "203.0.113.4:4000")))
    assert not found(Invariant.FIP_ONLY, history(udp=seen)).held


@pytest.mark.parametrize(
    ("after", "word"),
    [
        (Aftermath(None, (A,), (A,), 50, 0), "ready"),
        (Aftermath(at(4000), (A, B), (A,)), "nat-a and nat-b"),
        (Aftermath(at(4000), (), (A,)), "no node"),
        (Aftermath(at(4000), (A,), (B,), 50, 0), "best path is nat-b"),
        (Aftermath(at(4000), (A,), (A,), 50, 9), "missing 9 of 50"),
        (Aftermath(at(4000), (A,), (A,), 0, 0), "no flow of a client"),
        (Aftermath(at(70_000), (A,), (A,), 50, 0), ""),
    ],
)
def test_a_pair_that_does_not_recover(after: Aftermath, word: str) -> None:
    finding = found(Invariant.RECOVERS, history(aftermath=after))
    assert not finding.held
    assert word in finding.detail


def test_needless_transitions() -> None:
    flaps = tuple(
        VipChange(at(300 * n), node, owned) for n in range(1, 9) for node, owned in ((A, n % 2 == 0), (B, n % 2 == 1))
    )
    assert not found(Invariant.RECOVERS, history(vips=flaps)).held
    claim = (VipChange(at(100), B, True), VipChange(at(130), B, False))
    assert found(Invariant.RECOVERS, history(vips=claim), limits=limits(transitions=0)).held, (
        "a refused claim is no role"
    )


def test_an_agent_that_says_what_is_not_so() -> None:
    assert not found(Invariant.STATUS, history(statuses=statuses(active=B))).held
    late = (*(s for s in statuses(A) if s.time_ns < at(1500)), *(s for s in statuses(B) if s.time_ns >= at(1500)))
    change = (VipChange(at(1000), A, False), VipChange(at(1000), B, True))
    assert found(Invariant.STATUS, history(statuses=late, vips=change)).held, "half a second late is no lie"
    assert not found(Invariant.STATUS, history(statuses=statuses(A), vips=change)).held


def test_an_agent_that_says_nothing_does_not_lie() -> None:
    quiet = tuple(s for s in statuses(A) if s.node == B or s.time_ns < EVENT)
    assert found(Invariant.STATUS, history(statuses=quiet)).held
    assert found(Invariant.STATUS, history(statuses=(), agents_speak=False)).held


def test_a_packet_lost_or_a_role_moved_is_not_untouched() -> None:
    assert not found(Invariant.UNTOUCHED, history(udp=lost((10, 12)))).held
    assert not found(Invariant.UNTOUCHED, history(vips=(VipChange(at(10), B, True),))).held


def test_what_may_be_felt_later_is_checked_until_then() -> None:
    felt = at(1000)
    assert found(Invariant.UNTOUCHED, history(felt_ns=felt, udp=lost((1000, 1200)))).held
    assert found(Invariant.UNTOUCHED, history(felt_ns=felt, vips=(VipChange(at(1010), B, True),))).held
    assert not found(Invariant.UNTOUCHED, history(felt_ns=felt, udp=lost((900, 1200)))).held
    assert not found(Invariant.UNTOUCHED, history(felt_ns=felt, vips=(VipChange(at(800), B, True),))).held


@pytest.mark.parametrize("use", [Resources(A, 200_000, 100, 0), Resources(A, 0, 90_000, 0), Resources(A, 0, 0, 10**8)])
def test_growth(use: Resources) -> None:
    finding = found(Invariant.BOUNDED, history(after=(use, Resources(B, 100_000, 100, 1000))))
    assert finding.value is not None
    assert not finding.held


def test_the_outage_is_the_longest_silence_after_the_event() -> None:
    assert outage_ms(history(udp=lost((-3000, -2000), (100, 400)))) == pytest.approx(300, abs=5)


def test_why_a_fault_failed_is_one_line() -> None:
    findings = check(history(udp=lost((10, 2000))), fault())
    checks = (Check("alarm", None, 5000, "nobody told"), Check("repaired", 20.0, 1000))
    said = reason(findings, checks, 1990, 1000)
    assert "silent for 1990 ms" in said
    assert "I11: 995 of 0 packets" in said
    assert "alarm: never (nobody told)" in said
    assert "repaired" not in said
    assert reason(check(history(), fault()), (), 5, 1000) == ""


def test_statuses_are_only_compared_while_they_can_be_seen() -> None:
    deaf = tuple(StatusSeen(m, A, "active", "65000:1") for m in range(START, END, 200 * MS))
    standby = tuple(s for s in statuses() if s.node == B)
    gone = history(
        statuses=(*deaf, *standby), vips=(VipChange(at(0), A, False),), dark=(Dark(A, "vlan", at(0), at(4500)),)
    )
    assert found(Invariant.STATUS, gone).value == pytest.approx((END - at(4500)) / MS, abs=250)
    assert END - at(4500) == int(1.5 * SECOND)
