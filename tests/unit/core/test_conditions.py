"""Every condition can be tripped, none shows on a healthy pair."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from natpair.core.account import Account, Lack, Trouble, Work
from natpair.core.capacity import Crowd
from natpair.core.condition import Condition, Severity
from natpair.core.conditions import CATALOGUE, alarms, conditions
from natpair.core.conditions_traffic import RELAY_PATIENCE
from natpair.core.health import DiskTrouble
from natpair.core.messages import Alarm, Phase, VrrpRole
from natpair.core.replies import FipReplies, ReplyState, Where
from natpair.core.state import NodeState, PeerView
from natpair.core.wire import Path
from node_strategies import NOW, states
from nodes import MINE, NEWER, NO_BGP, THEIRS, WELL, active, changed, node, says, standby


def codes(state: NodeState, now: float = 0.0) -> set[str]:
    return {condition.code for condition in conditions(state, now)}


def sees(**health: object) -> NodeState:
    return active(health=changed(WELL, **health))


def heard(said: Phase, **ages: float) -> PeerView:
    return PeerView({path: -ages.get(path.value, 0.0) for path in Path}, says(said))


def stalled(said_alarms: tuple[Alarm, ...] = (), **health: object) -> NodeState:
    """A standby that asked for the flows again 6 s ago, at 3, and still has few of them at 9."""
    said = says(Phase.ACTIVE, flows=1000, alarms=said_alarms)
    heard_now = PeerView(dict.fromkeys(Path, 9.0), said)
    return changed(
        standby(health=changed(WELL, flows=20, **health)),
        peer=heard_now,
        pulls=1,
        pulled_at=3.0,
    )


def quiet_sync(seconds: float = 8.0, *, vlan: float = 9.0, since: float = 0.0, **health: object) -> NodeState:
    """A standby at 9 that has heard nothing of its peer's conntrackd for `seconds`, and its heartbeats until `vlan`."""
    peer = PeerView({Path.PRIVATE: vlan, Path.PUBLIC: 9.0}, says(Phase.ACTIVE))
    here = changed(WELL, sync_quiet_seconds=seconds, **health)
    return replace(standby(health=here), peer=peer, since=since)


