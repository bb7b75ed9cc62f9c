"""The platform probe on the lab's fabric, told to behave in each of the ways that nobody has published.

The measuring parts run on one lab whose nodes run no services, fabric after fabric. The last test is the whole thing:
an emulated account whose Linodes are hosts of a lab, and a Ctrl-C in the middle.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from contract.channels import keeps_the_contract
from natpair.probe import routing, wire
from natpair.probe.analysis import Spread
from natpair.probe.facts import Fact, Facts, Name
from natpair.probe.ground import Ground
from natpair.probe.recommend import recommend
from natpair.probe.sessions import measure_sessions
from natpair.probe.site import LAB_PACE
from natpair.probe.vlan import measure_vlan
from natpair_lab.cli.probe_site import LabChannel, LabSite
from natpair_lab.testbed import build, netns
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

NAME = f"tp{os.getpid() % 10000}"
PACE = replace(LAB_PACE, timings=1, before_share_seconds=1.0, vlan_seconds=0.5)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab as a probe's Linodes are: wired and addressed, and no service on the nodes."""
    made = Lab.up(None, name=NAME)
    try:
        # Unshared first: the fabric then expects no session of a node back that is about to lose its power.
        made.fabric(hold_sessions=True)
        made.share(made.gateway.pair.fips[0], [])
        for node in made.nodes:
            (build.node_disk(made.folder, node) / "etc" / "natpair" / "gateway.toml").unlink()
            made.power_cut(node)
            made.boot(node)
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def start(lab: Lab) -> tuple[Ground, Facts]:
    """The ground, prepared, and what came of the sessions: the first thing measured, because it begins unshared."""
    ground = Ground.at(LabSite(lab), PACE, wire.FOLDER, lambda _: None)

    async def work() -> list[Fact]:
        for hand in ground.hands:
            await hand.prepare()
        await ground.eye.prepare()
        return await measure_sessions(ground)

    return ground, Facts(tuple(asyncio.run(work())))


@pytest.fixture
def ground(start: tuple[Ground, Facts]) -> Ground:
    return start[0]


def choices(ground: Ground) -> Facts:
    """What the fabric does with MED and with equals: the two questions on which everything hangs."""

    async def work() -> tuple[Fact, Fact]:
        return await routing.measure_lever(ground, Name.MED), await routing.measure_tie(ground)

    return Facts(asyncio.run(work()))


def test_sessions_come_with_the_share_and_tell_their_hold_time(start: tuple[Ground, Facts]) -> None:
    facts = start[1]
    assert facts.value(Name.SESSIONS_BEFORE_SHARE) == "0 of 8"
    assert facts.value(Name.SESSIONS_AFTER_SHARE) == "8 of 8"
    assert facts.value(Name.HOLD_NEGOTIATED_SECONDS) == 3
    assert facts.value(Name.HOLD_OFFERED_SECONDS) == 240  # as lab.fabric says it
    assert facts.value(Name.GRACEFUL_RESTART_OFFERED) is False
    assert facts.value(Name.HOPS_TO_ROUTE_SERVERS) == 1


def test_a_labs_channel_keeps_the_contract(lab: Lab) -> None:
    asyncio.run(keeps_the_contract(LabChannel(lab.name, lab.nodes[0]), "/run/contract"))


def test_a_fabric_by_the_book(lab: Lab, ground: Ground) -> None:
    lab.fabric(hold_sessions=True)
    facts = choices(ground)
    # The negative control of the fabrics below: this one must not be called one that ignores MED.
    assert facts.value(Name.MED) == "honoured", facts
    assert facts.value(Name.TIE) == "fixed"
    assert recommend(facts).value("policy") == "newest-wins"


def test_a_fabric_that_ignores_med(lab: Lab, ground: Ground) -> None:
    lab.fabric(hold_sessions=True, ignore_med=True)
    facts = Facts((asyncio.run(routing.measure_lever(ground, Name.MED)),))
    assert facts.value(Name.MED) == "ignored", facts
    assert recommend(facts).value("policy") == "primary-secondary"


def test_a_fabric_that_shares_load(lab: Lab, ground: Ground) -> None:
    lab.fabric(hold_sessions=True, load_share=True)
    facts = choices(ground)
    assert facts.value(Name.TIE) == "load-shared", facts
    assert facts.value(Name.MED) == "honoured", facts
    found = recommend(facts)
    assert any("do not let two routes be equal" in line for line in found.warnings)


