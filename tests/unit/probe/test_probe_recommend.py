"""Facts in, settings out: every fabric that the probe can meet, and a file that natpair itself accepts."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from commands import complaints
from natpair.config.load import parse
from natpair.core.model import BgpPolicy, Profile
from natpair.probe.analysis import Lever, Spread, Tie
from natpair.probe.facts import WORDS, Fact, Facts, Name, Value, missing
from natpair.probe.recommend import Recommendation, recommend
from natpair.probe.report import Circumstances, Report, fragment, lines, masked, shown
from samples import EXAMPLE

GOOD: dict[Name, Value] = {
    Name.SESSIONS_BEFORE_SHARE: "0 of 8",
    Name.HOLD_NEGOTIATED_SECONDS: 3,
    Name.HOPS_TO_ROUTE_SERVERS: 5,
    Name.COMMUNITIES: "honoured",
    Name.MED: "honoured",
    Name.ORIGIN: "honoured",
    Name.TIE: "fixed",
    Name.REROUTE_AFTER_UPDATE: Spread(300.0, 400.0, 4),
    Name.VRRP_UNICAST: True,
    Name.VLAN_WORST_GAP_MS: 40.0,
    Name.GRATUITOUS_ARP: True,
    Name.VLAN_MTU: 1500,
}


def facts(changes: dict[Name, Value] | None = None) -> Facts:
    return Facts(tuple(Fact(name, value, "seen") for name, value in (GOOD | (changes or {})).items()))


def told(changes: dict[Name, Value]) -> str:
    found = recommend(facts(changes))
    return "\n".join((*found.warnings, *found.remarks))


def test_a_fabric_by_the_book_gets_the_defaults() -> None:
    found = recommend(facts())
    assert found.value("policy") == "newest-wins"
    assert found.value("profile") == "balanced"
    assert found.value("hold_seconds") == 6
    assert found.value("multihop_ttl") == 16
    assert not found.warnings


def test_a_fabric_that_ignores_med() -> None:
    found = recommend(facts({Name.MED: "ignored"}))
    assert found.value("policy") == "primary-secondary"
    assert found.value("hold_seconds") == 3  # it bounds a takeover now
    assert "only communities and origin can be used" in told({Name.MED: "ignored"})


def test_a_fabric_that_shares_load() -> None:
    assert recommend(facts({Name.TIE: "load-shared"})).value("policy") == "newest-wins"
    assert "do not let two routes be equal" in told({Name.TIE: "load-shared"})
    assert "part of the flows goes to the dead node" in told({Name.TIE: "load-shared", Name.MED: "ignored"})


def test_a_fabric_that_keeps_the_older_route() -> None:
    assert not recommend(facts({Name.TIE: "older"})).warnings  # MED beats age
    assert "two equal primary routes the older wins" in told({Name.TIE: "older", Name.MED: "ignored"})


def test_a_fabric_that_honours_nothing_is_not_to_be_used() -> None:
    nothing: dict[Name, Value] = dict.fromkeys((Name.COMMUNITIES, Name.MED, Name.ORIGIN), "ignored")
    assert "Do not use it here" in told(nothing)


@pytest.mark.parametrize("med", ["inverted", "unclear", None])
def test_a_med_that_is_not_understood_is_not_sent(med: str | None) -> None:
    assert recommend(facts({Name.MED: med})).value("policy") == "primary-secondary"


def test_a_hold_time_that_is_refused_raises_the_profiles() -> None:
    assert recommend(facts({Name.HOLD_NEGOTIATED_SECONDS: 9})).value("hold_seconds") == 9
    assert recommend(facts({Name.HOLD_NEGOTIATED_SECONDS: None})).value("hold_seconds") == 9


def test_the_profile_follows_the_vlan_and_the_fabric() -> None:
    quick: dict[Name, Value] = {Name.VLAN_WORST_GAP_MS: 2.0, Name.REROUTE_AFTER_UPDATE: Spread(10.0, 20.0, 4)}
    assert recommend(facts(quick)).value("profile") == "fast"
    assert recommend(facts(quick | {Name.REROUTE_AFTER_UPDATE: None})).value("profile") == "balanced"
    assert recommend(facts({Name.VLAN_WORST_GAP_MS: 300.0})).value("profile") == "conservative"
    assert recommend(facts({Name.VLAN_WORST_GAP_MS: None})).value("profile") == "balanced"


def test_far_route_servers_get_more_hops() -> None:
    assert recommend(facts({Name.HOPS_TO_ROUTE_SERVERS: 20})).value("multihop_ttl") == 24


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (Name.VRRP_UNICAST, False, "VRRP unicast does not pass"),
        (Name.GRATUITOUS_ARP, False, "Gratuitous ARP is lost"),
        (Name.VLAN_MTU, 1400, "at most 1400 bytes"),
        (Name.SAME_HOST, True, "one physical host"),
        (Name.GRACEFUL_RESTART_OFFERED, True, "offer graceful restart"),
        (Name.REROUTE_AFTER_POWER_CUT, Spread(9000.0, 9000.0, 2), "longer than the hold time"),
        (Name.STANDBY_SENDS_FROM_FIP, False, "cannot send from the FIP"),
        (Name.FOREIGN_MAC, False, "a virtual MAC for VRRP is impossible"),
    ],
)
def test_what_is_odd_is_said(name: Name, value: Value, words: str) -> None:
    assert words not in told({})
    assert words in told({name: value})


def merged(fragment_text: str) -> str:
    """The example with the fragment's lines in its tables, as a person would put them there."""
    text = EXAMPLE.read_text()
    for table, body in re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", fragment_text, re.MULTILINE | re.DOTALL):
        for key in re.findall(r"^(\w+) =", body, re.MULTILINE):
            text = re.sub(rf"^{key} = .*\n", "", text, flags=re.MULTILINE)
        text = text.replace(f"[{table}]\n", f"[{table}]\n{body}", 1)
    return text


