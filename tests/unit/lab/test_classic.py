"""The classic design: what its files say, and how a node without an agent is read."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from natpair.core import paths
from natpair.core.model import Gateway, Profile
from natpair.core.status import ready_pair
from natpair.errors import LabError
from natpair_lab.testbed import build, designs
from natpair_lab.testbed.classic import files, status
from natpair_lab.testbed.faults import kind_named
from natpair_lab.testbed.node import put
from natpair_lab.testbed.topology import Design
from natpair_lab.testbed.topology import build as topology

SECRET = "0123456789abcdef"  # noqa: S105 - of this test
FIP = "192.0.2.221/32"
ACTIVE = status.Seen(
    holds_vip=True,
    role_word="master",
    running=frozenset({"keepalived", "conntrackd", "speaker"}),
    sessions=4,
    announced={FIP: (status.PRIMARY,)},
)
STANDBY = replace(ACTIVE, holds_vip=False, role_word="backup", announced={})


def text_of(gateway: Gateway, node: str, name: str) -> str:
    written = files.files(gateway, node, [IPv4Address("198.51.100.10")], SECRET)
    return next(file.text for file in written if file.path.endswith(name))


class TestFiles:
    def test_the_first_node_is_born_master_and_the_other_is_not(self, gateway: Gateway) -> None:
        first, second = (text_of(gateway, node.name, "keepalived.conf") for node in gateway.node)
        assert "state MASTER" in first
        assert "priority 150" in first
        assert "state BACKUP" in second
        assert "priority 100" in second
        assert "unicast" not in first + second

    def test_the_password_is_short_the_same_and_not_for_others_to_read(self, gateway: Gateway) -> None:
        written = [files.files(gateway, node.name, [], SECRET) for node in gateway.node]
        for file in (file for node in written for file in node):
            assert SECRET not in file.text
            assert (SECRET[:8] in file.text) is (file.mode == 0o600)

    def test_replication_names_both_ends(self, gateway: Gateway) -> None:
        text = text_of(gateway, "nat-b", "conntrackd.conf")
        assert "IPv4_address 192.168.1.4" in text
        assert "IPv4_Destination_Address 192.168.1.3" in text

    def test_the_speaker_dials_all_four_route_servers(self, gateway: Gateway) -> None:
        text = text_of(gateway, "nat-a", "gobgpd.toml")
        assert text.count("neighbor-address") == 4
        assert 'neighbor-address = "2600:3c0f:18:34::4"' in text

    def test_scripts_can_be_run_and_services_start_in_order(self, gateway: Gateway) -> None:
        written = files.files(gateway, "nat-a", [], SECRET)
        assert {file.path.rpartition("/")[2] for file in written if file.mode == 0o755} == set(files.SCRIPTS)
        assert [unit.name for unit in files.units()] == ["prepare", "conntrackd", "speaker", "keepalived"]


class TestStatus:
    @pytest.mark.parametrize(
        ("seen", "role"),
        [
            (ACTIVE, "active"),
            (STANDBY, "standby"),
            (replace(STANDBY, role_word="fault"), "fault"),
            (replace(STANDBY, running=frozenset({"conntrackd"})), "fault"),
            (replace(ACTIVE, running=frozenset()), "active"),
        ],
    )
    def test_the_kernel_says_who_is_active(self, gateway: Gateway, seen: status.Seen, role: str) -> None:
        assert status.status_of(seen, gateway, "nat-a").role == role

    def pair(self, gateway: Gateway, one: status.Seen, other: status.Seen) -> tuple[str, str] | None:
        return ready_pair(status.status_of(one, gateway, "nat-a"), status.status_of(other, gateway, "nat-b"))

    def test_a_ready_pair(self, gateway: Gateway) -> None:
        assert self.pair(gateway, ACTIVE, STANDBY) == ("nat-a", "nat-b")
        assert self.pair(gateway, STANDBY, ACTIVE) == ("nat-b", "nat-a")

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (ACTIVE, ACTIVE),
            (STANDBY, STANDBY),
            (replace(ACTIVE, sessions=3), STANDBY),
            (replace(ACTIVE, announced={}), STANDBY),
            (replace(ACTIVE, announced={FIP: (status.SECONDARY,)}), STANDBY),
            (replace(ACTIVE, role_word="backup"), STANDBY),
            (ACTIVE, replace(STANDBY, sessions=0)),
            (ACTIVE, replace(STANDBY, announced={FIP: (status.PRIMARY,)})),
            (ACTIVE, replace(STANDBY, running=frozenset({"keepalived"}))),
        ],
    )
    def test_what_is_no_ready_pair(self, gateway: Gateway, one: status.Seen, other: status.Seen) -> None:
        assert self.pair(gateway, one, other) is None


class TestAnswers:
    def test_addresses(self) -> None:
        shown = '[{"addr_info": [{"family": "inet", "local": "192.168.1.3"}, {"family": "inet6", "local": "fe80::1"}]}]'
        assert status.addresses(shown) == {IPv4Address("192.168.1.3")}

    def test_sessions(self) -> None:
        shown = '[{"state": {"session_state": 6}}, {"state": {"session_state": 3}}, {"state": {}}]'
        assert status.established(shown) == 1

    def test_communities(self) -> None:
        path = '{"attrs": [{"type": 1, "value": 2}, {"type": 8, "communities": [4259840001]}]}'
        assert status.communities(f'{{"{FIP}": [{path}], "192.0.2.1/32": [{{}}]}}') == {
            FIP: ("65000:1",),
            "192.0.2.1/32": (),
        }

    @pytest.mark.parametrize("shown", ["", "rpc error", '{"error": "connection refused"}', '"a"', "[]"])
    def test_a_speaker_that_is_just_starting_has_neither(self, shown: str) -> None:
        assert status.established(shown) == 0
        assert status.communities(shown) == {}


class KillOnly:
    """A lab of which only the names of its services matter, and that notes what is signalled."""

    def __init__(self, design: Design) -> None:
        self.parts = designs.PARTS[design]
        self.signalled: list[tuple[str, str]] = []

    def kill(self, node: str, service: str, _number: int) -> None:
        self.signalled.append((node, service))


class TestDesign:
    @pytest.mark.parametrize(
        ("design", "fault", "service"),
        [
            (Design.NATPAIR, "kill:bird", "natpair-bird"),
            (Design.NATPAIR, "kill:natpair-bird", "natpair-bird"),
            (Design.CLASSIC, "kill:speaker", "speaker"),
            (Design.CLASSIC, "stop:conntrackd", "conntrackd"),
        ],
    )
    def test_a_fault_names_a_service_as_its_design_does(self, design: Design, fault: str, service: str) -> None:
        lab = KillOnly(design)
        kind_named(fault).inject(lab, "nat-a")  # type: ignore[arg-type]
        assert lab.signalled == [("nat-a", service)]

    def test_the_classic_design_has_timers_of_its_own(self) -> None:
        assert build.configuration(None, None, Design.CLASSIC).gateway.pair.profile is Profile.CONSERVATIVE
        with pytest.raises(LabError, match="has no profile fast"):
            build.configuration(None, Profile.FAST, Design.CLASSIC)

    @pytest.mark.parametrize("design", list(Design))
    def test_every_design_has_the_services_that_its_parts_name(
        self, gateway: Gateway, design: Design, tmp_path: Path
    ) -> None:
        put(tmp_path / "etc", paths.CONFIG, "")
        parts = designs.PARTS[design]
        names = {unit.name for unit in parts.units(gateway, "nat-a", tmp_path)}
        assert {parts.speaker, parts.election, parts.replicator} <= names
        assert all(name.startswith(parts.service_prefix) for name in names)
        assert topology(gateway, design).design is design


def test_the_notify_script_works_from_a_folder_with_a_blank(tmp_path: Path) -> None:
    (folder := tmp_path / "with blank").mkdir()
    program = folder / "service"
    program.write_text(f'#!/bin/sh\necho "$@" >{shlex.quote(str(folder / "said"))}\n')
    program.chmod(0o755)
    values = {"FIPS": "", "PUBLIC": "eth0", "ROLE_FILE": str(folder / "role"), "SERVICE": shlex.join([str(program)])}
    settings = tmp_path / "settings"
    settings.write_text("".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items()))
    script = (Path(files.__file__).parent / "etc" / "notify").read_text()
    script = script.replace("/etc/classic/settings", str(settings))
    subprocess.run(["sh", "-c", script, "notify", "master"], check=True, timeout=20)
    assert (folder / "said").read_text() == "restart speaker\n"
    assert (folder / "role").read_text() == "master\n"
