"""Keepalived is told of an interface that was made anew, and helped when it hears nothing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from natpair.agent import bindings
from natpair.agent.bindings import Bindings
from natpair.agent.cell import StateCell
from natpair.apply.reload import Step
from natpair.core.messages import Phase, VrrpRole
from natpair.system.keepalived import VrrpDump
from natpair.system.links import Identity
from nodes import standby
from samples import gateway

OLD, NEW = Identity(2, "02:00:00:00:00:01"), Identity(7, "02:00:00:00:00:01")


class Node:
    """What the agent looks at, and what was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: Identity | None = OLD
        self.address_there = True
        self.cell = StateCell(standby())
        self.now = 100.0
        self.reloads: list[Step] = []
        self.killed: list[int] = []
        self.steps: list[dict[str, object]] = []
        monkeypatch.setattr(bindings.links, "identity", self._identity)
        monkeypatch.setattr(bindings.links, "is_local", self._is_local)
        monkeypatch.setattr(bindings.reload, "perform", self.reloads.append)
        monkeypatch.setattr(bindings.reload, "keepalived_pid", lambda: 4711)
        monkeypatch.setattr(bindings.os, "kill", lambda pid, _: self.killed.append(pid))
        monkeypatch.setattr(bindings.time, "monotonic", lambda: self.now)
        self.bindings = Bindings(gateway(), "nat-a", self.cell, self._record)

    def enters(self, phase: Phase) -> None:
        self.cell.put(replace(self.cell.get(), phase=phase))

    def _identity(self, interface: str) -> Identity | None:
        assert interface == "eth1"
        return self.found

    def _is_local(self, address: IPv4Address) -> bool:
        assert address == IPv4Address("192.168.1.3")
        return self.address_there

    def _record(self, event: str, **fields: object) -> None:
        self.steps.append({"event": event, **fields})

    def look(self, found: Identity | None) -> int:
        """Reloads until after a look that finds this."""
        self.found = found
        self.now += 0.2
        self.bindings.look()
        return len(self.reloads)

    def hears(self, received: int, role: VrrpRole = VrrpRole.BACKUP) -> bool:
        self.now += 5.0
        return self.bindings.deaf(VrrpDump(role, 0, received))


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(monkeypatch)


def test_a_card_that_is_plugged_again_is_told_once_its_address_is_back(node: Node) -> None:
    assert node.look(OLD) == 0
    assert node.look(None) == 0
    node.address_there = False
    assert node.look(NEW) == 0
    node.address_there = True
    assert node.look(NEW) == 1
    assert node.look(NEW) == 1
    assert node.reloads == [Step.KEEPALIVED]
    assert node.steps[0]["step"] == "keepalived-reloaded"


@pytest.mark.parametrize("phase", [Phase.CHALLENGING, Phase.PREPARING, Phase.HANDING_OVER, Phase.YIELDING])
def test_nothing_is_told_in_the_middle_of_a_change_of_role(node: Node, phase: Phase) -> None:
    node.enters(phase)
    assert node.look(NEW) == 0
    node.enters(Phase.STANDBY)
    assert node.look(NEW) == 1


def test_a_deaf_backup_is_reloaded_and_if_that_does_not_help_ended(node: Node) -> None:
    assert not node.hears(70)
    assert [node.hears(70) for _ in range(2)] == [True, True]
    assert len(node.reloads) == 2
    assert not node.killed
    assert node.hears(70)
    assert node.killed == [4711]


def test_one_that_hears_is_left_alone(node: Node) -> None:
    assert not any(node.hears(70 + n) for n in range(5))
    assert not any(node.hears(75, VrrpRole.MASTER) for _ in range(5))
    assert not any(node.hears(75, VrrpRole.FAULT) for _ in range(5))
    assert not node.reloads


def test_a_deaf_one_is_left_alone_in_the_middle_of_a_change_of_role(node: Node) -> None:
    node.enters(Phase.PREPARING)
    assert not node.hears(70)
    assert node.hears(70), "it is deaf all the same"
    assert not node.reloads