CROWD = Crowd("192.0.2.221", 6, "198.51.100.10", 443, about=60_000)
ALONE = heard(Phase.STANDBY, private=60.0, public=60.0)
TRIPS: dict[str, list[tuple[NodeState, float]]] = {
    "two-active": [(active(said=says(Phase.ACTIVE)), 0.0)],
    "nobody-active": [
        (standby(said=says(Phase.STANDBY)), 0.0),
        (standby(said=None, vrrp=VrrpRole.INIT), 0.0),
        (standby(vrrp=VrrpRole.FAULT), 60.0),
        (standby(said=None, health=replace(WELL, keepalived=False)), 0.0),
        (node(Phase.FAULT, says(Phase.FAULT)), 0.0),
    ],
    "private-link-down": [(sees(private_up=False), 0.0)],
    "public-link-down": [(sees(public_up=False), 0.0)],
    "gateway-unreachable": [(sees(gateway=False), 0.0)],
    "ruleset-wrong": [(sees(ruleset=False), 0.0)],
    "keepalived-not-responding": [(sees(keepalived=False), 0.0)],
    "no-bgp": [(active(health=NO_BGP), 0.0)],
    "no-replies": [
        (sees(replies=(FipReplies("192.0.2.221", ReplyState.SILENT, where),)), 0.0) for where in Where if where
    ],
    "replies-missing": [
        (sees(replies=(FipReplies("192.0.2.221", ReplyState.SUSPECTED, where),)), 0.0) for where in Where if where
    ],
    "fip-announced-elsewhere": [
        (sees(replies=(FipReplies("192.0.2.221", ReplyState.SILENT, Where.FIP, elsewhere="192.0.2.221"),)), 0.0)
    ],
    "no-usable-standby": [
        (active(said=says(Phase.STANDBY, unanswered=True)), 0.0),
        (active(said=None), 0.0),
        (active(peer=ALONE), 0.0),
        (active(said=says(Phase.DRAINED, drained=True)), 0.0),
        (active(said=says(Phase.STANDBY, ready=False)), 0.0),
        (active(said=says(Phase.STANDBY, synced=False)), 0.0),
        (active(said=says(Phase.BOOTING)), 0.0),
    ],
    "flows-missing": [
        (active(said=says(Phase.STANDBY, sampled=32, missing=4)), 0.0),
        (standby(health=changed(WELL, sampled=10, missing=1)), 0.0),
    ],
    "sync-stalled": [
        (stalled(), 9.0),
        (stalled(sync_quiet_seconds=8.0), 9.0),
        (quiet_sync(), 9.0),
        (stalled(said_alarms=(Alarm("conntrackd-not-responding", "conntrackd does not respond"),)), 9.0),
        (replace(stalled(), phase=Phase.BOOTING), 9.0),
    ],
    "clients-dropped": [
        (sees(unrepaired=("table inet ufw chain fchain",)), 0.0),
        (sees(leaking=True), 0.0),
        (sees(barred=("table inet ufw chain fchain",)), 0.0),
        (standby(health=replace(WELL, unrepaired=("table ip a chain b, table ip a chain c",))), 0.0),
    ],
    "ports-exhausted": [(sees(refusing=True), 0.0), (sees(refusing=True, crowd=CROWD), 0.0)],
    "ports-filling": [(sees(crowd=CROWD), 0.0)],
    "flow-table-filling": [(sees(flows=820, most_flows=1000), 0.0), (sees(overflowing=True, most_flows=1000), 0.0)],
    "no-extended-next-hop": [(sees(plain_sessions=("rs1",)), 0.0)],
    "keys-differ": [(active(said=None, health=changed(WELL, keys_differ=True)), 0.0)],
    "key-readable": [(sees(key_mode=0o644), 0.0), (sees(key_mode=0o640), 0.0)],
    "key-missing": [(sees(key_missing=True), 0.0)],
    "large-packets-lost": [(sees(large_lost=True), 0.0), (standby(health=changed(WELL, large_lost=True)), 0.0)],
    "address-misplaced": [(sees(misplaced=("203.0.113.4 is on eth1 and belongs on eth0",)), 0.0)],
    "address-twice": [(sees(twice=("192.168.1.3 by 02:00:00:00:00:09",)), 0.0)],
    "clocks-differ": [(sees(clock_ahead=6.0), 0.0), (sees(clock_ahead=-3600.0), 0.0)],
    "unconfirmed-apply": [(sees(rollback_at=40.0), 0.0)],
    "peer-silent": [(standby(peer=heard(Phase.ACTIVE, private=60.0, public=60.0)), 0.0)],
    "vip-contested": [(sees(contested="02:00:00:00:00:09"), 0.0)],
    "client-limited": [(sees(limiting=True), 0.0)],
    "repair-gave-up": [(sees(unrepaired=("ruleset",)), 0.0)],
    "disk-stalled": [(sees(disk=DiskTrouble("/var/lib/natpair", seconds=12.0)), 0.0)],
    "agent-failing": [(sees(failed_parts=("looks: KeyError: 'x' (sources.py:1)",)), 0.0)],
    "disk-refuses": [(sees(disk=DiskTrouble("/var/lib/natpair", error="No space left on device")), 0.0)],
    "conntrackd-not-responding": [(sees(conntrackd=False), 0.0)],
    "bgp-degraded": [(sees(bgp_established=3), 0.0)],
    "private-path-silent": [(active(peer=heard(Phase.STANDBY, private=5.0)), 0.0)],
    "public-path-silent": [(active(peer=heard(Phase.STANDBY, public=5.0)), 0.0)],
    "claim-refused": [(node(Phase.REFUSED, says(Phase.ACTIVE)), 0.0)],
    "vrrp-fault": [(standby(vrrp=VrrpRole.FAULT, peer=heard(Phase.ACTIVE, private=-5.0, public=-5.0)), 5.0)],
    "fabric-disagrees": [(standby(health=replace(WELL, relaying_seconds=60.0)), 60.0)],
    "vlan-link-dead": [(active(said=says(Phase.REFUSED, sees=3), health=replace(WELL, sees=0), blind_since=-2.0), 0.0)],
    "resync-failed": [(active(incomplete=True), 0.0)],
    "role-held-back": [(standby(losses=5, lost_at=-1.0), 0.0)],
    "config-differs": [(active(said=says(Phase.STANDBY, config_hash="other")), 0.0)],
    "peer-version": [(active(peer=ALONE, health=changed(WELL, foreign_version=2)), 0.0)],
    "share-missing": [(active(account=Account(lacks=(Lack("192.0.2.221", "nat-b", "is not shared", True),))), 0.0)],
    "maintenance-ahead": [(active(account=Account(planned=(Work("nat-b", "key", "reboot", 7200.0),))), 0.0)],
    "account-unreadable": [(active(account=Account(troubles=(Trouble("token", "no", refused=True),))), 0.0)],
    "drained": [(node(Phase.DRAINED, says(Phase.ACTIVE), drained=True), 0.0)],
}
CASES = [(code, state, now) for code, cases in TRIPS.items() for state, now in cases]


