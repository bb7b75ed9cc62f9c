"""User data as the lab reads it."""

from __future__ import annotations

import base64
import gzip
import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from natpair.cloud.network import Uplink
from natpair.cloud.userdata import node_user_data
from natpair.config.load import parse
from natpair.core import paths
from natpair.core.model import Gateway
from natpair.errors import LabError
from natpair_lab.testbed import node, userdata
from natpair_lab.testbed.userdata import SeedFile
from unit.lab.conftest import EXAMPLE

TEXT = EXAMPLE.read_text()
KEY = {"path": paths.KEY, "permissions": "0600", "content": "ab\n"}
CONFIG = {"path": paths.CONFIG, "permissions": "0600", "content": TEXT}


def cloud_config(*files: object, **more: object) -> bytes:
    return userdata.HEADER + json.dumps({"write_files": files, "hostname": "nat-b", **more}).encode()


def test_the_seed_of_a_node(gateway: Gateway):
    seed = userdata.read(cloud_config(CONFIG, KEY, packages=["bird2"], runcmd=[["reboot"]]))
    assert seed is not None
    assert (seed.node, seed.gateway, seed.text) == ("nat-b", gateway, TEXT)
    assert {(file.path, file.mode) for file in seed.files} == {(paths.CONFIG, 0o600), (paths.KEY, 0o600)}


def test_what_natpair_cloud_sends_is_understood(tmp_path: Path):
    text = TEXT + '\n[install]\nsource = "https://files.example.org/natpair-0.1.0-py3-none-any.whl"\n'
    gateway = parse(text)
    data = node_user_data(gateway, text, "ab\n", gateway.node[1], Uplink(IPv4Address("203.0.113.1")))
    seed = userdata.read(data)
    assert seed is not None
    assert (seed.node, seed.gateway, seed.text) == ("nat-b", gateway, text)
    node.seed_disk(tmp_path / "disk", seed)
    assert node.is_installed(tmp_path / "disk")
    assert (tmp_path / "disk/etc/natpair/pair.key").read_text() == "ab\n"


@pytest.mark.parametrize("encoding", ["b64", "gz+b64"])
def test_files_may_be_packed(gateway: Gateway, encoding: str):
    raw = TEXT.encode() if encoding == "b64" else gzip.compress(TEXT.encode())
    packed = CONFIG | {"content": base64.b64encode(raw).decode(), "encoding": encoding}
    seed = userdata.read(cloud_config(packed, KEY))
    assert seed is not None
    assert seed.gateway == gateway


@pytest.mark.parametrize(
    "data",
    [b"", b"#!/bin/sh\necho", b"#cloud-config\npackages: [bird2]\n", b"#cloud-config\n[]", cloud_config(KEY)],
)
def test_what_has_nothing_of_natpairs_is_no_seed(data: bytes):
    assert userdata.read(data) is None


def test_a_file_elsewhere_is_not_written_and_a_path_that_climbs_out_is_elsewhere():
    others = [{"path": path, "content": "x"} for path in ("/root/x", "/etc/../root/x", "etc/x", "/usr/bin/nft")]
    seed = userdata.read(cloud_config(CONFIG, KEY, *others, {"path": "/var/lib/x/y", "content": "x"}))
    assert seed is not None
    assert {file.path for file in seed.files} == {paths.CONFIG, paths.KEY, "/var/lib/x/y"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            cloud_config(CONFIG, KEY, hostname="nat-c"),
            "hostname is nat-c, which is no node of its pair: nat-a or nat-b",
        ),
        (cloud_config(CONFIG | {"content": "[pair]\n"}, KEY), "cannot be used: "),
        (cloud_config(CONFIG), "no /etc/natpair/pair.key"),
        (cloud_config(CONFIG | {"encoding": "rot13"}, KEY), "rot13"),
        (cloud_config(CONFIG | {"encoding": "b64", "content": "!"}, KEY), "write_files entry"),
        (cloud_config(CONFIG | {"encoding": "gz+b64", "content": "AAAA"}, KEY), "write_files entry"),
        (cloud_config({"content": "x"}), "write_files entry"),
        (cloud_config("x"), "write_files entry"),
        (cloud_config(CONFIG | {"permissions": "rw"}), "write_files entry"),
    ],
)
def test_what_cannot_be_used_is_told(data: bytes, reason: str):
    with pytest.raises(LabError, match=reason):
        userdata.read(data)


def test_a_node_reaches_the_api_where_it_is_for_it():
    outside, inside = "http://127.0.0.1:18080", "http://198.51.100.20"
    text = f'{TEXT}\n[linode]\napi_url = "{outside}/v4"\n'
    seed = userdata.read(cloud_config(CONFIG | {"content": text}, KEY))
    assert seed is not None
    moved = seed.reaching(outside, inside)
    assert (moved.gateway.linode.api_url, moved.gateway.linode.plain_http) == (f"{inside}/v4", True)
    assert moved.text.encode() in {file.content for file in moved.files}
    assert seed.reaching("http://127.0.0.1:1808", inside) == seed, "another server"


def test_the_host_name_may_come_as_a_file():
    seed = userdata.read(cloud_config(CONFIG, KEY, {"path": "/etc/hostname", "content": "nat-a\n"}, hostname=None))
    assert seed is not None
    assert seed.node == "nat-a"


def test_a_probe_is_wired_and_starts_nothing(tmp_path: Path):
    seed = userdata.read(cloud_config(CONFIG | {"path": userdata.PROBE}))
    assert seed is not None
    node.seed_disk(tmp_path / "disk", seed)
    assert not node.is_installed(tmp_path / "disk")
    assert (tmp_path / "disk/etc/natpair/probe.toml").read_text() == TEXT


def test_a_node_disk_has_what_apply_writes_and_is_new_each_time(tmp_path: Path):
    seed = userdata.read(cloud_config(CONFIG, KEY))
    assert seed is not None
    disk = tmp_path / "disk"
    node.seed_disk(disk, seed)
    assert node.is_installed(disk)
    assert (disk / "etc/natpair/generated/bird.conf").exists()
    assert (disk / "etc/natpair/pair.key").stat().st_mode & 0o777 == 0o600
    assert (disk / "etc/hostname").read_text() == "nat-b\n"
    (disk / "var-lib/old").touch()
    node.seed_disk(disk, seed)
    assert not (disk / "var-lib/old").exists()


def test_a_file_never_goes_through_a_link_out_of_the_disk(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    (tmp_path / "disk/etc").mkdir(parents=True)
    (tmp_path / "disk/etc/resolv.conf").symlink_to(outside)
    node.lay(tmp_path / "disk", "/etc/resolv.conf", SeedFile("", b"ours", 0o644).content, 0o644)
    assert outside.read_text() == "theirs"
    assert (tmp_path / "disk/etc/resolv.conf").read_text() == "ours"
