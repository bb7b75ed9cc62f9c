"""What differs on a machine that lacks an interface is that, once; and a look leaves no trace."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from natpair.agent.repairer import found_without_agent
from natpair.core import paths
from natpair.core.repair import Wrong
from natpair.drift import report
from natpair.drift.items import Finding
from natpair.render.bundle import render_all
from samples import gateway

ABSENT = ('"eth1"', '"none1"'), ('"eth0"', '"none0"')


def found() -> list[Wrong]:
    pair = gateway(*ABSENT)
    kinds = found_without_agent(pair, "nat-a", render_all(pair, "nat-a"))
    return report.drift(kinds, pair.node[0], "hash", None)


def test_a_missing_interface_is_one_line() -> None:
    about = [one for one in found() if "none" in f"{one.thing} {one.found} {one.wanted}" and one.found != "none"]
    assert about == [Wrong(f"interface none{n}", "does not exist on this machine", "there") for n in (0, 1)]


def test_with_both_interfaces_each_thing_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report.machine, "interfaces", lambda: ("none0", "none1"))
    assert not [one for one in found() if one.thing.startswith("interface ")]


def test_a_look_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEEN_ADDRESSES", "NEXT_HOPS"):
        monkeypatch.setattr(paths, name, str(tmp_path / name))
    found()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_looked_at_is_said_and_nothing_is_repaired() -> None:
    class Blind:
        noticed = True

        async def findings(self) -> list[Finding]:
            raise OSError("no answer")

    class Seeing(Blind):
        async def findings(self) -> list[Finding]:
            async def repair() -> None:
                pytest.fail("a look must not repair")

            return [Finding(Wrong("a", "b", "c"), repair)]

    said = asyncio.run(report.looked([Blind(), Seeing()]))
    assert said == [Wrong("blind", "cannot be looked at: no answer", "readable"), Wrong("a", "b", "c")]
