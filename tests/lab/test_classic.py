"""The classic design for real, and the bench that measures natpair against it: a slow pair is seen to be slow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from natpair_lab.testbed.topology import Design
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

pytestmark = [pytest.mark.lab, pytest.mark.alone, pytest.mark.timeout(300)]  # a bench compares times

NAME = f"tc{os.getpid() % 10000}"
SURELY_CLASSIC_MS = 5000.0
GENEROUS_RATIO = 4.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    built = Lab.up(None, name=f"{NAME}-classic", design=Design.CLASSIC)
    try:
        built.wait_ready(180)
        yield built
    finally:
        built.down()


def test_it_translates_and_announces(lab: Lab) -> None:
    again = Lab.attach(lab.name)
    assert again.design is Design.CLASSIC
    assert again.warm()
    active, standby = again.wait_ready()
    assert again.best_path() == (active,)
    entries = again.exec(active, ["conntrack", "-L", "-p", "icmp"]).stdout
    fip = str(lab.gateway.pair.fips[0])
    assert f"dst={fip}" in entries
    wait_until(
        lambda: f"dst={fip}" in lab.exec(standby, ["conntrack", "-L", "-p", "icmp"]).stdout,
        deadline_seconds=10,
        what="the copy of a flow on the standby",
    )


def bench(results: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "natpair", "bench", "failover", "--runs", "1", "--event", "power_cut", "--json"]
    argv += ["--design", "classic", "--design", "balanced", "--flows", "40", "--name", NAME, "--results", str(results)]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_bench_that_is_interrupted_goes_on_and_tells_classic_from_natpair(lab: Lab, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    first = bench(results)
    assert first.stderr is not None
    for line in first.stderr:
        if line.startswith("1 of 2: ") and " ms outage, " in line:
            first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130
    assert len(results.read_text().splitlines()) == 2
    assert not Path("/run/natpair-lab", f"{NAME}-balanced").exists()

    again = bench(results)
    said, told = again.communicate(timeout=200)
    document = json.loads(said)
    assert "1 of 1: power_cut of balanced" in told
    assert document["complete"]
    classic, balanced = (document["designs"][name]["power_cut"] for name in ("classic", "balanced"))
    assert classic["runs"] == balanced["runs"] == 1
    assert classic["p50"] is None or classic["p50"] >= SURELY_CLASSIC_MS
    assert balanced["flows_broken"] == balanced["resets"] == balanced["leaked_packets"] == 0
    assert document["ratio"]["power_cut"]["balanced"] > GENEROUS_RATIO
    assert again.returncode == (0 if document["held"] else 2)
