"""A lab node's disk before its first boot: as `natpair apply` would have left it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from natpair.apply import generations
from natpair.apply.transaction import REAL, make_plan
from natpair.core import paths
from natpair.core.model import Gateway
from natpair.core.rendered import RenderedFile
from natpair.render.bundle import render_all
from natpair.system.machine import capabilities
from natpair_lab.testbed import node, userdata
from natpair_lab.testbed.userdata import Seed
from unit.lab.conftest import EXAMPLE

TEXT = EXAMPLE.read_text()


def from_the_example(disk: Path, gateway: Gateway) -> None:
    node.make_disk(disk, gateway, "nat-a", TEXT, node.new_key())


def from_user_data(disk: Path, gateway: Gateway) -> None:
    files = (userdata.SeedFile(paths.CONFIG, TEXT.encode(), 0o600), userdata.SeedFile(paths.KEY, b"k\n", 0o600))
    node.seed_disk(disk, Seed("nat-a", gateway, TEXT, files, "d"))


@pytest.mark.parametrize("make", [from_the_example, from_user_data])
def test_nothing_is_left_to_apply_and_there_is_a_generation_to_go_back_to(tmp_path: Path, gateway: Gateway, make):
    make(tmp_path / "disk", gateway)
    root = tmp_path / "root"
    (root / "var").mkdir(parents=True)
    (root / "etc").symlink_to(tmp_path / "disk/etc")
    (root / "var/lib").symlink_to(tmp_path / "disk/var-lib")
    rendered = render_all(gateway, "nat-a", capabilities=capabilities())
    bundle = (RenderedFile(paths.CONFIG, TEXT), RenderedFile(paths.APPLIED, TEXT), *rendered)
    effects = replace(REAL, root=root)
    assert make_plan(bundle, effects).empty
    kept = generations.newest(folder=effects.place(paths.GENERATIONS))
    assert kept is not None
    assert (kept.config, kept.digest) == (TEXT, generations.digest_of(bundle[1:]))
    changed = (RenderedFile(paths.CONFIG, "edited"), *bundle[1:])
    assert not make_plan(changed, effects).empty
