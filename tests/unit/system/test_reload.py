from __future__ import annotations

import json

import pytest

from natpair.core import paths
from natpair.render.bundle import render_all
from natpair.system.reload import Step, steps_for, switches
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
    assert silent == [paths.BIRD_ROLE_STANDBY, paths.TMPFILES]


def test_switches_are_read_from_comments() -> None:
    rules = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "ip", "name": "natpair"}},
        {"rule": {"chain": "role_raw", "comment": "natpair traffic=relay"}},
        {"rule": {"chain": "role_forward", "comment": "natpair traffic=relay"}},
        {"rule": {"chain": "duplicate", "comment": "natpair duplicate=off"}},
        {"rule": {"chain": "other", "comment": "somebody's traffic=local"}},
        {"rule": {"chain": "other"}},
    ]
    assert switches(json.dumps({"nftables": rules})) == {"traffic": "relay", "duplicate": "off"}
