"""Each boot is checked by itself: two changes of role in one are not made up for by another with none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from natpair_lab.chaos import observer
from natpair_lab.chaos.faults.boots import Boot, changes, wrong_with
from natpair_lab.chaos.history import VipChange
from unit.chaos.histories import A, B, at

GOOD = Boot(1, A, B, 40.0, 1500.0, 2500.0, 2400.0, 4000.0, {A: 1, B: 0})


def news(*steps: tuple[float, str, bool]) -> list[VipChange]:
    return [VipChange(at(milliseconds), node, owned) for milliseconds, node, owned in steps]


@pytest.mark.parametrize(
    ("steps", "counted"),
    [
        ([], {A: 0, B: 0}),
        ([(500, A, True)], {A: 1, B: 0}),
        ([(500, A, True), (501, A, True), (502, B, False)], {A: 1, B: 0}),
        ([(500, A, True), (530, A, False)], {A: 2, B: 0}),
        ([(500, A, True), (900, B, True), (950, A, False)], {A: 2, B: 1}),
        ([(900, A, False), (500, A, True), (901, B, True)], {A: 2, B: 1}),
        ([(-20, A, False), (-10, B, True), (500, A, True), (5000, A, False)], {A: 1, B: 0}),
    ],
    ids=["none", "one takes", "repeated", "a claim given back", "two take", "out of order", "other boots' news"],
)
def test_changes_are_counted_for_each_node_and_boot(
    steps: list[tuple[float, str, bool]], counted: dict[str, int]
) -> None:
    assert {node: changes(news(*steps), node, at(0), at(4000)) for node in (A, B)} == counted


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ({"changes": {A: 2, B: 1}}, "nat-a got or lost the VIP 2 times"),
        ({"changes": {A: 2, B: 0}}, "nat-a got or lost the VIP 2 times"),
        ({"changes": {A: 1, B: 1}}, "taken by nat-a and by nat-b"),
        ({"changes": {A: 0, B: 0}}, "taken by no node"),
        ({"unlike": ("the standby is missing 9 of 50 flows",)}, "missing 9 of 50"),
    ],
)
def test_a_boot_that_must_not_be_so(broken: dict[str, Any], word: str) -> None:
    assert wrong_with(GOOD) == ()
    assert word in "; ".join(wrong_with(replace(GOOD, **broken)))


def test_what_a_running_watch_saw_is_news_already(tmp_path: Path) -> None:
    lab: Any = MagicMock()
    lab.gateway.pair.vip.ip = "192.168.1.1"
    watch = observer.Observer(lab, tmp_path)
    now = datetime.now(UTC).replace(tzinfo=None)  # `ip -ts` stamps UTC and says nothing about it
    line = f"[{now.isoformat(timespec='microseconds')}] 3: eth1    inet 192.168.1.1/24 scope global secondary eth1"
    watch._monitors[A] = SimpleNamespace(lines=lambda: [line])  # type: ignore[assignment]
    watch._read.append(VipChange(0, A, False))
    assert [(change.node, change.owned) for change in watch.news()] == [(A, False), (A, True)]
