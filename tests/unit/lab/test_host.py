"""Hosts from outside: records that never mean a stranger, programs run inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from natpair_lab.testbed import host, node, spawn
from natpair_lab.testbed.init import Unit
from natpair_lab.testbed.spawn import start_time
from natpair_lab.testbed.wait import wait_until
from repo.rules import ROOT

SLEEPER = Unit("sleeper", ("sleep", "60"))


def test_a_record_of_another_process_with_our_pid_means_nobody(tmp_path: Path):
    record = tmp_path / "record"
    record.write_text(f"{os.getpid()} {start_time(os.getpid()) - 1}\n")
    assert host.read_record(record) is None
    record.write_text(f"{os.getpid()} {start_time(os.getpid())}\n")
    assert host.read_record(record) == host.InitRef(os.getpid(), start_time(os.getpid()))


@pytest.mark.parametrize("text", ["", "12", "not a number\n"])
def test_a_torn_record_means_nobody(tmp_path: Path, text: str):
    record = tmp_path / "record"
    record.write_text(text)
    assert host.read_record(record) is None
    assert host.read_record(tmp_path / "absent") is None


def test_a_stranger_is_never_killed():
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        host.end(host.InitRef(sleeper.pid, start_time(sleeper.pid) - 1))
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.root
def test_a_program_inside_has_the_hosts_namespaces_and_passes_its_status_on(supervise):
    host_ = supervise(SLEEPER)
    done = subprocess.run(
        host.command(host_.ref, ["sh", "-c", "hostname; ls /run; cat; exit 7"]),
        input="typed",
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.returncode == 7
    assert done.stdout.split() == ["testhost", "lab", "lock", "typed"]


@pytest.mark.root
def test_a_missing_program_is_127(supervise):
    host_ = supervise(SLEEPER)
    done = subprocess.run(host.command(host_.ref, ["nosuch"]), capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stderr) == (127, "nosuch: no such program in this host\n")


@pytest.mark.root
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_program_inside_ends_with_its_handle(supervise, number: signal.Signals, status: int):
    host_ = supervise(SLEEPER)
    script = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); print('up', flush=True); time.sleep(60)"
    )
    handle = subprocess.Popen(
        host.command(host_.ref, [sys.executable, "-I", "-S", "-c", script]), stdout=subprocess.PIPE, text=True
    )
    assert handle.stdout is not None
    assert handle.stdout.readline() == "up\n"
    handle.send_signal(number)
    assert handle.wait(timeout=10) == status
    # The pipe's end is the end of the program itself, not only of the handle.
    assert handle.stdout.read() == ""
    handle.stdout.close()


@pytest.mark.root
def test_a_program_inside_ends_with_its_host(supervise):
    host_ = supervise(SLEEPER)
    handle = subprocess.Popen(host.command(host_.ref, ["sh", "-c", "echo up; exec sleep 60"]), stdout=subprocess.PIPE)
    assert handle.stdout is not None
    assert handle.stdout.readline() == b"up\n"
    host.end(host_.ref)
    assert handle.wait(timeout=10) == 128 + signal.SIGKILL
    handle.stdout.close()


@pytest.mark.root
def test_mounts_of_a_host_do_not_reach_the_machine(supervise):
    before = Path("/proc/self/mounts").read_text()
    host_ = supervise(SLEEPER)
    subprocess.run(host.command(host_.ref, ["mount", "-t", "tmpfs", "none", "/mnt"]), timeout=10, check=True)
    assert host_.ref.path("/mnt").exists()
    assert Path("/proc/self/mounts").read_text() == before


@pytest.mark.root
def test_no_supervisor_runs_that_is_not_on_record(tmp_path: Path, supervise, monkeypatch: pytest.MonkeyPatch):
    """The record cannot be written: the child must end instead of becoming an init nobody knows."""
    (tmp_path / "record" / "in-the-way").mkdir(parents=True)
    before = inits()
    with pytest.raises(host.LabError, match="could not be built"):
        supervise(SLEEPER)
    wait_until(lambda: inits() <= before or None, deadline_seconds=5, what="the end of the child")


def inits() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"natpair_lab/testbed/init.py" in path.read_bytes():
                found.add(f"{path} {start_time(int(path.parent.name))}")
        except OSError:
            continue
    return found


def test_waiting_gives_up_with_what_was_expected_and_the_diagnosis():
    started = time.monotonic()
    with pytest.raises(host.LabError) as failed:
        wait_until(lambda: None, deadline_seconds=0.1, what="a miracle", diagnose=lambda: "look there")
    assert time.monotonic() - started < 5
    assert (failed.value.message, failed.value.fix) == ("a miracle did not happen within 0.1 s", "look there")


def test_waiting_returns_the_value():
    values = iter([None, "", "yes"])
    assert wait_until(lambda: next(values), deadline_seconds=5, what="a value") == "yes"


def test_a_lab_host_sees_the_whole_clone_wherever_it_lies() -> None:
    """Also the programs of the tests: a host's own /tmp hides a clone below /tmp, but for what is kept."""
    kept = node.interpreter_folders()
    assert spawn.covered(str(Path(__file__)), kept)
    assert not spawn.covered(str(ROOT.parent), kept)
