"""Looks that end before their time: their silence must not be taken for a pair that behaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from natpair.errors import CommandFailed, LabError
from natpair_lab.chaos import observer
from natpair_lab.chaos.runner import verdict_on
from natpair_lab.drill.records import UdpRecord
from natpair_lab.drill.taps import Monitor, Tap
from natpair_lab.testbed.wait import wait_until
from unit.chaos.histories import fault, history
from unit.drill.drill_samples import taps


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> observer.Observer:
    monkeypatch.setattr(observer, "SAMPLE_SECONDS", 0.0)
    lab: Any = MagicMock()
    return observer.Observer(lab, tmp_path)


def test_a_sampler_that_ends_in_an_error_proves_nothing(
    opened: observer.Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "sample", MagicMock(side_effect=KeyError("role")))
    with pytest.raises(KeyError):
        opened._sample_all()
    with pytest.raises(LabError, match="too early"):
        opened.vips()


def test_a_sampler_that_is_stopped_has_seen_all(opened: observer.Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "sample", MagicMock(side_effect=opened._stop.set))
    opened._sample_all()
    assert opened.vips() == ()


def test_flows_that_cannot_be_listed_are_not_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "run", MagicMock(side_effect=CommandFailed(["conntrack"], 1, "no")))
    with pytest.raises(CommandFailed):
        observer.flows_of(MagicMock(), "nat-a")


def test_a_monitor_that_ends_by_itself_has_no_lines(tmp_path: Path) -> None:
    monitor = Monitor("there-is-no-such-namespace", "address", tmp_path / "lines")
    wait_until(lambda: monitor._process.poll() is not None, deadline_seconds=10, what="the end of ip")
    monitor.stop()
    monitor.stop()
    with pytest.raises(LabError, match="too early"):
        monitor.lines()


def test_a_tap_that_has_not_counted_has_not_lost_nothing(tmp_path: Path) -> None:
    tap = Tap("there-is-no-such-namespace", "arp", tmp_path / "packets")
    with pytest.raises(LabError, match="did not start"):
        tap.wait_listening()
    with pytest.raises(LabError, match="too early"):
        _ = tap.lost


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"taps": taps(lost=3)}, "missed 3 packets"), ({"udp": UdpRecord((), ())}, "no echo stream")],
)
def test_a_history_that_lacks_its_witnesses_fails(changes: dict[str, Any], word: str, tmp_path: Path) -> None:
    assert verdict_on(history(), fault(), tmp_path, 1.0, "").verdict == "passed"
    checked = verdict_on(history(**changes), fault(invariants=()), tmp_path, 1.0, "")
    assert checked.verdict == "failed"
    assert word in checked.reason
