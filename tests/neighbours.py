"""Tests side by side: which file goes first, what bears no neighbour, and how a Ctrl-C leaves nothing behind.

`scripts/run-tests` runs several workers of pytest-xdist, each with whole files. A test or module marked `alone`
runs while no other test does: everything else holds a lock shared, it holds the lock for itself. With one process
(plain `pytest`) nothing here does anything but order the files.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

INTERRUPTED_SECONDS = 60
"""How long an interrupted worker may take to bring its labs down."""
NOTICE_SECONDS = 3

# Files by how long they take, so that no worker is left with a long one at the end. Others follow as they come.
LONGEST_FIRST = (
    "lab/test_drills.py",
    "lab/test_probe.py",
    "lab/test_chaos.py",
    "lab/test_world.py",
    "lab/test_apply_in_lab.py",
    "lab/test_watch.py",
    "lab/test_cloud_world.py",
    "lab/test_classic.py",
    "checks/test_apply_for_real.py",
    "lab/test_rails.py",
    "lab/test_attacks.py",
    "core/test_pair.py",
    "core/test_machine.py",
    "emulator/test_probe_clears_up.py",
    "lab/test_api_hangs.py",
    "repo/test_neighbours.py",
)


class Locks:
    """Shared and exclusive turns between processes, on files in `folder`; a waiting exclusive turn comes first."""

    def __init__(self, folder: Path) -> None:
        self._gate = os.open(folder / "gate", os.O_RDWR | os.O_CREAT)
        self._turn = os.open(folder / "turn", os.O_RDWR | os.O_CREAT)

    def take(self, *, alone: bool) -> None:
        """Wait for a turn. Who waits to be alone holds the gate, so that no new shared turn begins meanwhile."""
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    def leave(self) -> None:
        """End the turn."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)


def is_alone(item: pytest.Item | None) -> bool:
    return item is not None and item.get_closest_marker("alone") is not None


def order(items: list[pytest.Item]) -> None:
    """Files whose first test is `alone` first, then the longest; within a file the order stays."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}

    def rank(path: Path) -> tuple[bool, int]:
        name = f"{path.parent.name}/{path.name}"
        return not is_alone(files[path][0]), ranks.get(name, len(ranks))

    items[:] = [item for path in sorted(files, key=rank) for item in files[path]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order(items)


def pytest_configure(config: pytest.Config) -> None:
    if (given := getattr(config, "workerinput", None)) is not None:
        config.pluginmanager.register(Worker(Path(given["turns"])))
    elif config.getoption("numprocesses", None):
        config.pluginmanager.register(Controller())


class Worker:
    """One of several processes that run tests."""

    def __init__(self, folder: Path) -> None:
        self._locks = Locks(folder)
        self._alone = False
        self._running = os.open(folder / "running", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._running, fcntl.LOCK_SH)
        self._noticed = folder / f"noticed-{os.getpid()}"

    @pytest.hookimpl(
        wrapper=True, tryfirst=True
    )  # outside of pytest-timeout: waiting for a turn is not the test's time
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
        if not self._alone:
            self._locks.take(alone=is_alone(item))
            self._alone = is_alone(item)
        try:
            return (yield)
        finally:
            if not (self._alone and is_alone(nextitem) and nextitem is not None and nextitem.path == item.path):
                self._alone = False
                self._locks.leave()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, Any, Any]:
        try:
            return (yield)
        finally:
            fcntl.flock(self._running, fcntl.LOCK_UN)

    def pytest_keyboard_interrupt(self) -> None:
        # A second one, from xdist, would interrupt the fixtures that now take labs down.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._noticed.touch()


class Controller:
    """The process that hands files out and collects the results."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="turns-"))
        self._workers: list[int] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["turns"] = str(self._folder)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        self._workers.append(node.gateway._rinfo().pid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            self._let_workers_end()

    def pytest_unconfigure(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _let_workers_end(self) -> None:
        """Before xdist ends them by force: a worker that was interrupted still takes its labs down.

        A terminal interrupts the workers, too. Whoever has not noticed in a while was not: a second signal to a worker
        that unwinds would do harm.
        """
        running = os.open(self._folder / "running", os.O_RDWR | os.O_CREAT)
        began, told = time.monotonic(), False
        while time.monotonic() < began + INTERRUPTED_SECONDS and not self._all_ended(running):
            if time.monotonic() > began + NOTICE_SECONDS and not told:
                told = True
                for pid in self._workers:
                    if not (self._folder / f"noticed-{pid}").exists():
                        os.kill(pid, signal.SIGINT)
            time.sleep(0.1)
        os.close(running)

    @staticmethod
    def _all_ended(running: int) -> bool:
        try:
            fcntl.flock(running, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
