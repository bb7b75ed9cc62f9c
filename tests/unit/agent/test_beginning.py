"""An agent that a supervisor started waits for what is missing, says for what, and begins by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from natpair.agent import beginning
from natpair.agent.beginning import Begin, wait_for
from natpair.core.model import Gateway
from natpair.errors import ConfigError, NatpairError, Problem
from natpair.system.sdnotify import Notifier
from samples import gateway


class Supervisor(Notifier):
    """Keeps what it is told."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.told: list[str] = []

    def send(self, *lines: str) -> None:
        self.told += lines


class Later:
    """Fails in each of these ways, then finds it."""

    def __init__(self, *errors: NatpairError) -> None:
        self.errors = list(errors)

    def __call__(self) -> Begin:
        if self.errors:
            raise self.errors.pop(0)
        found: Gateway = gateway()
        return Begin(found, "nat-a", b"", None)  # type: ignore[arg-type]


NO_KEY = ConfigError("k", [Problem("heartbeat.key_file", "/etc/natpair/pair.key", "the file is missing")])
NO_ADDRESS = ConfigError("node", [Problem("node", "", "this machine is neither node of the pair")])
NO_FIFO = NatpairError("/run/natpair/notify.fifo is missing", fix="run 'natpair prepare' first")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "RETRY_SECONDS", 0.001)


def test_it_waits_says_for_what_and_begins(tmp_path: Path) -> None:
    waiting, seen, said = tmp_path / "waits", list[str](), list[str]()
    errors = (NO_ADDRESS, NO_ADDRESS, NO_KEY, NO_FIFO)

    def say(text: str) -> None:
        said.append(text)

    supervisor = Supervisor("@there")
    later = Later(*errors)

    def find() -> Begin:
        if waiting.exists():
            seen.append(waiting.read_text())
        return later()

    assert wait_for(find, say, supervisor, waiting=waiting).node == "nat-a"
    assert len(said) == 3, "each reason once"
    assert "neither node of the pair" in said[0]
    assert "the file is missing" in seen[-2]
    assert seen[-1] == "/run/natpair/notify.fifo is missing\nrun 'natpair prepare' first\n"
    assert not waiting.exists(), "it waits no more"
    assert supervisor.told.count("READY=1") == 3
    assert supervisor.told.count("WATCHDOG=1") == 4, "each try is a sign of life"
    assert any("the file is missing" in line for line in supervisor.told if line.startswith("STATUS="))


def test_one_that_was_started_by_hand_fails_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        wait_for(Later(NO_KEY), print, Supervisor(""), waiting=tmp_path / "waits")
    assert not list(tmp_path.iterdir())


def test_without_a_place_to_write_it_waits_all_the_same(tmp_path: Path) -> None:
    waiting = tmp_path / "no such folder" / "waits"
    assert wait_for(Later(NO_KEY), print, Supervisor("@there"), waiting=waiting).node == "nat-a"


def test_a_kernel_that_refuses_real_time_is_no_reason_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert beginning.raise_priority() == "Operation not permitted"
