"""keepalived.conf, conntrackd.conf, bird.conf and the host's files: what must be in them."""

from __future__ import annotations

import re

import pytest

from natpair.core import paths
from natpair.core.announcement import STANDBY_MED, announcement_for
from natpair.core.model import BgpPolicy
from natpair.render.base import Sides
from natpair.render.bird import role_file
from natpair.render.conntrackd import socket_buffer_bytes
from natpair.render.host import settings
from natpair.render.services import services
from samples import gateway, rendered


@pytest.mark.parametrize(
    ("profile", "advert", "count", "hold"),
    [("fast", "0.02", "3", "3"), ("balanced", "0.10", "5", "6"), ("conservative", "1.00", "3", "9")],
)
def test_profiles_reach_both_daemons(profile: str, advert: str, count: str, hold: str) -> None:
    chosen = gateway(('profile = "balanced"', f'profile = "{profile}"'))
    keepalived, bird = rendered("keepalived.conf", chosen).text, rendered("bird.conf", chosen).text
    assert f"advert_int {advert}\n" in keepalived
    assert f"down_timer_adverts {count}\n" in keepalived
    assert f"hold time {hold};" in bird


def test_a_hold_time_of_the_file_wins() -> None:
    chosen = gateway(('region = "us-ord"', 'region = "us-ord"\nhold_seconds = 30'))
    bird = rendered("bird.conf", chosen).text
    assert "hold time 30;" in bird
    assert "keepalive time 10;" in bird


def test_the_nodes_differ_where_they_must() -> None:
    first, second = (rendered("keepalived.conf", node=node).text for node in ("nat-a", "nat-b"))
    assert ("priority 240\n" in first, "priority 239\n" in second) == (True, True)
    assert "unicast_src_ip 192.168.1.3\n" in first
    assert "192.168.1.3 min_ttl 255" in second


def test_keepalived_elects_and_does_nothing_else() -> None:
    text = rendered("keepalived.conf").text
    text = re.sub(r"#.*", "", text)
    for needed in ("state BACKUP", "nopreempt", "version 3", "weight 0 reverse", "vrrp_no_swap"):
        assert needed in text
    for unwanted in (
        "script",
        "vrrp_rt_priority",
        "rlimit",
        "vrrp_strict",
        "skip_check_adv_addr",
        "init_file",
        "virtual_routes",
        "auth_pass",
    ):
        assert unwanted not in text
    assert re.findall(r"virtual_ipaddress \{\s*(.*?)\s*\}", text) == ["192.168.1.1/32 dev eth1"]


def test_conntrackd_yields_to_keepalived_and_never_resyncs_by_itself() -> None:
    text = rendered("conntrackd.conf").text
    for needed in (
        "Mode FTFW",
        "DisableExternalCache on",
        "NetlinkOverrunResync no",
        "NetlinkEventsReliable yes",
        "Priority 20",
    ):
        assert needed in text
    assert "\nCPUSchedulingPriority=50\n" in rendered("natpair-keepalived.service").text


def test_the_fip_is_not_ignored_by_the_sync_but_the_nodes_are() -> None:
    ignored = re.findall(r"IPv[46]_address (\S+)\n", rendered("conntrackd.conf").text.split("Address Ignore")[1])
    assert ignored == [
        "127.0.0.1", "192.168.1.1", "192.168.1.3", "192.168.1.4", "203.0.113.3", "203.0.113.4",
        "::1", "2001:db8:100::3", "2001:db8:100::4",
    ]  # fmt: skip


def test_buffers_grow_with_the_table_between_bounds() -> None:
    mib = 1024 * 1024
    assert [socket_buffer_bytes(flows) for flows in (1024, 262_144, 16_777_216)] == [8 * mib, 16 * mib, 24 * mib]


def test_bird_has_a_session_to_every_route_server() -> None:
    text = rendered("bird.conf").text
    assert re.findall(r"protocol bgp (rs\d) from route_server \{\s*neighbor (\S+) as 65000;", text) == [
        (f"rs{n}", f"2600:3c0f:18:34::{n}") for n in range(1, 5)
    ]
    assert "protocol kernel" not in text
    assert "import none" in text
    assert f'include "{paths.BIRD_ROLE}";' in text


def test_without_med_the_filter_sets_none() -> None:
    chosen = gateway(('region = "us-ord"', 'region = "us-ord"\npolicy = "primary-secondary"'))
    assert "bgp_med" not in rendered("bird.conf", chosen).text
    assert "bgp_med = MED;" in rendered("bird.conf").text


def test_the_role_file_speaks_for_a_role() -> None:
    newest, by_community = BgpPolicy.NEWEST_WINS, BgpPolicy.PRIMARY_SECONDARY
    assert role_file(announcement_for(active=True, epoch=6, policy=newest)) == (
        "define COMM = (65000,1);\ndefine MED = 2147483642;\n"
    )
    standby = f"define COMM = (65000,2);\ndefine MED = {STANDBY_MED};\n"
    assert role_file(announcement_for(active=False, epoch=6, policy=newest)) == standby
    without = "define COMM = (65000,2);\ndefine MED = 0;\n"
    assert role_file(announcement_for(active=False, epoch=6, policy=by_community)) == without
    assert rendered("bird-standby.conf").text == standby


