from __future__ import annotations

import re
from ipaddress import IPv4Address

import pytest

from natpair.core import paths
from natpair.core.model import Nat
from natpair.render.base import Sides
from natpair.render.nftables import (
    ANY_PEER,
    MOST_CLIENTS,
    Traffic,
    nftables_files,
    off_limits,
    peer_guard,
    snat_statement,
)
from samples import gateway, rendered


def rules(text: str, chain: str) -> list[str]:
    """The rules of a chain, whitespace and comments stripped."""
    body = re.search(rf"chain {chain} \{{(.*?)\n    \}}", text, re.DOTALL)
    assert body, chain
    lines = [line.strip() for line in body[1].splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def traffic(state: Traffic) -> str:
    return rendered(f"traffic-{state.value}.nft").text


def test_the_ruleset_replaces_its_own_tables_and_touches_no_other() -> None:
    text = rendered("nftables.nft").text
    assert "flush ruleset" not in text
    assert re.findall(r"^(?:table|delete table|add table) (\S+ \S+)", text, re.MULTILINE) == [
        "ip natpair", "ip natpair", "inet natpair", "inet natpair", "ip natpair", "inet natpair",
    ]  # fmt: skip


def test_the_ruleset_starts_closed() -> None:
    text = rendered("nftables.nft").text
    for chain in ("role_raw", "role_forward"):
        assert rules(text, chain) == rules(traffic(Traffic.CLOSED), chain)
    assert rules(text, "duplicate") == ['counter comment "natpair duplicate=off"']
    assert rules(text, "sync_fence") == ['counter comment "natpair fence=off"']


@pytest.mark.parametrize("state", list(Traffic))
def test_the_first_rule_of_each_role_chain_tells_the_state(state: Traffic) -> None:
    for chain in ("role_raw", "role_forward"):
        assert rules(traffic(state), chain)[0] == f'counter comment "natpair traffic={state.value}"'


@pytest.mark.parametrize(
    "name",
    [
        "traffic-local",
        "traffic-relay",
        "traffic-closed",
        "duplicate-on",
        "duplicate-off",
        "sync-fence-on",
        "sync-fence-off",
    ],
)
def test_a_switch_flushes_what_it_refills_and_nothing_else(name: str) -> None:
    text = rendered(f"{name}.nft").text
    flushed = re.findall(r"^flush chain (\S+) natpair (\S+)$", text, re.MULTILINE)
    refilled = list(
        zip(re.findall(r"^table (\S+) natpair", text, re.MULTILINE), re.findall(r"chain (\S+) \{", text), strict=True)
    )
    assert flushed == refilled
    assert flushed


def test_local_forwards_clients_out_replies_in_and_what_the_peer_relayed() -> None:
    assert rules(traffic(Traffic.LOCAL), "role_raw")[1:] == []
    assert rules(traffic(Traffic.LOCAL), "role_forward")[1:] == [
        'iifname "eth1" oifname "eth0" ip saddr 192.168.1.0/24 ct state established,related'
        " counter name offered accept",
        'iifname "eth0" oifname "eth1" ip daddr 192.168.1.0/24 ct state established,related accept',
        'iifname "eth1" oifname "eth0" ip saddr 192.168.1.0/24 ct state new jump new_flow',
        'iifname "eth1" oifname "eth1" ip daddr 192.168.1.0/24 ct direction reply ct state established,related accept',
    ]


def test_relay_holds_clients_and_hands_over_untracked() -> None:
    assert rules(traffic(Traffic.RELAY), "role_raw")[1:] == [
        'iifname "eth1" fib daddr type != local counter name held drop',
        'iifname "eth0" ip daddr @fips counter name relayed notrack',
    ]
    assert rules(traffic(Traffic.RELAY), "role_forward")[1:] == [
        'iifname "eth0" oifname "eth1" ip daddr @fips ct state untracked accept'
    ]


def test_closed_forwards_nothing() -> None:
    assert rules(traffic(Traffic.CLOSED), "role_forward")[1:] == []


def test_nothing_is_refused_aloud_but_what_opens_a_flow_too_many() -> None:
    for file in nftables_files(Sides.of(gateway(), "nat-a")):
        refusing = [line.strip() for line in file.text.splitlines() if re.search(r"\breject\b", line)]
        assert refusing == ([] if file.path != paths.NFTABLES else rules(file.text, "refuse")[:-1]), file.path
    begins, others, last = rules(rendered("nftables.nft").text, "refuse")
    assert begins.startswith("tcp flags & (syn | ack) == syn limit rate")
    assert others.startswith("meta l4proto { udp, icmp } limit rate")
    assert last == "drop"


def test_each_client_has_its_limits_and_defaults_are_shares_of_the_table() -> None:
    known, off, other, limit, pings, _, count, *kinds, last = rules(rendered("nftables.nft").text, "new_flow")
    assert (known, last) == ("ct status confirmed counter name offered accept", "counter name offered accept")
    assert "counter name off_limits drop" in off
    assert other == "ip protocol != { tcp, udp, icmp } counter name other_protocol drop"
    assert "ip saddr limit rate over 1024/second burst 1024 packets" in limit
    assert "ip saddr . ip protocol . jhash icmp id mod 128 ct count over 256 }" in pings
    assert "ip saddr . ip protocol . symhash mod 128 ct count over 256 }" in count, "128 times that is an eighth"
    assert [rule.rsplit(" ", 1)[1] for rule in kinds] == ['"udp_known"', '"udp_question"']
    own = gateway(extra="[nat]\nmax_flows_per_client = 500\nnew_flows_per_second_per_client = 77\n")
    _, _, _, limit, _, _, count, *_ = rules(rendered("nftables.nft", own).text, "new_flow")
    assert "rate over 77/second burst 77 packets" in limit
    assert "ip saddr . ip protocol . symhash mod 1 ct count over 500 }" in count, "few are in one list: an exact limit"


@pytest.mark.parametrize(("prefix", "size"), [(24, 256), (20, 4096), (12, MOST_CLIENTS)])
def test_sets_of_clients_have_room_for_the_subnet_and_an_end(prefix: int, size: int) -> None:
    large = gateway(("192.168.1.1/24", f"10.16.0.1/{prefix}"), ("192.168.1.3/24", f"10.16.0.3/{prefix}"),
                    ("192.168.1.4/24", f"10.16.0.4/{prefix}"))  # fmt: skip
    text = rendered("nftables.nft", large).text
    sizes = {name: int(found) for name, found in re.findall(r"set (\w+) \{[^}]*?size (\d+)", text)}
    assert (sizes["client_rate"], sizes["clients_full"]) == (size, size)


@pytest.mark.parametrize("limit", [1, 255, 511, 512, 2999, 32_768, 16_777_216])
def test_full_lists_hold_what_a_client_may_have_and_none_is_long(limit: int) -> None:
    nat = Nat(max_flows_per_client=limit)
    assert 0.99 * limit <= nat.lists_per_client * nat.flows_per_list <= limit
    assert 1 <= nat.flows_per_list < 512


def test_clients_reach_the_internet_and_no_private_network_but_the_one_the_wan_stands_in() -> None:
    assert str(off_limits(Sides.of(gateway(), "nat-a"))[0]) == "169.254.0.0/16"
    inside = gateway(
        ('public_address = "203.0.113.3/24"', 'public_address = "10.1.2.3/24"'),
        ('public_address = "203.0.113.4/24"', 'public_address = "10.1.2.4/24"'),
    )
    assert "10.0.0.0/8" not in [str(n) for n in off_limits(Sides.of(inside, "nat-a"))]
    assert "ip daddr { 169.254.0.0/16, 10.0.0.0/8" in rendered("nftables.nft").text


def test_the_peer_is_who_has_its_mac_once_that_is_known() -> None:
    view = Sides.of(gateway(), "nat-a")
    mark, beats, peer, relayed = rules(peer_guard(view, "02:00:00:00:00:04"), "peer_guard")
    assert 'comment "natpair peer=02:00:00:00:00:04"' in mark
    assert "udp dport 3781 limit rate 20/second" in beats, "sealed: a peer on a new card may be heard"
    assert peer == "ether saddr != 02:00:00:00:00:04 ip saddr 192.168.1.4 counter name forged drop"
    assert "ip saddr != 192.168.1.0/24 ip daddr @fips" in relayed
    assert len(rules(peer_guard(view, ANY_PEER), "peer_guard")) == 1


def test_translation_has_no_random_flag_and_one_address() -> None:
    assert rules(rendered("nftables.nft").text, "nat_postrouting")[1:] == [
        'iifname "eth1" oifname "eth0" ip saddr 192.168.1.0/24 snat to 192.0.2.221'
    ]


def test_several_addresses_are_chosen_alike_on_both_nodes() -> None:
    statement = snat_statement((IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")))
    assert statement == "snat to jhash ip saddr mod 2 seed 0x6e617470 map { 0 : 192.0.2.1, 1 : 192.0.2.2 }"
    both = gateway(('fips = ["192.0.2.221"]', 'fips = ["192.0.2.9", "192.0.2.1"]'))
    chosen = [rules(rendered("nftables.nft", both, node).text, "nat_postrouting") for node in ("nat-a", "nat-b")]
    assert chosen[0] == chosen[1]


def test_clients_leave_with_a_fip_and_the_node_with_its_own_address() -> None:
    _, back, *guard = rules(rendered("nftables.nft").text, "leak_guard")
    assert back.startswith('oifname "eth1" ct direction reply'), "replies are counted, and go on"
    assert guard == [
        'oifname != "eth0" accept',
        'counter name ip saddr map { 192.0.2.221 : "passed_192.0.2.221" } accept',
        'iifname "eth1" update @misrouted { ct reply ip daddr }',
        'iifname "eth1" counter name leak_guard drop',
        "ip saddr 192.168.1.0/24 counter name own_leak drop",
        "ip saddr != 203.0.113.3 counter name leak_guard drop",
    ]


def test_natpairs_own_translation_is_ahead_of_everybody_elses() -> None:
    for chain in ("nat_prerouting", "nat_postrouting"):
        assert "priority -199;" in rules(rendered("nftables.nft").text, chain)[0], "the lowest that the kernel takes"


def test_vrrp_sync_heartbeat_and_bgp_are_untracked_both_ways() -> None:
    text = rendered("nftables.nft").text
    for way in ("prerouting", "output"):
        four, six = text.split("table inet natpair {")
        own = ("from_peer", "from_wan") if way == "prerouting" else ("raw_output",)
        chains = [rules(six, f"raw_{way}"), *(rules(four, chain) for chain in own)]
        untracked = [rule for chain in chains for rule in chain if "notrack" in rule]
        for what in ("ip protocol 112", "3780", "udp dport 3781", "tcp sport 179", "tcp dport 179"):
            assert any(what in rule for rule in untracked), (way, what)
    from_vlan = rules(text, "from_vlan")
    assert "ip saddr 192.168.1.4 ip daddr 192.168.1.3 jump from_peer" in from_vlan


def test_input_is_closed_and_silent_about_fips() -> None:
    chain = rules(rendered("nftables.nft").text.split("table inet natpair {")[1], "input")
    assert chain[0].endswith("policy drop;")
    assert chain[2] == "ip daddr @fips drop"
    assert chain[3] == "jump sync_fence"
    assert chain[-1].startswith('iifname "eth0" tcp dport { 22 } ct state new')
    (advertisement,) = [rule for rule in chain if "nd-router-advert" in rule]
    assert advertisement.startswith('iifname "eth0" ip6 hoplimit 255 ip6 saddr fe80::/10 ')


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        ("management_tcp_ports = []", None),
        ('management_sources = ["198.51.100.0/24"]', "ip saddr { 198.51.100.0/24 } tcp dport { 22 } accept"),
        (
            'management_sources = ["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"]\nmanagement_tcp_ports = [443, 22, 443]',
            "ip saddr { 10.0.0.0/8 } tcp dport { 22, 443 } accept",
        ),
    ],
)
def test_management_is_what_the_file_says(extra: str, rule: str | None) -> None:
    text = rendered("nftables.nft", gateway(extra=f"[firewall]\n{extra}\n")).text.split("table inet natpair {")[1]
    found = [line for line in rules(text, "input") if "tcp dport" in line and "route_servers" not in line]
    begins = 'ct state new ct timeout set "stranger" limit rate 50/second burst 100 packets'
    assert found == ([rule.replace("accept", f"{begins} accept")] if rule else [])


def test_the_window_copies_what_it_does_not_know_to_the_peer_then_drops_it() -> None:
    assert rules(rendered("duplicate-on.nft").text, "duplicate")[-2:] == [
        'iifname "eth0" ip daddr @fips ct state new,invalid counter name duplicated dup to 192.168.1.4 device "eth1"',
        'iifname "eth0" ip daddr @fips ct state new,invalid drop',
    ]


def test_the_fence_stops_the_peers_entries() -> None:
    assert rules(rendered("sync-fence-on.nft").text, "sync_fence")[1:] == [
        'iifname "eth1" ip saddr 192.168.1.4 udp dport 3780 drop'
    ]


def test_every_state_has_its_file() -> None:
    made = {file.path for file in nftables_files(Sides.of(gateway(), "nat-b"))}
    assert {paths.TRAFFIC_LOCAL, paths.TRAFFIC_RELAY, paths.TRAFFIC_CLOSED, paths.NFTABLES} <= made
    assert len(made) == 9
