from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from natpair.system.sdnotify import Notifier


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "notify"))
    listening.settimeout(5)
    yield listening
    listening.close()


def test_ready_and_alive_are_one_datagram_each(supervisor: socket.socket) -> None:
    notifier = Notifier(supervisor.getsockname())
    notifier.ready("started")
    notifier.alive("active, epoch 20")
    assert supervisor.recv(1000) == b"READY=1\nSTATUS=started"
    assert supervisor.recv(1000) == b"WATCHDOG=1\nSTATUS=active, epoch 20"


def test_the_address_comes_from_the_environment(supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.getsockname())
    Notifier().send("STOPPING=1")
    assert supervisor.recv(1000) == b"STOPPING=1"


def test_an_abstract_socket_is_written_with_an_at_sign(tmp_path: Path) -> None:
    name = f"natpair-test-{tmp_path.name}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        Notifier(f"@{name}").ready("up")
        assert listening.recv(1000).startswith(b"READY=1")


def test_without_a_supervisor_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("nobody hears")
    Notifier(str(tmp_path / "gone")).ready("nobody hears")


def test_a_supervisor_that_does_not_read_holds_nobody_up(supervisor: socket.socket) -> None:
    notifier = Notifier(supervisor.getsockname())
    for _ in range(10_000):
        notifier.alive("x" * 200)
