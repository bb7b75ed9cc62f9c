"""A process is held, not remembered by its number; who has another name gets no signal."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from natpair.agent import daemons
from natpair.agent.daemons import Unresponsive
from natpair.system import daemon
from natpair.system.daemon import Process, named


def sleeper() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sleep", "60"])
    end = time.monotonic() + 5
    while daemon.name_of(process.pid) != "sleep":  # the kernel names it a moment after it was started
        assert time.monotonic() < end
    return process


def test_a_pid_file_that_a_crash_left_names_nobody(tmp_path: Path) -> None:
    stranger, file = sleeper(), tmp_path / "keepalived.pid"
    file.write_text(f"{stranger.pid}\n")
    try:
        assert named(str(file), "keepalived") is None
        found = named(str(file), "sleep")
        assert found is not None
        found.send(signal.SIGTERM)
        assert stranger.wait(5) == -signal.SIGTERM
        assert not found.running
        with pytest.raises(ProcessLookupError):
            found.send(signal.SIGTERM)
        found.close()
    finally:
        stranger.kill()
    assert named(str(file), "sleep") is None


@pytest.mark.parametrize("text", ["", "many\n", "-1\n", "0\n", "99999999999999999999\n"])
def test_a_damaged_pid_file_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert named(str(tmp_path / "pid"), "sleep") is None


def test_a_daemon_is_found_by_its_name(tmp_path: Path) -> None:
    stranger = sleeper()
    (tmp_path / str(stranger.pid)).mkdir()
    (tmp_path / str(stranger.pid) / "comm").write_text("conntrackd\n")
    try:
        found = daemon.of_name("conntrackd", tmp_path)
        assert found is not None
        assert found.pid == stranger.pid
        found.close()
        assert daemon.of_name("bird", tmp_path) is None
    finally:
        stranger.kill()
        stranger.wait()


def test_whoever_got_the_number_of_a_silent_daemon_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The silent one ends by itself, and its number goes to another process before patience is over."""
    silent, stranger = sleeper(), sleeper()
    numbers = [silent.pid]
    monkeypatch.setattr(daemons, "listener_of", lambda _socket: numbers[0])
    unresponsive = Unresponsive("socket", patience=10.0)
    try:
        assert not unresponsive.silent(1.0)
        silent.kill()
        silent.wait()
        if (held := getattr(unresponsive, "listener", None)) is not None:
            assert isinstance(held, Process)
        else:
            unresponsive.pid = stranger.pid  # type: ignore[attr-defined] - what the number means by now
        assert not unresponsive.silent(12.0), "nobody was killed"
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.2)
    finally:
        for process in (silent, stranger):
            process.kill()
            process.wait()


def test_a_daemon_that_stays_silent_is_killed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = sleeper()
    monkeypatch.setattr(daemons, "listener_of", lambda _socket: silent.pid)
    unresponsive = Unresponsive("socket", patience=10.0)
    assert [unresponsive.silent(now) for now in (1.0, 5.0, 12.0)] == [False, False, True]
    assert silent.wait(5) == -signal.SIGKILL
