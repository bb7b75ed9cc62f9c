from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair_lab.drill import analysis
from natpair_lab.drill.kinds import KINDS, KindName
from natpair_lab.drill.records import (
    AgentStep,
    FlowRecord,
    Leak,
    Link,
    NeighbourChange,
    Observed,
    RouteChange,
    Seen,
    Sighting,
    UdpRecord,
)
from natpair_lab.drill.runner import answer_by
from natpair_lab.drill.stage import Injection
from unit.drill.drill_samples import (
    END,
    EVENT,
    MS,
    SECOND,
    START,
    advert,
    flow,
    primary,
    rst,
    run,
    stream,
    taps,
)

values = st.lists(st.floats(0, 1e6), min_size=1, max_size=150)
intervals = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda pair: (min(pair), max(pair))), max_size=30
)


class TestNearestRank:
    @given(values, st.floats(0, 100))
    def test_is_one_of_the_values(self, numbers: list[float], percent: float) -> None:
        assert analysis.nearest_rank(numbers, percent) in numbers

    @given(st.lists(st.floats(0, 1e6), min_size=1, max_size=99))
    def test_p99_below_100_values_is_the_maximum(self, numbers: list[float]) -> None:
        assert analysis.nearest_rank(numbers, 99) == max(numbers)

    @given(values, st.floats(0.01, 100))
    def test_at_least_that_share_is_not_above(self, numbers: list[float], percent: float) -> None:
        rank = analysis.nearest_rank(numbers, percent)
        assert sum(1 for n in numbers if n <= rank) >= math.floor(percent / 100 * len(numbers))

    @given(values)
    def test_grows_with_the_percentage(self, numbers: list[float]) -> None:
        ranks = [analysis.nearest_rank(numbers, p) for p in (0, 25, 50, 75, 99, 100)]
        assert ranks == sorted(ranks)

    def test_known_case(self) -> None:
        assert analysis.nearest_rank([15, 20, 35, 40, 50], 40) == 20
        assert analysis.nearest_rank(list(range(1, 101)), 99) == 99

    def test_no_values(self) -> None:
        with pytest.raises(ValueError, match="no values"):
            analysis.nearest_rank([], 50)


class TestOutage:
    def test_undisturbed_stream_has_only_its_interval(self) -> None:
        result = analysis.analyse(run())
        assert result.outage_ms == result.baseline_gap_ms == 2.0
        assert result.excess_ms == 0.0
        assert result.packets_lost == 0

    @given(st.integers(0, 3000), st.integers(10, 2500))
    def test_a_silence_is_measured_to_the_packet(self, start_ms: int, length_ms: int) -> None:
        data = run(udp=stream(((start_ms * MS, (start_ms + length_ms) * MS),)))
        result = analysis.analyse(data)
        assert length_ms <= result.outage_ms <= length_ms + 4
        assert abs(result.packets_lost - length_ms / 2) <= 1
        assert result.baseline_gap_ms == 2.0

    @given(st.integers(20, 900))
    def test_a_gap_that_straddles_the_event_counts_in_full(self, length_ms: int) -> None:
        data = run(udp=stream(((-length_ms * MS, length_ms * MS),)))
        assert analysis.analyse(data).outage_ms >= 2 * length_ms

    @given(st.integers(20, 2000))
    def test_noise_before_the_event_is_baseline_not_outage(self, length_ms: int) -> None:
        data = run(udp=stream(((-3 * SECOND, -3 * SECOND + length_ms * MS),)))
        result = analysis.analyse(data)
        assert result.outage_ms == 2.0
        assert result.baseline_gap_ms >= length_ms
        assert result.excess_ms < 0

    def test_a_stream_silent_for_good_is_out_until_its_last_packet(self) -> None:
        result = analysis.analyse(run(udp=stream(((0, 60 * SECOND),))))
        assert result.outage_ms >= 5990
        assert result.address_after == ""
        assert result.figure("address_changed") == 1.0

    def test_a_stream_that_never_worked(self) -> None:
        udp = stream(((-60 * SECOND, 60 * SECOND),))
        result = analysis.analyse(run(udp=replace(udp, seen=())))
        assert result.outage_ms >= 11_000
        assert result.packets_lost == result.packets_sent
        assert result.figure("address_changed") == 1.0

    def test_empty_stream(self) -> None:
        result = analysis.analyse(run(udp=UdpRecord((), ())))
        assert (result.outage_ms, result.packets_sent, result.packets_per_second) == (0.0, 0, 0.0)

    @given(st.lists(st.integers(0, 1999), min_size=2, max_size=300, unique=True))
    def test_longest_gap_equals_the_plain_definition(self, times: list[int]) -> None:
        ordered = [START + t * MS for t in sorted(times)]
        udp = UdpRecord(tuple(ordered), tuple(ordered))
        expected = max(b - a for a, b in itertools.pairwise(ordered))
        assert analysis.longest_gap_ns(analysis.reply_gaps(udp, 0, END)) == expected

    @given(st.permutations(list(range(20))))
    def test_order_of_arrival_does_not_matter(self, order: list[int]) -> None:
        sent = tuple(START + n * MS for n in range(20))
        received = tuple(START + (100 + 10 * n) * MS for n in order)
        gaps = analysis.reply_gaps(UdpRecord(sent, received), 0, END)
        assert analysis.longest_gap_ns(gaps) == 100 * MS

    def test_a_reply_after_more_than_a_second_is_lost(self) -> None:
        udp = UdpRecord((START, START, START), (START + SECOND, START + SECOND + 1, 0))
        assert analysis.packets_lost(udp) == 2

    def test_rate(self) -> None:
        assert analysis.rate(stream()) == 500.0