def test_a_fabric_that_prefers_the_older(lab: Lab, ground: Ground) -> None:
    # Ignoring MED as well, or the better MED could not be told from the older route.
    lab.fabric(hold_sessions=True, prefer_older=True, ignore_med=True)
    facts = choices(ground)
    assert facts.value(Name.TIE) == "older", facts
    assert facts.value(Name.MED) == "ignored", facts
    assert any("Of two equal primary routes the older wins" in line for line in recommend(facts).warnings)


def test_how_fast_packets_follow_and_who_may_send(lab: Lab, ground: Ground) -> None:
    lab.fabric(hold_sessions=True)
    update = Name.REROUTE_AFTER_UPDATE

    async def work() -> tuple[Fact, Fact, Fact, Fact]:
        return (
            await routing.measure_update(ground, update, (routing.WEAK, None), routing.STRONG),
            await routing.measure_withdrawal(ground),
            await routing.measure_standby_sends(ground),
            await routing.measure_power_cut(ground, 3),
        )

    updated, withdrawn, sends, cut = asyncio.run(work())
    assert isinstance(updated.value, Spread) and updated.value.worst_ms < 1000, updated  # noqa: PT018
    assert isinstance(withdrawn.value, Spread) and withdrawn.value.worst_ms < 1000, withdrawn  # noqa: PT018
    assert sends.value is True, sends
    # Nobody tells the fabric of a power cut: only the hold time of 3 s, less what of it had passed, ends the route.
    assert isinstance(cut.value, Spread) and 1500 < cut.value.worst_ms < 6000, cut  # noqa: PT018


def test_a_slow_fabric_is_timed_as_one(lab: Lab, ground: Ground) -> None:
    lab.fabric(hold_sessions=True, converge_ms=700)
    update = Name.REROUTE_AFTER_UPDATE
    slow = replace(ground, settle_seconds=1.2)
    fact = asyncio.run(routing.measure_update(slow, update, (routing.WEAK, None), routing.STRONG))
    lab.fabric(hold_sessions=True)
    assert isinstance(fact.value, Spread) and 650 < fact.value.median_ms < 2000, fact  # noqa: PT018


def test_the_vlan_and_one_that_loses_everything(lab: Lab, ground: Ground) -> None:
    facts = Facts(tuple(asyncio.run(measure_vlan(ground))))
    assert facts.value(Name.VRRP_UNICAST) is True
    assert facts.value(Name.VRRP_MULTICAST) is True
    assert facts.value(Name.GRATUITOUS_ARP) is True
    assert facts.value(Name.VLAN_MTU) == 1500
    lab.partition(True)
    try:
        dead = Facts(tuple(asyncio.run(measure_vlan(ground))))
    finally:
        lab.partition(False)
    assert dead.value(Name.VRRP_UNICAST) is False
    assert dead.value(Name.GRATUITOUS_ARP) is False
    assert dead.value(Name.VLAN_MTU) is None
    assert any("VRRP unicast does not pass" in line for line in recommend(dead).warnings)


def test_ctrl_c_in_the_middle_removes_everything(tmp_path: Path) -> None:
    name = f"{NAME}c"
    natpair = (sys.executable, "-m", "natpair")
    api = subprocess.Popen(
        [*natpair, "lab", "api", "--lab", name, "--port", "0", "--seconds", "0.1"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert api.stdout is not None
        url = api.stdout.readline().strip()
        talk = tmp_path / "talk"
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
        argv = [*natpair, "lab", "probe", "--name", name, "--yes", "--report", "report.json"]
        with talk.open("w") as errors:
            probe = subprocess.Popen(argv, stderr=errors, cwd=tmp_path, env=environment, preexec_fn=hear_interrupts)
        wait_until(lambda: "sharing the FIP" in talk.read_text(), deadline_seconds=60, what="the share")
        assert len(linodes(url)) == 2
        probe.send_signal(signal.SIGINT)
        assert probe.wait(60) == 130, talk.read_text()
        assert linodes(url) == []
        assert not list((tmp_path / "state" / "natpair" / "probe").iterdir())
        document = json.loads((tmp_path / "report.json").read_text())
        assert document["ended"] == "interrupted"
        assert document["left_behind"] == []
        assert document["facts"]["vrrp_unicast"]["value"] is True  # what was measured before is told
        wait_until(
            lambda: not any(n.startswith(f"np-{name}-") for n in netns.present()), deadline_seconds=20, what="it"
        )
    finally:
        api.terminate()
        with suppress(subprocess.TimeoutExpired):
            api.wait(30)
        Lab.remove(name)


def hear_interrupts() -> None:
    """A child of a background job is deaf to SIGINT unless told otherwise."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def linodes(url: str) -> list[object]:
    request = urllib.request.Request(f"{url}/linode/instances", headers={"Authorization": "Bearer any"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
        found: list[object] = json.load(answer)["data"]
    return found