def test_a_recording_of_another_version_says_nothing_of_a_peer_that_is_understood() -> None:
    assert "peer-version" not in codes(sees(foreign_version=2))


@pytest.mark.parametrize(("code", "state", "now"), CASES, ids=[code for code, _, _ in CASES])
def test_it_is_tripped(code: str, state: NodeState, now: float) -> None:
    assert code in codes(state, now)


def test_every_condition_of_the_catalogue_is_tripped_above() -> None:
    assert set(TRIPS) == {kind.code for kind in CATALOGUE}


@pytest.mark.parametrize("state", [active(), standby()], ids=["active", "standby"])
def test_a_healthy_pair_has_none(state: NodeState) -> None:
    assert conditions(state, 0.2) == ()


@pytest.mark.parametrize(
    "state",
    [
        node(Phase.HANDING_OVER, says(Phase.PREPARING, ready=False, synced=False)),
        active(said=says(Phase.HANDING_OVER), epoch=NEWER),
    ],
    ids=["giver", "taker-that-has-it"],
)
def test_a_handover_under_way_is_nothing_wrong(state: NodeState) -> None:
    assert codes(state) <= {"no-usable-standby"}
    assert "two-active" not in codes(state)


def test_the_catalogue_is_one_of_unique_codes_with_words_and_fixes() -> None:
    assert len({kind.code for kind in CATALOGUE}) == len(CATALOGUE)
    for kind in CATALOGUE:
        assert kind.meaning
        assert kind.fix
        assert kind.code == kind.code.lower()
        assert " " not in kind.code


@settings(max_examples=200)
@given(states())
def test_the_worst_come_first_and_every_text_says_something(state: NodeState) -> None:
    found = conditions(state, NOW)
    order = [list(Severity).index(condition.severity) for condition in found]
    assert order == sorted(order)
    assert all(isinstance(c, Condition) and c.text and "None" not in c.text for c in found)


def test_relaying_is_news_only_when_it_lasts_and_on_a_node_that_has_been_standby_for_long() -> None:
    relaying = replace(WELL, relaying_seconds=RELAY_PATIENCE)
    assert "fabric-disagrees" in codes(standby(health=relaying), RELAY_PATIENCE)
    assert "fabric-disagrees" not in codes(standby(health=relaying), RELAY_PATIENCE - 1)
    assert "fabric-disagrees" not in codes(standby(health=replace(WELL, relaying_seconds=RELAY_PATIENCE - 1)), 100.0)
    assert "fabric-disagrees" not in codes(active(health=relaying), 100.0)


def test_the_peer_shows_what_only_the_other_sees() -> None:
    state = sees(replies=(FipReplies("192.0.2.221", ReplyState.SILENT, Where.FIP),))
    told = alarms(state, 0.0)
    assert [one.code for one in told] == ["no-replies"]
    (shown,) = conditions(standby(said=says(Phase.ACTIVE, alarms=told)), 0.0)
    assert (shown.code, shown.node, shown.severity) == ("no-replies", "nat-b", Severity.CRITICAL)
    assert shown.text.startswith("nat-b: nothing comes back for 192.0.2.221")
    assert alarms(standby(said=says(Phase.ACTIVE, alarms=told)), 0.0) == (), "it is not told back"


def test_a_standby_that_hears_adverts_does_not_say_that_nobody_serves() -> None:
    """Two keys: each takes the other for silent, and VRRP proves that one of them serves."""
    found = codes(standby(said=None, health=changed(WELL, keys_differ=True)), 60.0)
    assert found == {"keys-differ"}
    serving = conditions(active(said=None, health=changed(WELL, keys_differ=True)), 60.0)
    assert any("not known" in one.text for one in serving if one.code == "no-usable-standby")


def test_what_an_operator_wants_is_no_alarm() -> None:
    (found,) = conditions(active(said=says(Phase.DRAINED, drained=True)), 0.0)
    assert (found.code, found.severity) == ("no-usable-standby", Severity.INFO)
    assert "natpair undrain" in found.fix


def test_why_the_peer_could_not_take_over_is_said_in_its_own_words() -> None:
    told = (Alarm("clients-dropped", "another tool's chain drops clients' packets: inet ufw fchain"),)
    found = conditions(active(said=says(Phase.FAULT, ready=False, alarms=told)), 0.0)
    (usable,) = [one for one in found if one.code == "no-usable-standby"]
    assert "inet ufw fchain" in usable.text


