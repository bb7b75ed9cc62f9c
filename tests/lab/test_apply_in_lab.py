"""`natpair apply` on a pair that serves: killed at random moments, handed over first, undone when health is gone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from lab.killed_applies import GENTLE, Figures, kill_many, variants
from natpair.core import paths
from natpair.lab.node import PROGRAM
from natpair.lab.world import Lab

pytestmark = pytest.mark.lab

KILLS, SEED, WINDOW_SECONDS = 8, 11, 2.5
ALLOWED_GAP_MS = 500.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab.up(None, name=f"a{os.getpid()}")
    try:
        yield made
    finally:
        made.down()


def test_killed_at_random_moments_the_next_apply_converges_and_clients_notice_nothing(lab: Lab) -> None:
    figures: Figures = kill_many(lab, KILLS, SEED, WINDOW_SECONDS, each=False, progress=lambda _: None)
    assert figures.kills == KILLS
    assert figures.cut_off, "no kill met an apply at work"
    assert figures.failed == []
    assert (figures.leaks, figures.taps_lost) == (0, 0)
    assert figures.longest_gap_ms <= figures.baseline_gap_ms + ALLOWED_GAP_MS


def test_a_node_that_cannot_serve_any_more_gets_its_configuration_back(lab: Lab) -> None:
    _, standby = lab.wait_ready()
    _, broken = variants(lab, standby, (*GENTLE, ('region = "us-ord"', 'route_servers = ["2001:db8:9::1"]')))
    before = lab.exec(standby, ["cat", paths.BIRD_CONF]).stdout
    failed = lab.exec(standby, [*PROGRAM, "apply", broken, "--health-seconds", "4"], check=False)
    assert failed.returncode == 69
    assert "not as well as before" in failed.stderr
    assert lab.exec(standby, ["cat", paths.BIRD_CONF]).stdout == before
    lab.wait_ready()


def test_handing_over_first_and_coming_back(lab: Lab) -> None:
    active, standby = lab.wait_ready()
    _, changed = variants(lab, active, GENTLE)
    done = lab.exec(active, [*PROGRAM, "apply", changed, "--drain-first"])
    assert f"{standby} is active" in done.stderr
    status = lab.status(active)
    assert status is not None
    assert (status["drained"], lab.wait_ready()) == (False, (standby, active))
    # And on the other one, although the two configurations differ now.
    _, same = variants(lab, standby, GENTLE)
    lab.exec(standby, [*PROGRAM, "apply", same, "--drain-first"])
    assert lab.wait_ready() == (active, standby)
    differ = json.loads(lab.exec(active, [*PROGRAM, "status", "--json"]).stdout)["conditions"]
    assert differ == []
