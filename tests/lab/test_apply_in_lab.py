"""`natpair apply` on a pair that serves: killed at random moments, handed over first, undone when health is gone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import natpair
from commands import complaints
from lab.killed_applies import GENTLE, Figures, kill_many, variants
from natpair.cli.output import plain
from natpair.core import paths
from natpair.core.status import Role
from natpair_lab.drill.traffic import Traffic
from natpair_lab.testbed.node import PROGRAM
from natpair_lab.testbed.report import look
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

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


def test_a_node_fresh_from_lab_up_is_as_an_apply_leaves_it(lab: Lab) -> None:
    """An edit in place under live flows is asked about; going back to what `lab up` made works."""
    active, _ = lab.wait_ready()
    place = lab.folder / "nodes" / active / "etc/natpair/gateway.toml"
    text = place.read_text()
    place.write_text(text.replace('fips = ["192.0.2.221"]', 'fips = ["192.0.2.222"]'))
    try:
        with Traffic(lab.popen, [str(a.ip) for a in lab.topology.internet], 5) as traffic:
            traffic.wait_open()
            refused = lab.exec(active, [*PROGRAM, "apply"], check=False, timeout=60)
            traffic.finish()
        assert refused.returncode == 75
        assert " would break" in refused.stderr
        assert "pair.fips" in lab.exec(active, [*PROGRAM, "diff"]).stdout
    finally:
        place.write_text(text)
    assert lab.exec(active, [*PROGRAM, "generations"]).stdout.count("applied")


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
    assert "not as healthy as before" in failed.stderr
    assert lab.exec(standby, ["cat", paths.BIRD_CONF]).stdout == before
    lab.wait_ready()


def answer(lab: Lab, node: str, *words: str, ok: tuple[int, ...] = (0,)) -> list[Any]:
    """The JSON documents that a command on a node prints."""
    done = lab.exec(node, [*PROGRAM, *words], check=False)
    assert done.returncode in ok, f"{words}: {done.returncode} {done.stderr}"
    lines = done.stdout.splitlines() if words[0] == "events" else [done.stdout]
    return [json.loads(line) for line in lines]


def test_the_agent_of_an_older_natpair_does_not_bring_its_ruleset_back(lab: Lab) -> None:
    """An upgrade, gateway.toml unchanged: the new template counts something more, and that stays."""
    active, standby = lab.wait_ready()
    template = Path(natpair.__file__).parent / "render/templates/nftables.nft.j2"
    newer = template.read_text().replace("counter forged {", "counter of_tomorrow { }\n    counter forged {")
    (lab.folder / "nodes" / standby / "etc/newer.j2").write_text(newer)
    lab.exec(standby, ["mount", "--bind", "/etc/newer.j2", str(template)])
    try:
        said = lab.exec(standby, [*PROGRAM, "apply"])
        assert "another version of natpair" in said.stderr
        lab.wait_ready()
        assert "of_tomorrow" in lab.exec(standby, ["nft", "list", "table", "ip", "natpair"]).stdout
        status = lab.status(standby)
        assert status is not None
        assert status.repairs == ()
        assert lab.exec(standby, [*PROGRAM, "diff"]).stdout.count("no differences") == 1
    finally:
        lab.exec(standby, ["umount", str(template)])
    lab.exec(standby, [*PROGRAM, "apply"])
    assert lab.wait_ready() == (active, standby)


def test_what_commands_on_a_node_say_is_as_their_schemas(lab: Lab) -> None:
    active, standby = lab.wait_ready()
    for node in (active, standby):
        for words in (["status"], ["events"], ["generations"], ["diff"], ["apply", "--dry-run"]):
            for document in answer(lab, node, *words, "--json"):
                assert complaints(document) == [], (node, words)
    assert complaints(json.loads(json.dumps(look(lab), default=plain))) == []
    assert complaints(answer(lab, standby, "drain", "--json")[0]) == []
    assert "pair.prefer is not set" in lab.exec(active, [*PROGRAM, "failback"], check=False).stderr
    (no,) = answer(lab, active, "switchover", "--json", ok=(75,))
    assert (complaints(no), no["ok"]) == ([], False)
    assert complaints(answer(lab, standby, "undrain", "--json")[0]) == []
    lab.wait_ready()


def test_a_drain_survives_a_power_cut_and_says_who_carries_the_traffic(lab: Lab) -> None:
    active, standby = lab.wait_ready()
    said = lab.exec(active, [*PROGRAM, "drain"]).stdout
    assert f"{standby} is active; {active} stays drained" in said
    lab.power_cut(active)
    lab.boot(active)
    wait_until(
        lambda: lab.role(active) is Role.DRAINED,
        deadline_seconds=60,
        what=f"{active} drained",
        diagnose=lab.diagnose,
    )
    lab.exec(active, [*PROGRAM, "undrain"])
    assert lab.wait_ready() == (standby, active)


def test_both_nodes_tell_a_switchover_under_one_name(lab: Lab) -> None:
    active, standby = lab.wait_ready()
    lab.exec(active, [*PROGRAM, "switchover"])
    files = [str(lab.folder / "nodes" / node / "var-lib/natpair/events.jsonl") for node in lab.nodes]

    def told() -> list[Any]:
        done = subprocess.run([*PROGRAM, "events", *files, "--json"], capture_output=True, text=True, check=True)
        newest = [json.loads(line) for line in done.stdout.splitlines()][-2:]
        return newest if {change["node"] for change in newest} == {active, standby} else []

    one, other = wait_until(told, deadline_seconds=10, what="the story of a switchover")
    assert one["id"] == other["id"]
    assert {one["kind"], other["kind"]} == {"switchover"}
    lab.wait_ready()


def test_a_second_lab_stands_beside_the_first(lab: Lab) -> None:
    before = lab.wait_ready()
    other = Lab.up(None, name=f"b{os.getpid()}")
    try:
        active, _ = other.wait_ready()
        other.exec(active, [*PROGRAM, "switchover"])
        assert other.wait_ready()[1] == active
        assert lab.warm()
    finally:
        other.down()
    assert lab.wait_ready() == before
    assert lab.warm()


def test_handing_over_first_and_coming_back(lab: Lab) -> None:
    active, standby = lab.wait_ready()
    _, changed = variants(lab, active, GENTLE)
    done = lab.exec(active, [*PROGRAM, "apply", changed, "--drain-first"])
    assert f"{standby} is active" in done.stderr
    status = lab.status(active)
    assert status is not None
    assert (status.drained, lab.wait_ready()) == (False, (standby, active))
    # And on the other one, although the two configurations differ now.
    _, same = variants(lab, standby, GENTLE)
    lab.exec(standby, [*PROGRAM, "apply", same, "--drain-first"])
    assert lab.wait_ready() == (active, standby)
    differ = json.loads(lab.exec(active, [*PROGRAM, "status", "--json"]).stdout)["conditions"]
    assert differ == []


def test_a_drain_for_an_apply_that_fails_is_taken_back(lab: Lab) -> None:
    """The agent is being restarted when that is done: it is waited for, and the real error is told."""
    active, standby = lab.wait_ready()
    _, broken = variants(lab, active, (('region = "us-ord"', 'route_servers = ["2001:db8:9::1"]'),))
    failed = lab.exec(
        active, [*PROGRAM, "apply", broken, "--drain-first", "--health-seconds", "6"], check=False, timeout=90
    )
    assert (failed.returncode, "not as healthy as before" in failed.stderr) == (69, True), failed.stderr
    assert "undrained" in failed.stderr
    assert lab.wait_ready() == (standby, active)
    status = lab.status(active)
    assert status is not None
    assert not status.drained


def test_an_unconfirmed_apply_goes_back_although_its_guard_was_killed_with_everything_around_it(lab: Lab) -> None:
    _, standby = lab.wait_ready()
    disk = lab.folder / "nodes" / standby
    text = (disk / "etc/natpair/gateway.toml").read_text()
    key = "udp_seconds = 400"
    change = (key, "udp_seconds = 450") if key in text else ("[bgp]", "[nat]\nudp_seconds = 450\n[bgp]")
    _, changed = variants(lab, standby, (change,))
    lab.exec(standby, [*PROGRAM, "apply", changed, "--confirm", "5"], timeout=60)
    pids = lab.exec(standby, ["sh", "-c", "pgrep --ns $$ --nslist net -f 'rollbac[k] --when-due'"]).stdout.split()
    assert pids, "there was a guard to kill"
    lab.exec(standby, ["kill", "-9", *pids])
    wait_until(
        lambda: not (disk / "var-lib/natpair/unconfirmed").exists(),
        deadline_seconds=60,
        what="the way back",
        diagnose=lab.diagnose,
    )
    assert (disk / "etc/natpair/gateway.toml").read_text() == text
    lab.wait_ready()
    assert "not confirmed in time" in lab.exec(standby, [*PROGRAM, "generations"]).stdout
