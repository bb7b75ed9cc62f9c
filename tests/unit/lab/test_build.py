"""What comes before the first namespace: configuration, state, preflight; and the end of it all."""

from __future__ import annotations

import os
import signal
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType

import pytest

from natpair.config.load import parse
from natpair.core import packets
from natpair.core.model import Profile
from natpair.errors import ConfigError, LabError, Unsupported
from natpair_lab.testbed import build, follower, preflight, state, teardown
from natpair_lab.testbed.fabric import Knobs
from natpair_lab.testbed.node import put
from natpair_lab.testbed.ping import is_reply
from natpair_lab.testbed.switches import SwitchFaults


@pytest.mark.parametrize("profile", list(Profile))
def test_the_profile_of_the_example_can_be_changed(profile: Profile):
    source = build.configuration(None, profile)
    assert source.gateway.pair.profile is profile
    assert parse(source.text) == source.gateway


def test_another_profile_changes_nothing_else():
    before, after = build.configuration(None, None), build.configuration(None, Profile.FAST)
    assert after.gateway.model_copy(update={"pair": before.gateway.pair}) == before.gateway
    assert after.gateway.pair.fips == before.gateway.pair.fips


def test_a_profile_of_another_table_stays():
    text = '[pair]\nvip = "x"\n\n[other]\nprofile = "mine"\n'
    assert (
        build.with_profile(text, Profile.FAST) == '[pair]\nprofile = "fast"\nvip = "x"\n\n[other]\nprofile = "mine"\n'
    )


def test_a_bad_file_is_refused_before_anything_is_made(tmp_path: Path):
    bad = tmp_path / "gateway.toml"
    bad.write_text("[pair]\n")
    with pytest.raises(ConfigError):
        build.configuration(bad, None)


def test_the_state_survives_the_disk(tmp_path: Path):
    faults = SwitchFaults().with_dead("a", True).with_loss("b", 30).with_partition(("a", "b"))
    known = state.LabState(
        "lab",
        state.UP,
        ("np-lab-a",),
        Knobs(converge_ms=3000, load_share=True),
        MappingProxyType({IPv4Address("192.0.2.221"): ("a", "b")}),
    ).with_fault("vlan", faults)
    state.write(tmp_path, known)
    assert state.read(tmp_path) == known


def test_no_state_is_none(tmp_path: Path):
    assert state.read(tmp_path) is None
    (tmp_path / state.FILE).write_text("{ torn")
    assert state.read(tmp_path) is None


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 21, "ü"])
def test_a_name_that_cannot_be_a_file_is_refused(name: str):
    with pytest.raises(LabError, match="name of a lab"):
        preflight.check(name)


def test_without_root_the_fix_is_sudo(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unsupported) as refused:
        preflight.check("lab")
    assert "sudo" in refused.value.fix


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: None if name in ("bird", "nft") else f"/usr/sbin/{name}")
    with pytest.raises(Unsupported) as refused:
        preflight.check("lab")
    assert refused.value.fix == "apt-get install bird2 nftables"


def test_a_signal_waits_until_the_block_is_done():
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the block is the subject
        with teardown.undisturbed():
            signal.raise_signal(signal.SIGINT)
            done.append(True)
        done.append(False)
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_nodes_file_lands_in_its_etc_with_its_mode(tmp_path: Path):
    put(tmp_path, "/etc/natpair/pair.key", "secret\n", 0o600)
    path = tmp_path / "natpair" / "pair.key"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("secret\n", 0o600)


def test_an_echo_reply_is_told_from_other_icmp():
    asked = packets.echo_request(0x1234, 1)
    assert packets.checksum(asked) == 0
    header = bytes([0x45]) + bytes(19)
    assert not is_reply(header + asked, 0x1234)
    assert is_reply(header + b"\0" + asked[1:], 0x1234)
    assert not is_reply(header + b"\0" + asked[1:], 0x4321)


def test_the_followers_copy_of_a_route_has_a_metric_of_its_own():
    shown = "via inet6 2001:db8:100::4 dev public0 proto bird metric 32 "
    assert follower.without_metric(shown) == "via inet6 2001:db8:100::4 dev public0"
    both = " proto bird metric 32 nexthop via inet6 2001::3 dev p weight 1 nexthop via inet6 2001::4 dev p weight 1"
    assert follower.without_metric(both) == both.removeprefix(" proto bird metric 32 ")