class TestAddress:
    def test_kept(self) -> None:
        assert analysis.analyse(run()).figure("address_changed") == 0.0

    @pytest.mark.parametrize("after", ["192.0.2.221:4001", "192.0.2.222:4000"])
    def test_changed_port_or_address(self, after: str) -> None:
        udp = replace(stream(), seen=(Sighting(START, "192.0.2.221:4000"), Sighting(EVENT + MS, after)))
        result = analysis.analyse(run(udp=udp))
        assert (result.address_before, result.address_after) == ("192.0.2.221:4000", after)
        assert result.figure("address_changed") == 1.0


class TestFlows:
    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({}, ""),
            ({"error": "ECONNRESET"}, "ECONNRESET"),
            ({"error": "closed"}, "closed"),
            ({"changed_to": "192.0.2.221:9"}, "address changed"),
            ({"proven_ns": 0}, "no answer"),
            ({"proven_ns": EVENT + 10 * SECOND}, ""),
            ({"proven_ns": EVENT + 10 * SECOND + 1}, "no answer"),
        ],
    )
    def test_what_breaks_a_flow(self, changes: dict[str, object], fault: str) -> None:
        assert analysis.fault_of(flow(**changes), EVENT + 10 * SECOND) == fault

    @given(st.lists(st.tuples(st.integers(-10_000, 900), st.booleans()), max_size=60))
    def test_old_and_young_divide_all_opened_flows(self, flows: list[tuple[int, bool]]) -> None:
        records = tuple(flow(EVENT + opened_ms * MS, error="" if alive else "ECONNRESET") for opened_ms, alive in flows)
        result = analysis.analyse(run(flows=records))
        assert result.flows_total == sum(1 for opened, _ in flows if opened <= -2000)
        assert result.flows_total + result.young_flows_total == len(flows)
        assert result.flows_broken + result.young_flows_broken == sum(1 for _, alive in flows if not alive)

    def test_exactly_two_seconds_is_old(self) -> None:
        result = analysis.analyse(run(flows=(flow(EVENT - 2 * SECOND), flow(EVENT - 2 * SECOND + 1))))
        assert (result.flows_total, result.young_flows_total) == (1, 1)

    def test_new_connections_old_enough_count_as_flows(self) -> None:
        result = analysis.analyse(run(flows=(), connections=(flow(error="ECONNRESET"),)))
        assert (result.flows_total, result.flows_broken) == (1, 1)
        assert result.broken == {"echo: ECONNRESET": 1}

    def test_proof_after_the_deadline_is_none(self) -> None:
        late = flow(proven_ns=EVENT + 135 * SECOND)
        assert analysis.analyse(run(flows=(late,), answer_by_ns=EVENT + 140 * SECOND)).flows_broken == 0
        assert analysis.analyse(run(flows=(late,))).flows_broken == 1

    def test_the_deadline_starts_when_the_cause_is_over(self) -> None:
        recovered = Injection(EVENT, EVENT + 130 * SECOND)
        assert answer_by(KINDS[KindName.PARTITION], recovered, EVENT + 131 * SECOND, 0.05) == EVENT + 140 * SECOND

    def test_a_patient_drill_waits_from_the_question(self) -> None:
        patient = replace(KINDS[KindName.CRASH], patient=True)
        assert answer_by(patient, Injection(EVENT, EVENT), EVENT + 12 * SECOND, 0.05) == EVENT + 42 * SECOND

    def test_the_time_to_ask_many_flows_comes_on_top(self) -> None:
        crash, cut = KINDS[KindName.CRASH], Injection(EVENT, EVENT)
        assert answer_by(crash, cut, EVENT, 5.0) == EVENT + 10 * SECOND
        assert answer_by(crash, cut, EVENT, 25.0) == EVENT + 30 * SECOND