def test_a_chain_of_another_tool_is_named_with_its_fix() -> None:
    (found,) = conditions(sees(unrepaired=("table inet ufw chain fchain",)), 0.0)
    assert (found.code, found.severity) == ("clients-dropped", Severity.CRITICAL)
    assert "inet ufw fchain" in found.text
    assert "nft delete chain inet ufw fchain" in found.fix


@pytest.mark.parametrize(
    "state",
    [
        quiet_sync(2.0),
        quiet_sync(conntrackd=False),
        quiet_sync(vlan=4.0),
        quiet_sync(since=8.0),
        replace(quiet_sync(), phase=Phase.ACTIVE),
    ],
    ids=["one message lost", "no conntrackd", "VLAN cut", "just began", "active"],
)
def test_silence_of_the_sync_that_has_another_cause_is_not_called_stalled(state: NodeState) -> None:
    assert "sync-stalled" not in codes(state, 9.0)


def test_a_few_stray_packets_on_a_standby_accuse_nobody() -> None:
    state = standby(health=replace(WELL, barred=("table inet ufw chain fchain",)))
    assert "clients-dropped" not in codes(state)


def test_a_node_out_of_the_election_for_good_reason_is_no_fault_of_vrrp() -> None:
    """With all BGP sessions gone the standby takes itself out: no-bgp says it all."""
    gone = standby(health=NO_BGP, vrrp=VrrpRole.FAULT, peer=heard(Phase.ACTIVE, private=-60.0, public=-60.0))
    assert codes(gone, 60.0) == {"no-bgp"}


@pytest.mark.parametrize(
    "health",
    [
        {"flows": 790, "most_flows": 1000},
        {"crowd": replace(CROWD, about=50_000)},
        {"key_mode": 0o600},
        {"clock_ahead": 4.9},
    ],
)
def test_below_the_mark_it_is_nothing(health: dict[str, object]) -> None:
    assert conditions(sees(**health), 0.0) == ()


def test_a_link_is_named_and_why_it_is_down() -> None:
    (found,) = conditions(sees(private_up=False, private_why="has no carrier"), 0.0)
    assert found.text == "eth1 (VLAN) has no carrier"


def test_an_alarm_of_another_version_is_passed_over() -> None:
    assert conditions(standby(said=says(Phase.ACTIVE, alarms=(Alarm("unheard-of", "text"),))), 0.0) == ()


def test_a_path_is_not_called_silent_while_the_whole_peer_is() -> None:
    assert not codes(active(peer=ALONE)) & {"private-path-silent", "public-path-silent"}


def test_two_with_the_same_claim_are_named_with_their_epochs() -> None:
    (found,) = [c for c in conditions(active(said=says(Phase.ACTIVE)), 0.0) if c.code == "two-active"]
    assert str(MINE) in found.text
    assert str(THEIRS) in found.text


@pytest.mark.parametrize(
    ("state", "text", "fix"),
    [
        (stalled(), "sync messages from nat-b arrive", "sync.port"),
        (stalled(large_lost=True), "large packets from nat-b", "large-packets-lost"),
        (stalled(sync_quiet_seconds=8.0), "no sync message arrives from nat-b", "ip route get"),
        (
            stalled(said_alarms=(Alarm("conntrackd-not-responding", "conntrackd does not respond"),)),
            "conntrackd of nat-b does not respond",
            "log of natpair-conntrackd on nat-b",
        ),
    ],
    ids=["entries", "size", "silence", "peer"],
)
def test_a_sync_that_does_not_progress_names_its_cause(state: NodeState, text: str, fix: str) -> None:
    (found,) = [one for one in conditions(state, 9.0) if one.code == "sync-stalled"]
    assert "20 of 1000 flows" in found.text
    assert text in found.text
    assert fix in found.fix


@pytest.mark.parametrize(
    "state",
    [
        changed(stalled(), pulls=0),
        changed(stalled(), pulled_at=7.0),
        changed(stalled(), health=replace(WELL, flows=1000), flushed_for=THEIRS),
        replace(stalled(), peer=PeerView(dict.fromkeys(Path, 0.0), says(Phase.ACTIVE, flows=1000))),
    ],
    ids=["first resync", "has its time", "has them", "peer silent"],
)
def test_a_sync_that_may_still_progress_is_not_called_stalled(state: NodeState) -> None:
    assert "sync-stalled" not in codes(state, 9.0)
