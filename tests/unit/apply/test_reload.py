from __future__ import annotations

import pytest

from natpair.apply.reload import Step, steps_for, switch_files
from natpair.core import paths
from natpair.core.rendered import SOME_MAC
from natpair.render.bundle import render_all
from natpair.system import nft
from samples import gateway


@pytest.mark.parametrize(
    ("changed", "steps"),
    [
        ([], ()),
        ([paths.CONFIG, paths.TMPFILES], ()),
        ([paths.TRAFFIC_LOCAL], (Step.RULESET,)),
        ([paths.KEEPALIVED_CONF, paths.NFTABLES, paths.SYSCTL], (Step.SYSCTL, Step.RULESET, Step.KEEPALIVED)),
        ([f"{paths.UNITS}/natpair-agent.service"], (Step.UNITS,)),
        ([paths.BIRD_CONF, paths.CONNTRACKD_CONF], (Step.CONNTRACKD, Step.BIRD)),
    ],
)
def test_changed_files_name_the_steps_in_order(changed: list[str], steps: tuple[Step, ...]) -> None:
    assert steps_for(changed) == steps


def test_only_what_is_read_at_a_start_needs_no_step() -> None:
    silent = [file.path for file in render_all(gateway(), "nat-a") if not steps_for([file.path])]
    assert silent == [paths.BIRD_ROLE_STANDBY, paths.NEEDRESTART, paths.TMPFILES]


LISTING = """
table ip natpair {
  chain role_raw { counter comment "natpair traffic=relay" }
  chain role_forward { counter comment "natpair traffic=relay" }
  chain duplicate { counter comment "natpair duplicate=off" }
  chain peer_guard { counter comment "natpair peer=02:00:00:00:00:04" }
  chain other { counter comment "somebody's traffic=local" }
}
"""


def test_the_marks_are_read_from_comments_and_each_has_what_brings_it_back() -> None:
    assert nft.marks(LISTING) == {"traffic": "relay", "duplicate": "off", "peer": "02:00:00:00:00:04"}
    everything = dict(zip(nft.MARKS, ("local", "on", "off", "02:00:00:00:00:04"), strict=True))
    assert set(switch_files(everything)) == {paths.TRAFFIC_LOCAL, paths.DUPLICATE_ON, paths.SYNC_FENCE_OFF}
    (guard,) = [file for file in render_all(gateway(), "nat-a") if file.path == paths.PEER_GUARD]
    assert nft.marks(guard.text.replace(SOME_MAC, everything["peer"])) == {"peer": everything["peer"]}