class TestRecovery:
    def test_a_stream_that_works_at_the_end_has_recovered(self) -> None:
        assert analysis.analyse(run()).recovered

    def test_a_stream_that_is_silent_for_the_last_second_has_not(self) -> None:
        silent = replace(stream(), received_ns=tuple(t if t < EVENT else 0 for t in stream().received_ns))
        assert not analysis.analyse(run(udp=silent)).recovered


class TestNewConnections:
    @pytest.mark.parametrize(
        ("changes", "refused", "stalled"),
        [
            ({"opened_ns": EVENT + 150 * MS}, 0, 0),
            ({"opened_ns": EVENT + 150 * MS + 1}, 0, 1),
            ({"opened_ns": 0}, 0, 1),
            ({"opened_ns": 0, "connect_error": "ECONNREFUSED"}, 1, 0),
            ({"opened_ns": 0, "connect_error": "EHOSTUNREACH"}, 1, 0),
            ({"opened_ns": 0, "connect_error": "ETIMEDOUT"}, 0, 1),
        ],
    )
    def test_refused_and_stalled(self, changes: dict[str, object], refused: int, stalled: int) -> None:
        connection = replace(FlowRecord("echo", "198.51.100.10:7101", EVENT), **changes)  # type: ignore[arg-type]
        result = analysis.analyse(run(connections=(connection,)))
        assert (result.new_refused, result.stalled_new) == (refused, stalled)

    def test_one_that_has_not_waited_long_at_the_end_is_not_stalled(self) -> None:
        connection = FlowRecord("echo", "198.51.100.10:7101", END - 100 * MS)
        assert analysis.analyse(run(connections=(connection,))).stalled_new == 0


SERVER, CLIENT, FIP = "198.51.100.10:7101", "192.168.1.101:5000", "192.0.2.221:5000"


class TestResets:
    def count(self, *resets: object, own: frozenset[str] = frozenset()) -> int:
        return analysis.analyse(run(taps=taps(resets=resets), own_addresses=own)).resets

    def test_a_reset_of_the_server_passes_through(self) -> None:
        enters = rst(EVENT, SERVER, FIP, leaving=False, link=Link.PUBLIC)
        leaves = rst(EVENT + MS, SERVER, CLIENT, leaving=True, link=Link.VLAN)
        assert self.count(enters, leaves) == 0

    def test_a_reset_of_the_client_passes_through_even_to_another_port(self) -> None:
        enters = rst(EVENT, CLIENT, SERVER, leaving=False, link=Link.VLAN)
        leaves = rst(EVENT + MS, "192.0.2.221:61000", SERVER, leaving=True, link=Link.PUBLIC)
        assert self.count(enters, leaves) == 0

    def test_a_relayed_reset_leaves_two_gateways(self) -> None:
        enters = rst(EVENT, SERVER, FIP, leaving=False, link=Link.PUBLIC, node="nat-b")
        handed_over = rst(EVENT + MS, SERVER, FIP, leaving=True, link=Link.VLAN, node="nat-b")
        delivered = rst(EVENT + 2 * MS, SERVER, CLIENT, leaving=True, link=Link.VLAN)
        assert self.count(enters, handed_over, delivered) == 0

    def test_the_gateways_own_resets_count(self) -> None:
        to_world = rst(EVENT, FIP, SERVER, leaving=True, link=Link.PUBLIC)
        to_client = rst(EVENT, SERVER, CLIENT, leaving=True, link=Link.VLAN, tag=5)
        assert self.count(to_world, to_client) == 2

    @pytest.mark.parametrize("tag", [76, 78, 0])
    def test_another_sequence_number_is_another_message(self, tag: int) -> None:
        enters = rst(EVENT, SERVER, FIP, leaving=False, link=Link.PUBLIC)
        leaves = rst(EVENT + MS, SERVER, CLIENT, leaving=True, link=Link.VLAN, tag=tag)
        assert self.count(enters, leaves) == 1

    def test_one_that_enters_later_explains_nothing(self) -> None:
        leaves = rst(EVENT, SERVER, CLIENT, leaving=True, link=Link.VLAN)
        enters = rst(EVENT + 10 * MS, SERVER, FIP, leaving=False, link=Link.PUBLIC)
        assert self.count(leaves, enters) == 1

    def test_one_that_entered_long_ago_explains_nothing(self) -> None:
        enters = rst(EVENT, SERVER, FIP, leaving=False, link=Link.PUBLIC)
        leaves = rst(EVENT + 6 * SECOND, SERVER, CLIENT, leaving=True, link=Link.VLAN)
        assert self.count(enters, leaves) == 1

    def test_between_the_nodes_themselves_is_no_clients_matter(self) -> None:
        leaves = rst(EVENT, "192.168.1.3:3781", "192.168.1.4:3781", leaving=True, link=Link.VLAN)
        assert self.count(leaves, own=frozenset({"192.168.1.3", "192.168.1.4"})) == 0
        assert self.count(leaves, own=frozenset({"192.168.1.3"})) == 1

    @given(st.integers(1, 2**32 - 1), st.integers(1024, 65535))
    def test_every_passing_reset_is_explained(self, tag: int, port: int) -> None:
        enters = rst(EVENT, SERVER, f"192.0.2.221:{port}", leaving=False, link=Link.PUBLIC, tag=tag)
        leaves = rst(EVENT + 1, SERVER, CLIENT, leaving=True, link=Link.VLAN, tag=tag)
        assert self.count(enters, leaves) == 0


