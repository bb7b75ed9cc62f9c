"""The rules of tests/neighbours.py: turns, order, and that neither a skip nor a Ctrl-C gets lost between workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from neighbours import Locks, order
from repo.rules import ROOT

CONFTEST = ROOT / "tests" / "conftest.py"

ALONE = """
import pathlib, time, pytest
FOLDER = pathlib.Path({folder!r})

def stay(name, others):
    (FOLDER / name).touch()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        assert others(sorted(path.name for path in FOLDER.iterdir())), list(FOLDER.iterdir())
        time.sleep(0.01)
    (FOLDER / name).unlink()

"""
SLOW_TO_LEAVE = """
import os, pathlib, time, pytest

@pytest.fixture(scope="module")
def lab():
    here = pathlib.Path({folder!r}, str(os.getpid()))
    here.touch()
    try:
        yield
    finally:
        time.sleep(7)  # longer than xdist waits before it interrupts a worker once more
        here.unlink()

def test_waits(lab):
    time.sleep(250)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytest.importorskip("xdist", reason="needs pytest-xdist: scripts/setup dev")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # half of the start of a worker is for hypothesis
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    pytester.makeconftest('pytest_plugins = ("neighbours",)')
    pytester.makeini("[pytest]\nmarkers =\n    root: x\n    lab: x\n    alone: x\n    needs: x\n")
    return pytester


ARGV = (sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
PATIENCE_SECONDS = 240


def run(suite: pytest.Pytester) -> pytest.RunResult:
    return suite.run(*ARGV, "-p", "no:cacheprovider", timeout=PATIENCE_SECONDS)


def test_neither_a_skip_nor_a_lab_of_a_worker_gets_lost(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = suite.mkdir("netns")
    monkeypatch.setenv("CI", "true")
    suite.makeconftest(CONFTEST.read_text().replace("/run/netns", str(folder)))
    suite.makepyfile(
        test_one="import pytest\ndef test_skips(): pytest.skip('no such kernel')\n",
        test_two="import pytest\npytest.skip('not here', allow_module_level=True)\n",
        test_three=f"def test_boots(): open('{folder}/np-lab-nat-a', 'w').close()\n",
    )
    result = run(suite)
    result.stdout.fnmatch_lines_random(["*does not allow it: *no such kernel*", "*does not allow it: *not here*"])
    result.stdout.fnmatch_lines(["*left behind: np-lab-nat-a*"])
    assert result.ret != pytest.ExitCode.OK
    assert "skipped" not in result.parseoutcomes()


def test_a_lab_that_is_left_behind_is_enough(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = suite.mkdir("netns")
    monkeypatch.setenv("CI", "true")
    suite.makeconftest(CONFTEST.read_text().replace("/run/netns", str(folder)))
    suite.makepyfile(test_it=f"def test_boots(): open('{folder}/np-lab-nat-a', 'w').close()")
    assert run(suite).ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(("marked", "passes"), [("pytestmark = pytest.mark.alone", True), ("", False)])
def test_alone_means_alone(suite: pytest.Pytester, tmp_path: Path, marked: str, passes: bool) -> None:
    """Without the mark the same tests meet each other: the control."""
    (folder := tmp_path / "here").mkdir()
    begin = ALONE.format(folder=str(folder))
    lonely = f"{begin}{marked}\ndef test_one(): stay('lonely', lambda there: there == ['lonely'])\n" + (
        "def test_two(): stay('lonely', lambda there: there == ['lonely'])\n"
    )
    crowd = f"{begin}@pytest.mark.parametrize('n', range(3))\ndef test_it(n): stay('crowd', lambda there: True)\n"
    suite.makepyfile(test_lonely=lonely, test_crowd=crowd)
    assert (run(suite).ret == pytest.ExitCode.OK) == passes


@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "controller-only"])
def test_an_interrupt_lets_every_worker_leave_nothing(
    suite: pytest.Pytester, tmp_path: Path, whole_group: bool
) -> None:
    (folder := tmp_path / "here").mkdir()
    text = SLOW_TO_LEAVE.format(folder=str(folder))
    suite.makepyfile(test_one=text, test_two=text)
    running = subprocess.Popen(ARGV, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(list(folder.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (os.killpg if whole_group else os.kill)(running.pid, signal.SIGINT)
    assert running.wait(timeout=PATIENCE_SECONDS) == pytest.ExitCode.INTERRUPTED
    assert list(folder.iterdir()) == []


def test_who_waits_to_be_alone_is_not_overtaken(tmp_path: Path) -> None:
    first, lonely, late = (Locks(tmp_path) for _ in range(3))
    said: list[str] = []

    def take(locks: Locks, name: str, alone: bool) -> threading.Thread:
        thread = threading.Thread(target=lambda: (locks.take(alone=alone), said.append(name)))  # type: ignore[func-returns-value]
        thread.start()
        return thread

    first.take(alone=False)
    waiting = take(lonely, "lonely", True)
    time.sleep(0.2)
    overtaking = take(late, "late", False)
    time.sleep(0.2)
    assert said == []
    first.leave()
    waiting.join(timeout=10)
    assert said == ["lonely"]
    lonely.leave()
    overtaking.join(timeout=10)
    assert said == ["lonely", "late"]


def test_who_is_alone_comes_first_and_files_stay_whole(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers =\n    alone: x\n")
    plain, alone = "def test_one(): pass\ndef test_two(): pass\n", "import pytest\npytestmark = pytest.mark.alone\n"
    pytester.makepyfile(test_a=plain, test_b=alone + plain, test_c=plain)
    items, _ = pytester.inline_genitems("-p", "no:asyncio")
    order(items)
    assert [item.nodeid.partition("::")[0] for item in items] == [
        f"test_{name}.py" for name in ("b", "b", "a", "a", "c", "c")
    ]
