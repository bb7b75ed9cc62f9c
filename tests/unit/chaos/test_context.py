"""What a context takes back when its fault is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from natpair.errors import LabError
from natpair_lab.chaos.context import LINKS, Context
from natpair_lab.testbed import switches


@pytest.fixture(autouse=True)
def _no_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switches, "load", lambda *_: None)


def _scene(dark: set[str]) -> Context:
    lab: Any = MagicMock(nodes=("nat-a", "nat-b"))
    lab.powered.side_effect = lambda node: node not in dark
    lab.boot.side_effect = dark.discard
    lab.switch_faults.return_value = SimpleNamespace(partition=None)
    return Context(lab, MagicMock(), "nat-a", "nat-b", MagicMock())


def test_what_was_done_inside_a_dark_node_is_taken_back_when_it_has_power_all_else_before() -> None:
    dark = {"nat-a"}
    context = _scene(dark)
    found: list[tuple[str, bool]] = []

    def inside() -> None:
        if "nat-a" in dark:
            raise LabError("nat-a is powered off")
        found.append(("inside", "nat-a" in dark))

    context.undo += [lambda: found.append(("outside", "nat-a" in dark)), inside]
    context.make_whole()
    assert found == [("outside", True), ("inside", False)]


def test_what_cannot_be_taken_back_at_all_is_said() -> None:
    context = _scene(set())

    def refuse() -> None:
        raise LabError("no")

    context.undo.append(refuse)
    with pytest.raises(LabError):
        context.make_whole()


def test_last_done_is_first_undone_and_both_links_of_both_nodes_are_up() -> None:
    context = _scene(set())
    found: list[int] = []
    context.undo += [lambda: found.append(1), lambda: found.append(2)]
    context.make_whole()
    assert found == [2, 1]
    lab: Any = context.lab
    assert [c.args for c in lab.link.call_args_list] == [
        (node, link, "up") for node in context.lab.nodes for link in LINKS
    ]
