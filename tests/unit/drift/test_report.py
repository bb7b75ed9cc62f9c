"""What differs on a machine that lacks an interface is that, once."""

from __future__ import annotations

import pytest

from natpair.drift import report
from natpair.render.bundle import render_all
from samples import gateway


@pytest.mark.parametrize("there", [("eth0",), ("ens4", "ens5")])
def test_a_missing_interface_is_one_line(there: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report.machine, "interfaces", lambda: there)
    pair = gateway()
    found = report.drift(render_all(pair, "nat-a"), pair.node[0], pair.pair.fips, "hash", None)
    missing = sorted({"eth0", "eth1"} - set(there))
    assert [one.place for one in found if one.found == "does not exist on this machine"] == [
        f"interface {name}" for name in missing
    ]
    for name in missing:
        assert not [one for one in found if f"/{name}/" in one.place or one.wanted == f"on {name}"]


def test_with_both_interfaces_each_thing_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report.machine, "interfaces", lambda: ("eth0", "eth1"))
    pair = gateway()
    found = report.drift(render_all(pair, "nat-a"), pair.node[0], pair.pair.fips, "hash", None)
    assert not [one for one in found if one.place.startswith("interface ")]
