"""What a scene takes back when its fault is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from natpair.chaos import switchrules
from natpair.chaos.scene import LEGS, Scene


@pytest.fixture(autouse=True)
def _no_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switchrules, "put", lambda *_: None)


def _scene(dark: set[str]) -> Scene:
    lab: Any = MagicMock(nodes=("nat-a", "nat-b"))
    lab.powered.side_effect = lambda node: node not in dark
    lab.boot.side_effect = dark.discard
    lab.switch_faults.return_value = SimpleNamespace(partition=None)
    return Scene(lab, "nat-a", "nat-b", MagicMock(), MagicMock())


def test_power_is_back_before_anything_inside_a_node_is_taken_back() -> None:
    dark = {"nat-a"}
    scene = _scene(dark)
    found: list[bool] = []
    scene.undo.append(lambda: found.append("nat-a" in dark))
    scene.make_whole()
    assert found == [False]


def test_last_done_is_first_undone_and_both_legs_of_both_nodes_are_up() -> None:
    scene = _scene(set())
    found: list[int] = []
    scene.undo += [lambda: found.append(1), lambda: found.append(2)]
    scene.make_whole()
    assert found == [2, 1]
    lab: Any = scene.lab
    assert [c.args for c in lab.link.call_args_list] == [(node, leg, "up") for node in scene.lab.nodes for leg in LEGS]