def test_leaks_are_counted_on_the_uplink_and_leaving_only() -> None:
    leak = Leak("192.168.1.101", "198.51.100.10", 17)
    seen = tuple(Seen(EVENT, "nat-a", link, leaving, leak) for link in Link for leaving in (True, False))
    assert analysis.analyse(run(taps=taps(leaks=seen))).leaked_packets == 1


class TestClaims:
    @given(intervals)
    def test_union_is_disjoint_ordered_and_covers_the_same(self, given_intervals: list[tuple[int, int]]) -> None:
        joined = analysis.union(given_intervals)
        assert all(a < b for a, b in joined)
        assert all(one[1] < other[0] for one, other in itertools.pairwise(joined))
        covered = {t for a, b in given_intervals for t in range(a, b)}
        assert covered == {t for a, b in joined for t in range(a, b)}

    @given(intervals, intervals)
    def test_overlap_is_what_both_cover(self, one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
        shared = analysis.overlap(analysis.union(one), analysis.union(other))
        in_one = {t for a, b in one for t in range(a, b)}
        in_other = {t for a, b in other for t in range(a, b)}
        assert {t for a, b in shared for t in range(a, b)} == in_one & in_other

    @given(intervals, intervals)
    def test_overlap_does_not_care_who_is_first(self, one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
        a, b = analysis.union(one), analysis.union(other)
        assert analysis.overlap(a, b) == analysis.overlap(b, a)

    def test_two_masters_on_the_wire_are_two_claimants(self) -> None:
        adverts = tuple(advert(EVENT + n * 100 * MS, node) for n in range(20) for node in ("nat-a", "nat-b"))
        result = analysis.analyse(run(taps=taps(adverts=adverts)))
        assert result.two_claimants_ms == pytest.approx(2050, abs=1)

    def test_a_priority_0_advert_ends_the_claim(self) -> None:
        adverts = (advert(EVENT), advert(EVENT + 10 * MS, priority=0))
        data = run(taps=taps(adverts=adverts))
        assert analysis.vrrp_claims(data, "nat-b", 150 * MS) == [(EVENT, EVENT + 10 * MS)]

    def test_a_stale_announcement_is_a_claim(self) -> None:
        result = analysis.analyse(run(taps=taps(updates=(primary(EVENT + SECOND),))))
        assert result.two_claimants_ms == 5000.0

    def test_stepping_down_ends_it(self) -> None:
        updates = (primary(EVENT + SECOND), primary(EVENT + 2 * SECOND, "nat-a", "65000:2"))
        assert analysis.analyse(run(taps=taps(updates=updates))).two_claimants_ms == 1000.0

    def test_a_node_without_power_claims_nothing(self) -> None:
        data = run(taps=taps(updates=(primary(EVENT + SECOND),)), cut_ns=EVENT)
        assert analysis.analyse(data).two_claimants_ms == 0.0

    def test_short_claims_add_up_in_the_total_only(self) -> None:
        own = tuple(advert(EVENT + n * 100 * MS, "nat-a") for n in range(50))
        other = (advert(EVENT + SECOND), advert(EVENT + 3 * SECOND))
        result = analysis.analyse(run(taps=taps(adverts=(*own, *other))))
        assert (result.two_claimants_ms, result.two_claimants_total_ms) == (150.0, 300.0)


class TestRoleChanges:
    def changes(self, *updates: object) -> int:
        return analysis.analyse(run(taps=taps(updates=updates))).role_changes

    def test_none(self) -> None:
        assert self.changes() == 0
        assert self.changes(primary(EVENT + 1, "nat-a"), primary(EVENT + 2, "nat-b", "65000:2")) == 0

    def test_one_takeover_told_to_four_route_servers(self) -> None:
        assert self.changes(*(primary(EVENT + n) for n in range(1, 5))) == 1

    def test_there_and_back(self) -> None:
        away = (primary(EVENT + 1), primary(EVENT + 2, "nat-a", "65000:2"))
        back = (primary(EVENT + 3, "nat-a"), primary(EVENT + 4, "nat-b", "65000:2"))
        assert self.changes(*away, *back) == 2

    def test_both_primary_while_handing_over_is_one_change(self) -> None:
        assert self.changes(primary(EVENT + 1), primary(EVENT + 2, "nat-a"), primary(EVENT + 3)) == 1

    def test_before_the_event_does_not_count(self) -> None:
        assert self.changes(primary(EVENT - 1)) == 0

    @pytest.mark.parametrize(("after", "wrong"), [("nat-b", 0), ("nat-a", 1), (None, 1)])
    def test_who_is_active_afterwards(self, after: str | None, wrong: int) -> None:
        observed = Observed(active_before="nat-a", active_after=after)
        assert analysis.analyse(run(observed=observed)).wrong_active == wrong


class TestSteps:
    def test_each_from_its_witness_and_only_of_the_survivor(self) -> None:
        data = run(
            taps=taps(
                adverts=(advert(EVENT - SECOND, "nat-a"), advert(EVENT + 400 * MS), advert(EVENT + 500 * MS)),
                updates=(primary(EVENT - SECOND, "nat-a"), primary(EVENT + 420 * MS)),
            ),
            routes=(RouteChange(EVENT + 430 * MS, ()), RouteChange(EVENT + 440 * MS, ("nat-b",))),
            neighbours=(NeighbourChange(EVENT - MS, "nat-b"), NeighbourChange(EVENT + 405 * MS, "nat-b")),
            steps=(
                AgentStep(EVENT + 100 * MS, "nat-a", "step", "traffic", {}),
                AgentStep(EVENT + 410 * MS, "nat-b", "step", "traffic", {}),
            ),
        )
        steps = analysis.analyse(data).steps_ms
        assert (steps.detection, steps.arp_learnt, steps.traffic_state_switched) == (400.0, 405.0, 410.0)
        assert (steps.update_on_the_wire, steps.best_path_moved) == (420.0, 440.0)

    def test_from_the_fifo_to_the_update_without_the_challenge(self) -> None:
        diary = (
            AgentStep(EVENT + 400 * MS, "nat-b", "fifo", "", {"role": "MASTER"}),
            AgentStep(EVENT + 401 * MS, "nat-b", "transition", "", {"after": "challenging"}),
            AgentStep(EVENT + 431 * MS, "nat-b", "transition", "", {"after": "active"}),
        )
        seen = taps(updates=(primary(EVENT - SECOND, "nat-b"), primary(EVENT + 441 * MS)))
        assert analysis.analyse(run(taps=seen, steps=diary)).fifo_to_update_ms == 11.0
        assert analysis.analyse(run(taps=seen, steps=(diary[0], diary[2]))).fifo_to_update_ms == 41.0
        assert analysis.analyse(run(taps=seen)).fifo_to_update_ms is None

    def test_what_nobody_saw_is_none(self) -> None:
        steps = analysis.analyse(run()).steps_ms
        assert steps.detection is None
        assert steps.best_path_moved is None

    def test_an_advert_that_gives_the_role_away_is_no_detection(self) -> None:
        data = run(taps=taps(adverts=(advert(EVENT + MS, priority=0),)))
        assert analysis.analyse(data).steps_ms.detection is None


class TestSummary:
    def test_adds_up(self) -> None:
        runs = [analysis.analyse(run(udp=stream(((0, n * 100 * MS),)))) for n in (1, 3, 2)]
        summary = analysis.summarise(runs)
        assert summary.runs == 3
        assert summary.outage_ms.p50 == runs[2].outage_ms
        assert summary.outage_ms.max == summary.outage_ms.p99 == runs[1].outage_ms
        assert summary.packets_lost == sum(r.packets_lost for r in runs)

    def test_no_flows_at_all_is_no_success(self) -> None:
        assert analysis.summarise([analysis.analyse(run(flows=()))]).flows_broken_ratio == 1.0