def test_every_setting_has_a_reason_and_no_key_is_set_twice() -> None:
    every = settings(Sides.of(gateway(), "nat-a"))
    keys = [key.removeprefix("-") for setting in every for key in setting.keys]
    assert len(keys) == len(set(keys))
    assert all(setting.reason.endswith(".") for setting in every)


@pytest.mark.parametrize(
    ("name", "floor"),
    [
        ("tcp_timeout_established", 7440),
        ("tcp_timeout_syn_sent", 240),
        ("tcp_timeout_close", 240),
        ("udp_timeout", 120),
        ("udp_timeout_stream", 120),
        ("icmp_timeout", 60),
        ("tcp_timeout_time_wait", 120),
    ],
)
def test_idle_times_keep_the_floors_of_the_rfcs(name: str, floor: int) -> None:
    values = {key: s.value for s in settings(Sides.of(gateway(), "nat-a")) for key in s.keys}
    assert values[f"net/netfilter/nf_conntrack_{name}"] >= floor


NAMES = ["prepare", "conntrackd", "bird", "keepalived", "agent", "handover"]


def test_services_start_in_order_and_call_the_program_they_are_told() -> None:
    table = services(gateway(), "nat-a", program=("python3", "-m", "natpair"))
    assert [s.name.removeprefix("natpair-") for s in table] == NAMES
    assert table[0].oneshot
    assert table[0].argv == ("python3", "-m", "natpair", "prepare")
    agent = table[4]
    assert (agent.notify, agent.watchdog_seconds, agent.stop_post[-1]) == (True, 5.0, "agent-stopped")
    assert table[3].environment == {"TMPDIR": paths.KEEPALIVED_TMP}


def test_units_restart_for_ever_whatever_ended_them() -> None:
    for name in ("conntrackd", "bird", "keepalived", "agent"):
        unit = rendered(f"natpair-{name}.service").text
        assert "\nRestart=always\n" in unit
        assert "\nStartLimitIntervalSec=0\n" in unit
        assert "RestartPreventExitStatus" not in unit
    assert "\nRestart=on-failure\n" in rendered("natpair-prepare.service").text


def test_one_that_fails_or_is_restarted_stops_no_other() -> None:
    for name in NAMES:
        unit = rendered(f"natpair-{name}.service").text
        for bond in ("Requires=", "BindsTo=", "PartOf=", "Requisite="):
            assert bond not in unit


def test_the_handover_comes_before_every_other_stop_and_the_agent_next() -> None:
    """Units are stopped in the opposite order of their start (systemd.unit(5), After=)."""
    after = {name: ordering(name) for name in NAMES}
    others = {f"natpair-{name}.service" for name in NAMES if name != "handover"}
    assert others | {"network.target"} <= after["handover"]
    assert {f"natpair-{name}.service" for name in ("conntrackd", "bird", "keepalived")} <= after["agent"]
    unit = rendered("natpair-handover.service").text
    assert "\nExecStop=/usr/bin/natpair agent-stopping\n" in unit
    assert "\nRemainAfterExit=yes\n" in unit


def ordering(name: str) -> set[str]:
    lines = rendered(f"natpair-{name}.service").text.splitlines()
    return {word for line in lines if line.startswith("After=") for word in line.removeprefix("After=").split()}


def test_the_agent_takes_its_priority_itself_once_it_is_ready() -> None:
    assert "CPUSchedulingPolicy" not in rendered("natpair-agent.service").text
    for name in ("bird", "keepalived"):
        assert "\nCPUSchedulingPolicy=rr\n" in rendered(f"natpair-{name}.service").text


def test_an_upgrade_of_a_library_restarts_nothing_of_ours() -> None:
    assert "$nrconf{override_rc}->{qr(^natpair-)} = 0;" in rendered("needrestart/conf.d/natpair.conf").text


def test_a_node_that_panics_boots_again() -> None:
    assert "\n-kernel/panic = 10\n" in rendered("61-natpair-panic.conf").text
    agent = rendered("natpair-agent.service").text
    assert "\nType=notify\n" in agent
    assert "\nWatchdogSec=5\n" in agent


def test_the_run_tree_is_made_with_the_fifo_before_the_daemons() -> None:
    text = rendered("tmpfiles.d/natpair.conf").text
    assert f"p {paths.NOTIFY_FIFO} 0600 root root -" in text
    assert paths.TRACK_HEALTH not in text


def test_a_fip_is_a_blackhole() -> None:
    two = gateway(('fips = ["192.0.2.221"]', 'fips = ["192.0.2.221", "192.0.2.7"]'))
    lines = [line for line in rendered("routes.ip", two).text.splitlines() if not line.startswith("#")]
    assert lines == [f"route replace blackhole {fip}/32 metric 1000" for fip in ("192.0.2.221", "192.0.2.7")]