@pytest.mark.parametrize("med", [*Lever, None])
@pytest.mark.parametrize("tie", [Tie.SHARED, Tie.FIXED, None])
def test_the_fragment_is_a_piece_of_a_good_gateway_toml(med: Lever | None, tie: Tie | None) -> None:
    changes: dict[Name, Value] = {Name.MED: med and med.value, Name.TIE: tie and tie.value}
    found = recommend(facts(changes))
    gateway = parse(merged(fragment(found)))
    assert gateway.bgp.policy is BgpPolicy(str(found.value("policy")))
    assert gateway.pair.profile is Profile(str(found.value("profile")))
    assert gateway.timing.bgp_hold_seconds == found.value("hold_seconds")


def test_natpair_check_accepts_it(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(merged(fragment(recommend(facts({Name.MED: "ignored"})))))
    argv = [sys.executable, "-m", "natpair", "check", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


ABOUT = Circumstances(
    "us-ord",
    "g6-nanode-1",
    "Linode",
    "0123abcd",
    "2030-01-01T00:00:00",
    600.0,
    "0.1.0",
    "198.51.100.7",
    ("probe-a", "probe-b"),
)


def report(changes: dict[Name, Value] | None = None) -> Report:
    return Report.of(ABOUT, facts(changes).complete())


def test_every_fact_has_words_and_a_line_even_if_nothing_was_measured() -> None:
    assert set(WORDS) == set(Name)
    nothing = Report.of(ABOUT, Facts().complete())
    text = "\n".join(lines(nothing))
    assert text.count("not measured: the probe ended before it") == len(Name)
    assert all(words in text for words in WORDS.values())
    document = nothing.document()
    assert complaints(document) == []
    assert document["schema"] == "natpair/probe/v1"
    assert all("not_measured" in fact for fact in document["facts"].values())


def test_a_fact_in_the_document_has_value_and_evidence() -> None:
    found = report().document()["facts"]
    assert found["med"] == {"value": "honoured", "evidence": "seen"}
    assert found["reroute_after_update"]["value"] == {"median_ms": 300.0, "worst_ms": 400.0, "runs": 4}


def test_what_is_left_behind_is_shouted() -> None:
    left = Report.of(replace(ABOUT, left_behind=("natpair-probe-0123abcd-a",)), facts())
    assert "LEFT BEHIND" in "\n".join(lines(left))
    assert "is removed" in "\n".join(lines(report()))


def test_masking_hides_public_addresses_and_keeps_what_belongs_together() -> None:
    text = "FIP 203.0.113.6, node 203.0.113.7 and again 203.0.113.6; 2001:db8:100::3; 192.168.1.3; 2600:3c0f:18:34::1"
    hidden = masked(text)
    assert "203.0.113" not in hidden
    assert "db8:100" not in hidden
    assert hidden == "FIP 192.0.2.1, node 192.0.2.2 and again 192.0.2.1; 2001:db8::1; 192.168.1.3; 2600:3c0f:18:34::1"


@pytest.mark.parametrize(
    "text", ["21:58:02", "version 1.2.3", "65000:1", "2030-01-01T00:00:00", "999.1.1.1", "a::b::c"]
)
def test_masking_leaves_what_is_no_address(text: str) -> None:
    assert masked(text) == text


def test_the_masked_document_is_still_one() -> None:
    assert report().document(mask=True)["fip"] == "192.0.2.1"


def test_values_for_people() -> None:
    assert shown(Spread(1.5, 3.0, 2)) == "1.5 ms (median of 2; worst 3 ms)"
    assert (shown(True), shown(False), shown(3.0), shown("x")) == ("yes", "no", "3", "x")


def test_recommendation_without_a_key_has_no_value() -> None:
    assert Recommendation((), (), ()).value("policy") is None
    assert missing(Name.MED, "why").value is None
